"""How far lines were intended, said beside the log: what a cut log has forgotten is known, and nothing is that was not so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loader.checkpoint import CheckpointLog, Spot, Tools
from loader.checkpoint.intended import MAX_BYTES, NAME, Intended
from loader.checkpoint.windows import Gap
from loader.model import Created, Window

RUN = "k3j9abcdef"


def window(first: int, end: int, source: int = 0) -> Window:
    return Window(source, first, end, first * 10, end * 10, 5, end - first, ())


def reread(disk: Any, run: str = RUN) -> Intended:
    return Intended.open(disk, run)


def test_what_was_told_is_read_back(disk: Any) -> None:
    marks = Intended.open(disk, RUN)
    assert marks.end(0) == (1, 0)
    marks.record([window(1, 9)])
    marks.record([window(9, 17), window(17, 25), window(1, 5, source=1)])
    marks.record([window(9, 17)])  # a forgotten one that was intended again
    again = reread(disk)
    assert [again.end(source) for source in range(3)] == [(25, 250), (5, 50), (1, 0)]


def test_marks_of_another_run_say_nothing(disk: Any) -> None:
    Intended.open(disk, RUN).record([window(1, 9)])
    assert reread(disk, "another").end(0) == (1, 0)


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_a_mark_that_is_damaged_says_nothing_and_the_others_count(disk: Any, at: int) -> None:
    marks = Intended.open(disk, RUN)
    marks.record([window(1, 9)])
    first = len(disk.names[NAME].data)
    marks.record([window(9, 17)])
    data = bytearray(disk.names[NAME].data)
    place = at % (len(data) - 1)
    data[place] ^= 1
    disk.names[NAME].data = bytes(data)
    # Without the line end between them both are one line, which is none.
    expected = {True: (17, 170), False: (9, 90)}[place < first] if place != first - 1 else (1, 0)
    assert reread(disk).end(0) == expected
    disk.names[NAME].data = bytes(data[:at])  # torn
    assert reread(disk).end(0) in ((1, 0), (9, 90), (17, 170))


def test_the_file_begins_anew_and_forgets_no_source(disk: Any) -> None:
    marks = Intended.open(disk, RUN)
    marks.record([window(1, 9, source=1)])
    sizes = []
    for first in range(1, 40_000, 8):
        marks.record([window(first, first + 8)])
        sizes.append(len(disk.names[NAME].data))
    assert max(sizes) < MAX_BYTES + 100
    assert min(sizes[100:]) < 100
    again = reread(disk)
    assert again.end(0) == (40_001, 400_010)
    assert again.end(1) == (9, 90)


async def test_a_log_that_was_cut_knows_what_it_has_forgotten(disk: Any, tools: Tools) -> None:
    log = await CheckpointLog.create(Path("/nowhere"), RUN, {}, tools=tools)
    await log.intend([window(1, 5)])
    log.settle([Spot(0, line, line * 10) for line in range(1, 5)], [Created(line) for line in range(1, 5)])
    await log.sync()
    known = len(disk.names["checkpoint.log"].data)
    await log.intend([window(5, 7)])
    await log.intend([window(7, 9)])
    assert log.forgotten(0) == []
    disk.kill()
    whole = disk.names["checkpoint.log"].data
    again = await CheckpointLog.open(Path("/nowhere"), RUN, tools=tools)
    assert again.forgotten(0) == []
    disk.kill()
    disk.names["checkpoint.log"].data = disk.names["checkpoint.log"].durable = whole[:known]
    again = await CheckpointLog.open(Path("/nowhere"), RUN, tools=tools)
    assert again.forgotten(0) == [Gap(0, 5, 9, 50, 90)]
    await again.intend([window(5, 9)])
    assert again.forgotten(0) == []
    await again.close()
