"""The queue: locks, the order of the source, one record at a time, what waits for its time, and room for the reader."""

from __future__ import annotations

import asyncio

import pytest

from loader.delivery import queue as queue_module
from loader.delivery.queue import ChunkQueue, QueuedChunk
from loader.model import Chunk, Record
from tests.unit.delivery.memory_run import line, numbers
from tests.unit.virtual_loop import in_virtual_time


def new_queue(*, max_outstanding: int = 1000, is_ordered: bool = False, is_solo: bool = False) -> ChunkQueue:
    return ChunkQueue(lookahead=100, max_outstanding=max_outstanding, is_ordered=is_ordered, is_solo=is_solo)


def chunk(*records: Record, attempts: int = 0, in_doubt: bool = False) -> QueuedChunk:
    return QueuedChunk(Chunk(records, in_doubt), attempts)


def take_all(queue: ChunkQueue) -> list[list[int]]:
    taken = []
    while (queued := queue.take_now()) is not None:
        taken.append(queued)
    return numbers(taken)


async def has_room(queue: ChunkQueue) -> bool:
    waiting = asyncio.create_task(queue.room())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    is_over = waiting.done()
    waiting.cancel()
    return is_over


# --- room for the reader ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outstanding, is_room", [(0, True), (10, True), (11, False)])
async def test_the_reader_waits_while_more_records_are_outstanding_than_allowed(
    *, outstanding: int, is_room: bool
) -> None:
    queue = new_queue(max_outstanding=10)
    queue.admit([line(number) for number in range(1, outstanding + 1)])
    assert await has_room(queue) is is_room


@pytest.mark.parametrize("size, is_room", [(500, True), (501, False)])
async def test_the_reader_waits_while_more_bytes_are_outstanding_than_allowed(
    monkeypatch: pytest.MonkeyPatch, *, size: int, is_room: bool
) -> None:
    monkeypatch.setattr(queue_module, "MAX_OUTSTANDING_BYTES", 1000)
    queue = new_queue()
    queue.admit([line(1, data=bytes(size)), line(2, data=bytes(500))])
    assert await has_room(queue) is is_room


async def test_a_record_that_has_its_outcome_takes_up_no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MAX_OUTSTANDING_BYTES", 1000)
    queue = new_queue()
    records = [line(1, data=bytes(800)), line(2, data=bytes(800))]
    queue.admit(records)
    queue.release(records[:1])
    assert await has_room(queue)
    queue.admit([line(3, data=bytes(201))])
    assert not await has_room(queue)


@pytest.mark.parametrize("waiting, is_room", [(100, True), (101, False)])
async def test_the_reader_waits_while_enough_records_wait_for_a_worker(*, waiting: int, is_room: bool) -> None:
    queue = new_queue()
    queue.put([chunk(*map(line, range(1, waiting + 1)))])
    assert await has_room(queue) is is_room


@in_virtual_time
async def test_the_reader_goes_on_as_soon_as_a_record_has_its_outcome() -> None:
    queue = new_queue(max_outstanding=1)
    records = [line(1, data=b"12345"), line(2)]
    queue.admit(records)
    waiting = asyncio.create_task(queue.room())
    await asyncio.sleep(1)
    assert not waiting.done()
    queue.release(records[:1])
    await asyncio.wait_for(waiting, 0.1)


@in_virtual_time
async def test_nobody_waits_for_a_queue_that_is_closed() -> None:
    queue = new_queue(max_outstanding=0)
    queue.admit([line(1)])
    tasks = [asyncio.create_task(task) for task in (queue.room(), queue.drained(), queue.take())]
    await asyncio.sleep(1)
    assert not any(task.done() for task in tasks)
    queue.close()
    assert await asyncio.gather(*tasks) == [None, None, None]


# --- locks --------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_records_with_one_lock_go_one_after_another_in_the_order_of_the_source() -> None:
    queue = new_queue()
    records = [line(1, lock="a"), line(2, lock="a"), line(3, lock="b"), line(4, lock="a"), line(5)]
    free = queue.admit(records)
    assert [record.number for record in free] == [1, 3, 5]
    for number in (1, 2):
        queue.release([records[number - 1]])
        assert take_all(queue) == [[{1: 2, 2: 4}[number]]]
    queue.release([records[3]])
    assert take_all(queue) == []
    assert [record.number for record in queue.admit([line(6, lock="a")])] == [6]


@in_virtual_time
async def test_a_record_behind_a_lock_goes_where_its_owner_wants_it() -> None:
    queue, later = new_queue(), list[int]()
    queue.admit([line(1, lock="a")])
    queue.admit([line(2, lock="a")], lambda record: later.append(record.number))
    queue.release([line(1, lock="a")])
    assert (take_all(queue), later) == ([], [2])


# --- order --------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_in_order_only_the_first_record_without_an_outcome_goes_whatever_came_first() -> None:
    queue = new_queue(is_ordered=True)
    records = [line(1), line(2), line(1, source=1)]
    queue.admit(records)
    queue.put([chunk(records[2]), chunk(records[1])])
    assert take_all(queue) == []
    queue.put([chunk(records[0])])
    assert take_all(queue) == [[1]]
    queue.release(records[:1])
    assert take_all(queue) == [[2]]
    queue.release(records[1:2])
    assert take_all(queue) == [[1]]


@in_virtual_time
async def test_in_order_a_chunk_goes_as_far_as_no_other_record_stands_between() -> None:
    queue = new_queue(is_ordered=True)
    records = [line(number) for number in range(1, 6)]
    queue.admit(records)
    queue.put([chunk(records[4], records[1], records[0])])
    assert take_all(queue) == [[1, 2]]
    queue.release(records[:2])
    assert take_all(queue) == []
    queue.release(records[2:4])
    assert take_all(queue) == [[5]]


# --- one at a time, later, and what has not left ------------------------------------------------------------------------


@in_virtual_time
async def test_until_the_claim_is_proved_one_record_is_out_at_a_time() -> None:
    queue = new_queue(is_solo=True)
    queue.put([chunk(line(1), line(2), line(3), in_doubt=True)])
    first = queue.take_now()
    assert first is not None
    assert (numbers([first]), first.chunk.in_doubt) == ([[1]], True)
    assert take_all(queue) == []
    assert queue.take_next(1) == ()
    assert not await has_room(queue)
    queue.done()
    assert take_all(queue) == [[2]]
    queue.let_all_go()
    rest = queue.take_now()
    assert rest is not None
    assert (numbers([rest]), rest.chunk.in_doubt) == ([[3]], True)


@in_virtual_time
async def test_a_chunk_that_waits_comes_back_when_it_is_due_and_goes_before_fresh_ones() -> None:
    queue, loop = new_queue(), asyncio.get_running_loop()
    queue.defer(chunk(line(2), attempts=1), 20.0)
    queue.defer(chunk(line(1), attempts=3), 10.0)
    taking = asyncio.create_task(queue.take())
    first = await taking
    assert first is not None
    assert (loop.time(), numbers([first]), first.attempts) == (10.0, [[1]], 3)
    queue.put([chunk(line(3))])
    await asyncio.sleep(10)
    assert take_all(queue) == [[2], [3]]


@in_virtual_time
async def test_what_has_not_left_is_what_waits_here_and_no_doubtful_chunk_that_was_tried() -> None:
    queue = new_queue()
    queue.admit([line(20, lock="a")])
    queue.admit([line(21, lock="a")])
    queue.admit([line(22, lock="a")], lambda _: None)  # ambiguous, and parked
    queue.put([chunk(line(1)), chunk(line(2)), chunk(line(3), in_doubt=True)])
    queue.put([chunk(line(4), attempts=1, in_doubt=True), chunk(line(5), attempts=1)])
    queue.defer(chunk(line(6), attempts=1), 5.0)
    assert queue.take_now() is not None
    assert [record.number for record in queue.unsent()] == [2, 3, 5, 6, 21]


@in_virtual_time
async def test_a_worker_that_is_cancelled_as_it_is_woken_passes_the_chunk_on() -> None:
    queue = new_queue()
    leaving, staying = (asyncio.create_task(queue.take()) for _ in range(2))
    await asyncio.sleep(1)
    queue.put([chunk(line(1))])
    leaving.cancel()
    taken = await asyncio.wait_for(staying, 1)
    assert taken is not None
    assert numbers([taken]) == [[1]]


@in_virtual_time
async def test_finished_chunks_are_swapped_for_the_next_ones() -> None:
    queue = new_queue()
    queue.put([chunk(line(number)) for number in range(1, 5)])
    assert numbers(queue.take_next(3)) == [[1], [2], [3]]
    assert numbers(queue.take_next(3)) == [[4]]
    queue.put([chunk(line(5))])
    queue.close()
    assert queue.take_next(1) == ()
