"""Damaged run directories, repaired: every line keeps its true outcome or is in doubt; nothing is invented, nothing forgotten.

LOADER_FUZZ_CASES says how many. Each case writes a log (`repairing`), damages it, repairs it, opens it, and compares.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from loader.checkpoint import CheckpointLog, Tools
from loader.checkpoint.windows import Blank, Exceptional, outcome_of
from loader.errors import LogDamaged
from loader.model import Ambiguous, Outcome
from tests.unit.checkpoint.conftest import Node
from tests.unit.checkpoint.repairing import BOUND, LOG, NOWHERE, RUN, Slots, Writer, damage, die, is_blank, read, repair

CASES = int(os.environ.get("LOADER_FUZZ_CASES", "4000")) // 10


def check(before: Slots, after: Slots, said: dict[tuple[int, int], list[Outcome]], *, is_repaired: bool) -> int:
    """Hold the repaired log to the true one; return how many lines came into doubt.

    Where there was nothing to repair, damage in the very last entries looks like a torn end: then an earlier outcome may stand.
    """
    doubted = 0
    for key, slot in before.items():
        if key not in after:
            assert not is_repaired, f"line {key} is forgotten"
            continue
        now = after[key]
        if now is None or (isinstance(now, Exceptional) and isinstance(now.outcome, Ambiguous)):
            assert not isinstance(slot, Blank), f"line {key} is blank"
            doubted += now != slot
        elif is_repaired or isinstance(slot, Blank):
            assert now == slot, f"line {key}: {now}, not {slot}"
        else:
            assert outcome_of(now) in said[key], f"line {key}: {now} was never said"
    for key in after.keys() - before.keys():
        assert isinstance(after[key], Blank) == is_blank(*key)
        assert after[key] is None or is_blank(*key), f"line {key} was never intended: {after[key]}"
    return doubted


def lines_of_the_end(before: bytes, after: bytes) -> set[tuple[int, int]]:
    """Return the lines of intents of which no entry that is left knows that they were durable: they look like a torn end."""
    entries = [(json.loads(line), line in after) for line in before.splitlines(keepends=True)]
    durable = max((entry["s"] for entry, is_left in entries if is_left), default=-1)
    intents = (entry for entry, _ in entries if entry["t"] == "intent" and entry["n"] > durable)
    return {(entry["source"], line) for entry in intents for line in range(*entry["lines"])}


def read_whole(disk: Any) -> Slots | None:
    """Read all outcomes; None where a fold is damaged, which is refused when it is read."""
    try:
        return read(disk)[0]
    except LogDamaged:
        return None


async def opened(disk: Any, tools: Tools) -> Slots | None:
    """Say what a run would go on with, without a repair; None where it refuses. Opening mends, so the files are put back."""
    files = {name: node.data for name, node in disk.names.items()}
    try:
        await CheckpointLog.open(NOWHERE, RUN, BOUND, tools=tools)
    except LogDamaged:
        return None
    else:
        await die()
        disk.kill()
        return read_whole(disk)
    finally:
        await die()
        disk.names = {name: Node() for name in files}
        for name, data in files.items():
            disk.names[name].data = disk.names[name].durable = data
        disk.kill()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
async def test_a_repaired_log_is_true(part: int, disk: Any, tools: Tools) -> None:
    repaired = 0
    for case in range(part * CASES // 4, (part + 1) * CASES // 4):
        disk.__init__()
        draw = random.Random(-case - 1)
        writer = Writer(case, tools, disk)
        await writer.write()
        before, notes = read(disk)
        log_before = disk.names[LOG].data
        what = damage(disk, draw)
        unacknowledged = lines_of_the_end(log_before, disk.names[LOG].data)
        try:
            unrepaired = await opened(disk, tools)
            verdict, copies = repair(disk, tools, writer.sources)
            if unrepaired is None:
                assert verdict in {"damaged", "shortened"}, "a log that needs no repair is refused"
            else:  # the damage is where nothing is read, in a header, of which run.json has a copy, or at the very end
                check(before, unrepaired, writer.said, is_repaired=False)
                assert before.keys() - unrepaired.keys() <= unacknowledged, "what was acknowledged is forgotten"
            disk.kill()
            log = await CheckpointLog.open(NOWHERE, RUN, BOUND, tools=tools)
            await die()
            disk.kill()
            assert not log.state.is_shortened
            after, notes_after = read(disk)
            check(before, after, writer.said, is_repaired=bool(copies))
            assert not copies or notes_after.get("unsent") in (None, notes.get("unsent"))
            repaired += bool(copies)
            assert bool(copies) == (verdict in {"damaged", "shortened"})
        except BaseException as error:
            error.add_note(f"case {case}: {what}")
            raise
    assert repaired > CASES // 4 // 2
