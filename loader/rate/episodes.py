"""Rate finding, bookkeeping: runs of episodes, what is counted since the last cut, and what is charged to the budget."""

from __future__ import annotations

from loader.rate.state import SHORT_SCALE_SECONDS, Sent, State

FALLEN = 0.7
"""Below this share of the rate before, the limit has fallen; it was not a probe that went wrong."""
FORGIVEN_FOR = 30
"""Successes within which further cuts belong to the same fall; a budget that they overdrew would keep the rate too low."""
FORGIVEN_EVERY = 1000
"""Successes between two falls that are not charged: a limit that moves all the time must be paid for."""


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


def note_exhaustion(state: State, sent: Sent, now: float) -> None:
    """Count what is taken and refused from the request on that was refused now."""
    state.exhausted_sent_at, state.exhausted_rate, state.exhausted_at = sent.at, sent.rate, now
    state.exhausted_position = state.accepted
    state.exhausted_accepted = state.exhausted_throttled = 0


def forgive(state: State) -> None:
    """Do not charge to probing what a fall of the limit has cost; once in a while, or a limit that moves would cost too much."""
    since = state.accepted - state.forgiven_accepted
    if state.rate < FALLEN * state.rate_before and not FORGIVEN_FOR < since < FORGIVEN_EVERY:
        if since > FORGIVEN_FOR:
            state.forgiven_accepted = state.accepted
        state.budget = max(state.budget, state.budget_before - state.cost)
