"""Even pacing in virtual time: what it finds, how it waits, and how it comes back."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest

from loader.rate.throttle import AutoThrottle, Failed, FixedThrottle, Success, Throttle, Throttled
from tests.unit.rate.admissions import admissions, late_sleep
from tests.unit.rate.limiters import FixedWindow, LeakyQueue, TokenBucket
from tests.unit.virtual_loop import loop_runtime, run_virtual

# --- a rate that is found ------------------------------------------------------------------------------------------------


async def load(
    throttle: Throttle, target: FixedWindow | TokenBucket, seconds: float
) -> tuple[list[float], list[float]]:
    """Send to a target with a limiter for so long; return when requests were accepted, and when refused."""
    loop = asyncio.get_running_loop()
    accepted: list[float] = []
    refused: list[float] = []

    async def work() -> None:
        while True:
            ticket = await throttle.admit()
            await asyncio.sleep(0.025)
            is_accepted, _, _ = target.decide(loop.time())
            await asyncio.sleep(0.025)
            (accepted if is_accepted else refused).append(loop.time())
            throttle.answered(ticket, Success(0.05) if is_accepted else Throttled(None))

    tasks = [asyncio.create_task(work()) for _ in range(64)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return accepted, refused


@pytest.mark.parametrize("limit", [20.0, 200.0, 700.0])
def test_auto_finds_the_limit_with_late_timers(limit: float) -> None:
    async def main() -> tuple[list[float], list[float]]:
        throttle = AutoThrottle(loop_runtime(sleep=late_sleep(2), draw=random.Random(2).random))
        return await load(throttle, FixedWindow(limit), 60)

    accepted, refused = run_virtual(main())
    late = [at for at in accepted if at > 20]
    assert len(late) / 40 >= 0.95 * limit
    assert sum(at > 20 for at in refused) / len(late) < 0.01


@pytest.mark.parametrize("limit", [5.0, 250.0, 1000.0])
def test_auto_keeps_just_below_what_a_queue_close_by_is_served_at(limit: float) -> None:
    """The emulator's own, over loopback: a queue a second long, a clock of whole milliseconds, timers that are late."""
    start, seconds = max(10.0, 100 / limit), 60.0 if limit > 5 else 200.0
    target, draw = LeakyQueue(limit), random.Random(2)
    accepted: list[float] = []
    refused: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        throttle = AutoThrottle(
            loop_runtime(clock=lambda: int(1000 * loop.time()) / 1000, sleep=late_sleep(2), draw=draw.random)
        )

        async def work() -> None:
            while True:
                ticket = await throttle.admit()
                await asyncio.sleep(0.0005 + 0.002 * draw.random())
                is_accepted, _, queued = target.decide(loop.time())
                await asyncio.sleep(0.0005 + queued + 0.001 * draw.random())
                (accepted if is_accepted else refused).append(loop.time())
                seconds = int(1000 * loop.time()) / 1000 - ticket.at
                throttle.answered(ticket, Success(seconds) if is_accepted else Throttled(None))

        tasks = [asyncio.create_task(work()) for _ in range(64)]
        await asyncio.sleep(start + seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run_virtual(main())
    late = sum(at > start for at in accepted)
    assert late >= 0.965 * limit * seconds
    assert sum(at > start for at in refused) < 0.01 * late


def test_auto_gives_a_ticket_at_once_where_one_is_due_and_only_there() -> None:
    async def main() -> None:
        throttle = AutoThrottle(loop_runtime(draw=lambda: 0.0), 100)
        first = throttle.admit_now()
        assert first is not None
        assert first.rate == 100
        assert throttle.in_flight == 1
        assert throttle.admit_now() is None, "not due yet"
        second = await throttle.admit()
        await asyncio.sleep(0.1)
        throttle.pause(1)
        assert throttle.admit_now() is None, "paused"
        await asyncio.sleep(1.01)
        assert (third := throttle.admit_now()) is not None
        assert [first.number, second.number, third.number] == [1, 2, 3]

    run_virtual(main())


def test_auto_gives_many_no_sooner_than_one_by_one() -> None:
    async def main() -> None:
        now = 0.0
        throttle, twin = (AutoThrottle(loop_runtime(clock=lambda: now, draw=lambda: 0.0), 1000) for _ in range(2))
        for _ in range(200):
            now += 0.003
            tickets = throttle.admit_many(4)
            ones = [ticket for ticket in (twin.admit_now() for _ in range(4)) if ticket is not None]
            assert list(tickets) == ones
            throttle.succeeded(tickets, [0.01] * len(tickets))
            for ticket in ones:
                twin.answered(ticket, Success(0.01))
            assert throttle.rate_per_second == twin.rate_per_second
            assert throttle.in_flight == twin.in_flight == 0

    run_virtual(main())


def test_auto_gives_none_at_once_while_somebody_waits() -> None:
    async def main() -> None:
        now = 0.0
        throttle = AutoThrottle(loop_runtime(clock=lambda: now, sleep=lambda _: asyncio.sleep(1)), 100)
        assert throttle.admit_now() is not None
        waiting = asyncio.create_task(throttle.admit())
        await asyncio.sleep(0)
        now = 10.0
        assert throttle.admit_now() is None
        assert (await waiting).number == 2

    run_virtual(main())


def test_auto_gives_none_at_once_while_too_many_are_in_flight_or_the_gate_is_closed() -> None:
    async def main() -> None:
        throttle = AutoThrottle(loop_runtime(draw=lambda: 0.0), 10_000)
        tickets = []
        for _ in range(200):
            await asyncio.sleep(0.001)
            ticket = throttle.admit_now()
            tickets += [] if ticket is None else [ticket]
        assert len(tickets) == throttle.in_flight == 64
        throttle.answered(tickets[0], Success(0.001))
        assert throttle.admit_now() is not None
        for ticket in tickets[1:]:
            throttle.answered(ticket, Throttled(None))
        await asyncio.sleep(10)
        assert throttle.admit_now() is None, "a canary waits its turn, and its jitter"
        assert (await throttle.admit()).number == 66

    run_virtual(main())


def test_auto_paces_evenly_and_never_catches_up() -> None:
    async def main() -> tuple[float, list[float]]:
        throttle = AutoThrottle(loop_runtime(), 100)
        await admissions(throttle, 1)
        throttle.pause(3)
        return throttle.rate_per_second, await admissions(throttle, 6)

    rate, times = run_virtual(main())
    assert times[0] >= 4
    assert sum(at < times[0] + 0.1 for at in times) <= 0.1 * rate * 1.2 + 1


def test_auto_sends_one_canary_at_a_time_and_a_lost_one_does_not_shut_the_gate_for_ever() -> None:
    async def main() -> list[float]:
        throttle = AutoThrottle(loop_runtime(draw=lambda: 0.0), 50)
        loop = asyncio.get_running_loop()
        first = [await throttle.admit() for _ in range(4)]
        # The first 429 ends the start, and closes the gate.
        for ticket in first:
            throttle.answered(ticket, Throttled(None))
        canaries = []
        for _ in range(4):
            canary = await throttle.admit()
            canaries.append(loop.time())
            other = asyncio.create_task(throttle.admit())
            await asyncio.sleep(1)
            assert not other.done(), "a second request went while the canary was out"
            other.cancel()
            throttle.answered(canary, Failed())
        return canaries

    canaries = run_virtual(main())
    gaps = [later - earlier - 1 for earlier, later in pairwise(canaries)]
    assert gaps == pytest.approx([gaps[0], 2 * gaps[0], 4 * gaps[0]], rel=0.1)


def test_auto_honours_a_long_retry_after_at_once() -> None:
    async def main() -> tuple[float, float]:
        throttle = AutoThrottle(loop_runtime(), 50)
        await admissions(throttle, 1)
        throttle.answered(await throttle.admit(), Throttled(30.0))
        begun = asyncio.get_running_loop().time()
        await throttle.admit()
        return begun, asyncio.get_running_loop().time()

    begun, ended = run_virtual(main())
    assert 30 <= ended - begun <= 34


def test_auto_follows_limit_headers() -> None:
    async def main() -> float:
        throttle = AutoThrottle(loop_runtime())
        throttle.answered(await throttle.admit(), Success(0.01))
        throttle.follow_headers(limit=600, remaining=590, reset_seconds=60)
        return (len(await admissions(throttle, 60))) / 60

    assert run_virtual(main()) == pytest.approx(9.8, rel=0.02)


def test_both_say_where_they_are() -> None:
    async def main() -> list[str]:
        return [FixedThrottle(loop_runtime(), 500).describe(), AutoThrottle(loop_runtime(), 200).describe()]

    assert run_virtual(main()) == ["500/s", "200/s, growing"]
