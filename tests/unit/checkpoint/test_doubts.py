"""The reason of a doubt: it outlives the process and whatever becomes of the log, and costs neither a sync nor an outcome."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loader.checkpoint import CheckpointLog, Sizes, Spot, Tools, read_run_directory
from loader.checkpoint.repair.rewrite import REASON, Repair
from loader.checkpoint.writer import SYNC_SECONDS
from loader.model import Ambiguous, Created, Window

RUN = "k3j9abcdef"
NOWHERE = Path("/nowhere")
NEVER = Sizes(fold_lines=10**9, snapshot_bytes=10**9, rotate_bytes=10**9, close_bytes=10**9)
RESET = "connection reset"


def spot(line: int, source: int = 0) -> Spot:
    return Spot(source, line, line * 10)


async def new(tools: Tools, *ends: int) -> CheckpointLog:
    """Make a log with windows of 9 lines up to each end, one a source."""
    log = await CheckpointLog.create(NOWHERE, RUN, {}, tools=tools)
    for source, end in enumerate(ends):
        await log.intend([Window(source, line, line + 9, line * 10, line * 10 + 90, 5, 9) for line in range(1, end, 9)])
    return log


def reasons(disk: Any) -> dict[tuple[int, int], str]:
    """Return what `loader ambiguous` shows of lines without an outcome, those with the general reason left out."""
    with read_run_directory(NOWHERE, storage=disk) as run:
        rows = [row for row in run.ambiguous() if row.is_unresolved]
        return {(row.source, row.line): row.outcome.reason for row in rows if "no outcome" not in row.outcome.reason}


def entries(disk: Any, kind: str = "doubt") -> list[dict[str, Any]]:
    found = [json.loads(line) for line in disk.names["checkpoint.log"].data.splitlines()]
    return [entry for entry in found if entry["t"] == kind]


async def test_the_reason_outlives_the_process(disk: Any, tools: Tools) -> None:
    log = await new(tools, 10, 10)
    for line in (3, 4, 5):
        log.doubt(spot(line), RESET)
    log.doubt(spot(7), "timed out")
    log.doubt(spot(3, source=1), RESET)
    await asyncio.sleep(0)
    disk.kill()
    assert reasons(disk) == {(0, 3): RESET, (0, 4): RESET, (0, 5): RESET, (0, 7): "timed out", (1, 3): RESET}
    assert [(entry["source"], entry["lines"], entry["reason"]) for entry in entries(disk)] == [
        (0, [[3, 6]], RESET),
        (0, [7], "timed out"),
        (1, [3], RESET),
    ]
    again = await CheckpointLog.open(NOWHERE, RUN, tools=tools)
    again.doubt(spot(3), "timed out")
    await again.close()
    assert reasons(disk)[0, 3] == "timed out"


async def test_an_outcome_ends_the_doubt_whatever_comes_first(disk: Any, tools: Tools) -> None:
    log = await new(tools, 10)
    log.doubt(spot(1), RESET)
    log.settle([spot(1)], [Created(1)])
    log.settle_each([spot(2)], [Ambiguous("held")])
    log.doubt(spot(2), RESET)  # both of one turn
    log.doubt(spot(3), RESET)
    await asyncio.sleep(0)
    assert reasons(disk) == {(0, 3): RESET}
    log.settle([spot(3)], [Created(3)])
    await asyncio.sleep(0)
    written = len(disk.names["checkpoint.log"].data)
    for line in (1, 2, 3):
        log.doubt(spot(line), "asked again")
    await asyncio.sleep(0)
    assert len(disk.names["checkpoint.log"].data) == written
    assert reasons(disk) == {}
    assert log.state.counts.created == 2
    await log.close()
    with read_run_directory(NOWHERE, storage=disk) as run:
        assert [(row.line, row.outcome.reason) for row in run.ambiguous() if not row.is_unresolved] == [(2, "held")]


async def test_no_sync_is_made_for_it(disk: Any, tools: Tools) -> None:
    log = await new(tools, 10)
    syncs = disk.operations.count("sync")
    log.doubt(spot(1), RESET)
    await asyncio.sleep(2 * SYNC_SECONDS)
    assert disk.operations.count("sync") == syncs
    assert reasons(disk) == {(0, 1): RESET}
    disk.cut_power(random.Random(1))
    again = await CheckpointLog.open(NOWHERE, RUN, tools=tools)  # lost or not: the line stands open, and is asked for
    assert [live.unresolved_lines() for live in again.state.unresolved_windows()] == [list(range(1, 10))]
    again.doubt(spot(2), RESET)
    again.settle([spot(9)], [Created(9)])
    await again.sync()
    disk.cut_power(random.Random(2))
    assert reasons(disk)[0, 2] == RESET  # as durable as what was written after it
    await again.close()


async def test_a_reason_that_no_file_can_hold_is_written_all_the_same(disk: Any, tools: Tools) -> None:
    log = await new(tools, 10)
    log.doubt(spot(1), "no\ud800 answer")
    await log.sync()
    assert reasons(disk) == {(0, 1): "no? answer"}
    await log.close()


@pytest.mark.parametrize("ending", ["fold", "snapshot", "generation", "header"])
async def test_it_is_kept_by_whatever_makes_the_log_anew(disk: Any, tools: Tools, ending: str) -> None:
    sizes = {
        "fold": replace(NEVER, fold_lines=8),
        "snapshot": replace(NEVER, fold_lines=8, snapshot_bytes=300),
        "generation": replace(NEVER, fold_lines=8, rotate_bytes=5000),
        "header": NEVER,
    }[ending]
    log = await new(replace(tools, sizes=sizes), 91)
    log.doubt(spot(5), RESET)
    for line in [*range(1, 5), *range(6, 91)]:
        log.settle([spot(line)], [Created(line)])
        await log.sync()
    assert bool(list(log.state.folds())) == (ending != "header")
    assert bool(log.state.header.generation) == (ending == "generation")
    assert bool(entries(disk, "snapshot")) == (ending in {"snapshot", "generation"})
    disk.kill()
    if ending == "header":
        node = disk.names["checkpoint.log"]
        node.data = b"\0" * 60 + node.data[60:]
        again = await CheckpointLog.open(NOWHERE, RUN, {}, tools=tools)
        await again.close()
    assert reasons(disk) == {(0, 5): RESET}


@pytest.mark.parametrize("damaged", [("outcomes",), ("outcomes", "doubt")])
async def test_a_repair_keeps_it_where_it_is_left(disk: Any, tools: Tools, damaged: Sequence[str]) -> None:
    log = await new(replace(tools, sizes=NEVER), 19)
    log.doubt(spot(2), RESET)
    await log.sync()
    log.settle([spot(1)], [Created(1)])
    await log.sync()
    log.settle([spot(10)], [Created(10)])
    await log.sync()
    disk.kill()
    node = disk.names["checkpoint.log"]
    for kind in damaged:
        at = node.data.index(b'{"t":"%b"' % kind.encode()) + 30
        node.data = node.data[:at] + b"####" + node.data[at + 4 :]
    repair = Repair(disk, RUN, {}, is_locked=True)
    assert repair.found.verdict == "damaged"
    repair.doubt()
    repair.write()
    repair.close()
    found = reasons(disk)
    assert found[0, 1] == REASON
    assert found[0, 2] == (RESET if damaged == ("outcomes",) else REASON)
