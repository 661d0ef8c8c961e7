"""Reading a source again: single lines by their offset, and ranges of bytes one after another.

Owns: moving forward through a source with as little reading as its kind allows. It must not go backwards: offsets
ascend, so that a compressed source is decoded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loader.errors import SourceError
from loader.reading.compression import BLOCK_BYTES
from loader.reading.source import CHANGED_HINT, Opened

_LF = b"\n"
_SEEK_BYTES = 64 * 1024
"""A pause of fewer bytes is read over; and what is read around a single line."""


class Cursor:
    """A place in a source. `offset` is that of the next byte."""

    def __init__(self, opened: Opened, block_bytes: int = BLOCK_BYTES) -> None:
        self.offset = 0
        self._opened = opened
        self._block_bytes = block_bytes
        self._chunks: Iterator[bytes] | None = None
        self._held = b""

    def move_to(self, offset: int) -> None:
        """Go forward to an offset. Errors: SourceError where the source ends before it."""
        if self._chunks is None or (self._opened.can_seek and offset - self.offset > _SEEK_BYTES):
            self._chunks = self._opened.chunks(offset, self._block_bytes)
            self._held = b""
            self.offset = offset
        for _ in self.pieces(offset - self.offset):
            pass
        if self.offset != offset:
            raise SourceError(f"{self._opened.name} is shorter than when the run read it", CHANGED_HINT)

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes piece by piece; fewer only where the source ends."""
        while size > 0:
            piece = self._held or self._next()
            if not piece:
                return
            self._held = piece[size:]
            piece = piece[:size]
            self.offset += len(piece)
            size -= len(piece)
            yield piece

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes; fewer only where the source ends."""
        return b"".join(self.pieces(size))

    def line(self, max_line_bytes: int) -> bytes | None:
        """Return the line that begins here, with its line end; None, passed over, where it is longer than allowed."""
        kept: list[bytes] = []
        size = 0
        is_ended = False
        while not is_ended and (piece := self._held or self._next()):
            length = piece.find(_LF) + 1
            is_ended = length > 0
            part = piece[:length] if is_ended else piece
            self._held = piece[len(part) :]
            self.offset += len(part)
            size += len(part)
            if size <= max_line_bytes + len(b"\r\n"):
                kept.append(part)
        return b"".join(kept) if size <= max_line_bytes + len(b"\r\n") else None

    def _next(self) -> bytes:
        if self._chunks is None:
            self._chunks = self._opened.chunks(self.offset, self._block_bytes)
        return next(self._chunks, b"")


def lines_at(opened: Opened, offsets: Iterable[int], max_line_bytes: int) -> Iterator[bytes | None]:
    """Yield the line that begins at each of the ascending offsets, with its line end; None where it is too long."""
    cursor = Cursor(opened, _SEEK_BYTES if opened.can_seek else BLOCK_BYTES)
    for offset in offsets:
        cursor.move_to(offset)
        yield cursor.line(max_line_bytes)
