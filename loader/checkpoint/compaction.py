"""What keeps the log small: fold what is settled, snapshot, begin a new generation. One piece of work at a time, aside.

Order is what makes a crash harmless. A fold covers only entries that are durable in the log, and is synced before the state
relies on it. A snapshot relies on folds that are on disk; it is named by later folds only once it is durable itself. A new
generation is complete, synced and locked before it takes the old one's place; outcomes that arrive meanwhile wait in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from loader.checkpoint.fold_file import FoldFile
from loader.checkpoint.folds import FoldJob, FoldRef, Start, again
from loader.checkpoint.generation import next_generation, put_in_place
from loader.checkpoint.snapshots import snapshot_of
from loader.checkpoint.state import Amendment, State
from loader.checkpoint.storage import Storage
from loader.checkpoint.tools import Sizes, Worker
from loader.checkpoint.writer import Writer

_JOBS_AT_ONCE = 64  # folds in one append and one sync
_LINE_BYTES = 100  # what an unfolded line costs in a snapshot at most, as a rule


class Compactor:
    """Compacts one log. Contract: nobody else appends to checkpoint.settled or swaps the log."""

    def __init__(
        self, storage: Storage, state: State, writer: Writer, fold_file: FoldFile, worker: Worker, sizes: Sizes
    ) -> None:
        self.in_flight: dict[tuple[int, int], FoldJob] = {}  # by source and first line: taken out, not on disk yet
        self.is_held = False  # nothing may be written now
        self.released = asyncio.Event()
        self._storage = storage
        self._state = state
        self._writer = writer
        self._fold_file = fold_file
        self._worker = worker
        self._sizes = sizes
        self._start: Start | None = None
        self._next_start: Start | None = None
        self._snapshot_at = writer.size
        self._snapshot_size = 0
        self._task: asyncio.Task[None] | None = None
        self._is_ending = False

    def look(self, flush: Callable[[], None]) -> None:
        """Begin what is due, unless something is under way or the disk has failed."""
        if self._is_ending or self._writer.failure or (self._task and not self._task.done()):
            return
        lines = max((source_state.settled_lines for source_state in self._state.sources.values()), default=0)
        is_amended = len(self._state.amendments) >= self._sizes.amended_lines
        if lines >= self._sizes.fold_lines or is_amended or self._writer.size > self._sizes.rotate_bytes:
            self._task = asyncio.get_running_loop().create_task(self._run(flush, is_all=False))

    async def finish(self, flush: Callable[[], None]) -> None:
        """Fold all that is settled, at a clean end. Nothing is begun beside it any more."""
        self._is_ending = True
        await self.wait()
        if self._writer.failure is None:
            await self._run(flush, is_all=True)

    async def wait(self) -> None:
        """Return when nothing is under way."""
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, flush: Callable[[], None], *, is_all: bool) -> None:
        try:
            await self._fold(flush, is_all=is_all)
            if is_all or len(self._state.amendments) >= self._sizes.amended_lines:
                await self._fold_again()
            limit = self._sizes.close_bytes if is_all else self._sizes.rotate_bytes
            if self._writer.size > limit and self._unfolded_bytes() < limit // 2:
                await self._rotate(flush)
            else:
                self._snapshot(flush)
        except OSError as error:
            self._writer.fail("the run directory cannot be written", error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must not go on unaware of it
            self._writer.give_up(error)

    def _unfolded_bytes(self) -> int:
        lines = sum(
            len(live.slots) for source_state in self._state.sources.values() for live in source_state.windows.values()
        )
        return lines * _LINE_BYTES

    async def _fold(self, flush: Callable[[], None], *, is_all: bool) -> None:
        flush()
        upto = self._writer.synced_n
        jobs = self._state.freeze(upto, is_all=is_all, min_lines=self._sizes.fold_lines)
        self.in_flight.update(((job.source, job.first), job) for job in jobs)
        if self._next_start and self._next_start[2] <= upto:
            self._start = self._next_start
        for at in range(0, len(jobs), _JOBS_AT_ONCE):
            await self._write(jobs[at : at + _JOBS_AT_ONCE])

    async def _write(self, jobs: list[FoldJob]) -> None:
        refs: list[FoldRef] = await self._worker(partial(self._fold_file.append, jobs, self._start))
        for job, ref in zip(jobs, refs, strict=True):
            self._state.folded(job, ref)
            self.in_flight.pop((job.source, job.first), None)

    async def _fold_again(self) -> None:
        """Bring amended outcomes into their folds."""
        amended: dict[tuple[int, int], dict[int, Amendment]] = {}
        for (source, line), amendment in self._state.amendments.items():
            ref = self._state.sources[source].folds.find(line)
            if ref:
                amended.setdefault((source, ref.first), {})[line] = amendment
        for (source, first), lines in amended.items():
            ref = self._state.sources[source].folds.find(first)
            upto = max(amendment.n for amendment in lines.values())
            if ref is None or upto > self._writer.synced_n:
                continue  # all of a fold's amendments or none, for `upto` stands for all of them
            body = await self._worker(partial(self._fold_file.body, ref))
            job = again(ref, body, {line: amendment.slot for line, amendment in lines.items()}, upto)
            self.in_flight[job.source, job.first] = job
            await self._write([job])

    def _snapshot(self, flush: Callable[[], None]) -> None:
        """Write down what is not folded, if the log has grown enough since the last snapshot."""
        grown = self._writer.size - self._snapshot_at
        if grown < max(self._sizes.snapshot_bytes, 16 * self._snapshot_size):
            return
        flush()
        writer = self._writer
        n, offset = writer.next_n, writer.size
        entry = snapshot_of(self._state, n, writer.synced_n, self._fold_file.mark)
        if writer.append([entry]):
            self._state.apply(entry)
            self._next_start = (self._state.header.generation, offset, n)
            self._snapshot_at, self._snapshot_size = writer.size, writer.size - offset

    async def _rotate(self, flush: Callable[[], None]) -> None:
        """Put a new generation in the log's place."""
        async with self._writer.held():
            flush()
            if self._writer.failure:
                return
            self.is_held = True
            self.released.clear()
            try:
                n = self._writer.next_n
                header, data = next_generation(self._state, n, self._fold_file.mark)
                file, error = await self._worker(partial(put_in_place, self._storage, data))
                self._writer.swap(file, n + 2, error)
                self._state.header, self._state.last_n = header, n + 1
                self._start = self._next_start = None
                self._snapshot_at = self._writer.size
            finally:
                self.is_held = False
                flush()
                self.released.set()
