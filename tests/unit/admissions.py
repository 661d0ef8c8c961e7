"""Tools to count admissions in virtual time."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Awaitable, Callable

from loader.throttle import Failed, FixedThrottle, Success, Throttle, Ticket

Sleep = Callable[[float], Awaitable[None]]


def late_sleep(seed: int, most: float = 0.002) -> Sleep:
    """Sleep as an event loop does: late by up to two milliseconds."""
    draw = random.Random(seed)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds + most * draw.random())

    return sleep


async def admissions(throttle: Throttle, seconds: float, *, workers: int = 64, latency: float = 0.01) -> list[float]:
    """Let workers send without a break for so long; return when each request was admitted."""
    times: list[float] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def work() -> None:
        while True:
            ticket = await throttle.admit()
            if loop.time() >= end:
                throttle.answered(ticket, Failed())
                return
            times.append(loop.time())
            await asyncio.sleep(latency)
            throttle.answered(ticket, Success(latency))

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return times


def cancel_as_it_gets_its_ticket(throttle: FixedThrottle, waiting: asyncio.Task[Ticket]) -> None:
    """Let one who waits leave in the very moment in which a ticket is handed out."""
    hand_out = throttle._line._hand_out

    def hand_out_and_cancel(ticket: Ticket) -> None:
        hand_out(ticket)
        waiting.cancel()

    throttle._line._hand_out = hand_out_and_cancel  # type: ignore[method-assign]  # there is no other way to that moment


def most_in_a_second(times: list[float]) -> int:
    return max(bisect_left(times, at + 1 - 1e-9) - index for index, at in enumerate(times))
