"""Damaged run directories, repaired: every line keeps its true outcome or is in doubt; nothing is invented, nothing forgotten.

LOADER_FUZZ_CASES says how many. Each case writes a log (`repairing`), damages it, repairs it, opens it, and compares.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from loader.checkpoint import CheckpointLog, Tools
from loader.checkpoint.windows import Blank, Exceptional, outcome_of
from loader.model import Ambiguous, Outcome
from tests.unit.checkpoint.repairing import BOUND, NOWHERE, RUN, Slots, Writer, damage, die, is_blank, read, repair

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
        what = damage(disk, draw)
        try:
            verdict, copies = repair(disk, tools, writer.sources)
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
