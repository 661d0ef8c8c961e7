"""Rate finding, the nouns: the constants with their reasons, what is remembered, and what can happen.

All of it is plain numbers; no clock, no random draw, no I/O. The design is the one of rate.md section 3, which was tried on 299
simulated targets; the sections named in comments are its. Times are seconds of any one monotonic clock, rates are requests
a second.

The words used here:
- episode: the first 429 that is news (sent after the last cut); at most one cut is made for it.
- exhaustion: the limit was used up; what was taken between two of them, by the time between them, measures it.
- run: episodes close to each other; they belong to one search for one limit.
- gate: nothing goes before it. Closed: only a canary, one request at a time, until one is accepted.
- budget: 429s that probing may still cost. It grows with every success, so that 429s stay under 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Literal, TypeAlias

from loader.rate.signals import Ticket

Mode: TypeAlias = Literal["start", "hold", "probe"]

START_PER_SECOND = 10.0
"""Two 429s at worst in the first half second, for a target that allows 5 a second."""
MIN_PER_SECOND = 0.01
"""Keeps the rate positive whatever is measured; slower than any limit we heard of."""
MAX_PER_SECOND = 1e6
"""Far past what one process can send; keeps the numbers finite."""
MIN_DOUBLING_SECONDS = 0.5
CUT = 0.03
"""97 % of a failing rate: leaves two points for errors of the estimate."""
LATER_CUTS = (CUT, CUT, 0.06, 0.12, 0.15)
"""By episode of the run, if nothing can be measured."""
GROWTH_PER_SECOND = 0.02
"""The overshoot seen at the first 429 is then 1 to 3 %."""
LONG_GROWTH = 0.05
"""Growth within one window, if the target counts in long windows."""
MAX_ACCELERATION = 16.0
BUDGET_PER_SUCCESS = 0.006
"""Of the 1 % aimed at; the rest is for surprises. 0.005 to 0.0065 gives much the same, more helps only beside neighbours."""
MIN_BUDGET = -400.0
FIRST_COST = 2.0
HOLD_SECONDS = 2.0
MAX_HOLD_SECONDS = 6.0
NEAR_CEILING = 0.08
"""A probe that fails this close to the ceiling shows nothing new, so the next one waits longer."""
MAX_RETRY_AFTER_SECONDS = 90.0
"""A longer one says nothing about pacing. Our own growing pauses apply; at 60 s they do no harm even if it was honest."""
MIN_LONG_RETRY_AFTER_SECONDS = 2.0
"""Up to here a Retry-After may be a rounded-up fraction of a second (section 6, point 8)."""
MAX_PAUSE_SECONDS = 60.0
DOUBLING_PAUSE_SECONDS = 4.0
SHORT_SCALE_SECONDS = 2.0
"""Windows up to here need no special care: even spacing makes all short limiters look alike."""
SAME_RATE = 0.9
"""Two rates count as the same if one is at least this share of the other."""
MIN_ANSWERS = 10
MIN_ANSWERS_LONG = 60
"""Answers since the last cut before another one: in a long sliding window the relief of a cut comes a minute later."""
QUEUED_FACTOR = 3.0
"""A latency above this many times the least one, plus one request's time, is a queue. No jitter that we tried is as wide."""
SHUT_AFTER = 3
"""This many refused in a row are no accident."""
MIN_CAP = 16
"""This many may be in flight whatever the latency."""
BASE_SECONDS = 120.0
"""The base latency is the least of the medians of this time."""
MIN_SAMPLES = 50
FEW_SAMPLES, FEW_SECONDS = 8, 1.0
"""Few samples are enough at a target so slow that one more queued request shows in the latency. But they must span a second and
two latencies: otherwise the requests that one stall held up would count twice.
"""
MAX_SAMPLES = 512
"""Latencies of one interval that are kept; the median of more is no better."""
SLACK_SECONDS = 0.005
"""A request that is late by up to this much is made up for: it covers a wait of 2 ms, a timer late by a millisecond or two, and
a clock of whole milliseconds. With 2 ms, 250 a second lost 2.5 %. A longer slack would overflow a small bucket of the target
after every pause (section 6, point 11).
"""
NAMED_SHARE = 0.98
"""Of a limit that headers name: their clock is not ours, and others may count against it too."""
SPARE_SHARE = 0.04
"""While more than this share of a window remains there is no need to look at what remains."""


SAME_PAUSE_SECONDS = 0.5
CONSTANT_AFTER = 3
"""The rest of a window depends on when it is asked for; three in a row that are the same are none."""
FALLEN = 0.7
"""Below this share of the rate before, the limit has fallen; it was not a probe that went wrong."""
FORGIVEN_FOR = 30
"""Successes within which further cuts belong to the same fall; a budget that they overdrew would keep the rate too low."""
FORGIVEN_EVERY = 1000
"""Successes between two falls that are not charged: a limit that moves all the time must be paid for."""


@dataclass(slots=True)
class State:
    """Everything remembered about the target's limit. `rate` and `mode` are what matters to a reader."""

    rate: float = START_PER_SECOND
    mode: Mode = "start"
    # The rate at which trouble is expected.
    ceiling: float = inf
    # Growth is applied up to this time.
    grown_until: float = 0.0
    hold_until: float = 0.0
    hold_seconds: float = HOLD_SECONDS
    # The target's headers name the limit: no growth, no probing.
    is_limit_named: bool = False
    # The longest time until a reset stands for a window that is not named.
    longest_reset: float = 0.0

    last_sent: float = -inf
    in_flight: int = 0
    # Requests accepted so far; positions in this count stand beside the times below.
    accepted: int = 0

    # 429s of requests sent at or before this time are old news.
    fence: float = -inf
    # The first request refused since one was accepted: when it was sent, at which rate, how many more followed it. Shaving: some
    # that were sent after it got through. A fall: it failed at a rate that had been good.
    refused_at: float = -inf
    refused_rate: float = START_PER_SECOND
    refused_in_a_row: int = 0
    is_shaving: bool = False
    is_fall: bool = False
    last_episode: float = -inf
    cut_at: float = -inf
    cut_accepted: int = 0
    cut_closed_seconds: float = 0.0
    accepted_since_cut: int = 0
    throttled_since_cut: int = 0
    # Exhaustion: the first request refused at about the present rate: when it was sent, at which rate, when the news of it came,
    # how much was accepted until then, and the answers to requests sent after it.
    exhausted_sent_at: float = inf
    exhausted_rate: float = START_PER_SECOND
    exhausted_at: float = -inf
    exhausted_position: int = 0
    exhausted_accepted: int = 0
    exhausted_throttled: int = 0

    run_started: float = 0.0
    run_accepted: int = 0
    run_closed_seconds: float = 0.0
    run_throttled: int = 0
    episodes: int = 0
    failed_canaries: int = 0
    rate_before: float = START_PER_SECOND
    ceiling_before: float = inf

    not_before: float = -inf
    # The last long Retry-After, and how many in a row were the same: it names no window then.
    named_pause: float = 0.0
    same_pauses: int = 0

    is_closed: bool = False
    canary: int | None = None
    pause: float = 0.0
    closed_at: float = 0.0
    # Sum over all closed times that have ended.
    closed_seconds: float = 0.0
    newest_throttled_at: float = -inf
    newest_accepted_at: float = -inf

    budget: float = 0.0
    # 429s that one run is expected to cost.
    cost: float = FIRST_COST
    # Finding the limit for the first time is not charged to the budget (section 6, point 1).
    is_searching: bool = True
    began: float = 0.0
    # The budget when the run began, and how much was accepted when a fall of the limit was last forgiven.
    budget_before: float = 0.0
    forgiven_accepted: int = -1000

    # The length of the target's window, as far as it matters: 1 s until a longer one shows itself.
    scale: float = 1.0
    opened_at: float | None = None
    opened_accepted: int = 0
    # (time, accepted) of the last minutes, and what that says of the limit at the last episode.
    marks: list[tuple[float, int]] = field(default_factory=list)
    recent: float | None = None
    short_openings: int = 0
    long_openings: int = 0
    outage_ended: float = -inf

    smoothed_latency: float = 0.0
    # About the least latency of the last thousand answers.
    least_latency: float = inf
    base_latency: float | None = None
    interval_started: float | None = None
    interval_answers: int = 0
    samples: list[float] = field(default_factory=list)
    # (time, median) of the intervals of the last 120 s.
    medians: list[tuple[float, float]] = field(default_factory=list)
    slow_intervals: int = 0
    # Successes a second, measured over a quarter of a second or one latency.
    delivered: float = 0.0
    # The least latency of what was delivered then, and of what was since.
    delivered_least: float = 0.0
    bucket_started: float | None = None
    bucket_answers: int = 0
    bucket_least: float = inf


# --- runs of episodes, what is counted since the last cut, what is charged to the budget -----------------------------------


def end_search(state: State) -> None:
    """Charge the budget from now on."""
    state.is_searching = False
    state.budget = min(state.budget, 0.0)


def search_seconds(state: State) -> float:
    """Return the start that the goal leaves out (rate.md section 5)."""
    windows = min(3 * state.scale, 120.0) if state.scale > SHORT_SCALE_SECONDS else 0.0
    return 0.5 * max(10.0, 40 * state.smoothed_latency, 100 / state.rate) + windows


def start_run(state: State, now: float) -> None:
    """Begin a run of episodes."""
    state.episodes = 0
    state.run_throttled = 0
    measure_afresh(state, now)


def measure_afresh(state: State, now: float) -> None:
    """Measure what is taken from now on: what came before was another limit, or another question."""
    state.failed_canaries = 0
    state.run_started = now
    state.run_accepted = state.accepted
    state.run_closed_seconds = state.closed_seconds


def note_cut(state: State, now: float) -> None:
    """Count answers from now on."""
    state.cut_at = now
    state.cut_accepted = state.accepted
    state.cut_closed_seconds = state.closed_seconds
    state.accepted_since_cut = state.throttled_since_cut = 0


def note_exhaustion(state: State, ticket: Ticket, now: float) -> None:
    """Count from now on what is taken and refused of the requests sent after this one, which was refused."""
    state.exhausted_sent_at, state.exhausted_rate, state.exhausted_at = ticket.at, ticket.rate, now
    state.exhausted_position = state.accepted
    state.exhausted_accepted = state.exhausted_throttled = 0


def note_named_pause(state: State, seconds: float) -> None:
    """Take note of a long Retry-After. One that is always the same is a constant of a gateway's, and no window's rest."""
    is_same = abs(seconds - state.named_pause) < SAME_PAUSE_SECONDS
    state.named_pause, state.same_pauses = seconds, state.same_pauses + 1 if is_same else 1
    if state.same_pauses == CONSTANT_AFTER:
        state.scale = 1.0


def is_constant_pause(state: State) -> bool:
    """Say whether the last Retry-Afters were all the same: then they pause, and measure nothing."""
    return state.same_pauses >= CONSTANT_AFTER


def forgive(state: State) -> None:
    """Refund to the budget what a fall of the limit has cost; not often, or a limit that moves would cost too much."""
    since = state.accepted - state.forgiven_accepted
    if state.rate < FALLEN * state.rate_before and not FORGIVEN_FOR < since < FORGIVEN_EVERY:
        if since > FORGIVEN_FOR:
            state.forgiven_accepted = state.accepted
        state.budget = max(state.budget, state.budget_before - state.cost)
