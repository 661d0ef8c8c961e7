"""What is found in a run directory that something happened to."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loader.checkpoint import (
    CheckpointLog,
    Gap,
    Header,
    NoHeader,
    Spot,
    Tools,
    peek,
    read_run_directory,
    read_state,
)
from loader.checkpoint.windows import Slot, outcome_of
from loader.errors import LoaderError, LogDamaged, LogLocked
from loader.model import Ambiguous, Created, Rejected, Updated, Window

RUN = "k3j9abcdef"
BOUND = {"table": "tcust"}
NOWHERE = Path("/nowhere")
CASES = int(os.environ.get("LOADER_FUZZ_CASES", "4000")) // 8
LOG, SETTLED = "checkpoint.log", "checkpoint.settled"


def slots_of(disk: Any) -> dict[int, Slot]:
    with read_run_directory(NOWHERE, storage=disk) as run:
        return {line: slot for _, line, slot in run.each_slot()}


async def write(tools: Tools, last: int, *, is_rotated: bool) -> CheckpointLog:
    """Leave a log with folds, open windows, rejects and later outcomes, as a killed process does."""
    many = 10**9
    sizes = tools.sizes if is_rotated else replace(tools.sizes, rotate_bytes=many, close_bytes=many)
    log = await CheckpointLog.create(NOWHERE, RUN, BOUND, tools=replace(tools, sizes=sizes))
    for line in range(1, last, 4):
        await log.intend([Window(0, line, line + 4, line * 10, line * 10 + 40, 1, 3, (line + 1,))])
        if line % 3:
            places = [Spot(0, at, at * 10) for at in (line, line + 2, line + 3)]
            log.settle(places, [Created(line), Rejected("target", "400", "x"), Ambiguous("lost")])
            log.settle(places[2:], [Updated()])
    await log.sync()
    return log


async def reopen(tools: Tools, **more: Any) -> CheckpointLog:
    return await CheckpointLog.open(NOWHERE, RUN, tools=tools, **more)


async def test_a_torn_end_is_cut_and_kept_beside(disk: Any, tools: Tools) -> None:
    log = await write(tools, 40, is_rotated=False)
    slots, whole = slots_of(disk), disk.names[LOG].data
    log.settle([Spot(0, 13, 130)], [Created(5)])
    disk.kill()
    for torn in (b'{"t":"outcomes","n":', b"\0" * 50, b"x\ny\n"):
        disk.names[LOG].data = whole + torn
        assert slots_of(disk) == slots  # a reader passes it over
        again = await reopen(tools)
        assert again.state.is_shortened is False
        (warning,) = again.state.warnings
        assert f"{len(torn)} bytes" in warning
        name = warning.rsplit(" ", 1)[-1]
        assert disk.names[name].data == torn
        assert slots_of(disk) == slots
        disk.kill()


async def test_a_second_opening_finds_what_the_first_one_left(disk: Any, tools: Tools) -> None:
    await write(tools, 200, is_rotated=True)
    slots = slots_of(disk)
    disk.kill()
    await (await reopen(tools)).close()
    assert slots_of(disk) == slots
    settled = disk.names[SETTLED].data
    for executions in (3, 4):
        log = await reopen(tools)
        await log.close()
        assert log.state.executions == executions
        assert slots_of(disk) == slots
        assert disk.names[SETTLED].data == settled


async def test_a_lost_header_is_made_anew_from_the_arguments(disk: Any, tools: Tools) -> None:
    for is_rotated in (False, True):
        disk.__init__()
        log = await write(tools, 200, is_rotated=is_rotated)
        slots, counts = slots_of(disk), log.state.counts
        disk.kill()
        data = disk.names[LOG].data
        disk.names[LOG].data = b"#" + data[1:]
        with pytest.raises(LogDamaged, match="header"):
            read_state(NOWHERE, storage=disk)
        with pytest.raises(LogDamaged, match="header"):
            await reopen(tools)
        again = await reopen(tools, bound=BOUND)
        assert again.state.counts == counts
        assert again.state.bound == BOUND
        assert "header" in again.state.warnings[0]
        assert slots_of(disk) == slots
        await again.close()
        assert slots_of(disk) == slots


async def test_another_run_is_not_opened(disk: Any, tools: Tools) -> None:
    await write(tools, 9, is_rotated=False)
    disk.kill()
    for bound in (None, BOUND):
        with pytest.raises(LogDamaged):
            await CheckpointLog.open(NOWHERE, "zzzzzzzzzz", bound, tools=tools)
    disk.names["checkpoint.log"].data = b""
    with pytest.raises(LogDamaged):
        await reopen(tools)


async def test_a_log_that_is_missing_is_not_made_by_opening(disk: Any, tools: Tools) -> None:
    with pytest.raises(LogDamaged, match=r"no checkpoint\.log"):
        await reopen(tools, bound=BOUND)
    await write(tools, 9, is_rotated=False)
    disk.kill()
    with pytest.raises(FileExistsError):
        await CheckpointLog.create(NOWHERE, RUN, BOUND, tools=tools)
    del disk.names[LOG]
    with pytest.raises(LogDamaged, match=r"no checkpoint\.log"):
        await CheckpointLog.create(NOWHERE, RUN, BOUND, tools=tools)


@pytest.mark.parametrize("is_rotated", [False, True])
async def test_a_log_that_came_back_shorter_is_told_from_a_whole_one(
    disk: Any, tools: Tools, *, is_rotated: bool
) -> None:
    log = await write(tools, 200, is_rotated=is_rotated)
    truth, last = slots_of(disk), log.state.last_intent_end(0)[0]
    folded = {line for ref in log.state.folds() for line in range(ref.first, ref.end)}
    assert folded
    disk.kill()
    header_end = disk.names[LOG].data.index(b"\n") + 1
    disk.names[LOG].data = disk.names[LOG].data[:header_end]
    with pytest.raises(LogDamaged, match="shorter"):
        await reopen(tools)
    again = await reopen(tools, may_be_shorter=True)
    assert again.state.is_shortened
    assert again.state.header.generation > log.state.header.generation
    assert {line: slot for line, slot in slots_of(disk).items() if slot is not None} == {
        line: truth[line] for line in folded
    }
    gaps = again.state.gaps(0)
    missing = {line for gap in gaps for line in range(gap.first, gap.end)}
    end = again.state.last_intent_end(0)[0]
    assert missing | folded == set(range(1, end))
    assert end <= last
    assert gaps[0] == Gap(0, 9, 13, 90, 130)
    for gap in gaps:
        await again.intend([Window(0, gap.first, gap.end, gap.offset, gap.end_offset, 0)])
        again.settle([Spot(0, line, 0) for line in range(gap.first, gap.end)], [Updated()] * (gap.end - gap.first))
    assert again.state.gaps(0) == []
    await again.close()
    more = await reopen(tools)  # from here on it is a log like any other
    assert not more.state.is_shortened
    assert more.state.settled(0) == [(1, end)]
    await more.close()


@pytest.mark.parametrize("lost", [2, 3, 4])
async def test_a_lost_beginning_is_refused(disk: Any, tools: Tools, lost: int) -> None:
    """Without its intents a log looks as if nothing had been sent: then everything would be sent again."""
    log = await CheckpointLog.create(NOWHERE, RUN, BOUND, tools=tools)
    await log.intend([Window(0, 1, 3, 0, 20, 1, 2)])
    log.note("rate", 5)
    await log.sync()
    log.note("rate", 6)
    await log.sync()
    disk.kill()
    lines = disk.names[LOG].data.splitlines(keepends=True)
    for beginning in (b"", b"\0" * 40 + b"\n"):
        disk.names[LOG].data = beginning + b"".join(lines[lost:])
        with pytest.raises(LogDamaged, match="and with it entries up to"):
            await reopen(tools, bound=BOUND)
        disk.kill()
    disk.names[LOG].data = b"".join(lines[1:])  # the header alone is in run.json too
    again = await reopen(tools, bound=BOUND)
    assert again.state.notes == {"rate": 6}
    assert again.state.last_intent_end(0)[0] == 3
    await again.close()


async def test_a_cut_anywhere_behind_the_header_is_a_shorter_log_or_none(disk: Any, tools: Tools) -> None:
    await write(tools, 120, is_rotated=False)
    truth, whole, folds = slots_of(disk), disk.names[LOG].data, disk.names[SETTLED].data
    disk.kill()
    for at in range(whole.index(b"\n") + 1, len(whole), 37):
        disk.names[LOG].data, disk.names[SETTLED].data = whole[:at], folds
        log = await reopen(tools, may_be_shorter=True)
        for line, slot in slots_of(disk).items():
            assert (
                slot is None or outcome_of(slot) in (outcome_of(truth[line]), Ambiguous("lost")) or slot == truth[line]
            )
        await log.close()


# --- any damage, both files -----------------------------------------------------------------------------------------------


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("is_rotated", [False, True])
async def test_damage_never_makes_an_outcome(disk: Any, tools: Tools, *, is_rotated: bool) -> None:
    await write(tools, 120, is_rotated=is_rotated)
    truth = slots_of(disk)
    disk.kill()
    whole = {name: disk.names[name].data for name in (LOG, SETTLED)}
    refused = 0
    for case in range(CASES):
        draw = random.Random(case)
        for name, data in whole.items():
            disk.names[name].data = data
        name = draw.choice([LOG, SETTLED])
        bad = bytearray(whole[name])
        at = draw.randrange(len(bad))
        kind = draw.randrange(4)
        if kind == 0:
            bad[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del bad[at:]
        elif kind == 2:
            bad[at : at + 64] = draw.choice([bytes(64), draw.randbytes(64)])
        else:
            other = whole[SETTLED if name == LOG else LOG]
            bad[at:] = other[draw.randrange(len(other)) :]
        disk.names[name].data = bytes(bad)
        try:
            slots = slots_of(disk)
        except LoaderError:
            refused += 1
            continue
        for line, slot in slots.items():
            assert slot is None or slot == truth[line] or outcome_of(slot) == Ambiguous("lost"), (case, line)
    assert 0 < refused < CASES


# --- the lock, as far as one process can see it -------------------------------------------------------------------------------


async def test_a_log_is_held_by_one(tmp_path: Path) -> None:
    log = await CheckpointLog.create(tmp_path, RUN, BOUND)
    with pytest.raises(LogLocked):
        await CheckpointLog.open(tmp_path, RUN)
    assert read_state(tmp_path).executions == 1
    await log.close()
    await log.close()
    again = await CheckpointLog.open(tmp_path, RUN)
    await again.close()


async def test_the_lock_goes_over_to_a_new_generation(tmp_path: Path, tools: Tools) -> None:
    tools = Tools(sizes=replace(tools.sizes, rotate_bytes=1000))
    log = await CheckpointLog.create(tmp_path, RUN, BOUND, tools=tools)
    line = 1
    while not log.state.header.generation:
        await log.intend([Window(0, line, line + 8, line, line + 8, 1)])
        log.settle([Spot(0, at, at) for at in range(line, line + 8)], [Created(at) for at in range(line, line + 8)])
        line += 8
        await log.sync()
        await asyncio.sleep(0)  # what is due begins behind the sync
        await log._compactor.wait()
        with pytest.raises(LogLocked):
            await CheckpointLog.open(tmp_path, RUN)
        assert read_state(tmp_path).counts == log.state.counts
    await log.close()


async def test_a_header_is_read_alone_and_only_where_its_checksum_holds(disk: Any, tools: Tools) -> None:
    def peeked() -> Header | NoHeader:
        return peek(NOWHERE, storage=disk)

    assert peeked() is NoHeader.NO_LOG
    log = await CheckpointLog.create(NOWHERE, RUN, {"table": "tcust"}, tools=tools)
    await log.close()
    node, settled = disk.names["checkpoint.log"], disk.names["checkpoint.settled"]
    whole, folds = node.data, settled.data
    end = whole.index(b"\n") + 1
    found = peeked()
    assert isinstance(found, Header)
    assert (found.run, found.bound) == (RUN, {"table": "tcust"})
    for at in range(0, end, 7):
        node.data = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        assert peeked() is NoHeader.LOST, at
    settled.data = b""
    for size in range(end + 1):  # a crash may leave any of it, before anything stands behind it
        node.data = whole[:size]
        assert isinstance(peeked(), Header) is (size == end)
        assert (peeked() is NoHeader.UNBORN) is (size < end)
    node.data, settled.data = whole[: end - 1], folds
    assert peeked() is NoHeader.LOST
