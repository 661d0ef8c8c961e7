"""Tools to count admissions in virtual time."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import Any

from loader.rate.throttle import Failed, Success, Throttle, Ticket

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


async def admissions_in_rounds(throttle: Throttle, seconds: float, *, workers: int = 64) -> list[float]:
    """Do the same as the fast path does it: answers come in rounds, and as many tickets are asked for in one call."""
    times: list[float] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    draw = random.Random(1)
    out: list[Ticket] = []
    waiting: set[asyncio.Task[Ticket]] = set()
    idle = workers
    while loop.time() < end:
        tickets = throttle.admit_many(idle)
        times += [loop.time()] * len(tickets)
        out += tickets
        waiting |= {asyncio.create_task(throttle.admit()) for _ in range(idle - len(tickets))}
        await asyncio.sleep(0.001 + 0.004 * draw.random())
        done = {task for task in waiting if task.done()}
        waiting -= done
        times += [task.result().at for task in done]
        out += [task.result() for task in done]
        idle = draw.randint(0, len(out))
        throttle.succeeded(out[:idle], [0.01] * idle)
        out = out[idle:]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return sorted(times)


def cancel_as_it_gets_its_ticket(throttle: Throttle, waiting: asyncio.Task[Ticket]) -> None:
    """Let one who waits leave in the very moment in which a ticket is handed out."""
    queue: Any = throttle._queue  # type: ignore[attr-defined]  # there is no other way to that moment
    hand_out = queue._hand_out

    def hand_out_and_cancel(ticket: Ticket) -> None:
        hand_out(ticket)
        waiting.cancel()

    queue._hand_out = hand_out_and_cancel


def most_in_a_second(times: list[float]) -> int:
    return max(bisect_left(times, at + 1 - 1e-9) - index for index, at in enumerate(times))
