"""A place in the bytes of a source, moved forwards.

Owns: reaching a place with as little reading as the source allows. It must not go backwards: offsets ascend, so that a
compressed source is decoded once. It knows no lines; `blocks` and the source's format make them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from loader.errors import SourceError
from loader.reading.compression import BLOCK_BYTES
from loader.reading.source import CHANGED_HINT, Opened

SEEK_BYTES = 64 * 1024
"""A gap of fewer bytes is read rather than skipped by a seek. Also the size of a piece where single lines are read."""


class Cursor:
    """A place in a source. `offset` is that of the next byte."""

    def __init__(self, opened: Opened, block_bytes: int = BLOCK_BYTES) -> None:
        self.offset = 0
        self.name = opened.name
        self._opened = opened
        self._block_bytes = block_bytes
        self._chunks: Iterator[bytes] | None = None
        self._held = b""

    def move_to(self, offset: int) -> None:
        """Go forward to an offset. Errors: SourceError if the source ends before it."""
        if self._chunks is None or (self._opened.can_seek and offset - self.offset > SEEK_BYTES):
            self._chunks = self._opened.chunks(offset, self._block_bytes)
            self._held = b""
            self.offset = offset
        for _ in self.pieces(offset - self.offset):
            pass
        if self.offset != offset:
            raise self.shorter()

    def pieces(self, size: int = sys.maxsize) -> Iterator[bytes]:
        """Yield the next `size` bytes piece by piece; fewer only if the source ends."""
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
        """Return the next `size` bytes; fewer only if the source ends."""
        return b"".join(self.pieces(size))

    def take_through(self, byte: bytes, max_bytes: int) -> bytes | None:
        """Return the bytes up to this one, with it, or up to the source's end. None, passed over, if they are too many."""
        kept: list[bytes] = []
        size = 0
        is_ended = False
        while not is_ended and (piece := self._held or self._next()):
            length = piece.find(byte) + 1
            is_ended = length > 0
            part = piece[:length] if is_ended else piece
            self._held = piece[len(part) :]
            self.offset += len(part)
            size += len(part)
            if size <= max_bytes:
                kept.append(part)
        return b"".join(kept) if size <= max_bytes else None

    def skip(self, text: bytes) -> bool:
        """Pass over these bytes if they come next, and say whether they did.

        It reads only until that is certain: a pipe may be silent for hours after its first byte.
        """
        held = self._held
        while len(held) < len(text) and text.startswith(held) and (piece := self._next()):
            held += piece
        self._held = held
        if not held.startswith(text):
            return False
        self._held = held[len(text) :]
        self.offset += len(text)
        return True

    def shorter(self) -> SourceError:
        """Return the error for a source that ends before bytes that were read of it."""
        return SourceError(f"{self.name} is shorter than when the run read it", CHANGED_HINT)

    def _next(self) -> bytes:
        if self._chunks is None:
            self._chunks = self._opened.chunks(self.offset, self._block_bytes)
        return next(self._chunks, b"")
