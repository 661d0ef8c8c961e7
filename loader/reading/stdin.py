"""Standard input as a source: bytes that a pipe delivers are passed on at once, and kept.

Owns: reading descriptor 0 so that the first bytes that come end the wait, and `stop` does too; and comparing what is piped
again with what was kept. It must not decide when kept bytes are durable: the pipeline calls the spool's `sync` before an intent.

gzip and zstd are known by content here too; kept bytes and offsets are those of the uncompressed stream.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

from loader.errors import SourceError
from loader.reading.compression import BLOCK_BYTES, decoded
from loader.reading.cursor import Cursor
from loader.reading.sniff import examined
from loader.reading.source import CHANGED_HINT, SourceStopped
from loader.reading.spool import Spool


class StandardInput:
    """A pipe (or a redirected file) read once, from its beginning. `spool` None: nothing is kept."""

    name = "standard input"
    can_seek = False

    def __init__(self, spool: Spool | None, descriptor: int = 0) -> None:
        self.size_bytes: int | None = None
        self.read_bytes = 0
        self._spool = spool
        self._descriptor = descriptor
        self._wake_read, self._wake_write = os.pipe()

    def chunks(self, offset: int, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """Yield the bytes from `offset` on. The kept bytes must come again first; the bytes after them are kept now.

        Errors: SourceError if it is not the same data, or no lines (nothing is kept then); SourceStopped after `stop`.
        """
        position = 0
        kept = self._spool.end_offset if self._spool else 0
        known = Cursor(Kept(self._spool), block_bytes) if self._spool else None
        line = 1
        pieces = decoded(self._read, self.name, block_bytes)
        for piece in pieces if kept else examined(pieces, self.name):
            expected = known.take(min(len(piece), kept - position)) if known and position < kept else b""
            if expected and not piece.startswith(expected):
                raise _differs(piece, expected, line)
            line += expected.count(b"\n")
            if self._spool and len(piece) > len(expected):
                self._spool.append(piece[len(expected) :])
            position += len(piece)
            if position > offset:
                yield piece[max(0, len(piece) - (position - offset)) :]
        needed = max(kept, offset)
        if position < needed:
            raise SourceError(f"{self.name} ended at byte {position:,}; {needed:,} were read before", CHANGED_HINT)
        if self._spool:
            self._spool.finish()

    def stop(self) -> None:
        """End a wait in `chunks`, now or later, from any thread: it raises SourceStopped."""
        os.write(self._wake_write, b".")

    def close(self) -> None:
        """Free what the source holds open; standard input itself stays open."""
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)

    def _read(self, size: int) -> bytes:
        # poll, not select: the descriptors may be past 1,024. A regular file is always ready.
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            if any(descriptor == self._wake_read for descriptor, _ in poll.poll()):
                raise SourceStopped
            try:
                data = os.read(self._descriptor, size)
            except BlockingIOError:  # another process made the shared pipe non-blocking
                continue
            except OSError as error:
                raise SourceError(
                    f"{self.name} cannot be read: {error.strerror}", "pipe the data in, or redirect a file: < FILE"
                ) from None
            self.read_bytes += len(data)
            return data


class Kept:
    """The kept bytes as a source, even if the input never ended: a `Spool` read as a source is an error then."""

    name = "standard input (kept)"
    can_seek = True
    size_bytes: int | None = None
    read_bytes = 0

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def chunks(self, offset: int, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        return self._spool.kept(offset, block_bytes)

    def close(self) -> None: ...


def _differs(piece: bytes, expected: bytes, line: int) -> SourceError:
    equal = next((i for i, pair in enumerate(zip(piece, expected, strict=False)) if pair[0] != pair[1]), 0)
    line += expected.count(b"\n", 0, equal)
    return SourceError(f"standard input is not what was kept of it: line {line:,} differs", CHANGED_HINT)
