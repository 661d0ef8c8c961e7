"""Appends to the log and knows what is durable. Syncs run in a worker thread, one at a time.

Writes go straight to the file, so that they survive the death of the process; syncs are only against power loss and go in
groups: at once where somebody waits (an intent), else every 50 ms or 2,048 outcomes.

When the disk fails: nothing is retried. A sync that failed may have dropped the very pages that it was asked to keep, so no
further sync is tried on that file, and `synced_n` stays. A write that failed ends all writing. One exception: on a full disk
the ballast is given back and the rest of the write goes on, so that the outcomes of what is in flight still fit; the run must
stop all the same. Either way `failure` is set once and for good; `durable` raises, `append` does not, for what is
in flight must be allowed to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final

from loader.checkpoint.format import AnyEntry, seal
from loader.checkpoint.storage import BALLAST, LOG, File, Storage, append_all
from loader.checkpoint.tools import Ended, Worker
from loader.errors import LogStorageFailed

SYNC_SECONDS: Final = 0.05  # what a power loss may cost: as many look-ups as records settle in that time
SYNC_OUTCOMES: Final = 2048
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_HINT: Final = "Make room or mend the disk, then give the same command again: the run goes on where it stopped."
_GONE_HINT: Final = (
    "The run directory was removed or moved: find it and put it back, then `loader resume` it."
    " Without it, the same command would begin a new run."
)


class Writer:
    """The growing end of the log."""

    def __init__(self, storage: Storage, file: File, seed: int, next_n: int, worker: Worker) -> None:
        self.file = file
        self.size = file.size()
        self.next_n = next_n
        self.synced_n = next_n - 1  # the file was synced before it was read
        self.failure: Exception | None = None
        self._seed = seed
        self._worker = worker
        self._storage = storage
        self._can_write = True
        self._can_sync = True
        self._unsynced = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._after_sync: Callable[[], None] = _nothing
        self._sync: asyncio.Future[None] | None = None  # the one that runs
        self._is_wanted = False  # another one, behind that
        self._holding = asyncio.Lock()
        self._is_held = False

    def start(self, after_sync: Callable[[], None]) -> None:
        """Have `after_sync` called behind each sync."""
        self._after_sync = after_sync

    def append(self, entries: Sequence[AnyEntry], weight: int = 1) -> bool:
        """Write entries, numbered from `next_n` on. False if the disk refused; then none of them counts.

        `weight`: how many outcomes they hold, 1 for another entry; 0 if a power loss may take them, so that no sync is needed.
        """
        if not self._can_write:
            return False
        seed = self._seed
        data = b"".join([seal(entry, seed) for entry in entries])
        done, error = append_all(self.file, data)
        if error and error.errno in _FULL and free_ballast(self._storage):
            self.fail("the disk is full", error)
            more, error = append_all(self.file, data[done:])
            done += more
        self.size += done
        if error:
            self._can_write = self._can_sync = False
            self.fail("checkpoint.log cannot be written", error)
            return False
        self.next_n += len(entries)
        self._unsynced += weight
        if self._unsynced >= SYNC_OUTCOMES:
            self._begin_sync()
        elif weight and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SYNC_SECONDS, self._begin_sync)
        return True

    async def durable(self) -> None:
        """Return when all that was appended survives a power loss. Errors: LogStorageFailed."""
        if self.failure:
            raise self.failure
        n = self.next_n - 1
        if n <= self.synced_n:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((n, waiter))
        self._begin_sync()
        await waiter

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Let no sync run or begin while the file is swapped or closed."""
        async with self._holding:
            self._is_held = True
            try:
                if self._sync is not None:
                    await asyncio.wait([self._sync])
                yield
            finally:
                self._is_held = False
                if self._is_wanted:
                    self._begin_sync()

    def swap(self, file: File, next_n: int, error: OSError | None) -> None:
        """Go on in another file, in which everything before `next_n` is contained. Call it while it is `held`.

        `error`: the file has the name, but the name may not survive a power loss; then nothing is durable any more.
        """
        self.file.close()
        self.file = file
        self.size = file.size()
        self.next_n = next_n
        if error:
            self._can_sync = False
            self.fail("the run directory cannot be synced", error)
        else:
            self.synced_n = next_n - 1
            self._wake()

    def fail(self, what: str, error: OSError) -> None:
        """Note that the disk failed: the run must stop. What can still be written is written."""
        hint = _GONE_HINT if error.errno == errno.ENOENT else _HINT
        self.give_up(LogStorageFailed(f"{what}: {error.strerror or type(error).__name__}", hint))

    def failed_with(self, what: str, error: OSError) -> Exception:
        """Do the same, and return what is to be raised."""
        self.fail(what, error)
        return self.failure or error

    def give_up(self, failure: Exception) -> None:
        """End all waiting. The first failure is the one that is raised."""
        if self.failure is None:
            self.failure = failure
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self.failure)
        self._waiters = []

    async def close(self) -> None:
        """End syncing, with a last sync where that is still allowed."""
        async with self.held():
            self._stop_timer()
            n = self.next_n - 1
            if self._can_sync and n > self.synced_n:
                await asyncio.wait([sync := asyncio.ensure_future(self._worker(self.file.sync))])
                self._take_note(n, sync)
            self.file.close()
            self._is_wanted = self._can_sync = False

    def _begin_sync(self) -> None:
        """Sync what is written now; if a sync runs or the file is held, do it afterwards. Never again after a failure."""
        if self._sync is not None or self._is_held:
            self._is_wanted = True
            return
        self._is_wanted = False
        self._stop_timer()
        n, self._unsynced = self.next_n - 1, 0
        if not self._can_sync or n <= self.synced_n:
            return
        try:
            self._worker.begin(self.file.sync, partial(self._synced, n))
        except Exception as error:  # noqa: BLE001 -- no thread can be had; nobody who waits may wait for ever
            self._can_sync = False
            self.give_up(error)
            return
        self._sync = asyncio.get_running_loop().create_future()

    def _synced(self, n: int, ended: Ended) -> None:
        assert self._sync is not None  # noqa: S101 -- it was begun; this tells mypy
        self._sync.set_result(None)
        self._sync = None
        self._take_note(n, ended)
        if self._is_wanted and not self._is_held:
            self._begin_sync()
        try:
            self._after_sync()
        except Exception as error:  # noqa: BLE001 -- the loop would only log it; whoever waits must get it
            self.give_up(error)

    def _take_note(self, n: int, ended: Ended) -> None:
        """Take note of how a sync ended, which was to make everything up to `n` durable."""
        error = RuntimeError("a sync was cancelled") if ended.cancelled() else ended.exception()
        # Looked at here: a thread that asks the system three times waits three times for its turn with the interpreter.
        error = error or self._check_name()
        if error is None:
            self.synced_n = n
            self._wake()
            return
        self._can_sync = False
        if isinstance(error, OSError):
            self.fail("checkpoint.log cannot be synced", error)
        else:
            self.give_up(error if isinstance(error, Exception) else RuntimeError("a sync ended"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_name(self) -> OSError | None:
        """Return what is wrong with the file's name: a synced file without its name cannot be found again."""
        try:
            is_current = self._storage.is_current(LOG, self.file)
        except OSError as error:
            return error
        return None if is_current else FileNotFoundError(errno.ENOENT, "it was removed or replaced by something else")

    def _wake(self) -> None:
        waiting = []
        for n, waiter in self._waiters:
            if n > self.synced_n:
                waiting.append((n, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        self._waiters = waiting


def free_ballast(storage: Storage) -> bool:
    """Give the ballast's room back. False where there was none, or it cannot be removed."""
    try:
        storage.open(BALLAST, is_writable=False).close()
        storage.remove(BALLAST)
    except OSError:
        return False
    return True


def _nothing() -> None:
    """Nothing is to be done behind a sync yet."""
