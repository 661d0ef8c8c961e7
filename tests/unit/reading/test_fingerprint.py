from __future__ import annotations

import gzip
import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal.isal_zlib import crc32_combine as combined

from loader.errors import SourceError
from loader.reading.blocks import read_blocks
from loader.reading.cursor import Cursor
from loader.reading.fingerprint import HEAD_BYTES, check, identify, verify_ranges
from loader.reading.ndjson import NDJSON
from loader.reading.source import FileSource
from loader.settings import Options
from tests.unit.reading.encoders import ENCODERS

LINES = [b'{"n":%d}\n' % n for n in range(1, 101)]
DATA = b"".join(LINES)


def ranges_of(data: bytes, lines_each: int = 7) -> list[tuple[int, int, int, int]]:
    lines = data.splitlines(keepends=True)
    found = []
    offset = 0
    for first in range(0, len(lines), lines_each):
        part = b"".join(lines[first : first + lines_each])
        found.append((offset, offset + len(part), crc32(part), first + 1))
        offset += len(part)
    return found


@pytest.fixture(params=[DATA, DATA * 200], ids=["small", "large"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "source.ndjson"
    path.write_bytes(request.param)
    os.utime(path, ns=(10**18, 10**18))
    return path


def stored(path: Path) -> dict[str, Any]:
    """Return the fingerprint as it comes back from run.json."""
    loaded: dict[str, Any] = json.loads(json.dumps(identify(path)))
    return loaded


def test_facts(path: Path) -> None:
    facts = identify(path)
    data = path.read_bytes()
    assert facts["path"] == str(path.resolve())
    assert facts["name"] == "source.ndjson"
    assert facts["kind"] == "plain"
    assert facts["size"] == len(data)
    assert facts["mtime_ns"] == 10**18
    assert facts["head_crc"] == crc32(data[:HEAD_BYTES])


def test_an_untouched_file_is_the_same(path: Path) -> None:
    assert check(stored(path), identify(path)) == "same"
    link = path.with_name("link")
    link.symlink_to(path)
    assert check(stored(path), identify(link)) == "same"
    moved = path.rename(path.with_name("moved"))
    assert check(stored(link.parent / "moved"), identify(moved)) == "same"


def test_growth_copies_and_touches_must_be_verified(path: Path) -> None:
    before = stored(path)
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    assert check(before, identify(copy)) == "grown"
    with copy.open("ab") as file:
        file.write(b"{}\n")
    assert check(before, identify(copy)) == "grown"
    os.utime(path)
    assert check(before, identify(path)) == "grown"


def test_other_files_are_refused_at_once(path: Path) -> None:
    before = stored(path)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert check(before, identify(path)) == "changed"
    path.write_bytes(b"x" + data[1:])
    assert check(before, identify(path)) == "changed"
    path.write_bytes(gzip.compress(data))
    assert check(before, identify(path)) == "changed"


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_compressed_file_made_anew_must_be_verified(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[kind](DATA))
    before = stored(path)
    path.write_bytes(ENCODERS[kind](DATA[:500]) + ENCODERS[kind](DATA[500:] + b"{}\n"))
    assert check(before, identify(path)) == "grown"
    verify_ranges(path, ranges_of(DATA), Options())


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_changed_line_is_found_and_named(tmp_path: Path, kind: str) -> None:
    ranges = ranges_of(DATA)
    for changed in range(0, 100, 11):
        lines = list(LINES)
        lines[changed] = lines[changed].replace(b"n", b"m")
        path = tmp_path / "source"
        path.write_bytes(ENCODERS[kind](b"".join(lines)))
        first = changed // 7 * 7 + 1
        words = f"lines {first} to {first + 6}:" if first < 99 else "lines 99 on:"
        with pytest.raises(SourceError, match=words) as caught:
            verify_ranges(path, ranges, Options())
        assert "--run NEW" in caught.value.hint


@pytest.mark.parametrize("kind", ENCODERS)
def test_equal_ranges_pass_with_gaps_and_with_more_behind(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[kind](DATA + b"more\n" * 30_000))
    verify_ranges(path, ranges_of(DATA)[1::3], Options())
    verify_ranges(path, [], Options())
    far = len(DATA) + 5 * 20_000
    verify_ranges(
        path, [*ranges_of(DATA), (far, far + 5, crc32(b"more\n"), 20_101), (far + 5, far + 5, 0, 20_102)], Options()
    )


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_shorter_source_is_a_change(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[kind](DATA[:-1]))
    with pytest.raises(SourceError, match="lines 99 on: the source ends in them"):
        verify_ranges(path, ranges_of(DATA), Options())
    with pytest.raises(SourceError, match="is shorter than"):
        verify_ranges(path, [(len(DATA) + 5, len(DATA) + 6, 0, 200)], Options())


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_the_line_end_that_a_last_line_got_since_belongs_to_no_range(
    tmp_path: Path, kind: str, line_end: bytes
) -> None:
    # Seed 17392: a source that had grown behind such a line, and had been folded, was refused when it grew again.
    first, second = b'{"n":1}\n{"n":2}', b'{"n":3}\n{"n":4}\n'
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[kind](first + line_end + second + b'{"n":5}\n'))
    end = len(first + line_end + second)
    verify_ranges(path, [(0, len(first), crc32(first), 1), (len(first), end, crc32(second), 3)], Options())
    with pytest.raises(SourceError, match="lines 3 on: they are not what was loaded"):
        verify_ranges(path, [(0, len(first), crc32(first), 1), (len(first), end, crc32(second + b" "), 3)], Options())


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_last_line_without_line_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    loaded = b"one\ntwo"
    ranges = [(0, 4, crc32(b"one\n"), 1), (4, 7, crc32(b"two"), 2)]
    for rest in (b"", b"\n", b"\r\n", b"\nthree\n"):
        path.write_bytes(ENCODERS[kind](loaded + rest))
        verify_ranges(path, ranges, Options())
    path.write_bytes(ENCODERS[kind](loaded + b"\nthree\n"))
    verify_ranges(path, [*ranges, (8, 14, crc32(b"three\n"), 3)], Options())
    for rest in (b"x", b" \n", b"\r", b"\rx\n"):
        path.write_bytes(ENCODERS[kind](loaded + rest))
        with pytest.raises(SourceError, match="lines 2 on: the last one has grown"):
            verify_ranges(path, ranges, Options())


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=20), st.integers(1, 30))
def test_the_checksum_of_a_range_is_that_of_its_bytes(lines: list[bytes], max_line_bytes: int) -> None:
    class Memory:
        name = "memory"
        size_bytes: int | None = None
        read_bytes = 0
        can_seek = True

        def chunks(self, offset: int, block_bytes: int = 16) -> Any:
            data = b"".join(lines)[offset:]
            return (data[at : at + block_bytes] for at in range(0, len(data), block_bytes))

        def close(self) -> None: ...

    crc = 0
    for block in read_blocks(Cursor(Memory(), 16), NDJSON, source=0, max_line_bytes=max_line_bytes):
        crc = combined(crc, block.crc, block.too_long_bytes) if block.too_long_bytes else zlib.crc32(block.raw, crc)
    assert crc == crc32(b"".join(lines).removeprefix(b"\xef\xbb\xbf"))


def test_a_file_that_is_open_is_told_from_one_put_in_its_place(path: Path) -> None:
    opened = FileSource(path)
    path.unlink()
    path.write_bytes(b"other\n")
    assert opened.status().st_size != 6
    assert opened.read_at(0, 3) == DATA[:3]
    opened.close()
