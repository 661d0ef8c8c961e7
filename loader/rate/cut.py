"""Rate finding, the way down: what a 429 means, and the gate with its canaries (rate.md 3.4).

A 429 says only "above, now". News of it is late, so about a latency's worth of requests is already out: one cut per batch, and
429s of requests sent before the cut are ignored. The requests in flight are free canaries: if one that was sent after the
rejected one is accepted, the target only shaves the excess.
"""

from __future__ import annotations

from loader.rate.estimates import decide, taken_lately
from loader.rate.growth import ACCELERATE_ABOVE
from loader.rate.signals import Ticket
from loader.rate.state import (
    DOUBLING_PAUSE_SECONDS,
    FORGIVEN_FOR,
    HOLD_SECONDS,
    MAX_HOLD_SECONDS,
    MAX_PAUSE_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    MIN_BUDGET,
    MIN_LONG_RETRY_AFTER_SECONDS,
    MIN_PER_SECOND,
    NEAR_CEILING,
    SAME_RATE,
    SHORT_SCALE_SECONDS,
    SHUT_AFTER,
    State,
    end_search,
    forgive,
    is_constant_pause,
    note_cut,
    note_exhaustion,
    note_named_pause,
    search_seconds,
    start_run,
)


def throttle(state: State, ticket: Ticket, retry_after: float | None, now: float) -> None:
    """Take note of a 429."""
    if not state.is_searching:
        # What the start costs must not keep the rate down for minutes.
        lowest = MIN_BUDGET if now - state.began > 2 * search_seconds(state) else -state.cost
        state.budget = max(state.budget - 1, lowest)
    if ticket.at > state.cut_at:
        state.throttled_since_cut += 1
    if ticket.at > state.exhausted_sent_at:
        state.exhausted_throttled += 1
    is_long = retry_after is not None and MIN_LONG_RETRY_AFTER_SECONDS < retry_after <= MAX_RETRY_AFTER_SECONDS
    if is_long and retry_after is not None and not is_constant_pause(state):
        state.scale = max(state.scale, min(MAX_PAUSE_SECONDS, retry_after))
    state.newest_throttled_at = max(state.newest_throttled_at, ticket.at)
    if state.is_closed or ticket.at <= state.fence:
        _take_old_news(state, ticket, retry_after, now)
        return
    _begin_episode(state, ticket.rate, now)
    if state.newest_accepted_at >= state.refused_at:
        state.refused_at, state.refused_in_a_row, state.is_shaving = ticket.at, 0, False
        state.refused_rate = ticket.rate
    _cut(state, ticket, now)
    if state.episodes <= 1 or state.rate < SAME_RATE * state.exhausted_rate:
        note_exhaustion(state, ticket, now)
    if is_long and retry_after is not None:
        note_named_pause(state, retry_after)
        # More than rounding: the target is shut, and the header named for how long.
        if not state.is_closed:
            _close(state, retry_after, 0.0, now)
        state.not_before = now + retry_after


def _take_old_news(state: State, ticket: Ticket, retry_after: float | None, now: float) -> None:
    """Count a 429 of a request sent before the cut, or of a canary. It makes no cut, but may show that the target is shut."""
    state.run_throttled += 1
    if state.refused_at < state.newest_accepted_at < ticket.at:
        state.is_shaving = True
    elif not state.is_closed and ticket.at > state.refused_at:
        state.refused_in_a_row += 1
        if state.refused_in_a_row >= SHUT_AFTER:
            # Nothing that was in flight got through, so what waits would be refused too.
            _close(state, _first_pause(state), 0.0, now)
    if state.is_closed and ticket.number == state.canary:
        state.failed_canaries += 1
        lose_canary(state, now, retry_after)


def lose_canary(state: State, now: float, retry_after: float | None = None) -> None:
    """Wait before the next canary: as long as the target asked, else longer than before this one."""
    state.canary = None
    if retry_after is not None and 0 < retry_after <= MAX_RETRY_AFTER_SECONDS:
        state.not_before = now + retry_after
        return
    factor = 2.0 if state.pause < DOUBLING_PAUSE_SECONDS else 1.5
    state.pause = min(state.pause * factor, MAX_PAUSE_SECONDS)
    state.not_before = now + state.pause


def _begin_episode(state: State, sent_rate: float, now: float) -> None:
    """Count the episode, as part of the present run or as the first of a new one."""
    if state.is_searching and now - state.began > 2 * search_seconds(state):
        # Episodes that follow each other for so long are no search any more.
        end_search(state)
    if now - state.last_episode > max(3.0, 30 / state.rate, 1.5 * state.scale):
        if state.mode != "start":
            if not state.is_searching:
                # What the search cost says nothing of what a probe costs (section 6, point 7).
                cost = 0.7 * state.cost + 0.3 * state.run_throttled
                state.cost = min(max(cost, 1.0), 2 + 0.1 * state.rate)
            elif now - state.began > search_seconds(state):
                end_search(state)
        state.budget_before = state.budget
        state.rate_before, state.ceiling_before = state.rate, state.ceiling
        start_run(state, now)
    elif now - state.run_started > 5 * max(1.0, state.scale, 30 / state.rate) and state.cut_at > state.run_started:
        state.run_started = state.cut_at
        state.run_accepted = state.cut_accepted
        state.run_closed_seconds = state.cut_closed_seconds
    # A probe near the ceiling cannot overshoot by much. If it shuts the target for long, the limit has fallen, too.
    state.is_fall = state.mode != "start" and sent_rate <= ACCELERATE_ABOVE * state.ceiling
    state.episodes += 1
    state.run_throttled += 1


def _cut(state: State, ticket: Ticket, now: float) -> None:
    mode, old, old_ceiling = state.mode, state.rate, state.ceiling
    state.recent = taken_lately(state, now)
    new, ceiling, is_gentle = decide(state, ticket, now)
    is_real = new != old or mode == "start"
    if mode == "probe" and abs(old / old_ceiling - 1) <= NEAR_CEILING:
        state.hold_seconds = min(2 * state.hold_seconds, max(MAX_HOLD_SECONDS, state.scale))
    elif abs(ceiling / old_ceiling - 1) > NEAR_CEILING:
        state.hold_seconds = HOLD_SECONDS
    state.rate, state.ceiling, state.mode = max(new, MIN_PER_SECOND), max(ceiling, MIN_PER_SECOND), "hold"
    state.hold_until = now + state.hold_seconds
    state.fence = state.last_episode = now
    if is_real:
        note_cut(state, now)
        if mode == "hold" or state.accepted - state.forgiven_accepted <= FORGIVEN_FOR:
            forgive(state)
    first_pause = _first_pause(state)
    if is_gentle:
        state.not_before = max(state.not_before, now + first_pause)
        state.closed_seconds += first_pause
    else:
        _close(state, first_pause, 1 - state.rate / max(old, state.rate), now)


def _first_pause(state: State) -> float:
    return max(0.05, 0.5 / state.rate, min(state.smoothed_latency, 0.15))


def _close(state: State, first_pause: float, excess: float, now: float) -> None:
    state.is_closed = True
    state.closed_at = now
    state.canary = None
    state.pause = max(first_pause, min(state.smoothed_latency, 0.3))
    if state.scale > SHORT_SCALE_SECONDS:
        # Half of the time for which a window of this length would be shut.
        state.pause = max(state.pause, state.scale / 60, 0.5 * state.scale * excess)
    state.not_before = now + state.pause
