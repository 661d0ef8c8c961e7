"""What NDJSON is, asked through the protocol of a format."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loader.columns import Splice
from loader.model import Rejected
from loader.reading.compression import BLOCK_BYTES
from loader.reading.cursor import Cursor
from loader.reading.format import Format
from loader.reading.ndjson import BOM, NDJSON


class Pieces:
    """A source that delivers these pieces, and fails if more is asked for."""

    name = "pieces"
    size_bytes: int | None = None
    read_bytes = 0
    can_seek = False

    def __init__(self, *pieces: bytes, is_at_end: bool = False) -> None:
        self._pieces = pieces
        self._is_at_end = is_at_end

    def chunks(self, offset: int, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        del offset, block_bytes
        yield from self._pieces
        if not self._is_at_end:
            raise AssertionError("a silent pipe was waited for")

    def close(self) -> None: ...


FORMAT: Format = NDJSON


@pytest.mark.parametrize(
    "pieces, offset",
    [
        ((b"{",), 0),
        ((b"\xef", b"\xbb", b"\xbf"), 3),
        ((b"\xef", b"\xbb{"), 0),
        ((BOM + BOM,), 3),
    ],
)
def test_a_byte_order_mark_is_passed_over_once_and_nothing_more_is_waited_for(
    pieces: tuple[bytes, ...], offset: int
) -> None:
    cursor = Cursor(Pieces(*pieces))
    FORMAT.begin(cursor)
    assert cursor.offset == offset
    rest = b"".join(pieces)[offset:]
    assert cursor.take(len(rest)) == rest


@pytest.mark.parametrize(
    "last, rest, is_whole, skipped",
    [
        (b"\n", b"", True, 0),
        (b"\n", b"x", True, 0),
        (b"}", b"", True, 0),
        (b"}", b"\nx", True, 1),
        (b"}", b"\r\nx", True, 2),
        (b"}", b"x", False, 1),
        (b"}", b"\rx", False, 1),
        (b"}", b"\r", False, 1),
    ],
)
def test_a_last_line_may_get_a_line_end_later_and_nothing_else(
    last: bytes, rest: bytes, *, is_whole: bool, skipped: int
) -> None:
    cursor = Cursor(Pieces(rest, is_at_end=True) if rest else Pieces(is_at_end=True))
    assert FORMAT.goes_on(cursor, last) is is_whole
    if is_whole:
        assert cursor.offset == skipped


def test_a_line_is_decoded_refused_or_blank() -> None:
    assert FORMAT.decode(b' {"a":1.0}\r\n') == ({"a": 1.0}, b'{"a":1.0}')
    assert FORMAT.decode(b" \t\r\n") == (None, b"")
    fields, _ = FORMAT.decode(b'{"a":1,"a":2}\n')
    assert isinstance(fields, Rejected)
    assert fields.code == "duplicate_key"


def test_lines_are_cut_again_as_they_were() -> None:
    lines = [b'{"a":1}\n', b"\n", b'{"b":2}\r\n', b"last"]
    assert FORMAT.cut(b"".join(lines)) == lines


def test_many_lines_are_checked_with_what_a_target_writes() -> None:
    check = FORMAT.check_many(Splice(b"{", ("Tag",), names_ok=lambda names: "fid" not in names))
    assert check is not None
    rows = [b'{"a":1}\n', b'{"a":2}\n'], [b'{"Tag":1}\n'], [b'{"fid":1}\n']
    assert [check.all_good(lines, b"".join(lines)) for lines in rows] == [True, False, False]
