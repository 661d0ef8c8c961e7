"""Admissions counted in virtual time: what a fixed rate promises in every window, and what a 429 does."""

from __future__ import annotations

import asyncio
from math import ceil

import pytest

from loader.rate.throttle import AutoThrottle, Failed, FixedThrottle, Signal, Success, Throttled
from tests.unit.rate.admissions import (
    admissions,
    admissions_in_rounds,
    cancel_as_it_gets_its_ticket,
    late_sleep,
    most_in_a_second,
)
from tests.unit.virtual_loop import loop_runtime, run_virtual

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
        return await admissions(FixedThrottle(loop_runtime(sleep=late_sleep(1)), rate, burst), seconds, workers=256)

    times = run_virtual(main())
    allowed = rate + (max(1.0, rate / 20) if burst is None else burst)
    assert most_in_a_second(times) <= ceil(allowed)
    settled = [at for at in times if at > 1]
    mean = (len(settled) - 1) / (settled[-1] - settled[0])
    assert abs(mean / rate - 1) <= 0.005


@pytest.mark.parametrize("rate, burst", [(3.0, None), (100.0, None), (100.0, 1), (1000.0, 40), (10_000.0, None)])
def test_the_same_holds_where_many_tickets_are_asked_for_at_once(rate: float, burst: int | None) -> None:
    async def main() -> list[float]:
        return await admissions_in_rounds(
            FixedThrottle(loop_runtime(sleep=late_sleep(1)), rate, burst), 20.0, workers=256
        )

    times = run_virtual(main())
    allowed = rate + (max(1.0, rate / 20) if burst is None else burst)
    assert most_in_a_second(times) <= ceil(allowed)
    assert len(times) >= 0.99 * rate * 20 - 1


def test_none_are_given_at_once_in_a_pause_nor_while_somebody_waits() -> None:
    async def main() -> None:
        throttle = FixedThrottle(loop_runtime(), 10, 5)
        tickets = throttle.admit_many(8)
        assert [ticket.number for ticket in tickets] == [1, 2, 3, 4, 5]
        assert throttle.in_flight == 5
        waiting = asyncio.create_task(throttle.admit())
        await asyncio.sleep(0)
        assert list(throttle.admit_many(1)) == []
        await waiting
        throttle.succeeded(tickets, [0.1] * 5)
        assert throttle.in_flight == 1
        await asyncio.sleep(10)
        throttle.pause(1)
        assert list(throttle.admit_many(1)) == []
        await asyncio.sleep(1.01)
        assert len(throttle.admit_many(3)) == 3

    run_virtual(main())


def test_the_canary_among_many_lets_all_go_again() -> None:
    async def main() -> None:
        throttle = FixedThrottle(loop_runtime(), 1000, 50)
        refused, other = await throttle.admit(), await throttle.admit()
        throttle.answered(refused, Throttled(7.0))
        canary = await throttle.admit()
        assert list(throttle.admit_many(9)) == []
        throttle.succeeded([other, canary], [0.1, 0.1])
        await asyncio.sleep(0.1)
        assert len(throttle.admit_many(9)) == 9

    run_virtual(main())


def test_a_rest_earns_one_burst_and_no_more() -> None:
    async def main() -> list[float]:
        throttle = FixedThrottle(loop_runtime(), 100, 20)
        await admissions(throttle, 2)
        await asyncio.sleep(60)
        return await admissions(throttle, 3)

    times = run_virtual(main())
    assert sum(at < times[0] + 0.005 for at in times) == 20
    assert most_in_a_second(times) <= 120


def test_waiting_is_counted_once_however_many_wait() -> None:
    async def main() -> float:
        throttle = FixedThrottle(loop_runtime(), 10, 1)
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

        await admissions(FixedThrottle(loop_runtime(sleep=sleep), 10_000), 1, workers=256)
        return waits

    assert run_virtual(main()) <= 510


# --- a fixed rate that the target refuses --------------------------------------------------------------------------------


def test_a_429_stops_all_traffic_for_the_time_named() -> None:
    async def main() -> tuple[list[float], float]:
        throttle = FixedThrottle(loop_runtime(), 100)
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
        throttle = FixedThrottle(loop_runtime(draw=lambda: 0.0), 100)
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
        throttle = FixedThrottle(loop_runtime(), 100, 30)
        tickets = [await throttle.admit() for _ in range(20)]
        await asyncio.sleep(0.1)
        for ticket in tickets:
            throttle.answered(ticket, Throttled(None))
        return throttle.rate_per_second

    assert run_virtual(main()) == pytest.approx(85)


def test_the_rate_climbs_back_and_no_change_admits_a_second_burst() -> None:
    async def main() -> tuple[float, float, list[float]]:
        throttle = FixedThrottle(loop_runtime(), 100, 20)
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
        throttle = FixedThrottle(loop_runtime(), 100, 20)
        tickets = [await throttle.admit() for _ in range(20)]
        throttle.answered(tickets[0], Throttled(0.01))
        before = throttle._limiter
        await throttle.admit()
        assert throttle._limiter is not before
        return throttle._limiter.has_capacity(2)

    assert not run_virtual(main())


def test_one_goes_ahead_of_the_others_after_a_pause_and_they_follow_its_good_answer() -> None:
    async def main() -> tuple[list[float], float]:
        throttle = FixedThrottle(loop_runtime(), 1000, 50)
        loop = asyncio.get_running_loop()
        throttle.answered(await throttle.admit(), Throttled(7.0))
        times: list[float] = []

        async def send(signal: Signal) -> None:
            ticket = await throttle.admit()
            times.append(loop.time())
            await asyncio.sleep(1)
            throttle.answered(ticket, signal)

        # The canary is refused, the next one has no answer, the third has a good one.
        signals: list[Signal] = [Throttled(3.0), Failed(), *[Success(0.01)] * 10]
        begun = loop.time()
        await asyncio.gather(*map(send, signals))
        return times, begun

    times, begun = run_virtual(main())
    refused, lost, good, *others = (at - begun for at in times)
    assert (refused, lost, good) == pytest.approx((7, 11, 12), abs=0.1)
    assert others == pytest.approx([13] * 9, abs=0.1)
    assert len(set(others)) > 3, "no burst follows"


def test_a_canary_without_an_answer_holds_the_others_for_seconds_only() -> None:
    async def main() -> float:
        throttle = FixedThrottle(loop_runtime(), 1000, 50)
        throttle.answered(await throttle.admit(), Throttled(7.0))
        canary = await throttle.admit()
        other = await throttle.admit()
        throttle.answered(canary, Failed())
        throttle.answered(other, Success(0.01))
        await asyncio.sleep(0.002)
        assert throttle.admit_now() is not None
        return other.at - canary.at

    assert run_virtual(main()) == pytest.approx(5, abs=0.1)


def test_a_canary_that_nobody_can_use_holds_nobody() -> None:
    async def main() -> tuple[float, int]:
        throttle = FixedThrottle(loop_runtime(), 1000, 50)
        throttle.answered(await throttle.admit(), Throttled(7.0))
        gone, other = (asyncio.create_task(throttle.admit()) for _ in range(2))
        await asyncio.sleep(0)
        cancel_as_it_gets_its_ticket(throttle, gone)
        ticket = await other
        throttle.answered(ticket, Success(0.01))
        following = await throttle.admit()
        throttle.answered(following, Success(0.01))
        return following.at, throttle.in_flight

    at, in_flight = run_virtual(main())
    assert at == pytest.approx(7, abs=0.1)
    assert in_flight == 0


def test_a_rate_far_above_the_limit_is_soon_near_it() -> None:
    async def main() -> tuple[float, int]:
        throttle = FixedThrottle(loop_runtime(), 2000)
        loop = asyncio.get_running_loop()
        tokens, at, refused = 1.0, loop.time(), 0  # the target's own bucket: 5 a second, one at once

        async def work() -> None:
            nonlocal tokens, at, refused
            while loop.time() < 60:
                ticket = await throttle.admit()
                await asyncio.sleep(0.02)
                now = loop.time()
                tokens, at = min(1.0, tokens + (now - at) * 5), now
                if tokens < 1:
                    refused += 1
                    throttle.answered(ticket, Throttled(1.0))
                    await asyncio.sleep(1)
                    continue
                tokens -= 1
                throttle.answered(ticket, Success(0.02))

        await asyncio.gather(*(work() for _ in range(32)))
        return throttle.rate_per_second, refused

    rate, refused = run_virtual(main())
    assert 2.5 < rate < 10
    assert refused < 150


def test_a_stray_429_in_some_hundreds_pauses_and_does_not_cut() -> None:
    """Case 2.5: three in 1,200, by jitter."""

    async def main() -> tuple[float, int]:
        throttle, sent = FixedThrottle(loop_runtime(), 100), 0
        for _ in range(3):
            sent += len(await admissions(throttle, 4))
            throttle.answered(await throttle.admit(), Throttled(None))
        return throttle.rate_per_second, sent

    rate, sent = run_virtual(main())
    assert rate == 100
    assert sent > 1150


def test_a_rate_a_little_above_the_limit_is_not_halved() -> None:
    async def main() -> float:
        throttle = FixedThrottle(loop_runtime(), 100)
        for _ in range(3):
            await admissions(throttle, 2)
            throttle.answered(await throttle.admit(), Throttled(1.0))
        return throttle.rate_per_second

    assert run_virtual(main()) == pytest.approx(100 * 0.85**3, rel=0.02)


def test_a_429_of_unknown_cause_pauses_for_the_time_named_and_keeps_the_rate() -> None:
    async def main() -> tuple[float, float, float]:
        throttle = FixedThrottle(loop_runtime(), 100)
        auto = AutoThrottle(loop_runtime(), 50)
        begun = asyncio.get_running_loop().time()
        throttle.answered(await throttle.admit(), Throttled(5.0, is_pause=True))
        auto.answered(await auto.admit(), Throttled(5.0, is_pause=True))
        await auto.admit()
        return (await throttle.admit()).at - begun, throttle.rate_per_second, auto.rate_per_second

    assert run_virtual(main()) == (pytest.approx(5, abs=0.1), 100, 50)
