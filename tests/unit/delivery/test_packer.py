"""Packing records into the queue: the limits, what is learnt of them, doubt, and sources kept apart."""

from __future__ import annotations

import pytest

from loader.checkpoint.notes import MAX_BYTES
from loader.delivery.packer import ChunkPacker
from loader.delivery.queue import QueuedChunk
from tests.unit.delivery.memory_run import MemoryRun, line, numbers
from tests.unit.virtual_loop import in_virtual_time

TEN_BYTES = bytes(10)


def packer_of(run: MemoryRun, *, max_records: int = 10, max_bytes: int = 1000, overhead_bytes: int = 0) -> ChunkPacker:
    return ChunkPacker(run.queue, run.log, overhead_bytes=overhead_bytes, max_records=max_records, max_bytes=max_bytes)


@pytest.mark.parametrize(
    "max_records, max_bytes, overhead_bytes, packed",
    [
        (10, 1000, 0, [[1, 2, 3, 4, 5]]),
        (2, 1000, 0, [[1, 2], [3, 4], [5]]),
        (10, 21, 0, [[1, 2], [3, 4], [5]]),  # two records and a comma
        (10, 20, 0, [[1], [2], [3], [4], [5]]),
        (10, 25, 5, [[1], [2], [3], [4], [5]]),
        (10, 26, 5, [[1, 2], [3, 4], [5]]),
        (1, 1000, 0, [[1], [2], [3], [4], [5]]),
    ],
)
@in_virtual_time
async def test_chunks_keep_to_the_limits(
    max_records: int, max_bytes: int, overhead_bytes: int, packed: list[list[int]]
) -> None:
    run = await MemoryRun.begin()
    packer = packer_of(run, max_records=max_records, max_bytes=max_bytes, overhead_bytes=overhead_bytes)
    packer.release([line(number, data=TEN_BYTES) for number in range(1, 6)])
    assert run.queue.outstanding == 5
    assert numbers(run.waiting()) == packed


@in_virtual_time
async def test_a_lower_limit_is_noted_and_holds_for_this_execution_and_the_next() -> None:
    run = await MemoryRun.begin()
    packer = packer_of(run)
    packer.lower_max_bytes(21)
    await run.log.sync()
    assert run.log.state.notes == {MAX_BYTES: 21}
    for each in (packer, packer_of(run)):
        assert each.max_bytes == 21
        each.queue([line(number, data=TEN_BYTES) for number in (1, 2, 3)])
        assert numbers(run.waiting()) == [[1, 2], [3]]
    assert packer_of(run, max_bytes=11).max_bytes == 11, "the user asks for less"


@in_virtual_time
async def test_a_higher_limit_is_not_learnt_and_the_lowest_is_one_byte() -> None:
    run = await MemoryRun.begin()
    packer = packer_of(run)
    packer.lower_max_bytes(1000)
    packer.lower_max_bytes(2000)
    await run.log.sync()
    assert (packer.max_bytes, run.log.state.notes) == (1000, {})
    packer.lower_max_bytes(0)
    assert packer.max_bytes == 1


@pytest.mark.parametrize("in_doubt", [False, True])
@in_virtual_time
async def test_doubt_is_kept_in_each_chunk(*, in_doubt: bool) -> None:
    run = await MemoryRun.begin()
    packer = packer_of(run, max_records=2)
    records = [line(number) for number in (1, 2, 3)]
    packer.release(records, in_doubt=in_doubt)
    packer.queue(records, in_doubt=in_doubt)
    packer.queue_again(records, in_doubt=in_doubt)
    assert [queued.chunk.in_doubt for queued in run.waiting()] == 6 * [in_doubt]


@in_virtual_time
async def test_what_is_sent_again_goes_first_counts_as_sent_once_and_no_chunk_mixes_sources() -> None:
    run = await MemoryRun.begin()
    packer = packer_of(run)
    packer.queue([line(9)])
    packer.queue_again([line(1), line(2), line(3, source=1), line(4)], in_doubt=True)
    waiting = run.waiting()
    assert sorted(numbers(waiting[:3])) == [[1, 2], [3], [4]]
    assert numbers(waiting[3:]) == [[9]]
    assert [queued.attempts for queued in waiting] == [1, 1, 1, 0]


@in_virtual_time
async def test_records_behind_a_lock_are_outstanding_and_not_queued() -> None:
    run = await MemoryRun.begin()
    packer_of(run).release([line(1, lock="a"), line(2, lock="a"), line(3)])
    assert run.queue.outstanding == 3
    assert numbers(run.waiting()) == [[1, 3]]


@in_virtual_time
async def test_in_order_no_lock_is_needed() -> None:
    run = await MemoryRun.begin(is_ordered=True)
    packer_of(run).release([line(1, lock="a"), line(2, lock="a")])
    waiting: list[QueuedChunk] = run.waiting()
    assert numbers(waiting) == [[1, 2]]
