"""Reading new lines: nothing is queued before its intent is durable, and no more is intended than may be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from loader.checkpoint.notes import UNSENT
from loader.checkpoint.windows import Blank, Exceptional
from loader.delivery.queue import ChunkQueue
from loader.errors import SourceError
from loader.model import Created, Rejected
from loader.pipeline.intake import Demand, Limits
from tests.unit.checkpoint.conftest import FakeDisk
from tests.unit.delivery.memory_run import line
from tests.unit.pipeline.file_run import FileRun, file_run, intended_lines, write_lines
from tests.unit.reconcile.asking import NeverProves
from tests.unit.virtual_loop import in_virtual_time

END_OF_SOURCE = "end_of_source_0"


async def steps(run: FileRun, seconds: float = 0.0) -> list[int]:
    """Run the intake; return the durable line counts that it went through. No line is queued before it is durable."""
    task = asyncio.create_task(run.intake.run())
    seen = [intended_lines(run.disk)]
    until = asyncio.get_running_loop().time() + seconds
    while not task.done() and (asyncio.get_running_loop().time() <= until):
        await asyncio.sleep(0.5 if seconds else 0)
        assert all(record.number <= intended_lines(run.disk) for record in run.queue.unsent())
        if intended_lines(run.disk) != seen[-1]:
            seen.append(intended_lines(run.disk))
    if task.done():
        task.result()
    task.cancel()
    return seen


def limits(*, max_lines: int | None = None, crash_bound: int = 0) -> Limits:
    return Limits(window_lines=4, max_lines=max_lines, crash_bound=crash_bound)


@in_virtual_time
async def test_each_window_is_intended_before_its_records_are_queued(tmp_path: Path) -> None:
    write_lines(tmp_path, 10)
    async with file_run(tmp_path, FakeDisk()) as run:
        await run.intake.run()
        assert intended_lines(run.disk) == 10
        assert run.queued() == list(range(1, 11))
        assert run.queue.outstanding == 10
        await run.log.sync()
        assert run.log.state.notes[END_OF_SOURCE] == 11
        assert run.intake.lines_read == 10


@in_virtual_time
async def test_nothing_is_queued_while_the_disk_works(tmp_path: Path) -> None:
    write_lines(tmp_path, 10)
    async with file_run(tmp_path, FakeDisk(), is_slow_disk=True) as run:
        assert await steps(run) == [0, 4, 8, 10]
        assert run.queued() == list(range(1, 11))


@pytest.mark.parametrize(
    "crash_bound, intended",
    [(0, [0, 4, 8, 12, 14]), (7, [0, 4, 8, 12, 14]), (8, [0, 8, 12, 14]), (16, [0, 8, 14]), (100, [0, 8, 14])],
)
@in_virtual_time
async def test_two_windows_share_a_sync_only_as_far_as_a_crash_may_leave_them_open(
    tmp_path: Path, crash_bound: int, intended: list[int]
) -> None:
    write_lines(tmp_path, 14)
    async with file_run(tmp_path, FakeDisk(), limits=limits(crash_bound=crash_bound), is_slow_disk=True) as run:
        assert await steps(run) == intended


@in_virtual_time
async def test_in_order_each_window_has_its_own_sync(tmp_path: Path) -> None:
    write_lines(tmp_path, 14)
    queue = ChunkQueue(lookahead=100, max_outstanding=100, is_ordered=True)
    async with file_run(tmp_path, FakeDisk(), limits=limits(crash_bound=100), queue=queue, is_slow_disk=True) as run:
        assert await steps(run) == [0, 4, 8, 12, 14]


@in_virtual_time
async def test_until_the_claim_is_proved_one_window_is_open_and_its_lines_are_noted_with_its_intent(
    tmp_path: Path,
) -> None:
    write_lines(tmp_path, 14)
    async with file_run(
        tmp_path, FakeDisk(), limits=limits(crash_bound=100), prover=NeverProves(), is_slow_disk=True
    ) as run:
        assert await steps(run, seconds=100) == [0, 4]
        assert run.log.state.notes[UNSENT] == [[0, 1, 4]]


@pytest.mark.parametrize("max_lines, is_at_limit, lines", [(6, True, 6), (8, True, 8), (10, True, 10), (11, False, 10)])
@in_virtual_time
async def test_a_limit_cuts_the_reading_and_the_next_execution_goes_on_behind_it(
    *, tmp_path: Path, max_lines: int, is_at_limit: bool, lines: int
) -> None:
    write_lines(tmp_path, 10)
    disk = FakeDisk()
    async with file_run(tmp_path, disk, limits=limits(max_lines=max_lines)) as run:
        await run.intake.run()
        assert (run.stop.is_at_limit, run.stop.is_requested) == (is_at_limit, False)
        assert (run.queued(), run.intake.lines_read) == (list(range(1, lines + 1)), lines)
        await run.log.sync()
        assert (END_OF_SOURCE in run.log.state.notes) is not is_at_limit
        run.settlement.conclude([line(n) for n in range(1, lines + 1)], [Created(n) for n in range(1, lines + 1)])
    async with file_run(tmp_path, disk) as run:
        await run.intake.run()
        assert run.queued() == list(range(lines + 1, 11))


@in_virtual_time
async def test_lines_of_a_slow_source_do_not_wait_for_company(tmp_path: Path) -> None:
    write_lines(tmp_path, 5)
    async with file_run(tmp_path, FakeDisk(), limits=limits(crash_bound=100), is_slow=True) as run:
        assert await steps(run, seconds=60) == [0, 1, 2, 3, 4, 5]
        assert run.intake.waited_seconds == pytest.approx(50)


@in_virtual_time
async def test_while_a_slow_source_is_silent_the_intake_says_that_it_waits(tmp_path: Path) -> None:
    write_lines(tmp_path, 1)
    async with file_run(tmp_path, FakeDisk(), is_slow=True) as run:
        task = asyncio.create_task(run.intake.run())
        await asyncio.sleep(5)
        assert run.intake.is_waiting
        await task
        assert not run.intake.is_waiting


@in_virtual_time
async def test_while_there_is_no_room_nothing_is_intended(tmp_path: Path) -> None:
    write_lines(tmp_path, 10)
    has_room = asyncio.Event()
    async with file_run(tmp_path, FakeDisk(), demand=Demand(has_room=has_room)) as run:
        task = asyncio.create_task(run.intake.run())
        await asyncio.sleep(100)
        assert intended_lines(run.disk) == 0
        has_room.set()
        await task
        assert intended_lines(run.disk) == 10


@in_virtual_time
async def test_while_too_much_is_outstanding_nothing_more_is_intended(tmp_path: Path) -> None:
    write_lines(tmp_path, 10)
    queue = ChunkQueue(lookahead=100, max_outstanding=3)
    async with file_run(tmp_path, FakeDisk(), queue=queue) as run:
        task = asyncio.create_task(run.intake.run())
        await asyncio.sleep(100)
        assert intended_lines(run.disk) == 4
        run.settlement.conclude([line(1)], [Created(1)])
        await asyncio.sleep(1)
        assert intended_lines(run.disk) == 8
        task.cancel()


@in_virtual_time
async def test_a_run_that_stops_intends_nothing_more(tmp_path: Path) -> None:
    write_lines(tmp_path, 10)
    has_room = asyncio.Event()
    async with file_run(tmp_path, FakeDisk(), demand=Demand(has_room=has_room)) as run:
        task = asyncio.create_task(run.intake.run())
        await asyncio.sleep(1)
        run.stop.interrupt(2)
        has_room.set()
        await asyncio.wait_for(task, 1)
        assert (intended_lines(run.disk), run.queue.outstanding) == (0, 0)
        assert END_OF_SOURCE not in run.log.state.notes


@in_virtual_time
async def test_lines_that_are_refused_have_their_outcome_at_once_and_blank_ones_need_none(tmp_path: Path) -> None:
    (tmp_path / "lines.ndjson").write_bytes(b'{"n":1}\nno object\n\n{"n":4}\n')
    async with file_run(tmp_path, FakeDisk()) as run:
        await run.intake.run()
        assert run.queued() == [1, 4]
        slots = await run.memory.logged()
        assert slots[3] is Blank.BLANK
        assert isinstance(slots[2], Exceptional)
        assert isinstance(slots[2].outcome, Rejected)
        assert slots.keys() == {2, 3}


@in_virtual_time
async def test_lines_before_a_fault_of_the_source_are_good(tmp_path: Path) -> None:
    write_lines(tmp_path, 3)
    async with file_run(tmp_path, FakeDisk()) as run:
        with (tmp_path / "lines.ndjson").open("r+b") as source:
            source.truncate(23)  # two lines and a half
        with pytest.raises(SourceError, match="behind line 2"):
            await run.intake.run()
        assert run.queued() == [1, 2]
        assert END_OF_SOURCE not in run.log.state.notes


@in_virtual_time
async def test_who_only_settles_what_is_ambiguous_reads_nothing_new(tmp_path: Path) -> None:
    write_lines(tmp_path, 10)
    async with file_run(tmp_path, FakeDisk(), demand=Demand(reads_new=False)) as run:
        await run.intake.run()
        assert (intended_lines(run.disk), run.queued()) == (0, [])
