"""Even pacing at a rate that is found while sending: the finder's clock, jitter and waiting.

A 429 slows down by the finder's rules. After a pause nothing is caught up, beyond the few milliseconds by which a timer was late.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from loader.model import new_tuple
from loader.rate import finder
from loader.rate.admission import MIN_WAIT_SECONDS, AdmissionQueue
from loader.rate.signals import Failed, Signal, Success, Throttled, Ticket
from loader.rate.state import MAX_RETRY_AFTER_SECONDS
from loader.rate.window_length import WindowLength
from loader.runtime import Runtime

CANARY_JITTER = 0.1
CLOSED_POLL_SECONDS = 0.05
"""A closed gate may open early, when a request sent before it closed is accepted; so it is checked this often."""


class AutoThrottle:
    """Even pacing at the rate that `finder` finds; `start_per_second` is a hint where to begin."""

    def __init__(self, runtime: Runtime, start_per_second: float | None = None) -> None:
        self._clock = runtime.clock
        self._draw = runtime.draw
        self._queue = AdmissionQueue(runtime, self._grant, self.answered)
        self._number = 0
        self._state = finder.begin(self._clock(), start_per_second)
        self._windows = WindowLength()
        # The gate for which a jitter was drawn, and the time drawn.
        self._canary_gate = (-inf, -inf)

    async def admit(self, *, is_first: bool = False) -> Ticket:
        return self.admit_now() or await self._queue.admit(is_first=is_first)

    def admit_now(self) -> Ticket | None:
        """Give a ticket if one is due and nobody waits. None while the gate is closed: only `admit` adds a canary's jitter."""
        state = self._state
        if state.is_closed or not self._queue.is_empty:
            return None
        now = self._clock()
        if now < self._queue.paused_until or not finder.may_send(state, now):
            return None
        self._number = number = self._number + 1
        at_rate = state.rate
        finder.acquire(state, number, now)
        return new_tuple(Ticket, (number, now, at_rate))

    def admit_many(self, count: int) -> Sequence[Ticket]:
        tickets: list[Ticket] = []
        while len(tickets) < count and (ticket := self.admit_now()) is not None:
            tickets.append(ticket)
        return tickets

    def answered(self, ticket: Ticket, signal: Signal) -> None:
        if type(signal) is Success:
            finder.succeed(self._state, ticket[0], ticket[1], signal.seconds, self._clock())
        elif type(signal) is Throttled and signal.is_pause:
            finder.answered(self._state, ticket, Failed(), self._clock())
            if signal.retry_after is not None and signal.retry_after <= MAX_RETRY_AFTER_SECONDS:
                self.pause(signal.retry_after)
        else:
            finder.answered(self._state, ticket, signal, self._clock())
        self._queue.wake()

    def succeeded(self, tickets: Sequence[Ticket], seconds: Sequence[float]) -> None:
        now = self._clock()
        for (number, at, _), latency in zip(tickets, seconds, strict=True):
            finder.succeed(self._state, number, at, latency, now)
        self._queue.wake()

    def follow_headers(
        self,
        limit: float,
        remaining: float,
        reset_seconds: float,
        window_seconds: float | None = None,
        reset_at: float | None = None,
    ) -> None:
        """Follow what the target's headers say about its limit."""
        if window_seconds is None:
            window_seconds = self._windows.length(limit, remaining, reset_seconds, reset_at, self._clock())
        finder.follow_headers(self._state, limit, remaining, reset_seconds, window_seconds, now=self._clock())

    def pause(self, seconds: float) -> None:
        self._queue.pause(seconds)
        # Time in which nothing goes is no reason to go faster.
        self._state.grown_until = max(self._state.grown_until, self._queue.paused_until)

    def forgive(self, rate_per_second: float) -> None:
        """Begin anew at a rate: what was taken for 429s since had another cause."""
        before = self._state
        if rate_per_second > before.rate:
            self._state = finder.begin(self._clock(), rate_per_second)
            self._state.in_flight = before.in_flight
            self._queue.wake()

    def describe(self) -> str:
        words = {"start": "growing", "hold": "holding", "probe": "probing"}
        state = "as the target's headers say" if self._state.is_limit_named else words[self._state.mode]
        if self._state.is_closed:
            state = "waiting for the target"
        return f"{self._state.rate:.4g}/s, {state}"

    @property
    def rate_per_second(self) -> float:
        return self._state.rate

    @property
    def in_flight(self) -> int:
        return self._state.in_flight

    @property
    def limited_by_rate_seconds(self) -> float:
        return self._queue.waited_seconds

    def _grant(self, wanted: int, now: float) -> tuple[Sequence[Ticket], float]:
        state = self._state
        finder.advance(state, now)
        tickets: list[Ticket] = []
        while len(tickets) < wanted:
            due = self._due()
            if due == inf or state.in_flight >= finder.in_flight_cap(state):
                return tickets, inf
            if due > now:
                seconds = min(due - now, CLOSED_POLL_SECONDS) if state.is_closed else due - now
                return tickets, max(seconds, MIN_WAIT_SECONDS)
            self._number += 1
            tickets.append(Ticket(self._number, now, state.rate))
            finder.acquire(state, self._number, now)
        return tickets, 0.0

    def _due(self) -> float:
        due = finder.next_send_at(self._state)
        if not self._state.is_closed or due == inf:
            return due
        if self._canary_gate[0] != due:
            # Canaries of several loaders must not come in step.
            jitter = CANARY_JITTER * self._draw() * self._state.pause
            self._canary_gate = (due, due + jitter)
        return self._canary_gate[1]
