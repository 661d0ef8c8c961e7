"""Rate finding, the gate opens: what is learnt from how long it was closed (rate.md 3.4, and a rule of our own for a fall)."""

from __future__ import annotations

from math import inf, sqrt

from loader.rate.growth import forget_interval
from loader.rate.state import (
    HOLD_SECONDS,
    MAX_PAUSE_SECONDS,
    MIN_PER_SECOND,
    SHORT_SCALE_SECONDS,
    State,
    forgive,
    is_constant_pause,
    measure_afresh,
    note_cut,
    start_run,
)

FALLEN_SHUT = 0.4
"""Shut for more than this share of a long window, the limit has fallen. A failed probe or a late window shuts it for less."""


def open_gate(state: State, sent_at: float, now: float) -> None:
    """Go on after a canary was accepted, and learn from how long the gate was closed."""
    closed = now - state.closed_at
    state.is_closed = False
    state.canary = None
    state.pause = 0.0
    state.not_before = now
    state.closed_seconds += closed
    forget_interval(state, now)
    if is_constant_pause(state) and closed > SHORT_SCALE_SECONDS:
        # What was taken is measured without the pause: it is the gateway's habit, not the limit's.
        measure_afresh(state, now)
        state.opened_at, state.opened_accepted = now, state.accepted
    elif closed <= SHORT_SCALE_SECONDS:
        state.short_openings += 1
        _learn_fall(state, sent_at, now)
        if state.opened_at is None or now - state.opened_at >= 0.9 * state.scale:
            state.opened_at, state.opened_accepted = now, state.accepted
    elif closed > SHORT_SCALE_SECONDS + 2 * state.smoothed_latency:
        if _was_outage(state, closed, now):
            _resume_after_outage(state, now)
        else:
            _learn_long_window(state, sent_at, now)


def _learn_fall(state: State, sent_at: float, now: float) -> None:
    """Lower the rate if the target was shut for a good part of a window: the limit has fallen, and by that share."""
    shut = state.newest_throttled_at - state.refused_at
    shut += min((sent_at - state.newest_throttled_at) / 2, 0.1 * state.scale)
    if (
        not state.is_fall
        or not state.failed_canaries
        or state.is_shaving
        or shut < max(0.15 * state.scale, 2 / state.rate)
    ):
        return
    rate = state.refused_rate
    estimate = rate * (1 - shut / state.scale)
    new = max(0.97 * estimate, 0.5 * rate)
    if new < 0.97 * state.rate:
        state.ceiling = max(sqrt(new * rate) / 0.93, MIN_PER_SECOND)
        state.rate = max(new, MIN_PER_SECOND)
        state.hold_seconds = HOLD_SECONDS
        state.hold_until = now + HOLD_SECONDS
        note_cut(state, now)
        measure_afresh(state, now)
        # The fall is known. What may follow are corrections, which are small again.
        state.episodes = 1
        forgive(state)


def _was_outage(state: State, closed: float, now: float) -> bool:
    """Say whether it was an outage and no long window: the target's windows are known to be short, and outages are rare."""
    is_short = state.scale <= SHORT_SCALE_SECONDS and state.short_openings > 1
    return is_short and now - state.outage_ended >= 3 * closed


def _resume_after_outage(state: State, now: float) -> None:
    state.rate = 0.9 * state.rate_before
    state.ceiling = state.ceiling_before if state.ceiling_before < inf else state.rate_before
    state.hold_seconds = HOLD_SECONDS
    state.hold_until = now + HOLD_SECONDS
    state.mode = "hold"
    state.budget = max(state.budget, 0.0)
    state.outage_ended = now
    start_run(state, now)


def _learn_long_window(state: State, sent_at: float, now: float) -> None:
    """Measure the limit of a long window: by what was taken between two openings, or in a window's length before."""
    since, accepted = (state.opened_at, state.opened_accepted) if state.opened_at is not None else (0.0, 0)
    taken = state.accepted - accepted
    # The window opened somewhere between the last canary that failed and the one that succeeded.
    opened = now - (sent_at - max(state.newest_throttled_at, state.refused_at)) / 2
    state.scale = max(state.scale, min(MAX_PAUSE_SECONDS, now - state.closed_at))
    shut = opened - state.refused_at
    is_fallen = state.is_fall and not state.is_searching and not state.is_shaving and shut > FALLEN_SHUT * state.scale
    # If only the canary was taken, there is no measure of a limit.
    if taken > 1 and opened > since:
        estimate = taken / (opened - since)
        if state.recent is not None and opened - since > 2 * MAX_PAUSE_SECONDS:
            estimate = state.recent
        if is_fallen:
            # As in a short window: the share of time for which it was shut is the share that was too much.
            estimate = min(estimate, max(1 - shut / state.scale, 0.5) * state.refused_rate)
        state.ceiling = max(min(state.ceiling, estimate), MIN_PER_SECOND)
        lowered = 0.985 if state.long_openings else 1.0
        state.rate = max(min(state.rate, lowered * estimate), MIN_PER_SECOND)
        if is_fallen:
            forgive(state)
    state.recent = None
    state.long_openings += 1
    state.opened_at, state.opened_accepted = now, state.accepted
    state.mode = "hold"
    state.hold_until = now + max(state.hold_seconds, state.scale)
    start_run(state, now)
