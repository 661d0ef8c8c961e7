"""What an execution takes up of earlier ones: unsent lines are sent, all other open lines are doubted, the source is checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from loader.checkpoint import AmbiguousLine
from loader.checkpoint.notes import UNSENT
from loader.delivery.queue import ChunkQueue
from loader.errors import SourceError
from loader.model import Ambiguous, Created, Outcome, Record
from loader.pipeline.intake import Demand, Limits
from loader.pipeline.resume import FORGOTTEN, INTERRUPTED
from loader.settings import CanbusAdd, OzariUpdate, TargetSettings
from tests.unit.checkpoint.conftest import FakeDisk
from tests.unit.delivery.memory_run import line
from tests.unit.pipeline.file_run import ADD, file_run, intended_lines, write_lines
from tests.unit.virtual_loop import in_virtual_time

LINE_BYTES = len(b'{"n":   1}\n')
FIRST_EIGHT = Limits(window_lines=4, max_lines=8, crash_bound=0)


async def interrupted(
    folder: Path,
    *,
    settled: Iterable[int] = (),
    unsent: Sequence[list[int]] = (),
    settings: TargetSettings = ADD,
    limits: Limits = FIRST_EIGHT,
) -> FakeDisk:
    """Let an execution intend lines 1 to 8, settle some of them, note what it did not send, and end."""
    disk = FakeDisk()
    async with file_run(folder, disk, settings=settings, limits=limits) as run:
        await run.intake.run()
        records = [line(number) for number in settled]
        outcomes: list[Outcome] = [Created(100 + record.number) for record in records]
        for record, outcome in zip(records, outcomes, strict=True):
            run.log.settle([record], [outcome])
        run.log.note(UNSENT, list(unsent))
    return disk


# --- open windows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settled, unsent, sent, doubted",
    [
        ([], [], [], [1, 2, 3, 4, 5, 6, 7, 8]),
        ([1, 2, 3, 4], [], [], [5, 6, 7, 8]),
        ([2, 7], [], [], [1, 3, 4, 5, 6, 8]),
        ([], [[0, 2, 3]], [2, 3], [1, 4, 5, 6, 7, 8]),  # the line behind a range may have left
        ([1], [[0, 3, 6]], [3, 4, 5, 6], [2, 7, 8]),
        ([], [[0, 8, 8]], [8], [1, 2, 3, 4, 5, 6, 7]),
        ([2], [[0, 1, 8]], [1, 3, 4, 5, 6, 7, 8], []),
        (range(1, 9), [[0, 1, 8]], [], []),
    ],
)
@in_virtual_time
async def test_unsent_lines_are_sent_and_the_other_open_ones_are_doubted(
    tmp_path: Path, settled: Iterable[int], unsent: Sequence[list[int]], sent: list[int], doubted: list[int]
) -> None:
    write_lines(tmp_path, 8)
    disk = await interrupted(tmp_path, settled=settled, unsent=unsent)
    async with file_run(tmp_path, disk) as run:
        await run.intake.run()
        assert (run.queued(), run.doubts()) == (sent, doubted)
        assert {reason for _, reason, _ in run.doubted.taken if doubted} <= {INTERRUPTED}
        assert run.queue.outstanding == len(sent) + len(doubted)
        assert not run.unsent.earlier.difference((0, number) for number in settled), "all are taken up"


@in_virtual_time
async def test_new_lines_come_behind_what_was_left(tmp_path: Path) -> None:
    write_lines(tmp_path, 12)
    disk = await interrupted(tmp_path, settled=range(1, 7), unsent=[[0, 7, 8]])
    async with file_run(tmp_path, disk) as run:
        await run.intake.run()
        assert (run.queued(), run.doubts()) == ([7, 8, 9, 10, 11, 12], [])


@in_virtual_time
async def test_who_only_settles_what_is_ambiguous_leaves_unsent_lines_for_a_resume(tmp_path: Path) -> None:
    write_lines(tmp_path, 8)
    disk = await interrupted(tmp_path, settled=range(1, 5), unsent=[[0, 6, 7]])
    async with file_run(tmp_path, disk, demand=Demand(reads_new=False)) as run:
        await run.intake.run()
        assert (run.queued(), run.doubts()) == ([], [5, 8])
        run.unsent.note()
        await run.log.sync()
        assert run.log.state.notes[UNSENT] == [[0, 6, 7]]


@in_virtual_time
async def test_a_line_that_was_refused_is_refused_again_where_its_outcome_was_lost(tmp_path: Path) -> None:
    (tmp_path / "lines.ndjson").write_bytes(b'{"n":1}\nno object\n\n{"n":4}\n')
    disk = FakeDisk()
    async with file_run(tmp_path, disk) as run:
        await run.intake.run()
        lost = len(disk.names["checkpoint.log"].durable)  # up to the intent
    node = disk.names["checkpoint.log"]
    node.data = node.durable = node.data[:lost]
    async with file_run(tmp_path, disk) as run:
        (live,) = run.log.state.unresolved_windows()
        assert live.unresolved_lines() == [1, 2, 4]
        await run.intake.run()
        await run.log.sync()
        assert live.unresolved_lines() == [1, 4]
        assert run.doubts() == [1, 4]


@in_virtual_time
async def test_a_record_with_the_lock_of_a_doubtful_one_waits_for_its_outcome(tmp_path: Path) -> None:
    (tmp_path / "lines.ndjson").write_bytes(b'{"k":"a"}\n{"k":"b"}\n{"k":"a"}\n{"k":"a"}\n')
    settings = CanbusAdd("tom", key="k", is_unique=True)
    disk = await interrupted(tmp_path, unsent=[[0, 3, 3]], settings=settings)
    async with file_run(tmp_path, disk, settings=settings) as run:
        await run.intake.run()
        assert (run.queued(), run.doubts()) == ([], [1, 2])
        first = run.parts.target.shaper.shape({"k": "a"}, b'{"k":"a"}', 0, 1, 0)
        assert isinstance(first, Record)
        run.settlement.conclude([first], [Created(1)])
        assert (run.queued(), run.doubts()) == ([3], [1, 2])
        run.settlement.conclude([first._replace(number=3)], [Created(3)])
        assert run.doubts() == [1, 2, 4]


# --- a source that changed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 5 * LINE_BYTES])
@in_virtual_time
async def test_lines_that_are_not_what_they_were_are_refused_and_nothing_of_their_window_leaves(
    tmp_path: Path, at: int
) -> None:
    write_lines(tmp_path, 8)
    disk = await interrupted(tmp_path, unsent=[[0, 1, 8]])
    async with file_run(tmp_path, disk) as run:
        with (tmp_path / "lines.ndjson").open("r+b") as source:
            source.seek(at)
            source.write(b'{"n":9999}\n')
        with pytest.raises(SourceError, match="are not what they were"):
            await run.intake.run()
        assert run.queued() == [1, 2, 3, 4][: 4 if at else 0]


# --- ambiguous lines ----------------------------------------------------------------------------------------------------


def ambiguous(number: int) -> AmbiguousLine:
    return AmbiguousLine(0, number, (number - 1) * LINE_BYTES, Ambiguous("lost"), is_unresolved=False)


@pytest.mark.parametrize("is_ordered, doubts", [(False, [7, 8, 2]), (True, [2, 7, 8])])
@in_virtual_time
async def test_ambiguous_lines_are_doubted_again_for_their_own_reason_and_in_order_before_all_others(
    *, tmp_path: Path, is_ordered: bool, doubts: list[int]
) -> None:
    write_lines(tmp_path, 8)
    disk = await interrupted(tmp_path, settled=range(1, 7))
    queue = ChunkQueue(lookahead=100, max_outstanding=100, is_ordered=is_ordered)
    demand = Demand(reads_new=False)
    async with file_run(tmp_path, disk, ambiguous=[ambiguous(2)], queue=queue, demand=demand) as run:
        if is_ordered:
            run.stop.on_request(queue.close)
            queue.close()  # nobody settles anything here, and in order the intake waits for that
        await run.intake.run()
        assert run.doubts() == doubts
        assert ([2], "lost", None) in run.doubted.taken


@in_virtual_time
async def test_an_ambiguous_line_that_is_no_record_any_more_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path, 8)
    disk = await interrupted(tmp_path, settled=range(1, 9))
    async with file_run(tmp_path, disk, ambiguous=[ambiguous(2)]) as run:
        with (tmp_path / "lines.ndjson").open("r+b") as source:
            source.seek(LINE_BYTES)
            source.write(b"no object\n")
        with pytest.raises(SourceError, match=r"line 2 of .* is not what it was"):
            await run.intake.run()
        assert run.doubts() == []


@in_virtual_time
async def test_an_ambiguous_update_that_a_later_one_has_overtaken_is_left_alone(tmp_path: Path) -> None:
    row = b'{"filters":{"id":%d},"fields":{"n":%d}}\n'
    lines = [row % pair for pair in [(1, 1), (2, 2), (1, 3), (3, 4)]]
    (tmp_path / "lines.ndjson").write_bytes(b"".join(lines))
    settings = OzariUpdate("tcity")
    disk = await interrupted(tmp_path, settled=range(1, 5), settings=settings)
    rows = [ambiguous(number)._replace(offset=len(lines[0]) * (number - 1)) for number in (1, 2)]
    async with file_run(tmp_path, disk, settings=settings, ambiguous=rows) as run:
        await run.intake.run()
        assert run.doubts() == [2], "line 3 changed the row of line 1 since"


# --- a log that came back shorter ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_lines_that_a_shortened_log_forgot_are_intended_anew_and_doubted(tmp_path: Path) -> None:
    write_lines(tmp_path, 12)
    settings = CanbusAdd("tom", stamp="stamp", is_unique=True)
    disk = await interrupted(tmp_path, settled=range(1, 5), settings=settings, limits=FIRST_EIGHT)
    backup = disk.names["checkpoint.log"].data
    settled = disk.names["checkpoint.settled"].data
    async with file_run(tmp_path, disk, settings=settings) as run:
        await run.intake.run()
        assert intended_lines(disk) == 12
    for name, data in (("checkpoint.log", backup), ("checkpoint.settled", settled)):
        disk.names[name].data = disk.names[name].durable = data
    async with file_run(tmp_path, disk, settings=settings) as run:
        await run.intake.run()
        assert (run.queued(), run.doubts()) == ([], [5, 6, 7, 8, 9, 10, 11, 12])
        assert run.doubted.taken[-1] == ([9, 10, 11, 12], FORGOTTEN, None)
        assert intended_lines(disk) == 12
