"""What every throttle promises, held against both: order, cancelling, pauses, counts, and that no answer harms it.

Each row of `THROTTLES` makes one kind. What only one of them promises is in `test_throttle` (fixed) and `test_adaptive` (auto).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from itertools import pairwise
from math import ceil, inf
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.rate.throttle import AutoThrottle, Failed, FixedThrottle, Signal, Success, Throttle, Throttled, Ticket
from loader.runtime import Runtime
from tests.unit.rate.admissions import (
    admissions,
    admissions_in_rounds,
    cancel_as_it_gets_its_ticket,
    late_sleep,
    most_in_a_second,
)
from tests.unit.virtual_loop import loop_runtime, run_virtual


class Row(NamedTuple):
    """One throttle: how it is made, and the most that it may admit in one second, if it promises that."""

    make: Callable[[Runtime], Throttle]
    most: float | None = None


THROTTLES = {
    "fixed, slow": Row(lambda runtime: FixedThrottle(runtime, 10, 1), 10 + 1),
    "fixed, burst": Row(lambda runtime: FixedThrottle(runtime, 100, 40), 100 + 40),
    "fixed, quick": Row(lambda runtime: FixedThrottle(runtime, 2000), 2000 + 100),
    "auto, slow": Row(lambda runtime: AutoThrottle(runtime, 10)),
    "auto, quick": Row(lambda runtime: AutoThrottle(runtime, 2000)),
    "auto, no hint": Row(AutoThrottle),
}
every = pytest.mark.parametrize("row", THROTTLES.values(), ids=THROTTLES)
Check = Callable[[Throttle], Coroutine[Any, Any, None]]


def check(row: Row, promise: Check, **runtime: Any) -> None:
    """Hold a throttle to a promise, in virtual time."""

    async def main() -> None:
        await promise(row.make(loop_runtime(**runtime)))

    run_virtual(main())


async def exhaust(throttle: Throttle) -> None:
    """Take and answer what lies ready, until the next one must wait."""
    while (ticket := throttle.admit_now()) is not None:
        throttle.answered(ticket, Success(0.01))


async def waiting(throttle: Throttle, count: int, *, is_first: bool = False) -> list[asyncio.Task[Ticket]]:
    tasks = [asyncio.create_task(throttle.admit(is_first=is_first)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


# --- who is admitted -----------------------------------------------------------------------------------------------------


@every
def test_tickets_are_numbered_and_given_in_the_order_of_asking(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        tickets = []
        for task in await waiting(throttle, 20):
            tickets.append(await task)
            throttle.answered(tickets[-1], Success(0.01))
        assert [ticket.number for ticket in tickets] == list(range(1, 21))
        assert all(earlier.at <= later.at for earlier, later in pairwise(tickets))

    check(row, promise)


@every
def test_who_goes_first_goes_before_all_who_wait_and_in_order(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        await exhaust(throttle)
        order: list[str] = []

        async def wait(name: str, *, is_first: bool) -> None:
            throttle.answered(await throttle.admit(is_first=is_first), Success(0.01))
            order.append(name)

        names = ["a", "b", "c", "A!", "B!", "C!"]
        tasks = {name: asyncio.create_task(wait(name, is_first=name.endswith("!"))) for name in names}
        await asyncio.sleep(0)
        tasks["B!"].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert order == ["A!", "C!", "a", "b", "c"]
        assert throttle.in_flight == 0

    check(row, promise)


@every
def test_nothing_is_given_at_once_while_somebody_waits(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        await exhaust(throttle)
        (task,) = await waiting(throttle, 1)
        assert throttle.admit_now() is None
        assert list(throttle.admit_many(5)) == []
        throttle.answered(await task, Success(0.01))

    check(row, promise)


@every
def test_many_are_no_more_than_asked_for(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        for _ in range(20):
            await asyncio.sleep(0.3)
            tickets = throttle.admit_many(3)
            assert 1 <= len(tickets) <= 3
            assert throttle.in_flight == len(tickets)
            throttle.succeeded(tickets, [0.01] * len(tickets))
        assert list(throttle.admit_many(0)) == []
        assert throttle.in_flight == 0

    check(row, promise)


# --- who leaves ----------------------------------------------------------------------------------------------------------


@every
def test_who_is_cancelled_while_waiting_takes_no_ticket(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        loop, draw = asyncio.get_running_loop(), random.Random(3)
        await exhaust(throttle)

        async def take() -> Ticket:
            ticket = await throttle.admit()
            throttle.answered(ticket, Success(0.01))
            return ticket

        leavers = [asyncio.create_task(take()) for _ in range(200)]
        for task in leavers:
            loop.call_later(2 * draw.random(), task.cancel)
        stayers = [asyncio.create_task(take()) for _ in range(20)]
        ended = await asyncio.gather(*leavers, *stayers, return_exceptions=True)
        tickets = sorted(result for result in ended if isinstance(result, Ticket))
        assert len(tickets) >= 20
        # No number is missing: no ticket went to somebody who had left.
        assert [later.number - earlier.number for earlier, later in pairwise(tickets)] == [1] * (len(tickets) - 1)
        assert throttle.in_flight == 0

    check(row, promise)


@every
def test_a_ticket_whose_owner_was_cancelled_as_it_came_goes_to_the_next(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        await exhaust(throttle)
        gone, *others = await waiting(throttle, 3)
        cancel_as_it_gets_its_ticket(throttle, gone)
        first, second = [await task for task in others]
        assert gone.cancelled()
        assert second.number == first.number + 1
        throttle.succeeded([first, second], [0.01, 0.01])
        assert throttle.in_flight == 0

    check(row, promise)


@every
def test_when_all_have_left_the_next_one_is_admitted_as_ever(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        await exhaust(throttle)
        for task in await waiting(throttle, 5):
            task.cancel()
        await asyncio.sleep(0)
        throttle.answered(await throttle.admit(), Success(0.01))
        assert throttle.in_flight == 0

    check(row, promise)


# --- when nothing goes ---------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("is_first", [False, True])
def test_a_pause_holds_everybody_and_a_shorter_one_does_not_end_it(row: Row, is_first: bool) -> None:
    async def promise(throttle: Throttle) -> None:
        loop = asyncio.get_running_loop()
        throttle.pause(7)
        throttle.pause(1)
        assert throttle.admit_now() is None
        assert list(throttle.admit_many(3)) == []
        assert (await throttle.admit(is_first=is_first)).at >= 7
        assert loop.time() < 7.5

    check(row, promise)


@every
def test_a_pause_holds_those_who_wait_already(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        await exhaust(throttle)
        tasks = await waiting(throttle, 2)
        throttle.pause(5)
        assert min([(await task).at for task in tasks]) >= 5

    check(row, promise)


@every
def test_a_429_stops_all_traffic_for_the_time_named(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        refused = await throttle.admit()
        throttle.answered(refused, Throttled(7.0))
        assert throttle.admit_now() is None
        assert (await throttle.admit()).at >= 7

    check(row, promise)


@every
def test_after_a_429_one_request_goes_ahead_and_the_others_follow_its_success(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        # Two that are refused in a row, so that the gate of either kind closes.
        for _ in range(2):
            throttle.answered(await throttle.admit(), Throttled(7.0))
        canary, *others = await waiting(throttle, 4)
        ticket = await canary
        await asyncio.sleep(1)
        assert not any(task.done() for task in others)
        throttle.answered(ticket, Success(0.01))
        for task in others:
            throttle.answered(await task, Success(0.01))
        assert max(task.result().at for task in others) < ticket.at + 5

    check(row, promise, draw=lambda: 0.5)


@every
def test_a_429_lowers_the_rate(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        before = throttle.rate_per_second
        throttle.answered(await throttle.admit(), Throttled())
        assert 0 < throttle.rate_per_second < before

    check(row, promise)


# --- how many ------------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("flow", [admissions, admissions_in_rounds])
def test_no_second_admits_more_than_what_is_promised(row: Row, flow: Callable[..., Any]) -> None:
    async def promise(throttle: Throttle) -> None:
        times = await flow(throttle, 4.0)
        assert times
        # Who promises nothing grows: never more than twice in half a second.
        most = row.most if row.most is not None else 16 * throttle.rate_per_second
        assert most_in_a_second(times) <= ceil(most)

    check(row, promise, sleep=late_sleep(1))


@every
def test_waiting_is_counted_once_however_many_wait(row: Row) -> None:
    async def promise(throttle: Throttle) -> None:
        throttle.pause(5)
        tasks = await waiting(throttle, 10)
        await asyncio.sleep(2)
        assert throttle.limited_by_rate_seconds == pytest.approx(2, abs=0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(9)
        assert throttle.limited_by_rate_seconds == pytest.approx(2, abs=0.01)

    check(row, promise)


# --- any answers ---------------------------------------------------------------------------------------------------------

SIGNALS: st.SearchStrategy[Signal] = st.one_of(
    st.builds(Success, st.floats(0, 120)),
    st.builds(Throttled, st.sampled_from([None, 0.0, -3.0, 0.5, 1.0, 90.0, 3600.0, 1e300, inf])),
    st.just(Failed()),
)


@every
@given(data=st.lists(st.tuples(SIGNALS, st.integers(0, 100), st.floats(0, 2), st.integers(1, 4)), max_size=40))
def test_no_sequence_of_answers_raises_or_shuts_it_for_ever(
    row: Row, data: list[tuple[Signal, int, float, int]]
) -> None:
    async def promise(throttle: Throttle) -> None:
        out: list[Ticket] = [await throttle.admit()]
        for signal, which, seconds, count in data:
            await asyncio.sleep(seconds)
            out += throttle.admit_many(count)
            if out:
                throttle.answered(out.pop(which % len(out)), signal)
            assert throttle.in_flight == len(out)
            assert 0 < throttle.rate_per_second < inf
            assert throttle.describe()
        for ticket in out:
            throttle.answered(ticket, Failed())
        async with asyncio.timeout(600):
            ticket = await throttle.admit()
        assert throttle.in_flight == 1
        throttle.answered(ticket, Success(0.01))

    check(row, promise)
