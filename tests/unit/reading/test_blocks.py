"""Single lines by offset and by number, and lines read again over one cursor, against the lines themselves."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path

import pytest

from loader.errors import SourceError
from loader.reading.blocks import LinesByNumber, lines_at, read_blocks
from loader.reading.cursor import Cursor
from loader.reading.ndjson import BOM, NDJSON
from loader.reading.source import FileSource
from loader.settings import Options
from tests.unit.reading.encoders import ENCODERS, LINES

OFFSETS = [*accumulate(map(len, LINES), initial=0)]


def refuse(text: str) -> None:
    raise AssertionError(text)


def test_lines_at_their_offsets(opened: FileSource) -> None:
    for count in (3, 50, 1000, len(LINES)):
        chosen = sorted(random.Random(count).sample(range(len(LINES)), count))
        assert list(lines_at(opened, NDJSON, [OFFSETS[n] for n in chosen], 1 << 20)) == [LINES[n] for n in chosen]
    chosen = [5, 2000, 2001, 2002]
    found = list(lines_at(opened, NDJSON, [OFFSETS[n] for n in chosen], 10_000))
    assert found == [LINES[5], None, b"after\n", b"last"]


def test_lines_by_their_numbers(opened: FileSource) -> None:
    for count in (3, 50, 1000, len(LINES)):
        chosen = sorted(random.Random(count).sample(range(len(LINES)), count))
        lines = LinesByNumber(opened, 0, Options(), refuse)
        assert [lines.find(n + 1) for n in chosen] == [(OFFSETS[n], LINES[n]) for n in chosen]
    lines = LinesByNumber(opened, 0, Options(max_line_bytes=10_000), refuse)
    assert lines.find(2001) == (OFFSETS[2000], None)  # too long
    assert lines.find(2003) == (OFFSETS[2002], b"last")
    assert lines.find(2004) == (None, None)


def test_a_source_that_is_gone_has_no_lines() -> None:
    assert LinesByNumber(None, 0, Options(), refuse).find(1) == (None, None)


def test_lines_behind_a_fault_are_not_found_and_that_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS["gzip"](b"".join(LINES))[:-100])
    warnings: list[str] = []
    lines = LinesByNumber(FileSource(path), 0, Options(), warnings.append)
    assert lines.find(2) == (OFFSETS[1], LINES[1])
    assert [lines.find(2002), lines.find(2003)] == [(None, None)] * 2
    assert len(warnings) == 1
    assert warnings[0].endswith("; offsets and keys behind it are left out")


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("block_bytes", [1, 7, 4096])
@pytest.mark.parametrize("start", [b"", BOM])
def test_ranges_that_follow_each_other_are_read_over_one_cursor(
    tmp_path: Path, kind: str, block_bytes: int, start: bytes
) -> None:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[kind](start + b"one\ntwo\nthree\nfour\n"))
    opened = FileSource(path)
    cursor = Cursor(opened, block_bytes)
    at = len(start)
    found = [
        [(block.number, block.offset - at, block.raw) for block in blocks]
        for blocks in (
            read_blocks(cursor, NDJSON, source=0, number=1, offset=at, end=at + 4, max_line_bytes=100),
            read_blocks(cursor, NDJSON, source=0, number=2, offset=at + 4, end=at + 8, max_line_bytes=100),
            read_blocks(cursor, NDJSON, source=0, number=4, offset=at + 14, end=at + 19, max_line_bytes=100),
        )
    ]
    assert found == [[(1, 0, b"one\n")], [(2, 4, b"two\n")], [(4, 14, b"four\n")]]
    opened.close()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_line_end_that_came_later_belongs_to_no_line_of_the_next_range(tmp_path: Path, line_end: bytes) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"one\ntwo" + line_end + b"three\n")
    opened = FileSource(path)
    cursor = Cursor(opened)
    list(read_blocks(cursor, NDJSON, source=0, end=4, max_line_bytes=100))
    (block,) = read_blocks(cursor, NDJSON, source=0, number=3, offset=7, max_line_bytes=100)
    assert (block.number, block.offset, block.raw) == (3, 7 + len(line_end), b"three\n")
    opened.close()


def test_a_range_that_the_source_no_longer_holds(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"one\ntwo\n")
    opened = FileSource(path)
    with pytest.raises(SourceError, match=r"is shorter than when the run read it, behind line 2$"):
        list(read_blocks(Cursor(opened), NDJSON, source=0, end=9, max_line_bytes=100))
    opened.close()
