"""Take the log of a run for this process: make it or open it, lock it, mend what a crash left. Blocks: run it aside.

Opening, in this order: lock; make sure that the lock is on the file that the name leads to; sync, for what can be read may not
be on disk yet; read; cut torn ends off, keeping a copy; begin a new generation where the header was lost or the log came back
shorter than checkpoint.settled knows (its numbers must go on behind those). Nothing is changed before all was read and found
good.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loader.checkpoint.fold_file import NAME as SETTLED
from loader.checkpoint.fold_file import FoldFile
from loader.checkpoint.format import Header, Opened, seal, seed_of
from loader.checkpoint.generation import next_generation, put_in_place
from loader.checkpoint.intended import Intended
from loader.checkpoint.load import Opening, find_header, read_run, unwritten
from loader.checkpoint.scan import HINT
from loader.checkpoint.state import State
from loader.checkpoint.storage import BALLAST, BEGUN, LOG, File, Storage, append_all, copy_aside
from loader.errors import LogDamaged, LogLocked, LogStorageFailed

BALLAST_BYTES: Final = 1024 * 1024  # outcomes of 10,000 single records, or of 35,000 in chunks
_RENAMES: Final = 10  # a log is rotated every few seconds at the very most
_HINT: Final = "Make room or mend the disk, then give the same command again."


@dataclass
class OwnedLog:
    """A log that belongs to this process."""

    storage: Storage
    log: File
    fold_file: FoldFile
    intended: Intended
    state: State
    next_n: int

    def close(self) -> None:
        """Give it up as it is."""
        _close(self.log, self.fold_file, self.intended)


def create(storage: Storage, header: Header, opened: Opened) -> OwnedLog:
    """Make the log of a new run, durable with its directory entry before anything is sent.

    Errors: LogLocked, LogDamaged, LogStorageFailed; FileExistsError where there is one.
    """
    log: File | None = None
    fold_file: FoldFile | None = None
    intended: Intended | None = None
    try:
        log = _new_log(storage, header)
        storage.sync()
        fold_file = _new_fold_file(storage, header.run)
        intended = Intended.open(storage, header.run)
        state = State(header)
        next_n = _open_up(storage, log, state, opened, header.n + 1)
    except FileExistsError:
        raise
    except OSError as error:
        _close(log, fold_file, intended)
        raise _failed(error) from error
    except BaseException:
        _close(log, fold_file, intended)
        raise
    return OwnedLog(storage, log, fold_file, intended, state, next_n)


def _new_log(storage: Storage, header: Header) -> File:
    """Make the log of a new run, locked. Its name is only given to a header that is durable and whole.

    So a checkpoint.log without a header is nobody's leftover, and is never taken away. Errors: OSError.
    """
    try:
        storage.open(LOG, is_writable=False).close()
    except FileNotFoundError:
        pass
    else:
        raise FileExistsError(errno.EEXIST, "there is one", LOG)
    log = storage.create(begun := BEGUN + header.run)
    try:
        _lock(log)
        _write(log, seal(header, seed_of(header.run)))
        storage.rename(begun, LOG)
    except OSError:
        log.close()
        storage.remove(begun)
        raise
    return log


def take(
    storage: Storage, run_id: str, bound: Mapping[str, Any] | None, opened: Opened, *, may_be_shorter: bool = False
) -> OwnedLog:
    """Open the log of an existing run.

    Errors: LogLocked, LogDamaged, LogStorageFailed.
    """
    log: File | None = None
    fold_file: FoldFile | None = None
    intended: Intended | None = None
    try:
        log = open_locked(storage)
        log.sync()
        found = find_header(log, run_id, bound)
        if found[0].run != run_id:
            raise LogDamaged("checkpoint.log is the log of another run", HINT)
        fold_file = _open_fold_file(storage, run_id)
        opening = read_run(log, fold_file, found)
        if opening.state.is_shortened and not may_be_shorter:
            raise LogDamaged("checkpoint.log is shorter than it was: checkpoint.settled knows of later entries", HINT)
        intended = Intended.open(storage, run_id)
        return _mend(storage, log, fold_file, intended, opening, opened)
    except OSError as error:
        _close(log, fold_file, intended)
        raise _failed(error) from error
    except BaseException:
        _close(log, fold_file, intended)
        raise


def _mend(
    storage: Storage, log: File, fold_file: FoldFile, intended: Intended, opening: Opening, opened: Opened
) -> OwnedLog:
    state = opening.state
    if log.size() > opening.good_bytes:
        _cut(storage, log, opening)
    if fold_file.file.size() and not opening.heads.size:  # no header of this run: it may be somebody else's
        kept = copy_aside(storage, SETTLED, fold_file.file)
        state.warnings.append(f"checkpoint.settled was not the one of this run; it is made anew, and kept as {kept}")
    fold_file.go_on(opening.heads)
    jobs = unwritten(state, fold_file)
    for job, ref in zip(jobs, fold_file.append(jobs, None) if jobs else (), strict=True):
        state.folded(job, ref)
    next_n = state.last_n + 1
    if opening.is_rebuilt or state.is_shortened:
        what = "its header was lost and is made anew" if opening.is_rebuilt else "it came back shorter than it was"
        state.warnings.append(f"checkpoint.log: {what}")
        next_n = max(next_n, opening.heads.max_upto + 1)
        header, data = next_generation(state, next_n, fold_file.mark)
        log.close()
        log, error = put_in_place(storage, data)
        if error:
            raise error
        state.header = header
        next_n += 2
    next_n = _open_up(storage, log, state, opened, next_n)
    return OwnedLog(storage, log, fold_file, intended, state, next_n)


def _cut(storage: Storage, log: File, opening: Opening) -> None:
    """Take the end that cannot be trusted off the log, and keep it beside."""
    tail = log.read(opening.good_bytes, log.size() - opening.good_bytes)
    name = _free_name(storage, opening.good_bytes)
    copy = storage.create(name)
    try:
        append_all(copy, tail)
        copy.sync()
    finally:
        copy.close()
    log.truncate(opening.good_bytes)
    log.sync()
    lost = f", among them {opening.lost_lines} whole entries that were never acknowledged" if opening.lost_lines else ""
    opening.state.warnings.append(
        f"checkpoint.log: the last write was cut short; {len(tail)} bytes{lost} were taken off and kept in {name}"
    )


def _free_name(storage: Storage, position: int) -> str:
    for count in range(1000):
        name = f"checkpoint.log.cut-{position}" + (f".{count}" if count else "")
        try:
            storage.open(name, is_writable=False).close()
        except FileNotFoundError:
            return name
    raise FileExistsError(f"checkpoint.log.cut-{position}: too many copies")


def _open_up(storage: Storage, log: File, state: State, opened: Opened, n: int) -> int:
    """Reserve the ballast and say that this process has the log; return the next number."""
    storage.reserve(BALLAST, BALLAST_BYTES)
    storage.sync()
    entry = Opened(n=n, s=n - 1, pid=opened.pid, version=opened.version, time=opened.time)
    _write(log, seal(entry, seed_of(state.run_id)))
    state.apply(entry)
    return n + 1


def _write(file: File, data: bytes) -> None:
    _, error = append_all(file, data)
    if error:
        raise error
    file.sync()


def open_locked(storage: Storage) -> File:
    """Open the log and take its lock. Errors: LogLocked; LogDamaged where there is no log."""
    for _ in range(_RENAMES):
        try:
            log = storage.open(LOG)
        except FileNotFoundError:
            raise LogDamaged("there is no checkpoint.log in the run directory", HINT) from None
        try:
            _lock(log)
            if storage.is_current(LOG, log):
                return log
        except BaseException:
            log.close()
            raise
        log.close()
    raise LogLocked("another process is renewing the run's checkpoint.log", "Wait until it has ended.")


def _lock(log: File) -> None:
    if not log.lock():
        raise LogLocked(
            "another process holds this run", "Wait until it has ended, or stop it; `loader status` may be used."
        )


def _new_fold_file(storage: Storage, run_id: str) -> FoldFile:
    try:
        file = storage.create(SETTLED)
    except FileExistsError:
        raise LogDamaged("there is a checkpoint.settled, but no checkpoint.log", HINT) from None
    fold_file = FoldFile(file, run_id)
    fold_file.begin()
    return fold_file


def _open_fold_file(storage: Storage, run_id: str) -> FoldFile:
    """Open the second file; make it where it is missing, for it can be made anew from a log of the first generation."""
    try:
        file = storage.open(SETTLED)
    except FileNotFoundError:
        file = storage.create(SETTLED)
    file.sync()  # as with the log: what a dead process left may stand in memory only
    return FoldFile(file, run_id)


def _close(log: File | None, fold_file: FoldFile | None, intended: Intended | None) -> None:
    for file in (log, fold_file.file if fold_file else None, intended):
        if file:
            file.close()


def _failed(error: OSError) -> LogStorageFailed:
    return LogStorageFailed(f"the run directory cannot be written: {error.strerror or type(error).__name__}", _HINT)
