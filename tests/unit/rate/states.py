"""States to begin a test of rate finding with."""

from __future__ import annotations

from loader.rate.finder import Sent, State, begin


def holding(rate: float = 100.0) -> State:
    """Make a state that has found its limit long ago."""
    state = begin(0.0, rate)
    state.mode, state.ceiling, state.hold_until = "hold", rate, 1e9
    state.grown_until, state.last_episode, state.is_searching = 1000.0, 500.0, False
    state.smoothed_latency = state.base_latency = 0.05
    state.accepted = 10_000
    return state


def sent(number: int, at: float, rate: float = 100.0) -> Sent:
    return Sent(number, at, rate)
