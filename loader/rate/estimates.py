"""Rate finding, the estimates: how far to cut, by what was taken and what was refused (rate.md 3.4).

A value for a limit comes from two points at which it was exhausted: what was taken between them, by the time between them.
"""

from __future__ import annotations

from math import inf, sqrt

from loader.rate.growth import MARK_SECONDS
from loader.rate.signals import Ticket
from loader.rate.state import (
    CUT,
    LATER_CUTS,
    MIN_ANSWERS,
    MIN_ANSWERS_LONG,
    QUEUED_FACTOR,
    SAME_RATE,
    SHORT_SCALE_SECONDS,
    SHUT_AFTER,
    State,
)

MIN_EVIDENCE_SECONDS = 0.3
MEASURED_CEILING = 1.04
"""Times a measured limit: the ceiling after it. It is so near that growing back to the failed rate is charged to the budget."""
LEAST_SHAVED = 0.67
"""Accepted to refused, at least, of a target that only shaves the excess. Below, it is shut, or counts what it refuses."""


def taken_lately(state: State, now: float) -> float | None:
    """Return what was taken per second in the last window's length. None if windows are short, or it is not known yet."""
    if state.scale <= SHORT_SCALE_SECONDS:
        return None
    marks = [mark for mark in state.marks if mark[0] <= now - state.scale]
    if not marks:
        return None
    # A mark may be old, if nothing was taken since then.
    at, accepted = marks[-1]
    return (state.accepted - accepted) / (now - max(at, now - state.scale - MARK_SECONDS))


def decide(state: State, ticket: Ticket, now: float) -> tuple[float, float, bool]:
    """Choose the new rate, the new ceiling, and whether to stay open. The first rule that applies decides."""
    rate, ceiling = state.rate, state.ceiling
    served = _served_behind_a_queue(state)
    if served is not None and served < ticket.rate:
        # A full queue hides how far the rate is above the limit. But it shows the limit: what is served.
        lowest = 0.25 if state.mode == "start" else 0.6
        new = _clamp((1 - CUT) * served, lowest * rate, 0.97 * rate)
        return new, max(new, served), False
    if state.mode == "start":
        # By the rate in force at sending: the present one may be twice that.
        return 0.75 * ticket.rate, 0.75 * ticket.rate, False
    if state.recent is not None:
        return _decide_long(state, state.recent)
    if state.episodes > 1:
        decided = _decide_again(state, now)
        if decided is not None:
            return decided
    elif state.mode == "hold" and state.scale <= SHORT_SCALE_SECONDS and state.accepted_since_cut >= MIN_ANSWERS:
        # The held rate failed, so what was taken since the last cut measures the limit. Other users of the target cause such
        # 429s too; hence the small step, and the ceiling above it.
        since = max(now - state.cut_at, 1e-3)
        # The first pause of an episode is counted before it is over.
        open_since = max(since - (state.closed_seconds - state.cut_closed_seconds), 0.1 * since)
        estimate = (state.accepted - state.cut_accepted) / sqrt(since * open_since)
        new = _clamp(estimate, 0.75 * rate, 0.98 * rate)
        return new, max(new, min(ceiling, MEASURED_CEILING * new)), True
    if rate > 1.1 * ceiling:
        return max(0.85 * rate, 0.97 * ceiling), rate, False
    cut = LATER_CUTS[min(max(state.episodes, 1), len(LATER_CUTS)) - 1]
    is_first = state.episodes <= 1
    return rate * (1 - cut), rate if is_first else min(rate, ceiling), is_first


def _decide_long(state: State, recent: float) -> tuple[float, float, bool]:
    """Choose in a long window, by what was taken in its length. A cut takes a minute to show, so one is enough."""
    rate = state.rate
    if state.episodes <= 1:
        return _clamp((1 - CUT) * recent, 0.75 * rate, (1 - CUT) * rate), rate, True
    if state.throttled_since_cut < SHUT_AFTER:
        return rate, state.ceiling, False
    return _clamp(_passed(state), 0.75 * rate, 0.97 * rate), rate, False


def _decide_again(state: State, now: float) -> tuple[float, float, bool] | None:
    """Choose in a run's later episodes, by what the run shows; None if it shows nothing."""
    rate = state.rate
    inside, outside = _estimates(state, now)
    if inside is not None and state.failed_canaries:
        new = _clamp(0.985 * inside, 0.7 * rate, 0.97 * rate)
        return new, sqrt(new * rate) / 0.93, False
    answers = state.accepted_since_cut + state.throttled_since_cut
    enough = MIN_ANSWERS if state.scale <= SHORT_SCALE_SECONDS else MIN_ANSWERS_LONG
    is_shaved = (
        state.exhausted_throttled >= SHUT_AFTER and state.exhausted_accepted >= LEAST_SHAVED * state.exhausted_throttled
    )
    is_clear = state.throttled_since_cut >= SHUT_AFTER or is_shaved
    passed = _passed(state)
    # Only the shaved share may cut by more than a quarter: the other estimates include pauses.
    lowest = _clamp(passed, 0.6 * rate, 0.75 * rate) if is_shaved else 0.75 * rate
    # Before there is enough to measure by, each cut in a row would only lead to the next.
    is_promising = outside > 0.8 * rate if outside is not None else now - state.cut_at < MIN_EVIDENCE_SECONDS
    if answers < enough and is_promising and not is_clear:
        return rate, state.ceiling, False
    if outside is None:
        return (_clamp(passed, lowest, 0.97 * rate), rate, False) if is_clear else None
    estimate = outside if inside is None else sqrt(inside * outside)
    taken = _taken_between(state, now)
    new = _clamp(min(estimate, passed, taken), lowest, 0.97 * rate)
    return new, min(rate, MEASURED_CEILING * max(new, taken)), False


def _served_behind_a_queue(state: State) -> float | None:
    """Return what the target serves per second while requests queue in front of it; None if no latency shows a queue."""
    if not state.delivered:
        return None
    # With a queue, each answer is late. After a stall only those that it held up are late, not those before and after.
    latency = min(state.delivered_least, state.bucket_least)
    return state.delivered if latency > QUEUED_FACTOR * state.least_latency + 1 / state.delivered else None


def _passed(state: State) -> float:
    """Return the part of the rate that would have passed, by the share of successes since the last cut, or since the exhaustion.

    One more success is assumed than was seen, so that few answers cannot give zero. Requests in flight at the cut count too:
    they show the same, earlier.
    """
    passed = state.rate * (state.accepted_since_cut + 1) / (state.accepted_since_cut + state.throttled_since_cut or 1)
    if state.exhausted_throttled < SHUT_AFTER:
        return passed
    share = (state.exhausted_accepted + 1) / (state.exhausted_accepted + state.exhausted_throttled)
    return min(passed, state.exhausted_rate * share)


def _taken_between(state: State, now: float) -> float:
    """Return what was taken per second between two points at which the limit was exhausted; infinity if they measure nothing.

    They measure nothing if too little was taken, or if the rate grew in between: then the last part of the growth alone
    exhausts a small bucket. The times are those at which the news came, not those of sending: a request that waits in a queue
    or a stall is taken all the same.
    """
    taken = state.accepted - state.exhausted_position
    if state.mode != "hold" or taken < MIN_ANSWERS or state.rate < SAME_RATE * state.exhausted_rate:
        return inf
    return taken / (now - state.exhausted_at)


def _estimates(state: State, now: float) -> tuple[float | None, float | None]:
    """Return what was accepted per second in the run: with its pauses, and without them.

    Windows lie near the first, small buckets near the second (rate.md section 2, fact 2).
    """
    elapsed = now - state.run_started
    accepted = state.accepted - state.run_accepted
    if accepted < MIN_ANSWERS:
        return None, None
    inside = accepted / elapsed if elapsed >= max(1.0, 0.9 * state.scale) else None
    open_seconds = elapsed - (state.closed_seconds - state.run_closed_seconds)
    outside = accepted / open_seconds if elapsed > MIN_EVIDENCE_SECONDS and open_seconds > 0 else None
    return inside, outside


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
