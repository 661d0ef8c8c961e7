"""Answers that are not the API's: a row of them opens the breaker, then stops the run; when a single record is to blame."""

from __future__ import annotations

from loader.delivery.breaker import Breaker
from loader.delivery.stop import Stop
from loader.delivery.strangers import BLOCKS_TO_REFUSE, OPENINGS_TO_STOP, ROW_TO_OPEN, Strangers
from loader.errors import RunStopped
from loader.model import Chunk, Record
from tests.unit.virtual_loop import loop_runtime, run_virtual

PAGE = "200 text/html: Please log in"


def chunk_of(number: int) -> Chunk:
    return Chunk((Record(0, number, number, b"{}"),))


def half_open(breaker: Breaker) -> None:
    """Do as the prober does after a good probe."""
    breaker._state = "half_open"


def test_a_row_opens_the_breaker_and_one_readable_answer_ends_the_row() -> None:
    async def main() -> list[bool]:
        breaker = Breaker(loop_runtime())
        strangers = Strangers(breaker, Stop())
        seen = []
        for number in range(1, ROW_TO_OPEN):
            strangers.add(chunk_of(number), PAGE)
        seen.append(breaker.is_open)
        strangers.end_row(1)
        for number in range(1, ROW_TO_OPEN + 1):
            strangers.add(chunk_of(number), PAGE)
        return [*seen, breaker.is_open]

    assert run_virtual(main()) == [False, True]


def test_records_that_went_alone_without_a_readable_answer_stop_the_run_with_the_words() -> None:
    async def main() -> Stop:
        breaker, stop = Breaker(loop_runtime()), Stop()
        strangers = Strangers(breaker, stop)
        for number in range(1, 33):  # all that were in flight: one opening
            strangers.add(chunk_of(number), PAGE)
        for number in range(33, 33 + OPENINGS_TO_STOP - 1):
            assert not stop.is_requested
            half_open(breaker)
            breaker.succeeded()  # a 200, as far as the sender can tell
            strangers.add(chunk_of(number), PAGE)
        return stop

    error = run_virtual(main()).error
    assert isinstance(error, RunStopped)
    assert error.reason == "answers"
    assert PAGE in error.message


def test_a_record_that_is_blocked_alone_is_to_blame_and_one_among_many_is_not() -> None:
    async def main() -> list[bool]:
        strangers = Strangers(Breaker(loop_runtime()), Stop())
        strangers.end_row(40)
        strangers.add(chunk_of(7), PAGE)
        seen = [strangers.is_to_blame(BLOCKS_TO_REFUSE - 1), strangers.is_to_blame(BLOCKS_TO_REFUSE)]
        for number in range(100, 132):
            strangers.add(chunk_of(number), PAGE)
        return [*seen, strangers.is_to_blame(BLOCKS_TO_REFUSE)]

    assert run_virtual(main()) == [False, True, False]
