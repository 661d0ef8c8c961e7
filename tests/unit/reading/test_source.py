from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import SourceError
from loader.model import Rejected
from loader.reading.blocks import read_blocks
from loader.reading.cursor import Cursor
from loader.reading.lines import Block, LineSplitter
from loader.reading.ndjson import BOM, NDJSON
from loader.reading.parsing import BLANK, parse
from loader.reading.source import FileSource
from tests.unit.reading.bad_lines import BAD_LINES, BadLine
from tests.unit.reading.encoders import ENCODERS

LIMIT = 1 << 20


def read(path: Path, *, max_line_bytes: int = LIMIT, block_bytes: int = 1 << 16, **place: int) -> Iterator[Block]:
    opened = FileSource(path)
    try:
        yield from read_blocks(Cursor(opened, block_bytes), NDJSON, source=3, max_line_bytes=max_line_bytes, **place)
    finally:
        opened.close()


def lines_of(blocks: Iterator[Block]) -> list[tuple[int, int, bytes]]:
    """Flatten blocks to (number, offset, line), checking on the way that blocks follow each other without a gap."""
    found: list[tuple[int, int, bytes]] = []
    following: tuple[int, int] | None = None
    for block in blocks:
        assert following in (None, (block.number, block.offset))
        assert bool(block.lines) != bool(block.too_long_bytes)
        assert block.raw == b"".join(block.lines)
        number, offset = block.number, block.offset
        for line in block.lines:
            found.append((number, offset, line))
            number += 1
            offset += len(line)
        if block.too_long_bytes:
            found.append((number, offset, b"<too long>"))
            number += 1
            offset += block.too_long_bytes
        following = number, offset
    return found


def expected_lines(data: bytes) -> list[tuple[int, int, bytes]]:
    offset = len(BOM) if data.startswith(BOM) else 0
    found = []
    for number, line in enumerate(data[offset:].splitlines(keepends=True) if b"\r" not in data else [], 1):
        found.append((number, offset, line))
        offset += len(line)
    return found


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        BOM,
        BOM[:2],
        b"\n",
        b"\n\n \n",
        b'{"a":1}\n{"b":2}\n',
        b'{"a":1}\n{"b":2}',
        BOM + b'{"a":1}\n' + BOM + b'{"b":2}\n',
        BOM + b"\n",
    ],
)
def test_lines_with_numbers_and_offsets(tmp_path: Path, kind: str, block_bytes: int, data: bytes) -> None:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[kind](data))
    expected = expected_lines(data)
    assert lines_of(read(path, block_bytes=block_bytes)) == expected
    for number, offset, _ in expected:
        rest = lines_of(read(path, block_bytes=block_bytes, number=number, offset=offset))
        assert rest == expected[number - 1 :]


@pytest.mark.parametrize("block_bytes", [1, 5, 4096])
def test_a_range_is_read_to_its_end(tmp_path: Path, block_bytes: int) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"one\ntwo\nthree\nfour\n")
    assert lines_of(read(path, block_bytes=block_bytes, number=2, offset=4, end=14)) == [
        (2, 4, b"two\n"),
        (3, 8, b"three\n"),
    ]
    assert lines_of(read(path, block_bytes=block_bytes, number=3, offset=8, end=13)) == [(3, 8, b"three")]
    assert lines_of(read(path, block_bytes=block_bytes, number=3, offset=8, end=8)) == []
    with pytest.raises(SourceError, match="is shorter than"):
        list(read(path, block_bytes=block_bytes, number=3, offset=8, end=20))


def test_crlf_is_left_to_the_line(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b'{"a":1}\r\n{"b":\r2}\r\n\r\n')
    assert lines_of(read(path)) == [(1, 0, b'{"a":1}\r\n'), (2, 9, b'{"b":\r2}\r\n'), (3, 19, b"\r\n")]


# --- bad lines among good ones ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_bad_lines_are_refused_by_number_and_their_neighbours_are_intact(tmp_path: Path, line_end: bytes) -> None:
    lines: list[bytes] = []
    bad = {}
    for index, case in enumerate(BAD_LINES):
        lines += [b'{"good":%d}' % (len(lines) + 1), b""]
        lines += [b'{"good":%d}' % (len(lines) + 1)] * (index % 14)
        lines.append(case.data)
        bad[len(lines)] = case.code
    path = tmp_path / "source"
    path.write_bytes(BOM + line_end.join(lines))  # the last one is bad, and has no line end
    found = {}
    for number, _, line in lines_of(read(path)):
        assert line.strip(BLANK) == lines[number - 1].strip(BLANK)
        if data := line.strip(BLANK):
            parsed = parse(data)
            if isinstance(parsed, Rejected):
                found[number] = parsed.code
            else:
                assert list(parsed) == ["good"]
    assert found == bad


@pytest.mark.parametrize("case", BAD_LINES, ids=[case.name for case in BAD_LINES])
def test_a_bad_line_alone(tmp_path: Path, case: BadLine) -> None:
    data = case.data
    path = tmp_path / "source"
    path.write_bytes(b" \t" + data)
    offset = 0
    if data.startswith(BOM):
        path.write_bytes(BOM + data)  # alone at the start of a file one mark is good
        offset = len(BOM)
    [(number, at, line)] = lines_of(read(path))
    assert (number, at, line.strip(BLANK)) == (1, offset, data.strip(BLANK))


# --- over-long lines --------------------------------------------------------------------------------------------------


@given(
    bodies=st.lists(st.integers(0, 30).map(lambda n: b"x" * n), max_size=12),
    line_end=st.sampled_from([b"\n", b"\r\n"]),
    has_last_end=st.booleans(),
    max_line_bytes=st.integers(1, 20),
    block_bytes=st.integers(1, 40),
)
def test_over_long_lines_are_passed_over(
    bodies: list[bytes], line_end: bytes, *, has_last_end: bool, max_line_bytes: int, block_bytes: int
) -> None:
    lines = [body + line_end for body in bodies]
    if lines and not has_last_end:
        lines[-1] = bodies[-1]
        lines = lines if bodies[-1] else lines[:-1]
    data = b"".join(lines)
    splitter = LineSplitter(0, 1, 0, max_line_bytes)
    blocks = [b for at in range(0, len(data), block_bytes) for b in splitter.feed(data[at : at + block_bytes])]
    blocks += splitter.finish()
    found = lines_of(iter(blocks))
    expected = [b"<too long>" if len(line.rstrip(b"\r\n")) > max_line_bytes else line for line in lines]
    assert [line for _, _, line in found] == expected
    assert [number for number, _, _ in found] == list(range(1, len(lines) + 1))
    for block in blocks:
        if block.too_long_bytes:
            line = data[block.offset : block.offset + block.too_long_bytes]
            assert line == lines[block.number - 1]
            assert block.crc == crc32(line)


OVER_LONG = """
import resource, sys
from pathlib import Path
from loader.reading.blocks import read_blocks
from loader.reading.cursor import Cursor
from loader.reading.ndjson import NDJSON
from loader.reading.source import FileSource
opened = FileSource(Path(sys.argv[1]))
list(read_blocks(Cursor(opened), NDJSON, source=0, max_line_bytes=1000, end=10))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for block in read_blocks(Cursor(opened), NDJSON, source=0, max_line_bytes=1000):
    print(block.number, block.offset, block.lines, block.too_long_bytes)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_very_long_line_takes_no_memory(tmp_path: Path, kind: str) -> None:
    size = 64 << 20
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[kind](b"first line\n" + b"x" * size + b"\nlast\n"))
    shown = subprocess.run([sys.executable, "-c", OVER_LONG, path], capture_output=True, text=True, check=True).stdout
    *blocks, grown = shown.splitlines()
    assert blocks == ["1 0 [b'first line\\n'] 0", f"2 11 [] {size + 1}", f"3 {size + 12} [b'last\\n'] 0"]
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < 8 << 20


# --- sources that change ------------------------------------------------------------------------------------------------


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"12345678\n" * 1000)
    blocks = read(path, block_bytes=900)
    assert len(next(blocks).lines) == 100
    os.truncate(path, 1804)
    assert len(next(blocks).lines) == 100
    with pytest.raises(SourceError, match=r"became shorter while it was read.*behind line 200$"):
        list(blocks)


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"12345678\n" * 100)
    blocks = read(path, block_bytes=450)
    next(blocks)
    with path.open("ab") as file:
        file.write(b"new\n")
    assert lines_of(blocks)[-1] == (101, 900, b"new\n")


@pytest.mark.parametrize("kind", ENCODERS)
def test_going_on_behind_the_end_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[kind](b"1\n2\n"))
    assert lines_of(read(path, number=3, offset=4)) == []
    for offset in (5, 6, 1000):
        with pytest.raises(SourceError, match="is shorter than"):
            list(read(path, number=9, offset=offset))


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("block_bytes", [1, 4096])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_last_line_may_get_its_line_end_later(tmp_path: Path, kind: str, block_bytes: int, line_end: bytes) -> None:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[kind](b"one\ntwo" + line_end + b"three\n"))
    [found] = lines_of(read(path, number=3, offset=7, block_bytes=block_bytes))
    assert found == (3, 7 + len(line_end), b"three\n")


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("grown", [b" ", b"x\n", b"\rx", b"\r"])
def test_a_last_line_that_grew_is_a_change(tmp_path: Path, kind: str, grown: bytes) -> None:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[kind](b"one\ntwo" + grown))
    with pytest.raises(SourceError, match="line 2 was its last one and has grown"):
        list(read(path, number=3, offset=7))


def test_progress_counts_raw_bytes(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(gzip.compress(b"123456789\n" * 10_000))
    opened = FileSource(path)
    list(read_blocks(Cursor(opened), NDJSON, source=0, max_line_bytes=100))
    assert opened.read_bytes == opened.size_bytes == path.stat().st_size
    opened.close()
    opened.close()
