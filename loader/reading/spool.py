"""The lines of standard input, kept in the run directory, so that a run over a pipe can be resumed.

Owns: one file of zstd frames, `zstdcat`-able to the very bytes that were read, and when those bytes are durable. It must
not read standard input and knows no lines; its frames end anywhere.

How it works: appended bytes are gathered, and `sync` (before the intent of the lines) makes a frame of them, writes and
syncs it. Before each frame stands a skippable frame, a header that says where its bytes belong, how long the frame is, its
crc32, and up to which byte the file was known to be durable. So opening reads headers alone, and an offset is found without
decoding what is before it. A tail that a crash tore can only begin after the last durable byte: frames there are
checked at opening and cut off if they are bad; earlier ones are checked when they are read. A header without a frame is the
end mark: the input ended by itself.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from loader.errors import LogStorageFailed, SourceError
from loader.reading.compression import BLOCK_BYTES, compress, decompress

FRAME_BYTES = 1024 * 1024
"""The most that is gathered before it is written; it is not synced then."""
PIPE_AGAIN_HINT = "repeat the command with the same data piped into it; what was kept is not sent again"

# A skippable frame (RFC 8878, 3.1.2): magic and length; then _Header; then the crc32 of all these.
_HEADER = struct.Struct("<IIQIIIQI")
_MAGIC = 0x184D2A5C
_SYNC = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class _Header(NamedTuple):
    """`first` and `size`: the bytes of standard input in the frame. `durable`: a place in the file."""

    first: int
    size: int
    frame_bytes: int
    crc: int
    durable: int

    @property
    def is_end_mark(self) -> bool:
        return self.size == 0


class Spool:
    """The kept bytes of standard input. `append` and `sync` may be called from different threads."""

    name = "standard input (kept)"
    can_seek = True

    def __init__(self, path: Path, *, is_read_only: bool = False, at_least: int = 0) -> None:
        """Open or create. `at_least`: the bytes that the log knows of; a spool that holds fewer is damaged."""
        self.path = path
        self.size_bytes: int | None = None
        self.read_bytes = 0
        self.end_offset = 0
        """Bytes of standard input that are kept or gathered."""
        self.is_complete = False
        """Whether the file ends with the end mark."""
        self._firsts = array("Q")
        self._positions = array("Q")
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._file_end = self._durable = 0
        self._has_failed = False
        self._lock = threading.Lock()
        self._descriptor = _open(path, is_read_only=is_read_only)
        try:
            self._recover(at_least, is_read_only=is_read_only)
        except BaseException:
            self.close()
            raise

    def append(self, data: bytes) -> None:
        """Add bytes at the end. Errors: LogStorageFailed."""
        with self._lock:
            self.is_complete = False
            self._gathered.append(data)
            self._gathered_bytes += len(data)
            self.end_offset += len(data)
            if self._gathered_bytes >= FRAME_BYTES:
                self._write_frame()

    def sync(self) -> None:
        """Make all bytes durable that were appended before the call. Errors: LogStorageFailed."""
        with self._lock:
            self._write_frame()
            written = self._file_end
            if written == self._durable:
                return
            if self._has_failed:  # a second sync would succeed without writing anything
                self._fail(OSError(0, "an earlier sync failed"))
        try:
            _SYNC(self._descriptor)
        except OSError as error:
            self._fail(error)
        with self._lock:
            self._durable = max(self._durable, written)

    def finish(self) -> None:
        """Note that standard input ended by itself, and sync."""
        with self._lock:
            self._write_frame()
            if not self.is_complete:
                self._write_header(_Header(self.end_offset, 0, 0, 0, self._durable), b"")
                self.is_complete = True
        self.sync()

    def chunks(self, offset: int, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """Yield the kept bytes from `offset` on. Errors: SourceError at the end if the end mark is missing."""
        yield from self.kept(offset, block_bytes)
        if not self.is_complete:
            raise SourceError(
                f"standard input was kept only up to byte {self.end_offset:,}; its end never came", PIPE_AGAIN_HINT
            )

    def kept(self, offset: int, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """Yield the written bytes from `offset` on, whether standard input has ended or not."""
        index = max(0, bisect_right(self._firsts, offset) - 1)
        while index < len(self._firsts):
            first, data = self._frame(index)
            for start in range(max(0, offset - first), len(data), block_bytes):
                yield data[start : start + block_bytes]
            index += 1

    def close(self) -> None:
        """Close the file. Bytes that were appended and not synced are lost, as in a crash."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _frame(self, index: int) -> tuple[int, bytes]:
        position = self._positions[index]
        header = self._header(position)
        if header is not None and header.is_end_mark:
            return header.first, b""
        if header is not None:
            frame = os.pread(self._descriptor, header.frame_bytes, position + _HEADER.size)
            if zlib.crc32(frame) == header.crc:
                self.read_bytes = position + _HEADER.size + header.frame_bytes
                return header.first, decompress(frame)
        raise SourceError(f"{self.path} is damaged at byte {position:,}", PIPE_AGAIN_HINT)

    # --- writing -----------------------------------------------------------------------------------------------------

    def _write_frame(self) -> None:
        if not self._gathered:
            return
        data = b"".join(self._gathered)
        frame = compress(data)
        header = _Header(self.end_offset - len(data), len(data), len(frame), zlib.crc32(frame), self._durable)
        self._write_header(header, frame)
        self._gathered.clear()
        self._gathered_bytes = 0

    def _write_header(self, header: _Header, frame: bytes) -> None:
        position = self._file_end
        self._write(_pack(header) + frame)
        self._firsts.append(header.first)
        self._positions.append(position)

    def _write(self, data: bytes) -> None:
        if self._has_failed:
            self._fail(OSError(0, "an earlier write failed"))
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], self._file_end + written)
        except OSError as error:
            self._fail(error)
        self._file_end += len(data)
        self.size_bytes = self._file_end

    def _fail(self, error: OSError) -> NoReturn:
        self._has_failed = True
        raise LogStorageFailed(
            f"standard input cannot be kept in {self.path}: {error.strerror}",
            "make room on that disk, then repeat the command with the same data piped into it",
        ) from None

    # --- opening -----------------------------------------------------------------------------------------------------

    def _recover(self, at_least: int, *, is_read_only: bool) -> None:
        size = os.fstat(self._descriptor).st_size
        self._check_ours()
        while (header := self._header(self._file_end)) and header.first == self.end_offset:
            self._firsts.append(header.first)
            self._positions.append(self._file_end)
            self._file_end += _HEADER.size + header.frame_bytes
            self._durable = header.durable
            self.end_offset += header.size
            self.is_complete = header.is_end_mark
        self._drop_torn()
        if self.end_offset < at_least:
            raise SourceError(
                f"{self.path} holds {self.end_offset:,} bytes of standard input, but the run took {at_least:,}",
                "restore the run directory, or load anew with --run NEW",
            )
        if not is_read_only:
            try:
                if self._file_end < size:
                    os.ftruncate(self._descriptor, self._file_end)
                # Bytes that were read may be in memory only, and lost with the power.
                os.fsync(self._descriptor)
            except OSError as error:
                self._fail(error)
            self._durable = self._file_end
        self.size_bytes = self._file_end

    def _check_ours(self) -> None:
        """See that the file begins as a spool does, or with the zeros of a power loss: other bytes are not ours to cut."""
        magic, head = struct.pack("<I", _MAGIC), os.pread(self._descriptor, _HEADER.size, 0)
        if head.strip(b"\0") and head[: len(magic)] != magic and not magic.startswith(head):
            raise SourceError(
                f"{self.path} is not what a run keeps of standard input", "move it away, or restore the run directory"
            )

    def _drop_torn(self) -> None:
        """Check the frames after the last durable byte, and forget all from the first bad one on."""
        for index in range(bisect_left(self._positions, self._durable), len(self._positions)):
            try:
                self._frame(index)
            except SourceError:
                self._file_end = self._positions[index]
                self.end_offset = self._firsts[index]
                before = self._header(self._positions[index - 1]) if index else None
                self.is_complete = before is not None and before.is_end_mark
                del self._positions[index:], self._firsts[index:]
                return

    def _header(self, position: int) -> _Header | None:
        data = os.pread(self._descriptor, _HEADER.size, position)
        if len(data) < _HEADER.size:
            return None
        magic, _, *fields, crc = _HEADER.unpack(data)
        return _Header(*fields) if magic == _MAGIC and crc == zlib.crc32(data[:-4]) else None


def _pack(header: _Header) -> bytes:
    # 8: magic and length themselves are not counted.
    data = _HEADER.pack(_MAGIC, _HEADER.size - 8, *header, 0)[:-4]
    return data + struct.pack("<I", zlib.crc32(data))


def _open(path: Path, *, is_read_only: bool) -> int:
    try:
        if is_read_only:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        _sync_directory(path.parent)
    except OSError as error:
        raise SourceError(
            f"standard input cannot be kept in {path}: {error.strerror}",
            "look at the run directory and the disk it is on",
        ) from None
    return descriptor


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
