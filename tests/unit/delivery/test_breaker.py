"""The circuit breaker: when it opens, how it probes, what the first record after an outage decides, and the patience."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from loader.delivery.breaker import FAULTS_TO_OPEN, MAX_UNWATCHED_SECONDS, Breaker
from tests.unit.virtual_loop import in_virtual_time, loop_runtime


def new_breaker() -> Breaker:
    return Breaker(loop_runtime(draw=lambda: 0.5))  # with a draw of 0.5 each wait is exactly what it says


def opened() -> Breaker:
    breaker = new_breaker()
    for _ in range(FAULTS_TO_OPEN):
        breaker.failed()
    return breaker


class Probing:
    """Probes that are answered badly until `is_well`, and when they came."""

    def __init__(self, breaker: Breaker) -> None:
        self.at: list[float] = []
        self.is_well = False
        self.task = asyncio.create_task(breaker.run(self._probe))

    async def _probe(self) -> bool:
        self.at.append(asyncio.get_running_loop().time())
        return self.is_well


async def watched(breaker: Breaker, seconds: float) -> float:
    """Let time pass while somebody looks, as the run does; return what the patience counts then."""
    for _ in range(int(seconds * 4)):
        breaker.bad_seconds()
        await asyncio.sleep(0.25)
    return breaker.bad_seconds()


def passing(breaker: Breaker) -> asyncio.Task[bool]:
    return asyncio.create_task(breaker.pass_through())


# --- open ---------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_it_opens_after_five_faults_in_a_row() -> None:
    breaker = new_breaker()
    for _ in range(4):
        breaker.failed()
    assert breaker.is_closed
    breaker.failed()
    assert breaker.is_open
    assert not breaker.is_closed


@in_virtual_time
async def test_one_success_between_faults_keeps_it_closed() -> None:
    breaker = new_breaker()
    for _ in range(10):
        for _ in range(4):
            breaker.failed()
        breaker.succeeded()
    assert breaker.is_closed


@in_virtual_time
async def test_a_429_is_no_fault() -> None:
    breaker = new_breaker()
    for _ in range(100):
        breaker.was_throttled()
    assert breaker.is_closed


@in_virtual_time
async def test_while_it_is_open_nobody_goes_and_a_late_success_does_not_close_it() -> None:
    breaker = opened()
    waiting = [passing(breaker) for _ in range(3)]
    breaker.succeeded()
    await asyncio.sleep(100)
    assert breaker.is_open
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()


@in_virtual_time
async def test_it_probes_with_growing_waits_up_to_half_a_minute() -> None:
    breaker = opened()
    probing = Probing(breaker)
    await asyncio.sleep(125)
    assert probing.at == [1, 3, 7, 15, 31, 61, 91, 121]
    assert breaker.is_open
    probing.task.cancel()


# --- half open ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_good_probe_lets_one_record_through_alone_and_its_success_lets_all_go() -> None:
    breaker = opened()
    probing = Probing(breaker)
    waiting = [passing(breaker) for _ in range(3)]
    probing.is_well = True
    await asyncio.sleep(5)
    assert [task.done() for task in waiting] == [True, False, False]
    assert waiting[0].result() is True
    assert (breaker.is_open, breaker.is_closed) == (False, False)
    breaker.succeeded()
    assert await asyncio.gather(*waiting[1:]) == [False, False]
    assert (breaker.is_open, breaker.is_closed) == (False, True)
    assert probing.at == [1], "nobody is asked while it is well"
    for _ in range(FAULTS_TO_OPEN):
        breaker.failed()
    await asyncio.sleep(2)
    assert probing.at == [1, 6], "after a success the waits begin anew"
    probing.task.cancel()


@in_virtual_time
async def test_a_fault_of_the_one_record_opens_it_again_and_the_waits_go_on_growing() -> None:
    breaker = opened()
    probing = Probing(breaker)
    probing.is_well = True
    await asyncio.sleep(2)
    assert await breaker.pass_through()
    breaker.failed()
    assert breaker.is_open
    other = passing(breaker)
    await asyncio.sleep(1.9)
    assert probing.at == [1]
    await asyncio.sleep(0.2)
    assert probing.at == [1, 4]
    assert await other is True
    probing.task.cancel()


@in_virtual_time
async def test_a_429_for_the_one_record_gives_its_place_to_another() -> None:
    breaker = opened()
    probing = Probing(breaker)
    probing.is_well = True
    await asyncio.sleep(2)
    assert await breaker.pass_through()
    other = passing(breaker)
    await asyncio.sleep(1)
    assert not other.done()
    breaker.was_throttled()
    assert await other is True
    assert not breaker.is_open
    assert not breaker.is_closed
    probing.task.cancel()


# --- patience -----------------------------------------------------------------------------------------------------------


BAD: dict[str, Callable[[Breaker], None]] = {
    "a fault": Breaker.failed,
    "a 429": Breaker.was_throttled,
    "a question without answer": lambda breaker: breaker.was_asked(is_answered=False),
}
GOOD: dict[str, Callable[[Breaker], None]] = {
    "a fault": Breaker.succeeded,
    "a 429": Breaker.succeeded,
    "a question without answer": lambda breaker: breaker.was_asked(is_answered=True),
}


@pytest.mark.parametrize("kind", BAD)
@in_virtual_time
async def test_patience_counts_from_the_first_bad_answer_until_a_good_one(kind: str) -> None:
    breaker = new_breaker()
    assert await watched(breaker, 10) == 0.0
    BAD[kind](breaker)
    await watched(breaker, 20)
    BAD[kind](breaker)
    assert await watched(breaker, 20) == 40.0
    GOOD[kind](breaker)
    assert breaker.bad_seconds() == 0.0


@in_virtual_time
async def test_an_answered_question_says_nothing_of_records_and_a_record_nothing_of_questions() -> None:
    breaker = new_breaker()
    breaker.failed()
    breaker.was_asked(is_answered=True)
    assert await watched(breaker, 10) == 10.0
    breaker.was_asked(is_answered=False)
    await watched(breaker, 10)
    breaker.succeeded()
    assert await watched(breaker, 10) == 20.0


@in_virtual_time
async def test_a_process_that_stood_still_is_forgiven_that_time() -> None:
    breaker = new_breaker()
    breaker.failed()
    breaker.was_asked(is_answered=False)
    assert await watched(breaker, 10) == 10.0
    await asyncio.sleep(3600)
    assert breaker.bad_seconds() == 10.0
    assert await watched(breaker, 10) == 20.0


@in_virtual_time
async def test_a_pause_that_any_busy_process_makes_is_not_forgiven() -> None:
    breaker = new_breaker()
    breaker.failed()
    breaker.bad_seconds()
    await asyncio.sleep(MAX_UNWATCHED_SECONDS)
    assert breaker.bad_seconds() == MAX_UNWATCHED_SECONDS
