"""Rate finding, the way down: what a 429 means, the gate with its canaries, and what is learnt when it opens (rate.md 3.4).

A 429 says only "above, now". News of it is late, so about a latency's worth of requests is already out: one cut per batch, and
429s of requests sent before the cut are ignored. The requests in flight are free canaries: if one that was sent after the
rejected one is accepted, the target only shaves the excess.
"""

from __future__ import annotations

from math import inf, sqrt

from loader.rate_growth import forget_interval
from loader.rate_state import (
    CUT,
    DOUBLING_PAUSE_SECONDS,
    HOLD_SECONDS,
    LATER_CUTS,
    MAX_HOLD_SECONDS,
    MAX_PAUSE_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    MIN_ANSWERS,
    MIN_ANSWERS_LONG,
    MIN_BUDGET,
    MIN_LONG_RETRY_AFTER_SECONDS,
    MIN_PER_SECOND,
    NEAR_CEILING,
    SHORT_SCALE_SECONDS,
    State,
    Throttled,
)

MIN_EVIDENCE_SECONDS = 0.3


def throttle(state: State, event: Throttled, now: float) -> None:
    """Take note of a 429."""
    sent, retry_after = event
    if not state.is_searching:
        state.budget = max(state.budget - 1, MIN_BUDGET)
    if sent.at > state.cut_at:
        state.throttled_since_cut += 1
    if retry_after is not None and MIN_LONG_RETRY_AFTER_SECONDS < retry_after <= MAX_RETRY_AFTER_SECONDS:
        state.scale = max(state.scale, min(MAX_PAUSE_SECONDS, retry_after))
    state.newest_throttled_at = max(state.newest_throttled_at, sent.at)
    if state.is_closed or sent.at <= state.fence:
        state.run_throttled += 1
        if state.is_closed and sent.number == state.canary:
            state.failed_canaries += 1
            lose_canary(state, now, retry_after)
        return
    _begin_episode(state, now)
    _cut(state, sent.rate, now)
    if retry_after is not None and MIN_LONG_RETRY_AFTER_SECONDS < retry_after <= MAX_RETRY_AFTER_SECONDS:
        # No rounding explains this much: the target is shut, and said for how long.
        if not state.is_closed:
            _close(state, retry_after, 0.0, now)
        state.not_before = now + retry_after


def lose_canary(state: State, now: float, retry_after: float | None = None) -> None:
    """Wait before the next canary: as long as was asked for, else one rung more of the ladder."""
    state.canary = None
    if retry_after is not None and 0 < retry_after <= MAX_RETRY_AFTER_SECONDS:
        state.not_before = now + retry_after
        return
    factor = 2.0 if state.pause < DOUBLING_PAUSE_SECONDS else 1.5
    state.pause = min(state.pause * factor, MAX_PAUSE_SECONDS)
    state.not_before = now + state.pause


def _begin_episode(state: State, now: float) -> None:
    """Count the episode, as part of the present run or as the first of a new one."""
    if now - state.last_episode > max(3.0, 30 / state.rate, 1.5 * state.scale):
        if state.mode != "start":
            if not state.is_searching:
                # What the search cost says nothing of what a probe costs (section 6, point 7).
                cost = 0.7 * state.cost + 0.3 * state.run_throttled
                state.cost = min(max(cost, 1.0), 2 + 0.1 * state.rate)
            state.is_searching = False
            state.budget = min(state.budget, 0.0)
        state.rate_before, state.ceiling_before = state.rate, state.ceiling
        _start_run(state, now)
    elif now - state.run_started > 5 * max(1.0, state.scale, 30 / state.rate) and state.cut_at > state.run_started:
        state.run_started = state.cut_at
        state.run_accepted = state.cut_accepted
        state.run_closed_seconds = state.cut_closed_seconds
    state.episodes += 1
    state.run_throttled += 1


def _start_run(state: State, now: float) -> None:
    state.episodes = 0
    state.failed_canaries = 0
    state.run_throttled = 0
    state.run_started = now
    state.run_accepted = state.accepted
    state.run_closed_seconds = state.closed_seconds


def _cut(state: State, sent_rate: float, now: float) -> None:
    mode, old, old_ceiling = state.mode, state.rate, state.ceiling
    new, ceiling, is_gentle = _decide(state, sent_rate, now)
    is_real = new != old or mode == "start"
    if mode == "probe" and abs(old / old_ceiling - 1) <= NEAR_CEILING:
        state.hold_seconds = min(2 * state.hold_seconds, max(MAX_HOLD_SECONDS, state.scale))
    elif abs(ceiling / old_ceiling - 1) > NEAR_CEILING:
        state.hold_seconds = HOLD_SECONDS
    state.rate, state.ceiling, state.mode = max(new, MIN_PER_SECOND), max(ceiling, MIN_PER_SECOND), "hold"
    state.hold_until = now + state.hold_seconds
    state.fence = state.last_episode = now
    if is_real:
        state.cut_at = now
        state.cut_accepted = state.accepted
        state.cut_closed_seconds = state.closed_seconds
        state.accepted_since_cut = state.throttled_since_cut = 0
    first_pause = max(0.05, 0.5 / state.rate, min(state.smoothed_latency, 0.15))
    if is_gentle:
        state.not_before = max(state.not_before, now + first_pause)
    else:
        _close(state, first_pause, 1 - state.rate / max(old, state.rate), now)


def _close(state: State, first_pause: float, excess: float, now: float) -> None:
    state.is_closed = True
    state.closed_at = now
    state.canary = None
    state.pause = max(first_pause, min(state.smoothed_latency, 0.3))
    if state.scale > SHORT_SCALE_SECONDS:
        # Half of the time for which a window of this length would be shut.
        state.pause = max(state.pause, state.scale / 60, 0.5 * state.scale * excess)
    state.not_before = now + state.pause


def _decide(state: State, sent_rate: float, now: float) -> tuple[float, float, bool]:
    """Choose the new rate, the new ceiling, and whether to stay open. The first rule that applies decides."""
    rate, ceiling = state.rate, state.ceiling
    if state.mode == "start":
        # By the rate in force at sending: the present one may be twice that.
        return 0.75 * sent_rate, 0.75 * sent_rate, False
    if state.episodes > 1:
        inside, outside = _estimates(state, now)
        if inside is not None and state.failed_canaries:
            new = _clamp(0.985 * inside, 0.7 * rate, 0.97 * rate)
            return new, sqrt(new * rate) / 0.93, False
        answers = state.accepted_since_cut + state.throttled_since_cut
        enough = MIN_ANSWERS if state.scale <= SHORT_SCALE_SECONDS else MIN_ANSWERS_LONG
        # Before there is anything to measure by, cuts in a row would only follow each other down.
        is_promising = outside > 0.8 * rate if outside is not None else now - state.cut_at < MIN_EVIDENCE_SECONDS
        if answers < enough and is_promising:
            return rate, ceiling, False
        if outside is not None:
            estimate = outside if inside is None else sqrt(inside * outside)
            share = (state.accepted_since_cut + 1) / (answers or 1)
            return _clamp(min(estimate, rate * share), 0.75 * rate, 0.97 * rate), rate, False
    if rate > 1.1 * ceiling:
        return max(0.85 * rate, 0.97 * ceiling), rate, False
    cut = LATER_CUTS[min(max(state.episodes, 1), len(LATER_CUTS)) - 1]
    is_first = state.episodes <= 1
    return rate * (1 - cut), rate if is_first else min(rate, ceiling), is_first


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


def open_gate(state: State, now: float) -> None:
    """Go on after a canary was accepted, and learn from how long the gate was closed."""
    closed = now - state.closed_at
    state.is_closed = False
    state.canary = None
    state.pause = 0.0
    state.not_before = now
    state.closed_seconds += closed
    forget_interval(state, now)
    if closed <= SHORT_SCALE_SECONDS:
        state.short_openings += 1
        if state.opened_at is None or now - state.opened_at >= 0.9 * state.scale:
            state.opened_at, state.opened_accepted = now, state.accepted
    elif closed > SHORT_SCALE_SECONDS + 2 * state.smoothed_latency:
        if _was_outage(state, closed, now):
            _resume_after_outage(state, now)
        else:
            _learn_long_window(state, closed, now)


def _was_outage(state: State, closed: float, now: float) -> bool:
    """Tell an outage from a window: short windows were already established, and outages are rare."""
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
    _start_run(state, now)


def _learn_long_window(state: State, closed: float, now: float) -> None:
    since, accepted = (state.opened_at, state.opened_accepted) if state.opened_at is not None else (0.0, 0)
    taken = state.accepted - accepted
    state.scale = max(state.scale, min(MAX_PAUSE_SECONDS, closed))
    # Nothing but the canary was taken: no measure of a limit.
    if taken > 1 and now > since:
        estimate = taken / (now - since)
        state.ceiling = max(min(state.ceiling, estimate), MIN_PER_SECOND)
        lowered = (1 - CUT) if state.long_openings else 1.0
        state.rate = max(min(state.rate * lowered, estimate), MIN_PER_SECOND)
    state.long_openings += 1
    state.opened_at, state.opened_accepted = now, state.accepted
    state.mode = "hold"
    state.hold_until = now + max(state.hold_seconds, state.scale)
    _start_run(state, now)


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
