"""Rate finding as a pure function: what holds for every sequence of events (rate.md 3.5), and the rules one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.rate.finder import advance, begin, in_flight_cap, next_send_at
from loader.rate.signals import Ticket
from loader.rate.state import State
from tests.unit.rate.states import acquired, headers_seen, holding, lost, refused, sent, taken

# --- any sequence of events ----------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "success", "success", "throttled", "failure", "limits", "wait"]),
        st.floats(0, 3),
        st.integers(0, 10**6),
        st.sampled_from([None, 0.0, 1.0, 5.0, 90.0, 3600.0, -3.0]),
    ),
    max_size=120,
)


class Client:
    """Sends only when it may, answers in any order, and checks every step."""

    def __init__(self, start: float | None) -> None:
        self.now = 100.0
        self.state = begin(self.now, start)
        self.out: list[Ticket] = []
        self.number = 0
        self.sent_while_closed: set[int] = set()

    def act(self, kind: str, seconds: float, which: int, retry_after: float | None) -> None:
        self.now += seconds * (0.01 if which % 2 else 1)
        if kind == "send":
            due = next_send_at(self.state)
            if due < math.inf and self.state.in_flight < in_flight_cap(self.state):
                self.now = max(self.now, due)
                self.number += 1
                if self.state.is_closed:
                    self.sent_while_closed.add(self.number)
                number = self.number
                self.take(lambda state: acquired(state, number, self.now))
                self.out.append(Ticket(number, self.now, self.state.rate))
        elif kind == "limits":
            if which % 7 == 0:
                limit = (which % 1000, which % 50 - 1, seconds * 30, None)
                self.take(lambda state: headers_seen(state, limit, self.now))
        elif kind == "wait":
            self.now += seconds * 30
        elif self.out:
            self.answer(kind, self.out.pop(which % len(self.out)), retry_after)

    def answer(self, kind: str, ticket: Ticket, retry_after: float | None) -> None:
        before = self.state
        self.take(
            {
                "success": lambda state: taken(state, ticket, max(self.now - ticket.at, 1e-4), self.now),
                "throttled": lambda state: refused(state, ticket, self.now, retry_after),
                "failure": lambda state: lost(state, ticket, self.now),
            }[kind]
        )
        self.sent_while_closed.discard(ticket.number)
        if kind != "throttled" and before.is_closed:
            assert self.state.rate <= max(before.rate, 0.9 * before.rate_before)
        if self.state.last_episode != before.last_episode:
            assert ticket.at > before.fence, "a second episode for the same batch"

    def take(self, happen: Callable[[State], State]) -> None:
        before = self.state
        self.state = happen(before)
        assert happen(before) == self.state, "the same event at the same time made another state"
        assert 0 < self.state.rate < math.inf
        assert self.state.ceiling > 0
        if self.state.is_closed:
            assert len(self.sent_while_closed & {ticket.number for ticket in self.out}) <= 1
        if next_send_at(self.state) == math.inf:
            assert self.state.canary is not None, "a gate that nothing can open"


@settings(max_examples=150, deadline=None)
@given(events=EVENTS, start=st.sampled_from([None, 0.001, 1.0, 5000.0]))
def test_any_events(events: list[tuple[str, float, int, float | None]], start: float | None) -> None:
    client = Client(start)
    for event in events:
        client.act(*event)


@given(steps=st.lists(st.floats(0.001, 2), min_size=1, max_size=20), mode=st.sampled_from(["start", "hold"]))
def test_growth_depends_on_time_and_not_on_how_often_it_is_looked_at(steps: list[float], mode: str) -> None:
    whole = State(mode=mode, rate=50, ceiling=60, delivered=40, hold_until=1e9)  # type: ignore[arg-type]  # one of Mode
    split = deepcopy(whole)
    now = 0.0
    for seconds in steps:
        now += seconds
        advance(split, now)
    advance(whole, now)
    assert split.rate == pytest.approx(whole.rate)


@given(steps=st.lists(st.floats(0.001, 0.5), min_size=1, max_size=20))
def test_probing_grows_nearly_the_same_in_one_step_or_many(steps: list[float]) -> None:
    whole = State(mode="probe", rate=105, ceiling=100, delivered=1000)
    split = deepcopy(whole)
    now = 0.0
    for seconds in steps:
        now += seconds
        advance(split, now)
    advance(whole, now)
    assert split.rate == pytest.approx(whole.rate, rel=0.05)


# --- the rules -----------------------------------------------------------------------------------------------------------


def test_start_doubles_in_half_a_second_and_never_outruns_the_evidence() -> None:
    state = begin(0.0)
    advance(state, 0.5)
    assert state.rate == pytest.approx(20)
    advance(state, 60.0)
    assert state.rate == pytest.approx(20), "nothing was delivered yet"
    state.delivered = 1000.0
    advance(state, 60.5)
    assert state.rate == pytest.approx(40)


def test_the_first_429_of_a_batch_cuts_and_the_others_are_old_news() -> None:
    state = holding()
    for number in range(5):
        state = refused(state, sent(number, 999.9), 1000.0 + number / 1000)
    assert state.rate == pytest.approx(97)
    assert state.budget == -5
    assert not state.is_closed


def test_a_first_episode_is_gentle_and_a_second_closes_the_gate() -> None:
    state = refused(holding(), sent(1, 999.9), 1000.0)
    assert not state.is_closed
    assert next_send_at(state) == pytest.approx(1000.05)
    state = refused(state, sent(2, 1000.06), 1000.1)
    assert state.is_closed


def test_the_start_is_cut_by_the_rate_in_force_at_sending() -> None:
    state = refused(begin(0.0, 400), sent(1, 0.1, rate=200), 0.6)
    assert state.rate == state.ceiling == pytest.approx(150)
    assert state.is_closed


def test_a_shut_target_closes_the_gate_before_the_pause_is_over() -> None:
    state = holding()
    state.accepted, state.newest_accepted_at = 10_000, 999.8
    for number in range(3):
        state = refused(state, sent(number, 999.9 + number / 1000), 1000.0 + number / 1000)
        assert not state.is_closed
    assert refused(state, sent(3, 999.903), 1000.003).is_closed
    shaving = taken(state, sent(3, 999.903), 0.1, 1000.003)
    assert not refused(shaving, sent(4, 999.904), 1000.004).is_closed, "one got through in between"


def test_how_long_it_was_shut_tells_how_far_the_limit_fell_and_that_is_not_charged() -> None:
    state = holding()
    state.newest_accepted_at = 999.8
    state.hold_until, state.mode = 0.0, "hold"
    for number in range(4):
        state = refused(state, sent(number, 999.9 + number / 1000), 1000.0 + number / 1000)
    now = 1000.05
    while now < 1000.4:
        due = next_send_at(state)
        state = acquired(state, int(due * 1000), due)
        now = due + 0.05
        state = refused(state, sent(int(due * 1000), due), now)
    state.episodes = 2
    due = next_send_at(state)
    state = acquired(state, 9, due)
    state = taken(state, sent(9, due), 0.05, due + 0.05)
    assert not state.is_closed
    assert 50 <= state.rate < 70
    assert state.budget > -3
    assert state.episodes == 1, "what follows is a small correction again"


def test_what_a_held_rate_took_since_the_last_cut_measures_the_limit() -> None:
    state = holding()
    state.cut_at, state.cut_accepted, state.accepted_since_cut = 990.0, 9_100, 900
    state.newest_accepted_at = 999.8
    state = refused(state, sent(1, 999.9), 1000.0)
    assert state.rate == pytest.approx(90, rel=0.01)
    assert state.ceiling == pytest.approx(1.04 * state.rate), "where it failed is no ceiling to grow to for free"


def test_in_a_long_window_what_was_taken_in_its_length_is_the_limit() -> None:
    state = holding()
    state.scale, state.newest_accepted_at = 60.0, 999.8
    state.marks = [(900.0 + number, 1000 + 95 * number) for number in range(99)]
    state.accepted = 1000 + 95 * 100
    state = refused(state, sent(1, 999.9), 1000.0)
    assert state.rate == pytest.approx(0.97 * 95, rel=0.01)


def test_a_request_sent_after_the_refused_one_opens_the_gate_by_its_success() -> None:
    closed = refused(begin(0.0), sent(1, 0.1), 0.2)
    assert taken(closed, sent(0, 0.05), 0.2, 0.25).is_closed
    assert not taken(closed, sent(2, 0.15), 0.2, 0.25).is_closed


def test_canaries_wait_longer_and_longer_up_to_a_minute() -> None:
    state = refused(begin(0.0), sent(1, 0.1), 0.2)
    now, waits = 0.2, []
    for number in range(2, 20):
        due = next_send_at(state)
        waits.append(due - now)
        state = acquired(state, number, due)
        assert next_send_at(state) == math.inf
        now = due + 0.05
        state = refused(state, sent(number, due), now)
    assert all(later >= earlier - 1e-6 for earlier, later in pairwise(waits))
    assert waits[1] == pytest.approx(2 * waits[0])
    assert waits[-1] == pytest.approx(60)


@pytest.mark.parametrize("retry_after, waited", [(7.0, 7.0), (3600.0, None), (0.0, None)])
def test_a_canary_that_fails_is_told_when_to_come_back(retry_after: float, waited: float | None) -> None:
    state = refused(begin(0.0), sent(1, 0.1), 0.2)
    due = next_send_at(state)
    state = acquired(state, 2, due)
    first_pause = state.pause
    state = refused(state, sent(2, due), due + 0.05, retry_after)
    assert next_send_at(state) == pytest.approx(due + 0.05 + (2 * first_pause if waited is None else waited))


def test_an_outage_is_not_taken_for_a_long_window() -> None:
    state = holding()
    state.short_openings = 2
    state = refused(state, sent(1, 999.9), 1000.0)
    state = refused(state, sent(2, 1000.06), 1000.1)
    state = acquired(state, 3, 1020.0)
    state = taken(state, sent(3, 1020.0), 0.05, 1020.05)
    assert state.scale == 1.0
    assert state.rate == pytest.approx(90)
    assert state.ceiling == pytest.approx(100)


def test_a_long_window_shows_itself_by_how_long_the_gate_was_shut() -> None:
    state = holding()
    state.opened_at, state.opened_accepted = 970.0, 9_000
    state = refused(state, sent(1, 999.9), 1000.0)
    state = refused(state, sent(2, 1000.06), 1000.1)
    state = acquired(state, 3, 1028.0)
    state = refused(state, sent(3, 1028.0), 1028.05, 0.5)
    state = acquired(state, 4, 1030.0)
    state = taken(state, sent(4, 1030.0), 0.05, 1030.05)
    assert state.scale == pytest.approx(29.95)
    assert state.rate == pytest.approx(1001 / 59.05), "it opened between the two canaries"


def test_the_cap_in_flight_follows_what_the_target_needs() -> None:
    state = holding(1000.0)
    assert in_flight_cap(state) == 133
    assert in_flight_cap(begin(0.0)) == 64


def test_a_hint_sets_the_start() -> None:
    assert begin(0.0, 200).rate == 200


def test_headers_that_name_no_time_at_all_do_not_make_the_rate_infinite() -> None:
    assert headers_seen(holding(), (91, 5, 1e-310, None), 2000.0).rate < math.inf


def test_headers_stop_the_probing_and_say_when_nothing_is_left() -> None:
    state = holding()
    state.hold_until = 0.0
    state = headers_seen(state, (600, 300, 30, 60), 2000.0)
    assert state.rate == pytest.approx(9.8)
    advance(state, 5000.0)
    assert state.rate == pytest.approx(9.8)
    state = headers_seen(state, (600, 12, 30, 60), 5000.0)
    assert state.rate == pytest.approx(0.4)
    state = headers_seen(state, (600, 0, 12, 60), 5000.0)
    assert next_send_at(state) == pytest.approx(5012)
