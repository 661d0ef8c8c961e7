from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from loader.errors import SourceError
from loader.reading.blocks import read_blocks
from loader.reading.cursor import Cursor
from loader.reading.lines import Block
from loader.reading.ndjson import NDJSON
from loader.reading.source import SourceStopped
from loader.reading.spool import Spool
from loader.reading.stdin import StandardInput

LINES = [b'{"n":%d}\n' % n for n in range(1, 30_001)]
DATA = b"".join(LINES)


class Piped:
    """A pipe whose writing end is fed by a thread, or by hand."""

    def __init__(self, data: bytes | None = None) -> None:
        self.read_end, self.write_end = os.pipe()
        self._thread = threading.Thread(target=self._feed, args=(data,)) if data is not None else None
        if self._thread:
            self._thread.start()

    def _feed(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.write_end, view) :]
        except BrokenPipeError:
            pass
        finally:
            os.close(self.write_end)

    def close(self) -> None:
        os.close(self.read_end)
        if self._thread:
            self._thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "source.zst"


def load(path: Path | None, data: bytes, offset: int = 0, number: int = 1, *, is_synced: bool = True) -> list[bytes]:
    """Read piped data as the pipeline does; what was read and synced stays kept, whatever happens."""
    spool = Spool(path) if path else None
    pipe = Piped(data)
    source = StandardInput(spool, pipe.read_end)
    lines: list[bytes] = []
    try:
        for block in read_blocks(
            Cursor(source), NDJSON, source=0, offset=offset, number=number, max_line_bytes=1 << 20
        ):
            lines += block.lines
            if spool and is_synced:
                spool.sync()
    finally:
        source.close()
        pipe.close()
        if spool:
            spool.close()
    return lines


@pytest.mark.parametrize("encode", [bytes, gzip.compress])
def test_a_pipe_is_read_and_kept(path: Path, encode: type[bytes]) -> None:
    assert load(path, encode(DATA)) == LINES
    spool = Spool(path)
    assert spool.is_complete
    assert b"".join(spool.chunks(0)) == DATA
    spool.close()


def test_nothing_is_kept_where_nobody_asked(path: Path) -> None:
    assert load(None, DATA) == LINES
    assert not path.exists()


def test_lines_come_as_soon_as_they_are_there(path: Path) -> None:
    spool = Spool(path)
    pipe = Piped()
    source = StandardInput(spool, pipe.read_end)
    blocks: Iterator[Block] = read_blocks(Cursor(source), NDJSON, source=0, max_line_bytes=1000)
    for number in range(1, 5):
        # The writer says no more until the line was handed on: waiting for more would hang here.
        os.write(pipe.write_end, b"line %d\nbegin" % number)
        block = next(blocks)
        assert block.number == number
        assert block.lines[-1].endswith(b"line %d\n" % number)
    os.close(pipe.write_end)
    assert next(blocks).lines == [b"begin"]
    assert list(blocks) == []
    assert spool.is_complete
    source.close()
    pipe.close()
    spool.close()


def test_single_bytes_of_what_might_be_a_magic_number() -> None:
    pipe = Piped()
    source = StandardInput(None, pipe.read_end)
    blocks = read_blocks(Cursor(source), NDJSON, source=0, max_line_bytes=1000)
    os.write(pipe.write_end, b"\n")
    assert next(blocks).lines == [b"\n"]
    os.close(pipe.write_end)
    source.close()
    pipe.close()


@pytest.mark.parametrize("loaded", [0, 1, 777, len(DATA) // 2, len(DATA) - 1, len(DATA)])
@pytest.mark.parametrize("encode", [bytes, gzip.compress])
def test_the_same_data_piped_again_goes_on_behind_what_was_kept(path: Path, loaded: int, encode: type[bytes]) -> None:
    spool = Spool(path)
    spool.append(DATA[:loaded])
    spool.sync()
    spool.close()
    count = DATA[:loaded].count(b"\n")
    offset = sum(map(len, LINES[:count]))
    assert load(path, encode(DATA), offset, count + 1) == LINES[count:]
    spool = Spool(path)
    assert b"".join(spool.chunks(0)) == DATA
    spool.close()
    assert load(path, DATA, len(DATA), len(LINES) + 1) == []
    assert load(path, DATA + b"more\n", len(DATA), len(LINES) + 1) == [b"more\n"]


@pytest.mark.parametrize("changed", [0, 5000, 199_999])
def test_other_data_is_refused_before_a_line_of_it_is_handed_on(path: Path, changed: int) -> None:
    spool = Spool(path)
    spool.append(DATA[:200_000])
    spool.sync()
    spool.close()
    before = path.read_bytes()
    other = DATA[:changed] + b"#" + DATA[changed + 1 :]
    line = DATA[:changed].count(b"\n") + 1
    with pytest.raises(SourceError, match=f"line {line:,} differs") as caught:
        load(path, other, 200_000 - 1, 10_000)
    assert caught.value.exit_code == 5
    assert path.read_bytes() == before


def test_less_data_is_refused(path: Path) -> None:
    load(path, DATA[:1000])
    with pytest.raises(SourceError, match="ended at byte 900; 1,000 were read before"):
        load(path, DATA[:900])


def test_a_truncated_stream_leaves_no_end_mark(path: Path) -> None:
    data = gzip.compress(os.urandom(100_000).hex().encode() + b"\n" + DATA)
    with pytest.raises(SourceError, match="cut off"):
        load(path, data[:-50])
    spool = Spool(path)
    assert not spool.is_complete
    assert spool.end_offset > 100_000
    spool.close()


def test_an_unfinished_last_line_that_grows_is_a_change(path: Path) -> None:
    assert load(path, b"one\ntwo") == [b"one\n", b"two"]
    assert load(path, b"one\ntwo\nthree\n", 7, 3) == [b"three\n"]
    with pytest.raises(SourceError, match="is not what was kept"):
        load(path, b"one\ntwo!\nthree\n", 7, 3)


def test_grown_last_line_after_a_clean_end(path: Path) -> None:
    load(path, b"one\ntwo")
    with pytest.raises(SourceError, match="line 2 was its last one and has grown"):
        load(path, b"one\ntwo and more\n", 7, 3)


def test_stop_ends_a_wait(path: Path) -> None:
    spool = Spool(path)
    pipe = Piped()
    source = StandardInput(spool, pipe.read_end)
    os.write(pipe.write_end, b"one\ntw")
    seen: list[object] = []

    def read() -> None:
        try:
            for block in read_blocks(Cursor(source), NDJSON, source=0, max_line_bytes=1000):
                seen.append(block.lines)
                has_line.set()
        except SourceStopped:
            seen.append("stopped")

    has_line = threading.Event()
    reader = threading.Thread(target=read)
    reader.start()
    has_line.wait()
    source.stop()
    reader.join()
    assert seen == [[b"one\n"], "stopped"]
    assert not spool.is_complete
    os.close(pipe.write_end)
    source.close()
    pipe.close()
    spool.close()


def test_a_pipe_made_non_blocking_by_somebody_else() -> None:
    pipe = Piped(DATA)
    os.set_blocking(pipe.read_end, False)
    source = StandardInput(None, pipe.read_end)
    assert b"".join(source.chunks(0)) == DATA
    assert source.read_bytes == len(DATA)
    source.close()
    pipe.close()


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    source = StandardInput(None, descriptor)
    with pytest.raises(SourceError, match="cannot be read"):
        next(source.chunks(0))
    os.close(descriptor)
    with pytest.raises(SourceError, match="cannot be read"):
        next(source.chunks(0))
    source.close()


def test_a_redirected_file_works_too(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(DATA)
    with (tmp_path / "source").open("rb") as file:
        source = StandardInput(None, file.fileno())
        assert b"".join(source.chunks(0)) == DATA
        source.close()
