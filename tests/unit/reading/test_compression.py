from __future__ import annotations

import gzip
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from loader.errors import SourceError
from loader.reading.blocks import read_blocks
from loader.reading.compression import compress, decoded, decompress, decompressed, kind_of, window_bits
from loader.reading.cursor import Cursor
from loader.reading.ndjson import NDJSON
from loader.reading.source import FileSource
from tests.unit.reading.encoders import COMPRESSORS

LINES = b"".join(b'{"n":%d,"text":"%x"}\n' % (n, n * n * 7919) for n in range(20_000))
SKIPPABLE = b"\x5a\x2a\x4d\x18\x05\0\0\0hello"


class Dripping:
    """A read function that gives a few bytes at a time, as a slow pipe does."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size
        self.taken = 0

    def __call__(self, size: int) -> bytes:
        piece = self._data[self.taken : self.taken + min(size, self._size)]
        self.taken += len(piece)
        return piece


def whole(data: bytes, drip: int = 1 << 20, block_bytes: int = 1 << 16) -> bytes:
    pieces = list(decoded(Dripping(data, drip), "the source", block_bytes))
    assert all(0 < len(piece) <= block_bytes for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("drip", [977, 1 << 20])
def test_members_one_behind_the_other(kind: str, drip: int) -> None:
    encode = COMPRESSORS[kind]
    data = encode(LINES) + encode(b"") + encode(b"x") + encode(LINES)
    assert whole(data, drip) == LINES + b"x" + LINES


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_single_bytes_and_tiny_blocks(kind: str) -> None:
    data = COMPRESSORS[kind](LINES[:500]) * 3
    assert whole(data, drip=1, block_bytes=7) == LINES[:500] * 3


@pytest.mark.parametrize("data", [b"", b"{", b"\x1f", b"\x28\xb5", b"\x5a\x2a", b"P", b"\n", b"{}\n" * 10])
@pytest.mark.parametrize("drip", [1, 100])
def test_plain_bytes_are_handed_on(data: bytes, drip: int) -> None:
    assert whole(data, drip, block_bytes=4 if drip == 1 else 1 << 16) == data


def test_zeros_behind_gzip_and_skippable_frames_of_zstd() -> None:
    assert whole(gzip.compress(LINES) + b"\0" * 1000, drip=300) == LINES
    assert whole(gzip.compress(b"a") + b"\0" * 1000 + gzip.compress(b"b"), drip=300) == b"ab"
    data = COMPRESSORS["zstd"](b"a")
    assert whole(SKIPPABLE + data + SKIPPABLE + data + SKIPPABLE, drip=3) == b"aa"


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("rest", [b"{}", b"\x1f", b"\0\0\0\0\0\0\0\0x", b"garbage garbage"])
def test_something_behind_the_data_is_an_error_after_the_data(kind: str, rest: bytes) -> None:
    pieces: list[bytes] = []
    with pytest.raises(SourceError, match="something behind its") as caught:
        pieces.extend(decoded(Dripping(COMPRESSORS[kind](LINES) + rest, 1 << 20), "the source"))
    assert b"".join(pieces) == LINES
    assert caught.value.hint


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_every_truncation_is_an_error_and_no_partial_line_comes_out(tmp_path: Path, kind: str) -> None:
    data = COMPRESSORS[kind](LINES[:3000])
    path = tmp_path / "source"
    for size in range(7, len(data)):
        path.write_bytes(data[:size])
        opened = FileSource(path)
        read: list[bytes] = []
        with pytest.raises(SourceError, match="cut off"):
            read.extend(
                line
                for block in read_blocks(Cursor(opened), NDJSON, source=0, max_line_bytes=1000)
                for line in block.lines
            )
        opened.close()
        assert LINES.startswith(b"".join(read))
        assert not read or read[-1].endswith(b"\n")


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_whole_lines_before_a_truncation_are_delivered(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    noise = b"".join(b'{"n":"%s"}\n' % random.Random(n).randbytes(500).hex().encode() for n in range(2000))
    data = COMPRESSORS[kind](noise)
    path.write_bytes(data[: len(data) * 9 // 10])
    opened = FileSource(path)
    read: list[bytes] = []
    with pytest.raises(SourceError, match=r"cut off: its \w+ data ends in the middle, behind line [\d,]+$") as caught:
        read.extend(
            line
            for block in read_blocks(Cursor(opened), NDJSON, source=0, max_line_bytes=10_000)
            for line in block.lines
        )
    opened.close()
    assert len(read) > 1500
    assert caught.value.message.endswith(f" {len(read):,}")


def test_a_flipped_bit_in_gzip_is_found() -> None:
    data = bytearray(gzip.compress(LINES))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(SourceError, match=r"damaged|cut off"):
        whole(bytes(data))
    data = bytearray(gzip.compress(LINES))
    data[-6] ^= 1  # the checksum itself
    with pytest.raises(SourceError, match="damaged"):
        whole(bytes(data))


def wide_frame(window: int) -> bytes:
    """Make a zstd frame that asks for a window of this many bits, and holds `{}`."""
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(window - 10) << 3]) + (1 | 3 << 3).to_bytes(3, "little") + b"{}\n"


@pytest.mark.parametrize("drip", [1, 1 << 20])
def test_a_window_that_is_too_large_is_named(drip: int) -> None:
    assert window_bits(wide_frame(31)) == 31
    assert window_bits(wide_frame(27)[:5] + bytes([(17 << 3) + 1])) == 28
    assert whole(wide_frame(27)) == b"{}\n"
    with pytest.raises(SourceError, match="packed by zstd with a window of") as caught:
        whole(wide_frame(31), drip)
    assert "zstd -dc --long=31 'the source' | " in caught.value.hint


def test_a_kind_is_known_by_content() -> None:
    assert kind_of(gzip.compress(b"")[:6]) == "gzip"
    assert kind_of(COMPRESSORS["zstd"](b"")[:6]) == "zstd"
    assert kind_of(SKIPPABLE) == "zstd"
    assert kind_of(b"\x60\x2a\x4d\x18") == "plain"
    assert kind_of(b"") == "plain"


def test_nothing_is_read_ahead_of_what_is_handed_on() -> None:
    read = Dripping(b"first\n" + b"second\n" * 5, 6)
    pieces: Iterator[bytes] = decoded(read, "the source")
    assert next(pieces) == b"first\n"
    assert read.taken == 6
    data = gzip.compress(os.urandom(1 << 16))
    read = Dripping(data, 1000)
    next(decompressed(read, "gzip", "the source"))
    assert read.taken < 5000


def test_a_highly_compressed_source_comes_in_bounded_pieces() -> None:
    data = gzip.compress(b"\n" * (32 << 20))
    sizes = [len(piece) for piece in decoded(Dripping(data, 1 << 20), "the source", 1 << 16)]
    assert max(sizes) <= 1 << 16
    assert sum(sizes) == 32 << 20


def test_frames_of_our_own() -> None:
    assert decompress(compress(LINES)) == LINES
    with pytest.raises(ValueError, match=r".+"):
        decompress(compress(LINES)[:-1])
