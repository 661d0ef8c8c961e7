"""Who gets a ticket: the order of those who wait, and what becomes of the ticket of one who left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from aiolimiter import AsyncLimiter

from loader.rate.throttle import AutoThrottle, FixedThrottle, Success, Throttle, Ticket
from tests.unit.rate.admissions import cancel_as_it_gets_its_ticket
from tests.unit.virtual_loop import loop_runtime, run_virtual


@pytest.mark.parametrize(
    "make", [lambda: FixedThrottle(loop_runtime(), 10, 1), lambda: AutoThrottle(loop_runtime(), 10)]
)
def test_first_come_first_served(make: Callable[[], Throttle]) -> None:
    async def main() -> list[int]:
        throttle = make()
        order: list[int] = []

        async def wait(number: int) -> None:
            throttle.answered(await throttle.admit(), Success(0.01))
            order.append(number)

        await asyncio.gather(*(wait(number) for number in range(20)))
        return order

    assert run_virtual(main()) == list(range(20))


@pytest.mark.parametrize(
    "make", [lambda: FixedThrottle(loop_runtime(), 10, 1), lambda: AutoThrottle(loop_runtime(), 10)]
)
def test_who_goes_first_goes_before_all_who_wait_and_in_order(make: Callable[[], Throttle]) -> None:
    async def main() -> tuple[list[int], int]:
        throttle = make()
        order: list[int] = []

        async def wait(number: int, *, is_first: bool) -> None:
            throttle.answered(await throttle.admit(is_first=is_first), Success(0.01))
            order.append(number)

        throttle.answered(await throttle.admit(), Success(0.01))
        records = [asyncio.create_task(wait(number, is_first=False)) for number in range(5)]
        await asyncio.sleep(0)
        questions = [asyncio.create_task(wait(number, is_first=True)) for number in (10, 11, 12)]
        await asyncio.sleep(0)
        questions[1].cancel()
        await asyncio.gather(*records, *questions, return_exceptions=True)
        return order, throttle.in_flight

    assert run_virtual(main()) == ([10, 12, 0, 1, 2, 3, 4], 0)


@pytest.mark.parametrize(
    "make", [lambda: FixedThrottle(loop_runtime(), 10, 1), lambda: AutoThrottle(loop_runtime(), 10)]
)
def test_cancelled_waiters_lose_no_token(make: Callable[[], Throttle]) -> None:
    async def main() -> tuple[int, list[float]]:
        throttle = make()
        loop = asyncio.get_running_loop()
        draw = random.Random(3)

        async def take() -> Ticket:
            ticket = await throttle.admit()
            throttle.answered(ticket, Success(0.01))
            return ticket

        await take()
        leavers = [asyncio.create_task(take()) for _ in range(200)]
        for task in leavers:
            loop.call_later(2 * draw.random(), task.cancel)
        stayers = [asyncio.create_task(take()) for _ in range(20)]
        tickets = await asyncio.gather(*stayers)
        left = await asyncio.gather(*leavers, return_exceptions=True)
        times = sorted(result.at for result in [*left, *tickets] if isinstance(result, Ticket))
        return throttle.in_flight, times

    in_flight, times = run_virtual(main())
    assert in_flight == 0
    # One after another without a gap: no token went to somebody who had left.
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.11


def test_a_ticket_whose_owner_left_as_it_came_goes_to_the_next() -> None:
    async def main() -> Ticket:
        throttle = FixedThrottle(loop_runtime(), 10, 1)
        await throttle.admit()
        first, second = asyncio.create_task(throttle.admit()), asyncio.create_task(throttle.admit())
        await asyncio.sleep(0)
        cancel_as_it_gets_its_ticket(throttle, first)
        ticket = await second
        assert first.cancelled()
        return ticket

    assert run_virtual(main()).number == 2


def test_a_broken_throttle_leaves_nobody_waiting() -> None:
    async def main() -> None:
        throttle = FixedThrottle(loop_runtime(), 10, 1)
        await throttle.admit()
        waiting = asyncio.create_task(throttle.admit())
        await asyncio.sleep(0)

        class Broken(AsyncLimiter):
            async def acquire(self, amount: float = 1) -> None:
                raise ZeroDivisionError

        throttle._limiter = Broken(1, 1)
        with pytest.raises(ZeroDivisionError):
            await waiting

    run_virtual(main())
