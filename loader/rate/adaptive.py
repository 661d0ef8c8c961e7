"""Even pacing at a rate that is found while sending: the loop-side half of `rate`.

It owns the clock readings, the jitter and the waiting that the pure function must not do. A 429 slows down by `rate`'s rules;
nothing is caught up after a pause, beyond the few milliseconds by which a timer was late.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Unpack

from loader.model import new_tuple
from loader.rate import finder as rate
from loader.rate.admission import MIN_WAIT_SECONDS, Failed, Outside, QueuedThrottle, Signal, Success, Throttled, Ticket

CANARY_JITTER = 0.1
CLOSED_GLANCE_SECONDS = 0.05
"""A closed gate may open early, when a request sent before it closed is accepted; it is looked at this often."""


class AutoThrottle(QueuedThrottle):
    """Even pacing at the rate that `rate` finds; `start_per_second` is a hint where to begin."""

    def __init__(self, start_per_second: float | None = None, **outside: Unpack[Outside]) -> None:
        super().__init__(**outside)
        self._state = rate.begin(self._clock(), start_per_second)
        # The gate for which a jitter was drawn, and the time drawn.
        self._canary_gate = (-inf, -inf)

    def admit_now(self) -> Ticket | None:
        """Give a ticket where one is due and nobody waits; not while the gate is closed: a canary's time has its jitter."""
        state = self._state
        if state.is_closed or not self._line.is_empty:
            return None
        now = self._clock()
        if now < self._paused_until or not rate.may_send(state, now):
            return None
        self._number = number = self._number + 1
        at_rate = state.rate
        rate.acquire(state, number, now)
        return new_tuple(Ticket, (number, now, at_rate))

    def admit_many(self, count: int) -> Sequence[Ticket]:
        """Give tickets where some are due and nobody waits."""
        tickets: list[Ticket] = []
        while len(tickets) < count and (ticket := self.admit_now()) is not None:
            tickets.append(ticket)
        return tickets

    def answered(self, ticket: Ticket, signal: Signal) -> None:
        """Say how the request of a ticket ended."""
        if type(signal) is Success:
            rate.succeed(self._state, ticket[0], ticket[1], signal.seconds, self._clock())
        else:
            rate.apply(self._state, _event(ticket, signal), self._clock())
        self._line.wake()

    def succeeded(self, tickets: Sequence[Ticket], seconds: Sequence[float]) -> None:
        """Say of many requests at once that the target took them, and how soon."""
        now = self._clock()
        for (number, at, _), latency in zip(tickets, seconds, strict=True):
            rate.succeed(self._state, number, at, latency, now)
        self._line.wake()

    def told(self, limit: float, remaining: float, reset_seconds: float, window_seconds: float | None = None) -> None:
        """Follow what the target's headers say about its limit."""
        rate.apply(self._state, rate.Limits(limit, remaining, reset_seconds, window_seconds), self._clock())

    def pause(self, seconds: float) -> None:
        """Admit nothing for this long."""
        super().pause(seconds)
        # Time in which nothing goes is no reason to go faster.
        self._state.grown_until = max(self._state.grown_until, self._paused_until)

    def describe(self) -> str:
        """Say the present rate in a few words."""
        words = {"start": "growing", "hold": "holding", "probe": "probing"}
        state = "as the target's headers say" if self._state.is_told else words[self._state.mode]
        if self._state.is_closed:
            state = "waiting for the target"
        return f"{self._state.rate:.4g}/s, {state}"

    @property
    def rate_per_second(self) -> float:
        """Return the present rate."""
        return self._state.rate

    @property
    def in_flight(self) -> int:
        """Return how many tickets are not answered yet."""
        return self._state.in_flight

    async def _grant(self, wanted: int) -> tuple[Sequence[Ticket], float]:
        state, now = self._state, self._clock()
        if now < self._paused_until:
            return (), max(self._paused_until - now, MIN_WAIT_SECONDS)
        rate.advance(state, now)
        tickets: list[Ticket] = []
        while len(tickets) < wanted:
            due = self._due()
            if due == inf or state.in_flight >= rate.in_flight_cap(state):
                return tickets, inf
            if due > now:
                seconds = min(due - now, CLOSED_GLANCE_SECONDS) if state.is_closed else due - now
                return tickets, max(seconds, MIN_WAIT_SECONDS)
            self._number += 1
            tickets.append(Ticket(self._number, now, state.rate))
            rate.acquire(state, self._number, now)
        return tickets, 0.0

    def _due(self) -> float:
        due = rate.next_send_at(self._state)
        if not self._state.is_closed or due == inf:
            return due
        if self._canary_gate[0] != due:
            # Canaries of several loaders must not come in step.
            jitter = CANARY_JITTER * self._draw() * self._state.pause
            self._canary_gate = (due, due + jitter)
        return self._canary_gate[1]


def _event(ticket: Ticket, signal: Signal) -> rate.Event:
    sent = rate.Sent(*ticket)
    match signal:
        case Success(seconds):
            return rate.Success(sent, seconds)
        case Throttled(retry_after):
            return rate.Throttled(sent, retry_after)
        case Failed():
            return rate.Failure(sent)
