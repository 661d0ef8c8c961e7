"""Appends to the log and knows what is durable. One task syncs, in a worker thread, one sync at a time.

Writes go straight to the file, so that they survive the death of the process; syncs are only against power loss and go in
groups: at once where somebody waits (an intent), else every 50 ms or 2,048 outcomes.

When the disk fails: nothing is retried. A sync that failed may have dropped the very pages that it was asked to keep, so no
further sync is tried on that file, and `synced_n` stays. A write that failed ends all writing. One exception: on a full disk
the ballast is given back and the rest of the write goes on, so that the outcomes of what is in flight still fit; the run must
stop all the same. Either way `failure` and `failed` are set once and for good; `durable` raises, `append` does not, for what is
in flight must be allowed to end.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import Final

from loader.checkpoint.format import AnyEntry, seal
from loader.checkpoint.storage import BALLAST, LOG, File, Storage, append_all
from loader.checkpoint.tools import Worker
from loader.errors import LogStorageFailed

SYNC_SECONDS: Final = 0.05  # what a power loss may cost: as many look-ups as records settle in that time
SYNC_OUTCOMES: Final = 2048
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_HINT: Final = "Make room or mend the disk, then give the same command again: the run goes on where it stopped."


class Writer:
    """The log's growing end."""

    def __init__(self, storage: Storage, file: File, seed: int, next_n: int, worker: Worker) -> None:
        self.file = file
        self.size = file.size()
        self.next_n = next_n
        self.synced_n = next_n - 1  # the file was synced before it was read
        self.failure: Exception | None = None
        self.failed = asyncio.Event()
        self.syncing = asyncio.Lock()  # held while a sync runs, and by whoever swaps the file
        self._seed = seed
        self._worker = worker
        self._storage = storage
        self._can_write = True
        self._can_sync = True
        self._wanted = asyncio.Event()
        self._unsynced = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def can_write(self) -> bool:
        """Say whether outcomes still reach the file."""
        return self._can_write

    def start(self, after_sync: Callable[[], None]) -> None:
        """Begin to sync; `after_sync` is called behind each one."""
        self._task = asyncio.get_running_loop().create_task(self._sync_forever(after_sync))
        self._task.add_done_callback(self._ended)

    def append(self, entries: Sequence[AnyEntry], outcomes: int = 0) -> bool:
        """Write entries, numbered from `next_n` on. False where the disk refused; then nothing of them counts."""
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
        self._unsynced += outcomes or 1
        if self._unsynced >= SYNC_OUTCOMES:
            self._wanted.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SYNC_SECONDS, self._wanted.set)
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
        self._wanted.set()
        await waiter

    def swap(self, file: File, next_n: int, error: OSError | None) -> None:
        """Go on in another file, in which everything before `next_n` is contained. Call it holding `syncing`.

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
        """Take notice that the disk failed: the run must stop. What can still be written is."""
        self.give_up(LogStorageFailed(f"{what}: {error.strerror or type(error).__name__}", _HINT))

    def failed_with(self, what: str, error: OSError) -> Exception:
        """Do the same, and return what is to be raised."""
        self.fail(what, error)
        return self.failure or error

    def give_up(self, failure: Exception) -> None:
        """Let nobody wait any more. The first failure is the one that is told."""
        if self.failure is None:
            self.failure = failure
            self.failed.set()
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self.failure)
        self._waiters = []

    async def close(self) -> None:
        """End syncing, with a last sync where that is still allowed."""
        if self._task:
            async with self.syncing:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._timer:
            self._timer.cancel()
        await self._sync()
        self.file.close()

    async def _sync_forever(self, after_sync: Callable[[], None]) -> None:
        while True:
            await self._wanted.wait()
            async with self.syncing:
                await self._sync()
            after_sync()

    async def _sync(self) -> None:
        """Sync what is written now, once. Never twice after a failure."""
        self._wanted.clear()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        n, self._unsynced = self.next_n - 1, 0
        if not self._can_sync or n <= self.synced_n:
            return
        try:
            await self._worker(self._sync_file)
        except OSError as error:
            self._can_sync = False
            self.fail("checkpoint.log cannot be synced", error)
            return
        self.synced_n = n
        self._wake()

    def _sync_file(self) -> None:
        self.file.sync()
        if not self._storage.is_current(LOG, self.file):
            raise FileNotFoundError(errno.ENOENT, "it was removed or replaced by something else")

    def _wake(self) -> None:
        waiting = []
        for n, waiter in self._waiters:
            if n > self.synced_n:
                waiting.append((n, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        self._waiters = waiting

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self.give_up(error if isinstance(error, Exception) else RuntimeError("the sync task ended"))


def free_ballast(storage: Storage) -> bool:
    """Give the ballast's room back. False where there was none, or it cannot be removed."""
    try:
        storage.open(BALLAST, is_writable=False).close()
        storage.remove(BALLAST)
    except OSError:
        return False
    return True
