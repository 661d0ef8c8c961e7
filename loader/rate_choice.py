"""Rate finding, the estimates: how far to cut, by what was taken and what was refused (rate.md 3.4).

A value for a limit comes from two points at which it was exhausted: what was taken between them, by the time between them.
"""

from __future__ import annotations

from math import sqrt

from loader.rate_growth import MARK_SECONDS
from loader.rate_state import CUT, LATER_CUTS, MIN_ANSWERS, MIN_ANSWERS_LONG, SHORT_SCALE_SECONDS, SHUT_AFTER, State

MIN_EVIDENCE_SECONDS = 0.3


def taken_lately(state: State, now: float) -> float | None:
    """Return what was taken per second in the last window's length, where windows are long."""
    if state.scale <= SHORT_SCALE_SECONDS:
        return None
    marks = [mark for mark in state.marks if mark[0] <= now - state.scale]
    if not marks:
        return None
    # A mark may be old where nothing was taken since then.
    at, accepted = marks[-1]
    return (state.accepted - accepted) / (now - max(at, now - state.scale - MARK_SECONDS))


def decide(state: State, sent_rate: float, now: float) -> tuple[float, float, bool]:
    """Choose the new rate, the new ceiling, and whether to stay open. The first rule that applies decides."""
    rate, ceiling = state.rate, state.ceiling
    if state.mode == "start":
        # By the rate in force at sending: the present one may be twice that.
        return 0.75 * sent_rate, 0.75 * sent_rate, False
    if state.recent is not None:
        return _decide_long(state, state.recent)
    if state.episodes > 1:
        decided = _decide_again(state, now)
        if decided is not None:
            return decided
    elif state.mode == "hold" and state.scale <= SHORT_SCALE_SECONDS and state.accepted_since_cut >= MIN_ANSWERS:
        # What was held failed: what was taken since the last cut measures the limit. Neighbours make such 429s too, hence the
        # small step, and the ceiling above it.
        since = max(now - state.cut_at, 1e-3)
        # The first pause of an episode is counted before it is over.
        open_since = max(since - (state.closed_seconds - state.cut_closed_seconds), 0.1 * since)
        estimate = (state.accepted - state.cut_accepted) / sqrt(since * open_since)
        return _clamp(estimate, 0.75 * rate, 0.98 * rate), max(rate, min(ceiling, 1.04 * rate)), True
    if rate > 1.1 * ceiling:
        return max(0.85 * rate, 0.97 * ceiling), rate, False
    cut = LATER_CUTS[min(max(state.episodes, 1), len(LATER_CUTS)) - 1]
    is_first = state.episodes <= 1
    return rate * (1 - cut), rate if is_first else min(rate, ceiling), is_first


def _decide_long(state: State, recent: float) -> tuple[float, float, bool]:
    """Choose in a long window, by what was taken in its length. The relief of a cut comes a minute later: one is enough."""
    rate = state.rate
    if state.episodes <= 1:
        return _clamp((1 - CUT) * recent, 0.75 * rate, (1 - CUT) * rate), rate, True
    if state.throttled_since_cut < SHUT_AFTER:
        return rate, state.ceiling, False
    return _clamp(rate * _share(state), 0.75 * rate, 0.97 * rate), rate, False


def _decide_again(state: State, now: float) -> tuple[float, float, bool] | None:
    """Choose in a run's later episodes, by what the run shows; None where it shows nothing."""
    rate = state.rate
    inside, outside = _estimates(state, now)
    if inside is not None and state.failed_canaries:
        new = _clamp(0.985 * inside, 0.7 * rate, 0.97 * rate)
        return new, sqrt(new * rate) / 0.93, False
    answers = state.accepted_since_cut + state.throttled_since_cut
    enough = MIN_ANSWERS if state.scale <= SHORT_SCALE_SECONDS else MIN_ANSWERS_LONG
    is_clear = state.throttled_since_cut >= SHUT_AFTER
    # Before there is anything to measure by, cuts in a row would only follow each other down.
    is_promising = outside > 0.8 * rate if outside is not None else now - state.cut_at < MIN_EVIDENCE_SECONDS
    if answers < enough and is_promising and not is_clear:
        return rate, state.ceiling, False
    if outside is None:
        return (_clamp(rate * _share(state), 0.75 * rate, 0.97 * rate), rate, False) if is_clear else None
    estimate = outside if inside is None else sqrt(inside * outside)
    return _clamp(min(estimate, rate * _share(state)), 0.75 * rate, 0.97 * rate), rate, False


def _share(state: State) -> float:
    """Return what share of the answers since the last cut was an acceptance, the benefit of one doubt included."""
    return (state.accepted_since_cut + 1) / (state.accepted_since_cut + state.throttled_since_cut or 1)


def _estimates(state: State, now: float) -> tuple[float | None, float | None]:
    """Return what the run accepted per second, pauses counted in and pauses left out.

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
