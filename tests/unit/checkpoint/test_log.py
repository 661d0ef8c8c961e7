"""What the caller of the log may rely on, step by step."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loader.checkpoint import CheckpointLog, Sizes, Spot, State, Tools, read_run_directory
from loader.checkpoint.tools import Worker
from loader.checkpoint.windows import Slot
from loader.errors import LogDamaged, LogStorageFailed
from loader.model import Ambiguous, Counts, Created, Outcome, Record, Rejected, Updated, Window

RUN = "k3j9abcdef"
NOWHERE = Path("/nowhere")
NEVER = Sizes(fold_lines=10**9, snapshot_bytes=10**9, rotate_bytes=10**9, close_bytes=10**9)


def window(first: int, end: int, *blanks: int, source: int = 0) -> Window:
    return Window(source, first, end, first * 10, end * 10, 5, end - first - len(blanks), blanks)


def spots(*lines: int, source: int = 0) -> list[Spot]:
    return [Spot(source, line, line * 10) for line in lines]


async def new(tools: Tools) -> CheckpointLog:
    return await CheckpointLog.create(NOWHERE, RUN, {"table": "tcust"}, tools=tools)


async def reopen(tools: Tools, **more: Any) -> CheckpointLog:
    return await CheckpointLog.open(NOWHERE, RUN, tools=tools, **more)


def slots_of(disk: Any) -> dict[tuple[int, int], Slot]:
    with read_run_directory(NOWHERE, storage=disk) as run:
        return {(source, line): slot for source, line, slot in run.each_slot()}


def summary(state: State) -> dict[str, Any]:
    return {
        "counts": state.counts,
        "notes": state.notes,
        "open": [(live.window, live.unresolved_lines(), live.doubts) for live in state.unresolved_windows()],
        "settled": {source: state.settled(source) for source in state.sources},
        "ends": {source: state.last_intent_end(source) for source in state.sources},
        "bound": state.bound,
    }


# --- a plain run ----------------------------------------------------------------------------------------------------------


async def test_a_run_is_read_back_as_it_was_written(disk: Any, tools: Tools) -> None:
    log = await new(tools)
    await log.intend([window(1, 9, 3)])
    log.settle(spots(1, 2), [Created(1547), Created("660fa9bd6a831e0f4f02446f")])
    log.settle(spots(5), [Rejected("target", "400", "no\ud800 such field")])
    log.settle(spots(7, 6, 8), [Created(None), Updated(), Updated(is_unchanged=True)])
    log.doubt(spots(4)[0], "timed out")
    log.note("rate", 120.5)
    log.note("ceiling", {"bytes": (1, 2)})
    log.note("rate", 99)
    await log.sync()
    live = summary(log.state)
    assert log.state.counts == Counts(
        lines=8, created=3, updated=2, unchanged=1, rejected=1, skipped_blank=1, ids_unknown=1
    )
    assert log.state.counts.settled == 7
    assert live["notes"] == {"rate": 99, "ceiling": {"bytes": [1, 2]}}
    assert live["open"] == [(window(1, 9, 3), [4], {4: "timed out"})]
    assert [log.state.is_settled(0, line) for line in (0, 1, 3, 4, 9)] == [False, True, True, False, False]
    assert log.state.last_intent_end(0) == (9, 90)
    assert log.state.last_intent_end(1) == (1, 0)
    disk.kill()
    with read_run_directory(NOWHERE, storage=disk) as run:
        assert summary(run.state) == live
        assert [row[1:] for row in run.ids()] == [(1, 1547), (2, "660fa9bd6a831e0f4f02446f"), (7, None)]
        assert [row[1:] for row in run.rejects()] == [(5, 50, Rejected("target", "400", "no? such field"))]
        assert [row[1:] for row in run.ambiguous()] == [(4, None, Ambiguous("timed out"), True)]
    again = await reopen(tools)
    assert summary(again.state) == live
    assert again.state.executions == 2
    assert again.state.warnings == []
    again.settle(spots(4), [Ambiguous("held")])
    again.note("rate", None)
    await again.close()
    assert again.state.settled(0) == [(1, 9)]
    assert again.state.notes == {"ceiling": {"bytes": [1, 2]}}
    with read_run_directory(NOWHERE, storage=disk) as run:
        assert [row[1:] for row in run.ambiguous()] == [(4, 40, Ambiguous("held"), False)]
        assert summary(run.state) == summary(again.state)


async def test_outcomes_of_a_turn_are_one_write_and_one_entry(disk: Any, tools: Tools) -> None:
    log = await new(replace(tools, sizes=NEVER))
    await log.intend([window(1, 101)])
    written = len(disk.names["checkpoint.log"].data)
    log.settle([Record(0, line, line * 10, b"") for line in range(1, 51)], [Created(line) for line in range(1, 51)])
    log.settle(spots(60), [Created(60)])
    before = disk.operations.count("append")
    assert len(disk.names["checkpoint.log"].data) == written
    await asyncio.sleep(0)
    assert disk.operations.count("append") == before + 1
    (line,) = disk.names["checkpoint.log"].data[written:].splitlines()
    assert json.loads(line)["created"] == [[1, 51], 60]
    await log.close()


async def test_an_intent_is_durable_when_intend_returns(disk: Any, tools: Tools) -> None:
    log = await new(tools)
    await asyncio.gather(log.intend([window(1, 5), window(5, 9)]), log.intend([window(1, 3, source=1)]))
    assert disk.names["checkpoint.log"].durable.count(b'"intent"') == 3
    await log.close()


async def test_outcomes_are_synced_without_being_asked(tmp_path: Path) -> None:
    log = await CheckpointLog.create(tmp_path, RUN, {})
    await log.intend([window(1, 5)])
    log.settle(spots(1), [Created(1)])
    await asyncio.sleep(0)
    while log._writer.synced_n < log.state.last_n:  # bounded by the test's time limit
        await asyncio.sleep(0.01)
    await log.close()
    with read_run_directory(tmp_path) as run:
        assert list(run.ids()) == [(0, 1, 1)]
    files = ["checkpoint.intended", "checkpoint.log", "checkpoint.settled"]
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


# --- later outcomes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_folded", [False, True])
async def test_a_later_outcome_counts(disk: Any, tools: Tools, *, is_folded: bool) -> None:
    log = await new(tools)
    await log.intend([window(1, 5)])
    log.settle(spots(1, 2, 3, 4), [Created(1), Ambiguous("lost"), Ambiguous("lost"), Rejected("target", "500", "x")])
    if is_folded:
        await log.close()
        log = await reopen(tools)
        assert len(list(log.state.folds())) == 1
    log.settle(spots(2, 4), [Created(7), Updated()])
    log.settle(spots(2), [Created(8)])
    log.settle(spots(3), [Ambiguous("still lost")])
    await log.sync()
    assert log.state.counts == Counts(lines=4, created=2, updated=1, ambiguous=1)
    expected = {1: Created(1), 2: Created(8), 3: Ambiguous("still lost"), 4: Updated()}
    disk.kill()
    for _ in range(3):
        with read_run_directory(NOWHERE, storage=disk) as run:
            assert run.state.counts == log.state.counts
            assert {row.line: row.id for row in run.ids()} == {1: 1, 2: 8}
            assert [(row.line, row.outcome) for row in run.ambiguous()] == [(3, expected[3])]
        log = await reopen(tools)
        assert await log.find_ids({1, 7, 8, 9}) >= {1, 8}
        assert 9 not in await log.find_ids({1, 7, 8, 9})
        await log.close()
        assert log.state.amendments == {}


async def test_later_outcomes_of_folded_lines_do_not_pile_up(disk: Any, tools: Tools) -> None:
    """As where a list tells the ids of a million records: nothing else happens that would have them folded in."""
    log = await new(tools)
    await fill(log, 1, 401)
    await log.close()
    disk.kill()
    log = await reopen(tools)
    held = 0
    for line in range(1, 401, 4):
        log.settle(spots(line, line + 2), [Created(line + 10_000), Created(None)])
        await log.sync()
        await asyncio.sleep(0)
        held = max(held, len(log.state.amendments))
    assert held < 20
    assert log.state.counts.ids_unknown == 100
    await log.close()
    assert {line: slot for (_, line), slot in slots_of(disk).items() if line % 4 == 1} == {
        line: line + 10_000 for line in range(1, 401, 4)
    }


async def test_lines_of_several_windows_may_be_settled_at_once(disk: Any, tools: Tools) -> None:
    log = await new(tools)
    await log.intend([window(1, 4), window(4, 6)])
    log.settle(spots(1, 5, 2, 4, 3), [Created(line) for line in (1, 5, 2, 4, 3)])
    await log.close()
    assert {line: slot for (_, line), slot in slots_of(disk).items()} == {1: 1, 2: 2, 3: 3, 4: 4, 5: 5}


# --- bugs of the caller ---------------------------------------------------------------------------------------------------


async def test_what_makes_no_sense_is_refused_before_it_is_written(disk: Any, tools: Tools) -> None:
    log = await new(tools)
    await log.intend([window(1, 5, 2)])
    size = len(disk.names["checkpoint.log"].data)
    for windows in ([window(4, 6)], [window(5, 5)], [window(5, 8), window(7, 9)], [window(5, 7, 9)], [window(0, 1)]):
        with pytest.raises(ValueError, match=r"intended already|not a window|outside"):
            await log.intend(windows)
    one: list[Outcome] = [Created(1)]
    with pytest.raises(ValueError, match="never intended"):
        log.settle(spots(5), one)
    with pytest.raises(ValueError, match="never intended"):
        log.settle(spots(1, source=1), one)
    with pytest.raises(ValueError, match="two outcomes"):
        log.settle(spots(1, 1), one * 2)
    with pytest.raises(ValueError, match="1 outcomes for 2 lines"):
        log.settle(spots(1, 3), one)
    log.settle([], [])
    await log.sync()
    assert len(disk.names["checkpoint.log"].data) == size
    await log.close()


async def test_an_outcome_of_a_blank_line_stops_the_run_and_is_not_written(disk: Any, tools: Tools) -> None:
    log = await new(tools)
    await log.intend([window(1, 5, 2)])
    log.settle(spots(2), [Created(1)])
    with pytest.raises(ValueError, match="no letter"):
        await log.sync()
    assert log.failure is not None
    await log.close()
    assert slots_of(disk)[0, 1] is None


# --- the disk fails -------------------------------------------------------------------------------------------------------


async def test_a_failed_sync_is_never_repeated(disk: Any, tools: Tools) -> None:
    log = await new(tools)
    await log.intend([window(1, 5)])
    disk.fail[len(disk.operations) + 1] = errno.EIO  # after the append
    with pytest.raises(LogStorageFailed, match="cannot be synced"):
        await log.intend([window(5, 9)])
    count = disk.operations.count("sync")
    assert log.failure is not None
    log.settle(spots(1), [Created(1)])
    with pytest.raises(LogStorageFailed):
        await log.sync()
    with pytest.raises(LogStorageFailed):
        await log.intend([window(9, 12)])
    await log.close()
    assert disk.operations.count("sync") == count
    assert log.state.counts.created == 1  # what is in flight is still written, as long as that is possible
    assert slots_of(disk)[0, 1] == 1


async def test_a_failed_write_ends_writing(disk: Any, tools: Tools) -> None:
    log = await new(tools)
    await log.intend([window(1, 5)])
    disk.fail[len(disk.operations)] = errno.EIO
    log.settle(spots(1), [Created(1)])
    await asyncio.sleep(0)
    assert isinstance(log.failure, LogStorageFailed)
    count = disk.operations.count("append")
    log.settle(spots(2), [Created(2)])
    await asyncio.sleep(0)
    await log.close()
    assert disk.operations.count("append") == count
    assert log.state.counts == Counts(lines=4)  # what was not written is not known


async def test_on_a_full_disk_the_ballast_makes_room_for_what_is_in_flight(disk: Any, tools: Tools) -> None:
    disk.capacity = 4000
    log = await new(tools)
    end = 1
    while log.failure is None:
        end += 1
        with contextlib.suppress(LogStorageFailed):
            await log.intend([window(end - 1, end)])
    with pytest.raises(LogStorageFailed, match="the disk is full"):
        await log.sync()
    assert "checkpoint.ballast" not in disk.names
    open_lines = [line for live in log.state.unresolved_windows() for line in live.unresolved_lines()]
    assert len(open_lines) == end - 1  # the intent that met the full disk was written whole
    log.settle(spots(*open_lines[:5]), [Created(line) for line in open_lines[:5]])
    await asyncio.sleep(0)
    await log.close()
    assert [line for (_, line), slot in slots_of(disk).items() if slot] == open_lines[:5]
    disk.capacity = None
    again = await reopen(tools)
    assert again.state.warnings == []
    await again.close()


async def test_a_disk_that_is_full_from_the_start_is_told_at_once(disk: Any, tools: Tools) -> None:
    disk.capacity = 50
    with pytest.raises(LogStorageFailed, match="No space left"):
        await new(tools)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
async def test_a_failure_at_any_operation_loses_nothing_that_was_acknowledged(
    disk: Any, tools: Tools, number: int
) -> None:
    for at in range(90):
        disk.__init__()
        disk.fail[at] = number
        acknowledged = []
        log = None
        try:
            log = await new(tools)
            for first in range(1, 60, 3):
                await log.intend([window(first, first + 3)])
                log.settle(
                    spots(first, first + 1, first + 2), [Created(first), Updated(), Rejected("target", "4", "x")]
                )
                await log.sync()
                acknowledged += [first, first + 1, first + 2]
        except LogStorageFailed:
            pass
        if log:
            with contextlib.suppress(LogStorageFailed):
                await log.close()
        disk.cut_power(random.Random(at))
        if log:
            known = {line for (_, line), slot in slots_of(disk).items() if slot is not None}
            assert known >= set(acknowledged), at
            again = await reopen(tools)
        elif "checkpoint.log" in disk.names:
            again = await reopen(tools, bound={"table": "tcust"})
        else:
            again = await new(tools)
        assert again.state.bound == {"table": "tcust"}
        assert again.state.counts.settled >= len(acknowledged)
        await again.close()


async def test_a_log_that_is_removed_stops_the_run(disk: Any, tools: Tools) -> None:
    log = await new(tools)
    await log.intend([window(1, 5)])
    del disk.names["checkpoint.log"]
    with pytest.raises(LogStorageFailed, match="removed"):
        await log.intend([window(5, 9)])
    await log.close()


# --- folds, snapshots, generations ------------------------------------------------------------------------------------------


async def fill(log: CheckpointLog, first: int, end: int, *, is_settled: bool = True) -> None:
    for line in range(first, end, 4):
        await log.intend([window(line, line + 4, line + 1)])
        if is_settled:
            log.settle(spots(line, line + 2), [Created(line), Rejected("target", "400", "x")])
            log.settle(spots(line + 3), [Ambiguous("lost") if line % 3 else Created(f"{line:024x}")])


async def test_folds_change_nothing_of_what_is_known(disk: Any, tools: Tools) -> None:
    log = await new(tools)
    log.note("rate", 5)
    await fill(log, 1, 9, is_settled=False)
    await fill(log, 9, 401)
    await log.intend([window(1, 30, source=2)])
    log.settle(spots(5, source=2), [Updated()])
    log.settle(spots(12), [Created(9)])
    await log.sync()
    assert log.state.header.generation > 0
    assert len(list(log.state.folds())) > 10
    live, slots = summary(log.state), slots_of(disk)
    disk.kill()

    disk.__init__()
    plain = await new(replace(tools, sizes=NEVER))
    plain.note("rate", 5)
    await fill(plain, 1, 9, is_settled=False)
    await fill(plain, 9, 401)
    await plain.intend([window(1, 30, source=2)])
    plain.settle(spots(5, source=2), [Updated()])
    plain.settle(spots(12), [Created(9)])
    await plain.sync()
    assert list(plain.state.folds()) == []
    assert summary(plain.state) == live
    assert slots_of(disk) == slots


async def test_folds_may_be_deleted_while_the_log_is_of_its_first_generation(disk: Any, tools: Tools) -> None:
    log = await new(replace(tools, sizes=replace(tools.sizes, rotate_bytes=10**9, close_bytes=10**9)))
    await fill(log, 1, 201)
    log.settle(spots(3), [Created(77)])
    await log.close()
    live, slots = summary(log.state), slots_of(disk)
    assert len(list(log.state.folds())) > 5
    del disk.names["checkpoint.settled"]
    assert slots_of(disk) == slots
    again = await reopen(tools)
    assert summary(again.state) == live
    await again.close()
    assert slots_of(disk) == slots


async def test_a_long_log_without_folds_is_packed_while_it_is_read(disk: Any, tools: Tools, monkeypatch: Any) -> None:
    monkeypatch.setattr("loader.checkpoint.load._MAX_UNFOLDED", 50)
    monkeypatch.setattr("loader.checkpoint.source_state.FOLD_LINES", 8)
    log = await new(replace(tools, sizes=NEVER))
    for line in range(1, 6001, 20):
        await log.intend([window(line, line + 20)])
        log.settle(spots(*range(line, line + 20)), [Created(at) for at in range(line, line + 20)])
    log.settle(spots(7), [Ambiguous("undone")])
    await log.sync()
    live, slots = summary(log.state), slots_of(disk)
    disk.kill()
    del disk.names["checkpoint.settled"]
    assert slots_of(disk) == slots
    again = await reopen(tools)
    assert summary(again.state) == live
    assert len(list(again.state.folds())) >= 1
    await again.close()
    assert slots_of(disk) == slots


async def test_reading_begins_at_the_newest_snapshot(disk: Any, tools: Tools) -> None:
    log = await new(replace(tools, sizes=replace(tools.sizes, rotate_bytes=10**9, close_bytes=10**9)))
    await fill(log, 1, 401)
    await log.close()
    data = disk.names["checkpoint.log"].data
    at = data.index(b'{"t":"snapshot"')
    live, slots = summary(log.state), slots_of(disk)
    header_end = data.index(b"\n") + 1
    disk.names["checkpoint.log"].data = data[:header_end] + bytes(at - header_end) + data[at:]  # nobody looks there
    assert slots_of(disk) == slots
    again = await reopen(tools)
    assert summary(again.state) == live
    await again.close()


async def test_folds_are_needed_after_the_first_renewal(disk: Any, tools: Tools) -> None:
    log = await new(tools)
    await fill(log, 1, 201)
    await log.close()
    assert log.state.header.generation > 0
    settled = disk.names["checkpoint.settled"]
    whole = settled.data
    for data in (None, whole[:-1], whole[: len(whole) // 2], b"", b"noise\n" * 500):
        if data is None:
            del disk.names["checkpoint.settled"]
        else:
            settled.data = data
            disk.names["checkpoint.settled"] = settled
        with pytest.raises(LogDamaged, match=r"checkpoint\.settled"):
            slots_of(disk)
        with pytest.raises(LogDamaged, match=r"checkpoint\.settled"):
            await reopen(tools)


async def test_a_fold_whose_body_was_torn_is_made_again(disk: Any, tools: Tools) -> None:
    log = await new(
        replace(tools, sizes=replace(tools.sizes, rotate_bytes=10**9, snapshot_bytes=10**9, close_bytes=10**9))
    )
    await fill(log, 1, 201)
    await log.close()
    slots = slots_of(disk)
    whole = disk.names["checkpoint.settled"].data
    body = whole.rindex(b'{"t":"body"', 0, len(whole) // 2)
    disk.names["checkpoint.settled"].data = whole[: body + 30] + b"\0" * 20 + whole[body + 50 :]
    assert slots_of(disk) == slots
    again = await reopen(tools)
    assert again.state.counts == log.state.counts
    await again.close()
    assert slots_of(disk) == slots


@pytest.mark.parametrize("is_cancelled", [True, False])
@pytest.mark.parametrize("turns", [0, 4, 12, 30])
async def test_a_log_that_is_closed_leaves_nothing_at_work(tools: Tools, turns: int, is_cancelled: bool) -> None:
    # Seeds 33689 and 11782 of the simulation: a fold was begun beside the last one, or its file was closed under it.
    busy: set[object] = set()

    class Slow(Worker):
        def __call__(self, work: Any, /) -> Any:
            async def wait() -> Any:
                busy.add(work)
                for _ in range(turns):
                    await asyncio.sleep(0.002)
                busy.discard(work)
                return work()

            return asyncio.ensure_future(wait())

        def close(self) -> None:
            assert not busy

    before = asyncio.all_tasks()
    # Always due for a new generation: each sync looks whether one may be begun.
    log = await new(replace(tools, new_worker=Slow, sizes=replace(tools.sizes, rotate_bytes=1, close_bytes=10**9)))
    for first in range(1, 100, 8):
        await log.intend([window(first, first + 8)])
        for line in range(first, first + 8):
            log.settle(spots(line), [Created(line)])
    closing = asyncio.create_task(log.close())
    if is_cancelled:
        for _ in range(2):
            await asyncio.sleep(0.003)
            closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    assert not busy
    await asyncio.sleep(0)
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}
