"""Rate finding, the way up: growth with time, and what latencies say (rate.md 3.3 and 3.6).

A 429 moves only the rate; latency moves the rate softly and the cap on requests in flight hard. The two signals never share a
dial, or their loops would chase each other. The latency of a 429 is never sampled: it is quick and would lower the base.
"""

from __future__ import annotations

from math import exp, inf

from loader.rate.state import (
    BASE_SECONDS,
    FEW_SAMPLES,
    FEW_SECONDS,
    GROWTH_PER_SECOND,
    HOLD_SECONDS,
    LONG_GROWTH,
    MAX_ACCELERATION,
    MAX_HOLD_SECONDS,
    MAX_PER_SECOND,
    MAX_SAMPLES,
    MIN_DOUBLING_SECONDS,
    MIN_PER_SECOND,
    MIN_SAMPLES,
    NEAR_CEILING,
    SHORT_SCALE_SECONDS,
    State,
)

FREE_BELOW = 0.93
"""Below this share of a credible ceiling, growth is nearly free."""
ACCELERATE_ABOVE = 1.05
SEARCH_ACCELERATION = 4.0
"""The first cuts may go far too deep, and in long windows every cut: so the way back to the failed rate is quick."""
GROWTH_PER_ANSWER = 0.01
"""If growth were faster, the few answers of a slow target would describe only rates that are long past."""
STEP_SECONDS = 0.05
MIN_INTERVAL_SECONDS = 0.25
LEAST_CREEP = 1.001
"""Per answer: forgets a single quick answer in about a thousand."""
SERVED_SHARE = 0.98
"""Times what is delivered while a queue stands: that is the limit itself, no guess, so it leaves less for errors than a cut."""
SLOW_FACTOR = 1.5
SLOW_SECONDS = 0.005
"""A busy event loop, with a clock of whole milliseconds, shows this much latency without any queue."""
MARK_SECONDS = 1.0
MAX_MARKS = 62
"""A little more than the longest window that is recognised."""


def advance(state: State, now: float) -> None:
    """Grow the rate for the time that went by. Growth depends on elapsed time alone, not on how often this is called."""
    elapsed = now - state.grown_until
    if elapsed <= 0:
        return
    state.grown_until = now
    if state.is_closed or state.is_limit_named:
        return
    if state.mode == "hold":
        if now >= state.hold_until and _may_probe(state):
            state.mode = "probe"
    elif state.mode == "start":
        # Never outrun the evidence: the rate may be twice what was really delivered.
        highest = max(2 * state.delivered + 20, state.rate)
        doubling = max(MIN_DOUBLING_SECONDS, 1.5 * state.smoothed_latency)
        # The exponent is bounded so that a long sleep cannot overflow.
        state.rate = min(state.rate * 2.0 ** min(elapsed / doubling, 64.0), highest, MAX_PER_SECOND)
    else:
        _probe(state, elapsed)


def _may_probe(state: State) -> bool:
    return state.budget >= state.cost or (state.rate < FREE_BELOW * state.ceiling and state.budget > -state.cost)


def _probe(state: State, elapsed: float) -> None:
    rate = state.rate
    highest = min(max(1.3 * state.delivered + 5, rate), MAX_PER_SECOND)
    # Acceleration depends on the rate itself, so it is integrated in small steps.
    while elapsed > 0 and rate < highest:
        step = min(elapsed, STEP_SECONDS)
        rate *= exp(_growth(state, rate) * step)
        elapsed -= step
    state.rate = min(rate, highest)


def _growth(state: State, rate: float) -> float:
    is_long = state.scale > SHORT_SCALE_SECONDS
    growth = LONG_GROWTH / state.scale if is_long else GROWTH_PER_SECOND
    excess = rate / state.ceiling - ACCELERATE_ABOVE
    if excess > 0:
        # Bounded as above: the rate may be hundreds of times the ceiling, if the target's headers named the ceiling.
        growth *= min(MAX_ACCELERATION, 2.0 ** min(excess / 0.05, 64.0))
    elif rate < (1.0 if state.is_searching else FREE_BELOW if is_long else 0.0) * state.ceiling:
        growth *= SEARCH_ACCELERATION
    growth = min(growth, GROWTH_PER_ANSWER * rate)
    if growth > GROWTH_PER_SECOND:
        # At most 5 % per latency, so that what is in flight overshoots by no more.
        growth = min(growth, max(GROWTH_PER_SECOND, 0.05 / max(state.smoothed_latency, 1e-3)))
    return growth


def measure(state: State, seconds: float, now: float) -> None:
    """Take note of one accepted request and its latency."""
    smoothed = 0.9 * state.smoothed_latency + 0.1 * seconds if state.accepted else seconds
    state.smoothed_latency = smoothed
    state.least_latency = min(seconds, LEAST_CREEP * state.least_latency)
    # Everything below is measured from one answer to another, over a quarter of a second or one latency.
    started = state.bucket_started
    if started is None:
        state.bucket_started = now
    else:
        state.bucket_answers += 1
        state.bucket_least = min(seconds, state.bucket_least)
        length = now - started
        if length >= MIN_INTERVAL_SECONDS and length >= smoothed:
            _end_bucket(state, length, now)
    if state.is_closed:
        return
    started = state.interval_started
    if started is None:
        state.interval_started = now
        return
    answers = state.interval_answers = state.interval_answers + 1
    if answers <= MAX_SAMPLES:
        state.samples.append(seconds)
    length = now - started
    if (length >= MIN_INTERVAL_SECONDS and length >= smoothed and answers >= MIN_SAMPLES) or (
        answers >= FEW_SAMPLES and length >= FEW_SECONDS + 2 * smoothed
    ):
        _end_interval(state, answers / length, now)


def forget_interval(state: State, now: float) -> None:
    """Begin measuring afresh: after a pause, what was delivered says nothing about what could be."""
    state.interval_started = None
    state.interval_answers = 0
    state.samples.clear()
    state.bucket_started = now
    state.bucket_answers = 0
    state.bucket_least = inf


def _end_bucket(state: State, length: float, now: float) -> None:
    state.delivered = state.bucket_answers / length
    state.delivered_least, state.bucket_least = state.bucket_least, inf
    if not state.marks or now - state.marks[-1][0] >= MARK_SECONDS:
        state.marks = [*state.marks[-MAX_MARKS:], (now, state.accepted)]
    state.bucket_started = now
    state.bucket_answers = 0


def _end_interval(state: State, delivered: float, now: float) -> None:
    median = sorted(state.samples)[len(state.samples) // 2]
    state.medians = [entry for entry in state.medians if entry[0] > now - BASE_SECONDS]
    state.medians.append((now, median))
    state.base_latency = min(value for _, value in state.medians)
    # The median of few is no measure of less than a request's time.
    floor = SLOW_SECONDS if state.interval_answers >= MIN_SAMPLES else max(SLOW_SECONDS, 1 / state.rate)
    is_slow = median > SLOW_FACTOR * state.base_latency + floor
    state.slow_intervals = state.slow_intervals + 1 if is_slow else 0
    state.interval_started = now
    state.interval_answers = 0
    state.samples.clear()
    if state.slow_intervals > 1:
        state.slow_intervals = 0
        _slow_down(state, delivered, now)


def _slow_down(state: State, delivered: float, now: float) -> None:
    """Take the rate back to what the target delivers without a queue. While one stands, what is delivered is the limit."""
    rate = max(min(max(SERVED_SHARE * delivered, 0.8 * state.rate), state.rate), MIN_PER_SECOND)
    ceiling = rate if state.mode == "start" else max(rate, min(delivered, state.rate))
    if abs(ceiling / state.ceiling - 1) > NEAR_CEILING:
        state.hold_seconds = HOLD_SECONDS
    elif state.mode == "probe":
        state.hold_seconds = min(2 * state.hold_seconds, MAX_HOLD_SECONDS)
    state.rate, state.ceiling, state.mode = rate, ceiling, "hold"
    state.hold_until = now + state.hold_seconds
