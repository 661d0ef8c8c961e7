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

from loader.checkpoint.notes import Notes
from loader.delivery.delivery import Parts
from loader.delivery.settlement import Sink
from loader.delivery.unsent import Unsent
from loader.errors import SourceError
from loader.pipeline.resume import Resume
from loader.pipeline.shortened_log import ShortenedLog
from loader.reading.endings import check_ending
from loader.reading.lines import Block
from loader.reading.readers import Reader
from loader.reading.windows import ReadWindow, WindowBuilder
from loader.runs.opening import OpenRun, check_unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of an execution beside its plan.

    `sink` is called with records and their outcomes; while `has_room` is clear, no new lines are read. `reads_new`: False for an
    execution that only settles ambiguous records (`loader reconcile`), which sends nothing that was never sent.
    """

    sink: Sink | None = None
    has_room: asyncio.Event | None = None
    reads_new: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read at once. `max_lines`: of this execution; None: all.

    `crash_bound`: records that may be intended and without outcome at any time, if windows are intended together.
    """

    window_lines: int
    max_lines: int | None
    crash_bound: int


class Intake:
    """Reads the sources of a run, the windows without outcomes first."""

    def __init__(
        self,
        parts: Parts,
        unsent: Unsent,
        run: OpenRun,
        limits: Limits,
        resume: Resume,
        shortened_log: ShortenedLog | None,
        demand: Demand,
    ) -> None:
        self.lines_read = 0
        self.is_waiting_for_source = False
        self.waited_seconds = 0.0
        self._parts = parts
        self._unsent = unsent
        self._run = run
        self._log = run.log
        self._readers = run.readers
        self._limits = limits
        self._resume = resume
        self._shortened_log = shortened_log
        self._has_room = demand.has_room
        self._reads_new = demand.reads_new
        self._held: list[ReadWindow] = []  # a window that waits for the next one
        # Lines below were intended before, whether or not the log still knows it.
        self._intended_ends = {reader.source: run.log.intended_end(reader.source) for reader in run.readers}

    @property
    def is_waiting(self) -> bool:
        """Say whether nothing is done now but to wait for the source, or for a question to the target."""
        return self.is_waiting_for_source or (self._shortened_log is not None and self._shortened_log.is_asking)

    async def run(self) -> None:
        """Read everything that has no outcome yet, until the end, the limit or a stop."""
        for reader in self._readers:
            await self._resume.run(reader)
        if self._parts.queue.is_ordered:
            await self._parts.queue.drained()
        for reader in self._readers if self._reads_new else ():
            if not await self._read(reader):
                return
            check_unchanged(self._run, reader)
            Notes.of(self._log).set_end_of_source(reader.source, self._log.state.last_intent_end(reader.source)[0])

    # --- new lines -----------------------------------------------------------------------------------------------------

    async def _read(self, reader: Reader) -> bool:
        """Read one source from behind its last intent; False where the reading ended before its end."""
        builder = WindowBuilder(self._parts.target.shaper, self._limits.window_lines, reader.format)
        number, offset = self._log.state.last_intent_end(reader.source)
        try:
            async with aclosing(reader.blocks(offset, number)) as blocks:  # a limit or a stop leaves it before its end
                return await self._read_lines(reader, blocks, builder)
        except SourceError:
            await self._flush(reader, builder)  # lines before the fault are good
            raise

    async def _read_lines(self, reader: Reader, blocks: AsyncIterator[Block], builder: WindowBuilder) -> bool:
        is_last = False
        while not is_last and (block := await self._next(blocks)) is not None:
            if block.is_open:
                check_ending(reader, block)
            block, is_last = self._cut(block)
            for window in builder.feed(block):
                if not await self._take(reader, window):
                    return False
            # Lines that came alone must not wait for company: a pipe may be silent for hours.
            if reader.is_slow and not await self._flush(reader, builder):
                return False
        if not await self._flush(reader, builder):
            return False
        if is_last:
            self._parts.stop.reach_limit()
        return not is_last and not self._parts.stop.is_requested

    async def _flush(self, reader: Reader, builder: WindowBuilder) -> bool:
        windows, self._held = [*self._held, *builder.flush()], []
        return not windows or await self._commit(reader, windows)

    async def _take(self, reader: Reader, window: ReadWindow) -> bool:
        """Commit a window, or keep it for the next: two intents that are made durable at once cost one sync.

        Only if a crash then leaves no more records open than was announced, which is so while the target is the quicker one;
        and never while records go one at a time or in order, or while the source is slow.
        """
        windows, self._held = [*self._held, window], []
        queue, limits = self._parts.queue, self._limits
        is_quick = not (reader.is_slow or queue.is_ordered or queue.is_solo or self._shortened_log is not None)
        if is_quick and len(windows) == 1 and queue.outstanding + 2 * limits.window_lines <= limits.crash_bound:
            self._held = windows
            return True
        return await self._commit(reader, windows)

    async def _next(self, blocks: AsyncIterator[Block]) -> Block | None:
        if self._parts.stop.is_requested:
            return None
        began = self._parts.runtime.clock()
        self.is_waiting_for_source = True
        try:
            return await anext(blocks, None)
        finally:
            self.is_waiting_for_source = False
            self.waited_seconds += self._parts.runtime.clock() - began

    def _cut(self, block: Block) -> tuple[Block, bool]:
        """Count the lines of a block against `--limit`; cut it where the limit ends."""
        count = len(block.lines) or 1
        if self._limits.max_lines is None or self.lines_read + count < self._limits.max_lines:
            self.lines_read += count
            return block, False
        left = self._limits.max_lines - self.lines_read
        self.lines_read += left
        return block.first(left), True

    async def _commit(self, reader: Reader, windows: Sequence[ReadWindow]) -> bool:
        """Write the intents, durable, then let the windows' records become work. False: the run is stopping."""
        await self._parts.queue.room()
        if self._has_room is not None:
            await self._has_room.wait()
        if self._parts.stop.is_requested:
            return False
        await reader.keep(windows[-1].first_offset + windows[-1].byte_count)
        # Until they are queued (or for good, if the disk is full now) it is certain that they have not left.
        self._unsent.expect([window.records for window in windows])
        if self._parts.queue.is_solo:
            self._unsent.note()
        await self._log.intend([window.window() for window in windows])
        for window in windows:
            self._parts.settlement.refuse(*window.refusals(), window.records)
            is_marked = window.first_line < self._intended_ends[window.source]
            if self._shortened_log is not None and (self._shortened_log.is_on or is_marked):
                await self._shortened_log.release(window.records)
            else:
                self._parts.packer.release(window.records)
        if not self._parts.stop.is_requested:
            self._unsent.expect(())
        return True
