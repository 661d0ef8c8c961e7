"""Tickets and the line for them: who waits for admission, served in order by one task.

Who asks about records goes before those who send them, else a refused question would starve beside a flow without end.
One task draws for all who wait, so that a thousand waiters cost one timer. It exists only while somebody waits. The line
knows nothing of rates: it asks its `grant` function for tickets, and hands them out. A waiter that is cancelled loses no
ticket: one that was already his goes to the next in line.

How timers are treated: an event loop wakes late by a millisecond or two, and uvloop cannot wait for less than one: a
shorter wait spins a whole core (performance.md section 4). So a throttle asks for no wait under 2 ms, and lets go as a
block what fell due meanwhile.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import NamedTuple, TypeAlias, TypedDict

MIN_WAIT_SECONDS = 0.002


class Ticket(NamedTuple):
    """The right to send one request now. `rate` is the rate in force when it was given."""

    number: int
    at: float
    rate: float


class Success(NamedTuple):
    """The target took the request. `seconds` is the latency of this attempt alone."""

    seconds: float


class Throttled(NamedTuple):
    """The target said: too fast. `retry_after` in seconds, where it named a time."""

    retry_after: float | None = None


class Failed(NamedTuple):
    """The request ended otherwise, or was never sent: no word about the rate."""


Signal: TypeAlias = Success | Throttled | Failed

Grant: TypeAlias = Callable[[int], Awaitable[tuple[Sequence[Ticket], float]]]
"""Asked for up to n tickets, gives those that may go now, and how many seconds to wait before asking again.

Zero: ask again at once. Infinity: ask again when `wake` is called.
"""


class AdmissionQueue:
    """First come, first served, but for those who go first. `give_back` is told of a ticket that nobody could use."""

    def __init__(
        self,
        grant: Grant,
        give_back: Callable[[Ticket], None],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._grant = grant
        self._give_back = give_back
        self._clock = clock
        self._sleep = sleep
        self._first: deque[asyncio.Future[Ticket]] = deque()
        self._waiting: deque[asyncio.Future[Ticket]] = deque()
        self._task: asyncio.Task[None] | None = None
        # Set while the server of the line waits to be told.
        self._told: asyncio.Future[None] | None = None
        self._waited_seconds = 0.0
        self._waiting_since: float | None = None

    @property
    def waited_seconds(self) -> float:
        """Return for how long somebody waited; several who wait at once count once."""
        now = self._waiting_since
        return self._waited_seconds + (0.0 if now is None else self._clock() - now)

    @property
    def is_empty(self) -> bool:
        """Say whether nobody waits."""
        return not self._waiting and not self._first

    async def admit(self, *, is_first: bool = False) -> Ticket:
        """Wait for a ticket, with `is_first` before all who wait without it."""
        if self.is_empty:
            tickets, _ = await self._grant(1)
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

    def wake(self) -> None:
        """Ask for tickets again, if it is that which is waited for."""
        if self._told is not None and not self._told.done():
            self._told.set_result(None)

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
            self._give_back(ticket)

    def _drop_cancelled(self) -> None:
        for waiting in (self._first, self._waiting):
            while waiting and waiting[0].done():
                waiting.popleft()

    async def _serve(self) -> None:
        self._waiting_since = self._clock()
        try:
            await self._serve_all()
        except Exception as error:  # noqa: BLE001 -- it is handed to everybody who waits
            # Nobody may wait for ever on a line without a server.
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
                # Somebody came between the last one's leaving and this task's end.
                self._task = asyncio.create_task(self._serve())

    def _count(self) -> int:
        return len(self._first) + len(self._waiting)

    async def _serve_all(self) -> None:
        self._drop_cancelled()
        while wanted := self._count():
            tickets, seconds = await self._grant(wanted)
            for ticket in tickets:
                self._hand_out(ticket)
            self._drop_cancelled()
            if seconds <= 0 or not self._count():
                continue
            if seconds < inf:
                await self._sleep(seconds)
            else:
                self._told = asyncio.get_running_loop().create_future()
                await self._told
            self._drop_cancelled()


class Outside(TypedDict, total=False):
    """What a throttle takes from its surroundings, where it is not the running loop and the machine's own chance."""

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    draw: Callable[[], float]


class QueuedThrottle(ABC):
    """What both kinds of throttle share: a clock, chance, the line of those who wait, tickets in their order, and pauses."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock or asyncio.get_running_loop().time
        self._draw = draw
        self._line = AdmissionQueue(self._grant, self._give_back, clock=self._clock, sleep=sleep)
        self._number = 0
        self._paused_until = -inf

    async def admit(self, *, is_first: bool = False) -> Ticket:
        """Wait until one request may be sent."""
        return self.admit_now() or await self._line.admit(is_first=is_first)

    @abstractmethod
    def admit_now(self) -> Ticket | None:
        """Give a ticket where one may go now and nobody waits."""

    @abstractmethod
    def answered(self, ticket: Ticket, signal: Signal) -> None:
        """Say how the request of a ticket ended."""

    def pause(self, seconds: float) -> None:
        """Admit nothing for this long."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    @property
    def limited_by_rate_seconds(self) -> float:
        """Return for how long somebody waited for admission."""
        return self._line.waited_seconds

    @abstractmethod
    async def _grant(self, wanted: int) -> tuple[Sequence[Ticket], float]: ...

    def _give_back(self, ticket: Ticket) -> None:
        # A fixed rate's token is not returned: nobody waits, and the bucket drips a new one.
        self.answered(ticket, Failed())
