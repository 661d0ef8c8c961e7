from __future__ import annotations

import os
import random
import stat
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from loader.errors import LogStorageFailed, SourceError
from loader.reading.blocks import read_blocks
from loader.reading.compression import decoded
from loader.reading.cursor import Cursor
from loader.reading.ndjson import NDJSON
from loader.reading.spool import FRAME_BYTES, PIPE_AGAIN_HINT, Spool

PARTS = [b'{"n":%d}\n' % n * (n % 50 + 1) for n in range(40)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "source.zst"


def kept(spool: Spool, offset: int = 0) -> bytes:
    return b"".join(spool.kept(offset))


def filled(path: Path, parts: list[bytes] = PARTS, *, is_finished: bool = False) -> list[int]:
    """Write a spool of one synced frame per part; return the file's size after each."""
    spool = Spool(path)
    sizes = [0]
    for part in parts:
        spool.append(part[:3])
        spool.append(part[3:])
        spool.sync()
        sizes.append(path.stat().st_size)
    if is_finished:
        spool.finish()
    spool.close()
    return sizes


def test_what_was_synced_comes_back(path: Path) -> None:
    filled(path)
    spool = Spool(path)
    data = b"".join(PARTS)
    assert spool.end_offset == len(data)
    assert not spool.is_complete
    assert kept(spool) == data
    for offset in (1, 500, len(PARTS[0]), len(data) - 1, len(data)):
        assert kept(spool, offset) == data[offset:]
        assert b"".join(spool.kept(offset, 7)) == data[offset:]
    spool.close()


def test_the_file_is_private_and_any_zstd_tool_can_read_it(path: Path) -> None:
    filled(path, is_finished=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open("rb") as file:
        assert b"".join(decoded(file.read, "x")) == b"".join(PARTS)


def test_what_was_not_synced_is_lost_and_nothing_else(path: Path) -> None:
    spool = Spool(path)
    spool.append(b"one\n")
    spool.sync()
    spool.append(b"two\n")
    assert spool.end_offset == 8
    spool.close()
    spool = Spool(path)
    assert kept(spool) == b"one\n"
    spool.append(b"three\n")
    spool.sync()
    spool.sync()
    spool.close()
    spool = Spool(path)
    assert kept(spool) == b"one\nthree\n"
    spool.close()


def test_much_is_not_gathered_in_memory(path: Path) -> None:
    spool = Spool(path)
    data = random.Random(1).randbytes(FRAME_BYTES + 1)
    spool.append(data)
    assert path.stat().st_size > FRAME_BYTES
    spool.append(b"x")
    spool.sync()
    assert kept(spool) == data + b"x"
    spool.close()


def test_end_mark(path: Path) -> None:
    filled(path, PARTS[:3], is_finished=True)
    spool = Spool(path)
    assert spool.is_complete
    assert b"".join(spool.chunks(0)) == b"".join(PARTS[:3])
    size = path.stat().st_size
    spool.finish()
    assert path.stat().st_size == size
    spool.append(PARTS[3])
    spool.sync()
    spool.close()
    spool = Spool(path)
    assert not spool.is_complete
    assert kept(spool) == b"".join(PARTS[:4])
    spool.finish()
    spool.close()
    spool = Spool(path, is_read_only=True)
    assert spool.is_complete
    assert b"".join(spool.chunks(5)) == b"".join(PARTS[:4])[5:]
    spool.close()


def test_an_empty_input_has_an_end_too(path: Path) -> None:
    filled(path, [], is_finished=True)
    spool = Spool(path)
    assert spool.is_complete
    assert list(read_blocks(Cursor(spool), NDJSON, source=0, max_line_bytes=100)) == []
    spool.close()


def test_reading_alone_ends_with_a_hint_where_the_end_is_missing(path: Path) -> None:
    filled(path, [b"one\ntwo\nthr"])
    spool = Spool(path)
    lines: list[bytes] = []
    with pytest.raises(SourceError, match="its end never came, behind line 2") as caught:
        lines.extend(
            line for block in read_blocks(Cursor(spool), NDJSON, source=0, max_line_bytes=100) for line in block.lines
        )
    assert lines == [b"one\n", b"two\n"]
    assert caught.value.hint == PIPE_AGAIN_HINT
    blocks = read_blocks(Cursor(spool), NDJSON, source=0, max_line_bytes=100, number=2, offset=4, end=8)
    assert [block.lines for block in blocks] == [[b"two\n"]]
    spool.close()


def test_every_cut_leaves_the_frames_before_it(path: Path) -> None:
    sizes = filled(path, PARTS[:6])
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        frames = sum(1 for end in sizes[1:] if end <= size)
        spool = Spool(path)
        assert kept(spool) == b"".join(PARTS[:frames])
        spool.append(b"more\n")
        spool.sync()
        spool.close()
        spool = Spool(path)
        assert kept(spool) == b"".join(PARTS[:frames]) + b"more\n"
        spool.close()


@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\x5c\x2a\x4d\x18"])
def test_a_torn_tail_is_cut(path: Path, filler: bytes) -> None:
    """What came after the last durable byte may be anything: zeros, noise, or pages written out of order."""
    sizes = filled(path, PARTS[:6])
    whole = path.read_bytes()
    start, end = sizes[-2], sizes[-1]
    for at in range(start, end, 5):
        torn = bytearray(whole)
        torn[at : at + 30] = (filler * 30)[: len(torn[at : at + 30])]
        if torn == whole:
            continue
        path.write_bytes(torn)
        spool = Spool(path)
        assert kept(spool) == b"".join(PARTS[:5])
        spool.close()
        assert path.stat().st_size == start


def test_frames_of_other_bytes_do_not_follow(path: Path) -> None:
    filled(path, PARTS[:2])
    with path.open("ab") as file:
        file.write(path.read_bytes())
    spool = Spool(path)
    assert spool.end_offset == len(b"".join(PARTS[:2]))
    assert kept(spool) == b"".join(PARTS[:2])
    spool.close()


def test_reading_only_cuts_nothing(path: Path) -> None:
    filled(path, PARTS[:2])
    with path.open("ab") as file:
        file.write(b"\0" * 100)
    before = path.read_bytes()
    spool = Spool(path, is_read_only=True)
    assert kept(spool) == b"".join(PARTS[:2])
    spool.close()
    assert path.read_bytes() == before


def test_durable_bytes_that_are_damaged_are_an_error(path: Path) -> None:
    sizes = filled(path, PARTS[:6])
    data = bytearray(path.read_bytes())
    data[sizes[3] - 3] ^= 1  # inside the third frame, long durable
    path.write_bytes(data)
    total = len(b"".join(PARTS[:6]))
    spool = Spool(path, at_least=total)
    assert kept(spool, len(b"".join(PARTS[:3]))) == b"".join(PARTS[3:6])
    with pytest.raises(SourceError, match="is damaged at byte"):
        kept(spool)
    spool.close()


def test_a_spool_that_lost_what_the_run_took_is_refused_and_left_alone(path: Path) -> None:
    sizes = filled(path, PARTS[:6])
    data = bytearray(path.read_bytes())
    data[sizes[2] + 10] ^= 1  # the third header
    path.write_bytes(data)
    with pytest.raises(SourceError, match="but the run took"):
        Spool(path, at_least=len(b"".join(PARTS[:5])))
    assert path.read_bytes() == data


def test_threads(path: Path) -> None:
    spool = Spool(path)
    data = [random.Random(n).randbytes(n * 13 % 5000 + 1) for n in range(2000)]

    def write() -> None:
        for part in data:
            spool.append(part)

    writer = threading.Thread(target=write)
    writer.start()
    ends = []
    while writer.is_alive():
        end = spool.end_offset
        spool.sync()
        ends.append(end)
        assert len(kept(spool)) >= end
    spool.finish()
    assert all(a <= b for a, b in pairwise(ends))
    assert kept(spool) == b"".join(data)
    spool.close()


def test_a_full_disk_is_said_and_nothing_is_synced_any_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(path)
    spool.append(b"one\n")
    spool.sync()
    original = os.pwrite
    end = path.stat().st_size
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: original(fd, data[:10], at) if at == end else _full())
    spool.append(b"two\n")
    for _ in range(2):
        with pytest.raises(LogStorageFailed, match="cannot be kept") as caught:
            spool.sync()
        assert caught.value.exit_code == 5
        assert caught.value.hint
    monkeypatch.undo()
    with pytest.raises(LogStorageFailed):
        spool.sync()
    spool.close()
    spool = Spool(path)
    assert kept(spool) == b"one\n"
    spool.close()


def test_a_sync_that_failed_is_not_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel forgets a failed page: a second sync would succeed without having written it."""
    spool = Spool(path)
    spool.append(b"one\n")
    monkeypatch.setattr("loader.reading.spool._SYNC", lambda descriptor: _full())
    with pytest.raises(LogStorageFailed, match="No space left"):
        spool.sync()
    monkeypatch.undo()
    with pytest.raises(LogStorageFailed, match="an earlier sync failed"):
        spool.sync()
    spool.close()


def _full() -> int:
    raise OSError(28, "No space left on device")


def test_short_writes_go_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: original(fd, data[:7], at))
    filled(path, PARTS[:3], is_finished=True)
    spool = Spool(path)
    assert kept(spool) == b"".join(PARTS[:3])
    assert spool.is_complete
    spool.close()


def test_a_link_in_the_way_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="cannot be kept"):
        Spool(path)
    with pytest.raises(SourceError, match="cannot be kept"):
        Spool(tmp_path / "absent" / "source.zst")
