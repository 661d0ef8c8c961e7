"""Rate finding: how fast to send to a target whose limit nobody knows. A pure function of (state, event, now).

`step` is the function; `apply` is the same in place, for the one owner of a state that is not looked at elsewhere; `acquire` and
`succeed` are what `apply` does on the two events of nearly every request, without the event. No clock, no random draw, no I/O:
the caller gives the time, adds jitter to canaries, and sends. The caller tells of each admitted request how it ended, lost ones
as Failure, or the gate would wait for a canary for ever.

The story: grow by doubling until the first 429 (start), stay just below (hold), ask for more when the budget of 429s allows
it (probe). Constants and words stand in `rate_state`, the way up in `rate_growth`, the way down in `rate_cut`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from loader.rate.cut import lose_canary, throttle
from loader.rate.gate import open_gate
from loader.rate.growth import advance, measure
from loader.rate.state import (
    BUDGET_PER_SUCCESS,
    MAX_PAUSE_SECONDS,
    MAX_PER_SECOND,
    MIN_CAP,
    MIN_PER_SECOND,
    SHORT_SCALE_SECONDS,
    SLACK_SECONDS,
    SPARE_SHARE,
    START_PER_SECOND,
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
    "acquire",
    "advance",
    "apply",
    "begin",
    "in_flight_cap",
    "may_send",
    "next_send_at",
    "step",
    "succeed",
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
    if state.grown_until < now:
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
    return int(max(float(MIN_CAP), 2.5 * state.base_latency * max(state.rate, state.delivered) + 8))


def may_send(state: State, now: float) -> bool:
    """Say whether a request may go now: it is due, and not too many are in flight. Of a canary its jitter says more."""
    if state.grown_until < now:
        advance(state, now)
    if now < state.not_before or now < state.last_sent + 1 / state.rate:
        return False
    return state.in_flight < MIN_CAP or state.in_flight < in_flight_cap(state)


def acquire(state: State, number: int, now: float) -> None:
    """Count a request that goes out now."""
    if state.grown_until < now:
        advance(state, now)
    state.in_flight += 1
    if state.is_closed:
        state.canary = number
        state.not_before = inf
        state.last_sent = now
        return
    # A late timer is made up for, a pause never: the slack is a few milliseconds, whatever the time since the last one.
    state.last_sent = max(state.last_sent + 1 / state.rate, now - SLACK_SECONDS, state.not_before)


def succeed(state: State, number: int, at: float, seconds: float, now: float) -> None:
    """Count a request as taken: the one of this number, sent at that time. `seconds` is its latency."""
    if state.grown_until < now:
        advance(state, now)
    state.in_flight -= 1
    measure(state, seconds, now)
    state.accepted += 1
    if at > state.cut_at:
        state.accepted_since_cut += 1
    if at > state.exhausted_sent_at:
        state.exhausted_accepted += 1
    state.newest_accepted_at = max(state.newest_accepted_at, at)
    state.budget = min(state.budget + BUDGET_PER_SUCCESS, state.cost + 2)
    if state.is_closed and (number == state.canary or (state.canary is None and at > state.newest_throttled_at)):
        open_gate(state, at, now)


def _acquire(state: State, event: Acquired, now: float) -> None:
    acquire(state, event.number, now)


def _succeed(state: State, event: Success, now: float) -> None:
    sent, seconds = event
    succeed(state, sent.number, sent.at, seconds, now)


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
