"""The note of lines that have certainly not left: what it says, and which of its lines the next execution believes."""

from __future__ import annotations

import pytest

from loader.checkpoint import CheckpointLog
from loader.checkpoint.notes import UNSENT
from loader.delivery.queue import ChunkQueue, QueuedChunk
from loader.delivery.unsent import Unsent
from loader.model import Chunk, Created
from tests.unit.checkpoint.conftest import FakeDisk
from tests.unit.delivery.memory_run import NOWHERE, MemoryRun, line, memory_tools, window
from tests.unit.virtual_loop import in_virtual_time


@in_virtual_time
async def test_the_note_holds_what_waits_what_is_expected_and_what_an_earlier_execution_left() -> None:
    run = await MemoryRun.begin(sources=2)
    run.unsent.earlier = {(1, 7), (1, 8)}
    run.packer.release([line(number) for number in (1, 2, 3, 5)])
    run.unsent.expect([[line(30), line(31)], [line(32)]])
    run.unsent.note()
    await run.log.sync()
    assert run.log.state.notes[UNSENT] == [[0, 1, 3], [0, 5, 5], [0, 30, 32], [1, 7, 8]]


@in_virtual_time
async def test_a_record_that_has_left_is_not_in_the_note_nor_one_that_is_ambiguous() -> None:
    run = await MemoryRun.begin()
    run.packer.release([line(1), line(2)])
    assert run.queue.take_now() is not None
    run.queue.put([QueuedChunk(Chunk((line(3),), in_doubt=True), attempts=1), QueuedChunk(Chunk((line(4),)))])
    run.unsent.expect([[line(5)]])
    run.unsent.expect(())
    await run.unsent.note_durably()
    assert run.log.state.notes[UNSENT] == [[0, 4, 4]]


@in_virtual_time
async def test_the_note_is_durable_when_it_says_so_and_so_is_its_end() -> None:
    run = await MemoryRun.begin()
    run.packer.release([line(1)])
    for write, value in ((run.unsent.note_durably, [[0, 1, 1]]), (run.unsent.forget, [])):
        syncs = run.disk.operations.count("sync")
        await write()
        assert run.disk.operations.count("sync") == syncs + 1
        assert run.log.state.notes[UNSENT] == value


@pytest.mark.parametrize(
    "ranges, believed",
    [
        ([], set()),
        ([[0, 2, 4]], {(0, 2), (0, 3), (0, 4)}),
        ([[0, 1, 1], [0, 5, 6]], {(0, 1), (0, 5), (0, 6)}),  # line 2 and line 7 may have left
        ([[0, 9, 12]], {(0, 9), (0, 10), (0, 11), (0, 12)}),  # over the border of two windows
        ([[0, 19, 30]], {(0, 19), (0, 20)}),  # behind the last intent a line is new
        ([[1, 1, 3]], {(1, 1), (1, 2), (1, 3)}),
        ([[1, 10, 11]], set()),  # of a window that is settled
        ([[2, 2, 4]], {(2, 4)}),  # of a settled window and an open one
        ([[3, 1, 3]], set()),
    ],
)
@in_virtual_time
async def test_of_the_note_its_own_lines_are_believed_as_far_as_their_windows_are_open(
    ranges: list[list[int]], believed: set[tuple[int, int]]
) -> None:
    disk = FakeDisk()
    log = await CheckpointLog.create(NOWHERE, "run", {}, tools=memory_tools(disk))
    await log.intend([window(1, 11), window(11, 21), window(1, 10, source=1), window(10, 12, source=1)])
    await log.intend([window(1, 4, source=2), window(4, 6, source=2)])
    log.settle([line(number, source=2) for number in (1, 2, 3)], [Created(3), Created(4), Created(5)])
    log.settle([line(10, source=1), line(11, source=1)], [Created(1), Created(2)])
    log.note(UNSENT, ranges)
    await log.close()
    disk.kill()
    log = await CheckpointLog.open(NOWHERE, "run", tools=memory_tools(disk))
    assert Unsent(ChunkQueue(lookahead=10, max_outstanding=10), log).earlier == believed
    await log.close()


@in_virtual_time
async def test_without_a_note_nothing_is_believed_to_be_unsent() -> None:
    run = await MemoryRun.begin()
    assert run.unsent.earlier == set()
