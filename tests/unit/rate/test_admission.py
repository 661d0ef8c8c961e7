"""What becomes of the ticket of one who left, and of those who wait when the throttle breaks. The order is in `test_contract`."""

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
