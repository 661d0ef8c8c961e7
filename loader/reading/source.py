"""What a source is, and opening a file.

Owns: byte offsets. They count bytes of the uncompressed stream, byte order mark included, so that an uncompressed file can be
sought. It knows no lines.

Reading is synchronous, made for a worker thread: `next()` of the chunks may be called from any thread, one at a time.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from loader.errors import SourceError
from loader.reading.compression import BLOCK_BYTES, HEAD_BYTES, PACKED_BYTES, Kind, decompressed, kind_of
from loader.redaction import printable

CHANGED_HINT = "a run belongs to its data: put the source back as it was, or load this one anew with --run NEW"


class SourceStopped(Exception):
    """Ends the reading thread because somebody asked for it; the source is not at its end."""


class Opened(Protocol):
    """What is open of a source: a file, standard input, or what was kept of it."""

    name: str
    """As shown to the user."""
    size_bytes: int | None
    """The raw (compressed) size, if it is known. `read_bytes` counts towards it."""
    read_bytes: int
    can_seek: bool
    """Reading can begin at any offset at the same cost."""

    def chunks(self, offset: int, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """Yield the uncompressed bytes from `offset` on, in non-empty pieces. Errors: SourceError."""
        ...

    def close(self) -> None:
        """Free what the source holds open."""
        ...


class FileSource:
    """A regular file, plain or compressed, known by its content. Several readers may use one at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = printable(str(path))
        self.read_bytes = 0
        self._descriptor = _open(path)
        try:
            status = self.status()
            self.size_bytes: int | None = status.st_size
            self._written_ns = status.st_mtime_ns
            self.kind: Kind = kind_of(self.read_at(0, HEAD_BYTES))
            self.can_seek = self.kind == "plain"
        except BaseException:
            self.close()
            raise

    def chunks(self, offset: int, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """Yield the uncompressed bytes from `offset` on. A plain file is sought; a compressed one is decoded from its start."""
        if self.kind == "plain":
            if offset > (self.size_bytes or 0):
                raise self._shorter()
            yield from self._raw(offset, block_bytes)
            return
        position = 0
        raw = self._raw(0, min(block_bytes, PACKED_BYTES))
        for piece in decompressed(lambda _: next(raw, b""), self.kind, self.name, block_bytes):
            position += len(piece)
            if position > offset:
                yield piece[max(0, len(piece) - (position - offset)) :]
        if position < offset:
            raise self._shorter()

    def read_at(self, position: int, size: int) -> bytes:
        """Read raw bytes of the file; fewer only at its end."""
        try:
            return os.pread(self._descriptor, size, position)
        except OSError as error:
            raise SourceError(f"{self.name} cannot be read: {error.strerror}", "look at the disk it is on") from None

    def status(self) -> os.stat_result:
        """Return size, time and place of the open file, even if its name means another file by now."""
        return os.fstat(self._descriptor)

    def has_changed(self) -> bool:
        """Say whether it was written to since it was opened."""
        status = self.status()
        return (status.st_size, status.st_mtime_ns) != (self.size_bytes, self._written_ns)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _raw(self, position: int, block_bytes: int) -> Iterator[bytes]:
        while piece := self.read_at(position, block_bytes):
            position += len(piece)
            self.read_bytes = position
            yield piece
        if position < (self.size_bytes or 0):
            raise SourceError(f"{self.name} became shorter while it was read, {position:,} bytes", CHANGED_HINT)

    def _shorter(self) -> SourceError:
        return SourceError(f"{self.name} is shorter than when the run read it", CHANGED_HINT)


_OPEN_ERRORS = {
    errno.ENOENT: (
        "does not exist",
        "look at the path; of a run whose file was moved: `loader resume RUN --source PATH`",
    ),
    errno.ENOTDIR: ("does not exist", "a part of the path is a file, not a directory"),
    errno.EACCES: ("may not be read", "ask for read permission on it and on the directories above it"),
    errno.EPERM: ("may not be read", "ask for read permission on it and on the directories above it"),
    errno.ELOOP: ("is a symbolic link that leads to itself", "name the file itself"),
    errno.ENXIO: ("is not a regular file", "pipe the data in and name - as the source"),
}


def _open(path: Path) -> int:
    try:
        # Without O_NONBLOCK a FIFO that nobody writes to would hang here.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        what, hint = _OPEN_ERRORS.get(error.errno or 0, (f"cannot be opened: {error.strerror}", "look at the path"))
        raise SourceError(f"{path} {what}", hint) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise SourceError(f"{path} is a directory", f"name the files in it: {shlex.quote(str(path))}/*.ndjson")
    raise SourceError(f"{path} is a pipe or a device, not a regular file", "pipe the data in and name - as the source")
