"""One process of this user and machine at a time carries out a run, by whatever copy of its directory.

The lock on checkpoint.log is the file's own: a copy of the directory has another. This one has the run id in its name. It stands
in a folder that only this user can write, always the same one, since a lock in another folder locks nobody out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from loader.errors import LogLocked

FOLDER = "/tmp/loader-{user}"  # noqa: S108 - only a folder of one's own is used; TMPDIR may differ between two processes
_TRIES = 100
_GLANCES = 5
"""`loader status` holds the lock for a moment, to see whether it is free."""
_GLANCE_SECONDS = 0.02
_MAX_BYTES = 4096
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@contextlib.contextmanager
def locked_run(run_id: str, directory: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a run id; where there is no place for it, go on without, with a warning. Errors: LogLocked."""
    path = _path(run_id, os.geteuid())
    folder = path.parent
    try:
        _check_folder(folder)
        descriptor = _take(path, directory)
    except OSError as error:
        warn(f"{folder} can hold no lock ({error.strerror}): a copy of this run would not be noticed on this machine")
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def holder_of(run_id: str, directory: Path) -> int | None:
    """Return the process that carries out the run in this very directory, if one does."""
    try:
        descriptor = os.open(_path(run_id, directory.stat().st_uid), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, held = _content(descriptor)
        return int(pid) if pid.isdecimal() and held == str(directory.absolute()) else None
    finally:
        os.close(descriptor)
    return None


def _path(run_id: str, user: int) -> Path:
    name = run_id if _PLAIN.fullmatch(run_id) else str(zlib.crc32(run_id.encode(errors="surrogateescape")))
    return Path(FOLDER.format(user=user)) / f"{name}.lock"


def _content(descriptor: int) -> tuple[str, str]:
    pid, _, held = (
        os.pread(descriptor, _MAX_BYTES, 0).decode(errors="surrogateescape").removesuffix("\n").partition(" ")
    )
    return pid, held


def _check_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise PermissionError(errno.EPERM, "not a folder of this user alone")


def _take(path: Path, directory: Path) -> int:
    for attempt in range(_TRIES):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_current(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} {directory.absolute()}\n".encode(errors="surrogateescape"), 0)
                return descriptor
        except BlockingIOError:
            pid, held = _content(descriptor)
            if attempt >= _GLANCES:
                os.close(descriptor)
                raise LogLocked(_held(directory, pid, held), _HINT) from None
            time.sleep(_GLANCE_SECONDS)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has removed the name at this moment, or somebody only looks
    raise LogLocked("another process holds this run", _HINT)


def _is_current(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


_HINT = "Wait until it has ended, or stop it; a copy of a run is for reading, and only one of the two may go on."


def _held(directory: Path, pid: str, held: str) -> str:
    if not held or held == str(directory.absolute()):
        return "another process holds this run" + (f" (process {pid})" if pid else "")
    return (
        f"another process holds this run: {directory} and {held} are copies of one run, which process {pid} carries out"
    )
