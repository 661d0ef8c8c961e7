"""What the log is given by its surroundings: a disk, a clock, threads. A simulation stands others in their place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeAlias, TypeVar

from loader.checkpoint.source_state import FOLD_LINES
from loader.checkpoint.storage import Storage

MIB = 1024 * 1024

_T = TypeVar("_T")

Ended: TypeAlias = "asyncio.Future[None] | Future[None]"
"""Work that has ended, one way or another."""


class Worker(Protocol):
    """Runs blocking work aside: in a thread, or at once in a simulation."""

    def __call__(self, work: Callable[[], _T], /) -> Awaitable[_T]:
        """Run it."""
        ...

    def begin(self, work: Callable[[], None], done: Callable[[Ended], None], /) -> None:
        """Run it, and call `done` in the loop once it has ended."""
        asyncio.ensure_future(self(work)).add_done_callback(done)

    def close(self) -> None:
        """Take no more work."""
        ...


class Threads(Worker):
    """The usual worker: one thread for syncs, one for folds."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="checkpoint")

    def __call__(self, work: Callable[[], _T], /) -> asyncio.Future[_T]:
        """Run blocking work in a thread."""
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def begin(self, work: Callable[[], None], done: Callable[[Ended], None], /) -> None:
        """Run blocking work in a thread. `done` is called a turn of the loop sooner than behind a future of the loop's own."""
        loop = asyncio.get_running_loop()

        def report(ended: Ended) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(done, ended)

        self._pool.submit(work).add_done_callback(report)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False)


def utc_text() -> str:
    """Return the time of the wall clock. It is only shown, never calculated with."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Sizes:
    """When the log is compacted. The defaults are for use, smaller ones for tests."""

    fold_lines: int = FOLD_LINES
    amended_lines: int = 4096  # then they are folded in: 1 MB of memory
    snapshot_bytes: int = 2 * MIB  # of log between snapshots: resume parses at most twice that, half a second
    rotate_bytes: int = 32 * MIB
    close_bytes: int = 2 * MIB  # a log longer than that is renewed at a clean end, when nearly all of it is folded


@dataclass(frozen=True, slots=True)
class Tools:
    """`storage` None: the run directory itself."""

    storage: Storage | None = None
    clock: Callable[[], str] = utc_text
    new_worker: Callable[[], Worker] = Threads
    sizes: Sizes = Sizes()
