"""States to begin a test of rate finding with, and what follows from them: each function here returns a new state."""

from __future__ import annotations

from copy import deepcopy

from loader.rate import finder
from loader.rate.finder import begin
from loader.rate.signals import Failed, Success, Throttled, Ticket
from loader.rate.state import State

Limit = tuple[float, float, float, float | None]
"""What headers say: limit, remaining, seconds until the reset, and of a window."""


def holding(rate: float = 100.0) -> State:
    """Make a state that has found its limit long ago."""
    state = begin(0.0, rate)
    state.mode, state.ceiling, state.hold_until = "hold", rate, 1e9
    state.grown_until, state.last_episode, state.is_searching = 1000.0, 500.0, False
    state.smoothed_latency = state.base_latency = 0.05
    state.accepted = 10_000
    return state


def sent(number: int, at: float, rate: float = 100.0) -> Ticket:
    return Ticket(number, at, rate)


def acquired(state: State, number: int, now: float) -> State:
    following = deepcopy(state)
    finder.acquire(following, number, now)
    return following


def taken(state: State, ticket: Ticket, seconds: float, now: float) -> State:
    following = deepcopy(state)
    finder.answered(following, ticket, Success(seconds), now)
    return following


def refused(state: State, ticket: Ticket, now: float, retry_after: float | None = None) -> State:
    following = deepcopy(state)
    finder.answered(following, ticket, Throttled(retry_after), now)
    return following


def lost(state: State, ticket: Ticket, now: float) -> State:
    following = deepcopy(state)
    finder.answered(following, ticket, Failed(), now)
    return following


def headers_seen(state: State, limit: Limit, now: float) -> State:
    following = deepcopy(state)
    finder.follow_headers(following, *limit, now=now)
    return following
