"""Rate finding: how fast to send to a target whose limit nobody knows. A pure function of state, event and time.

Each function changes a `State` in place. There is no clock, no random draw and no I/O: the caller gives the time, adds jitter
to canaries, and sends. It must report how each admitted request ended, lost ones as Failed, or the gate would wait for a
canary for ever.

The story: grow by doubling until the first 429 (start), stay just below (hold), ask for more when the budget of 429s allows
it (probe). Constants and words are in `state`, the way up in `growth`, the way down in `cut` and `estimates`, the end of a
pause in `gate`.
"""

from __future__ import annotations

from math import inf

from loader.rate.cut import lose_canary, throttle
from loader.rate.gate import open_gate
from loader.rate.growth import advance, measure
from loader.rate.signals import Failed, Signal, Success, Throttled, Ticket
from loader.rate.state import (
    BUDGET_PER_SUCCESS,
    MAX_PAUSE_SECONDS,
    MAX_PER_SECOND,
    MIN_CAP,
    MIN_PER_SECOND,
    NAMED_SHARE,
    SHORT_SCALE_SECONDS,
    SLACK_SECONDS,
    SPARE_SHARE,
    START_PER_SECOND,
    State,
)

__all__ = [
    "acquire",
    "advance",
    "answered",
    "begin",
    "follow_headers",
    "in_flight_cap",
    "may_send",
    "next_send_at",
    "succeed",
]


def begin(now: float, start_per_second: float | None = None) -> State:
    """Make the state of a run that begins now. A hint is the only cheap cure for the first overshoot."""
    rate = max(start_per_second or START_PER_SECOND, MIN_PER_SECOND)
    return State(rate=rate, grown_until=now, rate_before=rate, run_started=now, opened_at=now, began=now)


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
    """Say whether a request may go now: it is due, and not too many are in flight. A canary's jitter is the caller's."""
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
    """Count a request as taken, by its ticket's number and time; `seconds` is its latency."""
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


def answered(state: State, ticket: Ticket, signal: Signal, now: float) -> None:
    """Take note of how the request of a ticket ended."""
    if state.grown_until < now:
        advance(state, now)
    match signal:
        case Success(seconds):
            succeed(state, ticket.number, ticket.at, seconds, now)
        case Throttled(retry_after):
            state.in_flight -= 1
            throttle(state, ticket, retry_after, now)
        case Failed():
            state.in_flight -= 1
            if state.is_closed and ticket.number == state.canary:
                lose_canary(state, now)


def follow_headers(
    state: State, limit: float, remaining: float, reset: float, window: float | None, *, now: float
) -> None:
    """Follow the target's own headers: `limit` requests a window, `remaining` of them in the next `reset` seconds.

    The rate is even, just below the limit; if little remains, it is spread over the time until the reset. Nothing is probed any
    more. A 429 all the same cuts as ever, and holds for as long.

    Units: seconds. `window` None: the longest reset seen so far is taken for the window.
    """
    if state.grown_until < now:
        advance(state, now)
    if limit <= 0 or not 0 <= reset <= 10 * MAX_PAUSE_SECONDS:
        return
    state.longest_reset = max(state.longest_reset, reset)
    length = window or state.longest_reset
    if length <= 0:
        return
    state.is_limit_named = True
    state.scale = max(state.scale, min(MAX_PAUSE_SECONDS, length))
    state.ceiling = min(max(NAMED_SHARE * limit / length, MIN_PER_SECOND), MAX_PER_SECOND)
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
