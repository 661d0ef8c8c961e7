"""The queue in front of a throttle: who waits for a ticket, served in order by one task.

Questions about records go ahead of the records. Otherwise a question that was refused would starve beside an endless flow of
records. One task waits for all, so a thousand waiters cost one timer; it exists only while somebody waits. The queue knows
nothing about rates: it asks the throttle's `grant` for tickets and hands them out. A waiter that is cancelled loses no
ticket: if it already had one, the next waiter gets it.

Timers: an event loop wakes late by a millisecond or two. uvloop cannot wait for less than one millisecond: a shorter wait
keeps a whole core busy (performance.md section 4). So no wait is shorter than 2 ms, and all tickets that fell due meanwhile
are given together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import TypeAlias

from loader.rate.signals import Failed, Signal, Ticket
from loader.runtime import Runtime

MIN_WAIT_SECONDS = 0.002

Grant: TypeAlias = Callable[[int, float], tuple[Sequence[Ticket], float]]
"""(wanted, now) -> the tickets that may go now, at most `wanted`, and how many seconds to wait before asking again.

Zero: ask again at once. Infinity: ask again when `wake` is called.
"""


class AdmissionQueue:
    """First come, first served, except that some go first. A pause holds everybody.

    `answered` gets a ticket that nobody could use any more, as Failed.
    """

    def __init__(self, runtime: Runtime, grant: Grant, answered: Callable[[Ticket, Signal], None]) -> None:
        self._clock = runtime.clock
        self._sleep = runtime.sleep
        self._grant = grant
        self._answered = answered
        self._first: deque[asyncio.Future[Ticket]] = deque()
        self._waiting: deque[asyncio.Future[Ticket]] = deque()
        self._task: asyncio.Task[None] | None = None
        # Set while the serving task waits for `wake`.
        self._woken: asyncio.Future[None] | None = None
        self._waited_seconds = 0.0
        self._waiting_since: float | None = None
        self.paused_until = -inf

    @property
    def waited_seconds(self) -> float:
        """Return for how long somebody waited; several who wait at the same time count once."""
        since = self._waiting_since
        return self._waited_seconds + (0.0 if since is None else self._clock() - since)

    @property
    def is_empty(self) -> bool:
        return not self._waiting and not self._first

    async def admit(self, *, is_first: bool = False) -> Ticket:
        """Wait for a ticket; with `is_first`, ahead of all who wait without it."""
        if self.is_empty:
            tickets, _ = self._ask(1)
            if tickets:
                return tickets[0]
        future: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        (self._first if is_first else self._waiting).append(future)
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        try:
            return await future
        except asyncio.CancelledError:
            self._leave(future)
            raise

    def pause(self, seconds: float) -> None:
        """Give no ticket for this long."""
        self.paused_until = max(self.paused_until, self._clock() + seconds)

    def wake(self) -> None:
        """Ask for tickets again, if the serving task waits for this call."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _ask(self, wanted: int) -> tuple[Sequence[Ticket], float]:
        now = self._clock()
        if now < self.paused_until:
            return (), max(self.paused_until - now, MIN_WAIT_SECONDS)
        return self._grant(wanted, now)

    def _leave(self, future: asyncio.Future[Ticket]) -> None:
        if future.done() and not future.cancelled():
            self._hand_out(future.result())
        self._drop_cancelled()
        if self.is_empty and self._task is not None:
            self._task.cancel()

    def _hand_out(self, ticket: Ticket) -> None:
        self._drop_cancelled()
        if waiting := self._first or self._waiting:
            waiting.popleft().set_result(ticket)
        else:
            self._answered(ticket, Failed())

    def _drop_cancelled(self) -> None:
        for waiting in (self._first, self._waiting):
            while waiting and waiting[0].done():
                waiting.popleft()

    async def _serve(self) -> None:
        self._waiting_since = self._clock()
        try:
            await self._serve_all()
        except Exception as error:  # noqa: BLE001 -- it is handed to everybody who waits
            # Without the serving task, whoever still waits would wait for ever.
            for waiting in (self._first, self._waiting):
                for future in waiting:
                    if not future.done():
                        future.set_exception(error)
                waiting.clear()
        finally:
            self._waited_seconds += self._clock() - self._waiting_since
            self._waiting_since = None
            self._task = None
            if not self.is_empty:
                # Somebody came after the last waiter left and before this task ended.
                self._task = asyncio.create_task(self._serve())

    def _count(self) -> int:
        return len(self._first) + len(self._waiting)

    async def _serve_all(self) -> None:
        self._drop_cancelled()
        while wanted := self._count():
            tickets, seconds = self._ask(wanted)
            for ticket in tickets:
                self._hand_out(ticket)
            self._drop_cancelled()
            if seconds <= 0 or not self._count():
                continue
            if seconds < inf:
                await self._sleep(seconds)
            else:
                self._woken = asyncio.get_running_loop().create_future()
                await self._woken
            self._drop_cancelled()
