"""Admissions counted in virtual time: what a fixed rate promises in every window, what a 429 does, who gets a token."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import pairwise
from math import ceil

import pytest
from aiolimiter import AsyncLimiter

from loader.throttle import AutoThrottle, Failed, FixedThrottle, Success, Throttle, Throttled, Ticket
from tests.unit.admissions import admissions, late_sleep, most_in_a_second
from tests.unit.virtual_loop import run_virtual

# --- a fixed rate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rate, burst, seconds",
    [
        (0.1, None, 1200.0),
        (3.0, None, 200.0),
        (20.0, None, 100.0),
        (50.0, 1, 60.0),
        (100.0, None, 30.0),
        (100.0, 40, 30.0),
        (1000.0, None, 10.0),
        (1000.0, 1, 10.0),
        (10_000.0, None, 3.0),
        (10_000.0, 1, 3.0),
    ],
)
def test_no_second_admits_more_than_rate_and_burst_and_the_mean_holds(
    rate: float, burst: int | None, seconds: float
) -> None:
    async def main() -> list[float]:
        return await admissions(FixedThrottle(rate, burst, sleep=late_sleep(1)), seconds, workers=256)

    times = run_virtual(main())
    allowed = rate + (max(1.0, rate / 20) if burst is None else burst)
    assert most_in_a_second(times) <= ceil(allowed)
    settled = [at for at in times if at > 1]
    mean = (len(settled) - 1) / (settled[-1] - settled[0])
    assert abs(mean / rate - 1) <= 0.005


def test_a_rest_earns_one_burst_and_no_more() -> None:
    async def main() -> list[float]:
        throttle = FixedThrottle(100, 20)
        await admissions(throttle, 2)
        await asyncio.sleep(60)
        return await admissions(throttle, 3)

    times = run_virtual(main())
    assert sum(at < times[0] + 0.005 for at in times) == 20
    assert most_in_a_second(times) <= 120


def test_waiting_is_counted_once_however_many_wait() -> None:
    async def main() -> float:
        throttle = FixedThrottle(10, 1)
        await admissions(throttle, 5, workers=50)
        return throttle.limited_by_rate_seconds

    assert 4.5 < run_virtual(main()) <= 5.1


def test_waiting_costs_few_wake_ups() -> None:
    async def main() -> int:
        waits = 0

        async def sleep(seconds: float) -> None:
            nonlocal waits
            waits += 1
            assert seconds >= 0.002
            await asyncio.sleep(seconds)

        await admissions(FixedThrottle(10_000, sleep=sleep), 1, workers=256)
        return waits

    assert run_virtual(main()) <= 510


# --- a fixed rate that the target refuses --------------------------------------------------------------------------------


def test_a_429_stops_all_traffic_for_the_time_named() -> None:
    async def main() -> tuple[list[float], float]:
        throttle = FixedThrottle(100)
        await admissions(throttle, 1)
        throttle.answered(await throttle.admit(), Throttled(7.0))
        at = asyncio.get_running_loop().time()
        return await admissions(throttle, 10), at

    times, at = run_virtual(main())
    assert times[0] >= at + 7
    assert most_in_a_second(times) <= 105


@pytest.mark.parametrize("named", [None, 0.0, 3600.0, 1e9])
def test_a_429_without_a_usable_time_pauses_by_growing_steps(named: float | None) -> None:
    async def main() -> list[float]:
        throttle = FixedThrottle(100, draw=lambda: 0.0)
        loop = asyncio.get_running_loop()
        pauses = []
        for _ in range(9):
            ticket = await throttle.admit()
            await asyncio.sleep(0.01)
            throttle.answered(ticket, Throttled(named))
            begun = loop.time()
            throttle.answered(await throttle.admit(), Failed())
            pauses.append(loop.time() - begun)
        return pauses

    assert run_virtual(main()) == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60], abs=0.01)


def test_one_batch_of_429s_lowers_the_rate_once() -> None:
    async def main() -> float:
        throttle = FixedThrottle(100, 30)
        tickets = [await throttle.admit() for _ in range(20)]
        await asyncio.sleep(0.1)
        for ticket in tickets:
            throttle.answered(ticket, Throttled(None))
        return throttle.rate_per_second

    assert run_virtual(main()) == pytest.approx(85)


def test_the_rate_climbs_back_and_no_change_admits_a_second_burst() -> None:
    async def main() -> tuple[float, float, list[float]]:
        throttle = FixedThrottle(100, 20)
        times = await admissions(throttle, 2)
        throttle.answered(await throttle.admit(), Throttled(None))
        lowered = throttle.rate_per_second
        times += await admissions(throttle, 120)
        return lowered, throttle.rate_per_second, times

    lowered, climbed, times = run_virtual(main())
    assert lowered == pytest.approx(85)
    assert climbed == pytest.approx(100)
    assert most_in_a_second(times) <= 120


def test_a_new_limiter_is_as_empty_as_the_old_one() -> None:
    async def main() -> bool:
        throttle = FixedThrottle(100, 20)
        tickets = [await throttle.admit() for _ in range(20)]
        throttle.answered(tickets[0], Throttled(0.01))
        before = throttle._limiter
        await throttle.admit()
        assert throttle._limiter is not before
        return throttle._limiter.has_capacity(2)

    assert not run_virtual(main())


# --- who gets a token ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: FixedThrottle(10, 1), lambda: AutoThrottle(10)])
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


@pytest.mark.parametrize("make", [lambda: FixedThrottle(10, 1), lambda: AutoThrottle(10)])
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
        throttle = FixedThrottle(10, 1)
        await throttle.admit()
        first, second = asyncio.create_task(throttle.admit()), asyncio.create_task(throttle.admit())
        await asyncio.sleep(0)
        hand_out = throttle._line._hand_out

        def hand_out_and_cancel(ticket: Ticket) -> None:
            hand_out(ticket)
            first.cancel()

        throttle._line._hand_out = hand_out_and_cancel  # type: ignore[method-assign]  # the very moment
        ticket = await second
        assert first.cancelled()
        return ticket

    assert run_virtual(main()).number == 2


def test_a_broken_throttle_leaves_nobody_waiting() -> None:
    async def main() -> None:
        throttle = FixedThrottle(10, 1)
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
