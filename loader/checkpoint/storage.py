"""The disk, as far as the log needs one: a directory of a few files. The only module here that touches the operating system.

`Storage` and `File` are all that the rest knows, so that a simulation can stand a disk beneath it that loses what was not
synced. Every failure is an OSError, untranslated: `writer` decides what it means. Linux and macOS; flock does not reach across
hosts, so a run directory on a network disk is guarded on one host only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path
from typing import Final, Protocol

LOG: Final = "checkpoint.log"
BALLAST: Final = "checkpoint.ballast"
BEGUN: Final = "checkpoint.log.begun-"
"""And the run id: the log of a new run, until its header is durable."""

_CREATE: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a pipe in a file's place would be waited for.
_WRITE: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_COPY_BYTES: Final = 1024 * 1024
_MAX_COPIES: Final = 1000
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class File(Protocol):
    """An open file that grows at its end."""

    def size(self) -> int:
        """Return its length in bytes."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""
        ...

    def append(self, data: bytes | memoryview) -> int:
        """Write at the end, once; return how many bytes went (at least one)."""
        ...

    def sync(self) -> None:
        """Return when all that was written survives a power loss."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file."""
        ...

    def lock(self) -> bool:
        """Take the exclusive lock, held until `close`; False where another holds it."""
        ...

    def close(self) -> None:
        """Give file and lock up."""
        ...


class Storage(Protocol):
    """One directory. Names have no slashes."""

    def create(self, name: str) -> File:
        """Make a new file. Errors: FileExistsError."""
        ...

    def open(self, name: str, *, is_writable: bool = True) -> File:
        """Open an existing file. Errors: FileNotFoundError; PermissionError where others may write it."""
        ...

    def is_current(self, name: str, file: File) -> bool:
        """Say whether the name still leads to this very file."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Put a file in another's place, at once."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        ...

    def reserve(self, name: str, size: int) -> None:
        """Make sure that a file holds `size` bytes of the disk."""
        ...

    def sync(self) -> None:
        """Return when all names survive a power loss."""
        ...


class DiskFile:
    """A file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def size(self) -> int:
        """Return its length in bytes."""
        return os.fstat(self.descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""
        parts = []
        while size > 0 and (part := os.pread(self.descriptor, size, offset)):
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def append(self, data: bytes | memoryview) -> int:
        """Write at the end, once; return how many bytes went."""
        return os.write(self.descriptor, data)

    def sync(self) -> None:
        """Return when all that was written survives a power loss."""
        if sys.platform == "darwin":
            fcntl.fcntl(self.descriptor, fcntl.F_FULLFSYNC)  # macOS' fsync leaves data in the drive's cache
        else:
            os.fdatasync(self.descriptor)

    def truncate(self, size: int) -> None:
        """Cut the file."""
        os.ftruncate(self.descriptor, size)

    def lock(self) -> bool:
        """Take flock: it goes with this descriptor, whereas a POSIX lock is lost when any descriptor is closed."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Give file and lock up."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class BytesFile:
    """Bytes in memory, to be read like a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def size(self) -> int:
        """Return its length."""
        return len(self._data)

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes."""
        return self._data[offset : offset + size]

    def append(self, data: bytes | memoryview) -> int:
        """Refuse."""
        raise PermissionError(len(data))

    def sync(self) -> None:
        """Do nothing."""

    def truncate(self, size: int) -> None:
        """Refuse."""
        raise PermissionError(size)

    def lock(self) -> bool:
        """Refuse."""
        return False

    def close(self) -> None:
        """Do nothing."""


class DiskStorage:
    """A directory of the file system."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def create(self, name: str) -> DiskFile:
        """Make a new file, readable for its owner alone."""
        return DiskFile(os.open(self.directory / name, _CREATE, 0o600))

    def open(self, name: str, *, is_writable: bool = True) -> DiskFile:
        """Open an existing file; for writing only one that nobody else could have written."""
        path = self.directory / name
        file = DiskFile(os.open(path, _WRITE if is_writable else _READ))
        status = os.fstat(file.descriptor)
        is_foreign = status.st_uid != os.geteuid() or bool(status.st_mode & _OTHERS_WRITE)
        if not stat.S_ISREG(status.st_mode) or (is_writable and is_foreign):
            file.close()
            raise PermissionError(
                errno.EPERM, "not a file that its owner alone can write, or of another owner", str(path)
            )
        return file

    def is_current(self, name: str, file: File) -> bool:
        """Say whether the name still leads to this very file."""
        assert isinstance(file, DiskFile)  # noqa: S101 - a storage is given its own files
        mine = os.fstat(file.descriptor)
        try:
            named = os.lstat(f"{self.directory}/{name}")  # before each intent: a path object costs three times the call
        except FileNotFoundError:
            return False
        return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)

    def rename(self, old: str, new: str) -> None:
        """Put a file in another's place, at once."""
        (self.directory / old).replace(self.directory / new)

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        (self.directory / name).unlink(missing_ok=True)

    def reserve(self, name: str, size: int) -> None:
        """Make sure that a file holds `size` bytes of the disk. A hole would hold none, so the blocks are asked for."""
        descriptor = os.open(self.directory / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                os.pwrite(descriptor, b"\0" * size, 0)
        finally:
            os.close(descriptor)

    def sync(self) -> None:
        """Return when all names survive a power loss."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def append_all(file: File, data: bytes) -> tuple[int, OSError | None]:
    """Write all of the data, however short the single writes are; return how much went, and what stopped it."""
    done = 0
    try:
        done = file.append(data)
    except OSError as error:
        return 0, error
    view = memoryview(data)
    while done < len(data):
        try:
            wrote = file.append(view[done:])
        except OSError as error:
            return done, error
        if wrote < 1:
            return done, OSError(errno.EIO, "a write took nothing")
        done += wrote
    return done, None


def copy_aside(storage: Storage, name: str, file: File) -> str:
    """Copy a damaged file beside itself, durable; return the copy's name. Errors: OSError."""
    for count in range(_MAX_COPIES):
        try:
            copy = storage.create(copy_name := f"{name}.damaged" + (f"-{count}" if count else ""))
        except FileExistsError:
            continue
        try:
            at = 0
            while block := file.read(at, _COPY_BYTES):
                at += len(block)
                _, error = append_all(copy, block)
                if error:
                    raise error
            copy.sync()
        finally:
            copy.close()
        return copy_name
    raise FileExistsError(errno.EEXIST, "too many copies", f"{name}.damaged")
