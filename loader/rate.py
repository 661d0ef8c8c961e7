"""Rate finding: how fast to send to a target whose limit nobody knows. A pure function of (state, event, now).

`step` is the function; `apply` is the same in place, for the one owner of a state that is not looked at elsewhere. No clock, no
random draw, no I/O: the caller gives the time, adds jitter to canaries, and sends. The caller tells of each admitted request
how it ended, lost ones as Failure, or the gate would wait for a canary for ever.

The story: grow by doubling until the first 429 (start), stay just below (hold), ask for more when the budget of 429s allows
it (probe). Constants and words stand in `rate_state`, the way up in `rate_growth`, the way down in `rate_cut`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from loader.rate_cut import lose_canary, throttle
from loader.rate_growth import advance, measure
from loader.rate_opening import open_gate
from loader.rate_state import (
    BUDGET_PER_SUCCESS,
    BURST_SECONDS,
    MAX_PAUSE_SECONDS,
    MAX_PER_SECOND,
    MIN_PER_SECOND,
    SHORT_SCALE_SECONDS,
    SPARE_SHARE,
    START_PER_SECOND,
    TIMER_SECONDS,
    TOLD_SHARE,
    Acquired,
    Event,
    Failure,
    Limits,
    Sent,
    State,
    Success,
    Throttled,
)

__all__ = [
    "Acquired",
    "Event",
    "Failure",
    "Limits",
    "Sent",
    "State",
    "Success",
    "Throttled",
    "advance",
    "apply",
    "begin",
    "in_flight_cap",
    "next_send_at",
    "step",
]


def begin(now: float, start_per_second: float | None = None) -> State:
    """Make the state of a run that begins now. A hint is the only cheap cure for the first overshoot."""
    rate = max(start_per_second or START_PER_SECOND, MIN_PER_SECOND)
    return State(rate=rate, grown_until=now, rate_before=rate, run_started=now, opened_at=now, began=now)


def step(state: State, event: Event, now: float) -> State:
    """Return the state after an event; the one given is left as it was."""
    following = state.copy()
    apply(following, event, now)
    return following


def apply(state: State, event: Event, now: float) -> None:
    """Change a state by an event."""
    advance(state, now)
    _HANDLERS[type(event)](state, event, now)


def next_send_at(state: State) -> float:
    """Return when the next request may go, in flight cap aside; infinity while a canary is out."""
    return max(state.last_sent + 1 / state.rate, state.not_before)


def in_flight_cap(state: State) -> int:
    """Return how many requests may be in flight: two and a half times what the target needs to keep busy.

    When the target slows down, this turns into a rate limit at once.
    """
    if state.base_latency is None:
        return int(max(64.0, 4 * state.smoothed_latency * state.rate + 16))
    return int(max(16.0, 2.5 * state.base_latency * max(state.rate, state.delivered) + 8))


def _acquire(state: State, event: Acquired, now: float) -> None:
    state.in_flight += 1
    interval = 1 / state.rate
    if state.is_closed:
        state.canary = event.number
        state.not_before = inf
        state.last_sent = now
        return
    # A late timer is made up for, a pause never: the slack is a few milliseconds, whatever the time since the last one.
    slack = max(TIMER_SECONDS, BURST_SECONDS - interval)
    state.last_sent = max(state.last_sent + interval, state.not_before, now - slack)


def _succeed(state: State, event: Success, now: float) -> None:
    sent, seconds = event
    state.in_flight -= 1
    measure(state, seconds, now)
    state.accepted += 1
    if sent.at > state.cut_at:
        state.accepted_since_cut += 1
    state.newest_accepted_at = max(state.newest_accepted_at, sent.at)
    state.budget = min(state.budget + BUDGET_PER_SUCCESS, state.cost + 2)
    if state.is_closed and (
        sent.number == state.canary or (state.canary is None and sent.at > state.newest_throttled_at)
    ):
        open_gate(state, sent.at, now)


def _throttled(state: State, event: Throttled, now: float) -> None:
    state.in_flight -= 1
    throttle(state, event, now)


def _fail(state: State, event: Failure, now: float) -> None:
    state.in_flight -= 1
    if state.is_closed and event.sent.number == state.canary:
        lose_canary(state, now)


def _limits(state: State, event: Limits, now: float) -> None:
    """Follow the target's own headers: evenly at the limit, where little remains spread over the time that it must last.

    Nothing is probed any more.

    A 429 all the same cuts as ever, and holds for as long.
    """
    limit, remaining, reset, window = event
    if limit <= 0 or not 0 <= reset <= 10 * MAX_PAUSE_SECONDS:
        return
    state.longest_reset = max(state.longest_reset, reset)
    length = window or state.longest_reset
    if length <= 0:
        return
    state.is_told = True
    state.scale = max(state.scale, min(MAX_PAUSE_SECONDS, length))
    state.ceiling = min(max(TOLD_SHARE * limit / length, MIN_PER_SECOND), MAX_PER_SECOND)
    if now < state.hold_until and state.last_episode > -inf:
        return
    state.mode = "hold"
    if length <= SHORT_SCALE_SECONDS or remaining > max(SPARE_SHARE * limit, state.in_flight):
        # Whole seconds say too little of a short window; and what remains of a sliding one, which never resets, is no measure.
        state.rate = state.ceiling
    elif remaining <= 0:
        state.not_before = max(state.not_before, now + reset)
    else:
        state.rate = max(min(remaining / max(reset, 1.0), state.ceiling), MIN_PER_SECOND)


_HANDLERS: dict[type, Callable[[State, Any, float], None]] = {
    Acquired: _acquire,
    Success: _succeed,
    Throttled: _throttled,
    Failure: _fail,
    Limits: _limits,
}
