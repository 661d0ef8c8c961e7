"""What rate finding makes of a queue, of a share that is refused, and of two points at which a limit was exhausted."""

from __future__ import annotations

import pytest

from loader.rate.finder import begin, next_send_at
from loader.rate.state import Mode, State
from tests.unit.rate.states import acquired, holding, refused, sent, taken

# --- a queue that fills ---------------------------------------------------------------------------------------------------


def queued(state: State, latencies: list[float]) -> State:
    """Answer five a second, so late."""
    now = 1000.0
    for number, latency in enumerate(latencies):
        now = 1000.0 + 0.2 * number
        state = taken(state, sent(number, now - latency), latency, now)
    return state


def test_a_429_of_a_full_queue_cuts_to_what_is_served_however_far_above_the_rate_is() -> None:
    # Begun later than now, so that it does not grow meanwhile.
    state = begin(2000.0, 16.0)
    state = queued(state, [0.01, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    state = refused(state, sent(9, 1001.1, rate=16.0), 1001.3)
    assert state.rate == pytest.approx(0.97 * 5)
    assert state.ceiling == pytest.approx(5)


def test_what_a_stall_held_up_is_no_queue() -> None:
    state = queued(holding(10), [0.01, 0.01, 0.01, 0.9, 0.9, 0.01, 0.9])
    state = refused(state, sent(9, 1001.1, rate=10.0), 1001.3)
    assert state.rate >= 9.5


@pytest.mark.parametrize("late, is_slow", [(0.12, False), (0.4, True)])
def test_few_answers_show_a_queue_where_one_request_more_is_plain_to_see(late: float, is_slow: bool) -> None:
    state = holding(5)
    state.medians = [(999.0, 0.01)]
    state = queued(state, [late] * 30)
    assert (state.rate < 5) is is_slow


def test_latency_that_grows_slows_down_without_any_429() -> None:
    state = holding()
    now = 1000.0
    for latency in (0.05, 0.05, 0.1, 0.1):
        for number in range(60):
            now += 0.01
            state = taken(state, sent(number, now - latency), latency, now)
    assert state.rate == pytest.approx(98, rel=0.005)


def test_latency_that_grows_while_probing_says_where_the_limit_is_and_the_next_probe_waits_longer() -> None:
    state = holding(105)
    state.mode, state.ceiling, state.delivered = "probe", 100.0, 105.0
    state.base_latency, state.medians = 0.05, [(999.0, 0.05)]
    now = 1000.0
    for _ in range(120):
        now += 1 / 103
        state = taken(state, sent(1, now - 0.1), 0.1, now)
    assert state.ceiling == pytest.approx(103, rel=0.02), (
        "what is delivered while a queue stands, though it was taken for less"
    )
    assert state.rate == pytest.approx(0.98 * 103, rel=0.02)
    assert state.hold_seconds == 4


# --- what was taken and what was refused ---------------------------------------------------------------------------------


def shaving(state: State, start: float, rate: float) -> tuple[State, float]:
    """Let a batch come back of which every second request was refused, and then the first that was sent after the cut."""
    state = refused(state, sent(0, start - 0.05, rate), start)
    for number in range(1, 10):
        at = start - 0.05 + number / rate
        if number % 2:
            state = taken(state, sent(number, at, rate), 0.05, at + 0.05)
        else:
            state = refused(state, sent(number, at, rate), at + 0.05)
    now = start + 0.2
    return refused(state, sent(99, start + 0.15, rate), now), now


def test_the_share_of_what_was_on_its_way_says_how_far_the_limit_fell() -> None:
    state, _ = shaving(holding(200), 1000.0, 200.0)
    # Five of nine were taken, and one is doubted; without them it would be 3 %.
    assert state.rate == pytest.approx(0.6 * 200, rel=0.01)


def test_a_share_counts_at_the_rate_it_was_sent_at() -> None:
    state, now = shaving(holding(200), 1000.0, 200.0)
    first = state.rate
    for number in range(100, 112):
        answered = sent(number, now - 0.02, 200.0)
        state = refused(state, answered, now + 0.03) if number % 2 else taken(state, answered, 0.05, now + 0.03)
    # Too little to measure anything else by.
    state.run_accepted = state.accepted
    due = max(next_send_at(state), now + 0.1)
    state = acquired(state, 200, due)
    state = taken(state, sent(200, due, first), 0.05, due + 0.05)
    state = refused(state, sent(201, due + 0.06, first), due + 0.11)
    assert state.rate >= 0.85 * first, "the same batch was not counted twice"


@pytest.mark.parametrize("mode, is_measured", [("hold", True), ("probe", False)])
def test_what_was_taken_between_two_exhaustions_is_the_limit_whatever_pauses_lay_between(
    mode: Mode, is_measured: bool
) -> None:
    state = holding(100)
    now = 1000.0
    state = refused(state, sent(0, now - 0.05), now)
    # 80 a second are taken, at a rate of 97, with a pause in each second.
    for second in (0, 1):
        for number in range(80):
            at = now + second + 0.1 + number / 97
            state = taken(state, sent(number, at, 97.0), 0.05, at + 0.05)
        state.closed_seconds += 0.15
    state.accepted_since_cut = 1000
    state.mode, state.grown_until = mode, 2000.0
    state = refused(state, sent(500, now + 1.95, 97.0), now + 2.0)
    # In a probe the rate grew in between, and a small bucket is exhausted by the last of it alone.
    assert (state.rate == pytest.approx(80, rel=0.02)) is is_measured
    assert (state.ceiling == pytest.approx(1.04 * 80, rel=0.02)) is is_measured


# --- a fall --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["hold", "probe"])
def test_cuts_that_follow_a_fall_at_once_are_forgiven_with_it(mode: Mode) -> None:
    state = holding(100)
    state.mode, state.grown_until = mode, 2000.0
    state.rate_before, state.budget_before, state.budget, state.rate = 100.0, 3.0, -20.0, 60.0
    state.forgiven_accepted = state.accepted - 20
    state.episodes, state.last_episode = 3, 999.9
    state.accepted_since_cut, state.throttled_since_cut = 5, 5
    state.run_started, state.run_accepted, state.cut_at = 999.0, state.accepted - 40, 999.5
    state.newest_accepted_at = 999.8
    state = refused(state, sent(2, 999.95, 60.0), 1000.0)
    assert state.rate < 60
    assert state.budget == pytest.approx(3.0 - state.cost)


def test_a_long_window_that_was_shut_for_half_of_its_length_has_fallen_by_half() -> None:
    state = holding(10)
    state.scale, state.ceiling, state.opened_at, state.opened_accepted = 60.0, 10.0, 900.0, 9_000
    state.newest_accepted_at = 999.8
    state.long_openings = 1
    state = refused(state, sent(1, 999.9, 10.0), 1000.0)
    state = refused(state, sent(2, 1000.06, 10.0), 1000.1)
    for at in (1005.0, 1029.0):
        state = acquired(state, int(at), at)
        state = refused(state, sent(int(at), at, 10.0), at + 0.05, 0.5)
    state = acquired(state, 7, 1031.0)
    state = taken(state, sent(7, 1031.0, 10.0), 0.05, 1031.05)
    assert not state.is_closed
    assert state.rate == pytest.approx(5, rel=0.05)


def test_in_a_long_window_the_way_back_to_below_the_ceiling_is_quick() -> None:
    state = holding(100)
    state.mode, state.delivered, state.scale, state.grown_until = "probe", 1000.0, 60.0, 1000.0
    state.ceiling = 200.0
    low = acquired(state, 1, 1010.0).rate
    state.ceiling = 105.0
    near = acquired(state, 1, 1010.0).rate
    assert low - 100 == pytest.approx(4 * (near - 100), rel=0.05)


@pytest.mark.parametrize("share, is_fall", [(1.03, True), (1.2, False)])
def test_what_shuts_the_target_just_above_the_ceiling_may_be_a_fall(share: float, is_fall: bool) -> None:
    state = holding(100 * share)
    state.ceiling, state.mode = 100.0, "probe"
    assert refused(state, sent(1, 999.9, 100 * share), 1000.0).is_fall is is_fall


def test_a_slow_target_is_asked_for_at_most_one_percent_more_per_answer() -> None:
    state = holding(1.0)
    state.mode, state.ceiling, state.delivered, state.grown_until = "probe", 0.5, 100.0, 1000.0
    grown = acquired(state, 1, 1010.0)
    assert grown.rate == pytest.approx(1.105, rel=0.02)


@pytest.mark.parametrize("ceiling", [1e-3, 0.5, 1.0])
def test_growth_is_finite_however_far_the_rate_is_above_its_ceiling(ceiling: float) -> None:
    # Seed 13856 of the simulation: the exponent of the acceleration overflowed.
    state = holding(5000.0)
    state.mode, state.ceiling, state.delivered = "probe", ceiling, 5000.0
    grown = taken(state, sent(1, 1000.9), 0.05, 1001.0)
    assert 5000.0 <= grown.rate < 10_000.0
