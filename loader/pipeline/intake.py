"""Read -> parse -> shape -> window -> intent -> chunks: everything before a record may be sent.

A window is a range of physical lines of one source. Its intent is synced before its first record becomes work, so that
after a crash "intent without outcome" is exactly what may have been sent. Lines refused here never come near a
request; their outcome is in the log like any other. On a resume the windows that stand open are read again first: what
was surely not sent is new work, the rest is in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from loader.checkpoint import CheckpointLog
from loader.delivery.chunking import Chunker
from loader.delivery.delivery import Parts
from loader.delivery.queue import QueuedChunk
from loader.errors import SourceError
from loader.model import Record
from loader.pipeline.resume import Resume
from loader.reading.lines import Block
from loader.reading.readers import AnyReader
from loader.reading.windows import ReadWindow, WindowBuilder
from loader.reconcile.reconciler import Reconciler


class Suspicion(Protocol):
    """Asks the target about records before they are sent, while a shortened log is possible."""

    is_on: bool
    is_asking: bool
    """A question waits for its turn, or for its answer."""

    async def release(self, records: Sequence[Record], *, is_behind: bool = True) -> None:
        """Let records become work once it is known that they are not there yet.

        `is_behind`: they are a window behind the log's last intent; only such ones can end the suspicion.
        """
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """The sizes of an execution's windows and chunks."""

    window_lines: int
    max_records: int
    max_bytes: int
    max_lines: int | None
    is_ordered: bool
    crash_bound: int
    """Records that may be intended and without outcome at any time, where windows are intended together."""


class Intake:
    """Reads the sources of a run, the windows that stand open first."""

    def __init__(
        self, parts: Parts, reconciler: Reconciler, log: CheckpointLog, readers: Sequence[AnyReader], limits: Limits
    ) -> None:
        self.suspicion: Suspicion | None = None
        """Set on a resume with a stamp: the log may be shorter than it was, so what it does not know is asked for first."""
        self.reads_new = True
        """Whether lines behind the last intent are read; `loader reconcile` reads none."""
        self.has_room: asyncio.Event | None = None
        """Cleared by a consumer of outcomes that is behind."""
        self.max_bytes = limits.max_bytes
        self.lines_read = 0
        self.is_waiting_for_source = False
        self.waited_seconds = 0.0
        self._parts = parts
        self._log = log
        self._readers = readers
        self.limits = limits
        self._held: list[ReadWindow] = []  # a window that waits for the next one
        # Below it lines were intended before, whatever the log knows of that.
        self._marked_ends = {reader.source: log.marked_end(reader.source) for reader in readers}
        self.reopening = Resume(
            parts, reconciler, log, limits.window_lines, self._let_go, asks_first=lambda: self.suspicion is not None
        )

    @property
    def is_waiting(self) -> bool:
        """Say whether nothing is done now but to wait for the source, or for a question to the target."""
        return self.is_waiting_for_source or (self.suspicion is not None and self.suspicion.is_asking)

    async def run(self) -> None:
        """Read everything that has no outcome yet, until the end, the limit or a stop."""
        for reader in self._readers:
            await self.reopening.run(reader)
        if self.limits.is_ordered:
            await self._parts.work.drained()
        for reader in self._readers if self.reads_new else ():
            if not await self._read(reader):
                return
            self._log.note(f"end_of_source_{reader.source}", self._log.state.last_intent_end(reader.source)[0])

    # --- new lines -----------------------------------------------------------------------------------------------------

    async def _read(self, reader: AnyReader) -> bool:
        """Read one source from behind its last intent; False where the reading ended before its end."""
        sorter = WindowBuilder(self._parts.target, self.limits.window_lines)
        number, offset = self._log.state.last_intent_end(reader.source)
        try:
            async with aclosing(reader.blocks(offset, number)) as blocks:  # a limit or a stop leaves it before its end
                return await self._read_lines(reader, blocks, sorter)
        except SourceError:
            await self._flush(reader, sorter)  # lines before the fault are good
            raise

    async def _read_lines(self, reader: AnyReader, blocks: AsyncIterator[Block], sorter: WindowBuilder) -> bool:
        is_last = False
        while not is_last and (block := await self._next(blocks)) is not None:
            block, is_last = self._cut(block)
            for draft in sorter.feed(block):
                if not await self._take(reader, draft):
                    return False
            # Lines that came alone must not wait for company: a pipe may be silent for hours.
            if reader.is_slow and not await self._flush(reader, sorter):
                return False
        if not await self._flush(reader, sorter):
            return False
        if is_last:
            self._parts.stop.reach_limit()
        return not is_last and not self._parts.stop.is_requested

    async def _flush(self, reader: AnyReader, sorter: WindowBuilder) -> bool:
        drafts, self._held = [*self._held, *sorter.flush()], []
        return not drafts or await self._commit(reader, drafts)

    async def _take(self, reader: AnyReader, draft: ReadWindow) -> bool:
        """Commit a window, or keep it for the next: two intents that are made durable at once cost one sync.

        Only where that puts no more records at a crash's mercy than was said, as it is while the target is the quicker one;
        and not where a window waits for its turn, or the source for its next line.
        """
        drafts, self._held = [*self._held, draft], []
        work, limits = self._parts.work, self.limits
        is_quick = not (reader.is_slow or limits.is_ordered or work.is_solo or self.suspicion is not None)
        if is_quick and len(drafts) == 1 and work.outstanding + 2 * limits.window_lines <= limits.crash_bound:
            self._held = drafts
            return True
        return await self._commit(reader, drafts)

    async def _next(self, blocks: AsyncIterator[Block]) -> Block | None:
        if self._parts.stop.is_requested:
            return None
        began = self._parts.world.clock()
        self.is_waiting_for_source = True
        try:
            return await anext(blocks, None)
        finally:
            self.is_waiting_for_source = False
            self.waited_seconds += self._parts.world.clock() - began

    def _cut(self, block: Block) -> tuple[Block, bool]:
        """Count the lines of a block against `--limit`; cut it where the limit ends."""
        count = len(block.lines) or 1
        if self.limits.max_lines is None or self.lines_read + count < self.limits.max_lines:
            self.lines_read += count
            return block, False
        left = self.limits.max_lines - self.lines_read
        self.lines_read += left
        return block.first(left), True

    async def _commit(self, reader: AnyReader, drafts: Sequence[ReadWindow]) -> bool:
        """Write the intents, durable, then let the windows' records become work. False: the run is stopping."""
        await self._parts.work.room()
        if self.has_room is not None:
            await self.has_room.wait()
        if self._parts.stop.is_requested:
            return False
        await reader.keep(drafts[-1].first_offset + drafts[-1].byte_count)
        # Until they are work, or if they never become it because the disk is full now, it is known that they did not leave.
        self.reopening.coming = [draft.records for draft in drafts]
        if self._parts.work.is_solo:
            self.reopening.note_unsent()
        await self._log.intend([draft.window() for draft in drafts])
        for draft in drafts:
            self._parts.settlement.refuse(*draft.refusals())
            is_marked = draft.first_line < self._marked_ends[draft.source]
            if self.suspicion is not None and (self.suspicion.is_on or is_marked):
                await self.suspicion.release(draft.records)
            else:
                self.release(draft.records)
        if not self._parts.stop.is_requested:
            self.reopening.coming = ()
        return True

    async def _let_go(self, records: Sequence[Record]) -> None:
        """Send records that an earlier execution knew it had not sent; ask first, where the log may be older than that."""
        if self.suspicion is not None:
            await self.suspicion.release(records, is_behind=False)
        else:
            self.release(records)

    def release(self, records: Sequence[Record], *, in_doubt: bool = False) -> None:
        """Let records become work, as chunks of this window."""
        if self.limits.is_ordered:
            records = [record._replace(lock=None) for record in records]  # one request at a time needs no locks
        self.put(self._parts.work.admit(records), in_doubt=in_doubt)

    def put(self, records: Sequence[Record], *, in_doubt: bool = False) -> None:
        """Chunk records that are outstanding already."""
        self._parts.work.put([QueuedChunk(chunk) for chunk in self.new_chunker(in_doubt=in_doubt).pack(records)])

    def new_chunker(self, *, in_doubt: bool = False) -> Chunker:
        """Make a chunker with the ceiling as it is known now."""
        return Chunker(
            self._parts.target.body_overhead_bytes, self.limits.max_records, self.max_bytes, in_doubt=in_doubt
        )

    def lower_ceiling(self, max_bytes: int) -> None:
        """Learn that a body was too large; the ceiling holds for this run and its resumes."""
        if max_bytes < self.max_bytes:
            self.max_bytes = max(max_bytes, 1)
            self._log.note("max_bytes", self.max_bytes)
