"""What earlier executions left behind: open windows, lines that a shortened log forgot, ambiguous records.

They are read again from the source, by offset and with their checksum. What was surely not sent is new work; the rest is in
doubt, and goes to reconciling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from loader.checkpoint import AmbiguousLine
from loader.delivery.delivery import Parts
from loader.delivery.order import place_of
from loader.delivery.unsent import Unsent
from loader.errors import SourceError
from loader.model import Record, Window
from loader.pipeline.overtaken import find_overtaken
from loader.pipeline.shortened_log import ShortenedLog
from loader.reading.cursor import Cursor
from loader.reading.lines import Block
from loader.reading.readers import Reader
from loader.reading.source import CHANGED_HINT
from loader.reading.windows import ReadWindow, WindowBuilder
from loader.runs.opening import OpenRun

INTERRUPTED = "the process ended before the answer was known"
FORGOTTEN = "the log came back shorter than it was, and does not know the line"


class Resume:
    """Takes up what is open, source by source."""

    def __init__(
        self,
        parts: Parts,
        unsent: Unsent,
        run: OpenRun,
        window_lines: int,
        ambiguous: Sequence[AmbiguousLine],
        shortened_log: ShortenedLog | None,
        *,
        sends_unsent: bool,
    ) -> None:
        self._parts = parts
        self._unsent = unsent
        self._log = run.log
        self._readers = run.readers
        self._began = parts.runtime.clock()
        self._is_update = run.plan.target.is_update
        self._window_lines = window_lines
        self._ambiguous = ambiguous
        self._shortened_log = shortened_log
        self._sends_unsent = sends_unsent

    async def run(self, reader: Reader) -> None:
        """Take up everything that is open of one source."""
        is_ordered = self._parts.queue.is_ordered
        if is_ordered:  # what is ambiguous holds back what follows it, the open windows' lines too
            await self._revisit(reader)
        await self._reopen(reader)
        await self._fill_gaps(reader)
        if not is_ordered:
            await self._revisit(reader)

    async def _reopen(self, reader: Reader) -> None:
        windows = [live for live in self._log.state.unresolved_windows() if live.window.source == reader.source]
        if not windows:
            return  # no cursor: lines that were not kept cannot be read again, and need not be
        cursor = reader.cursor()
        for live in windows:
            open_lines = set(live.unresolved_lines())
            window = self._reread(reader, cursor, live.window)
            window.refused = [(line, outcome) for line, outcome in window.refused if line.number in open_lines]
            self._parts.settlement.refuse(*window.refusals(), window.records)
            records = [record for record in window.records if record.number in open_lines]
            await self._take_up(records, live.doubts)

    async def _take_up(self, records: Sequence[Record], reasons: Mapping[int, str]) -> None:
        """Send what was surely not sent, doubt the rest: in source order, in which records with one lock must go."""

        def reason_of(record: Record) -> str | None:
            return None if place_of(record) in self._unsent.earlier else reasons.get(record.number, INTERRUPTED)

        for reason, group in groupby(records, reason_of):
            some = list(group)
            if reason is not None:
                self._doubt(some, reason)
            elif self._sends_unsent:
                await self._let_go(some)
                if not self._parts.stop.is_requested:
                    self._unsent.earlier.difference_update(map(place_of, some))

    async def _let_go(self, records: Sequence[Record]) -> None:
        """Send records that an earlier execution knew it had not sent; ask first if the log may be older than that."""
        if self._shortened_log is not None:
            await self._shortened_log.release(records, is_behind=False)
        else:
            self._parts.packer.release(records)

    async def _fill_gaps(self, reader: Reader) -> None:
        """Take lines into doubt that were intended and that a shortened log does not know."""
        # Nothing is asked before the claim is proved, and these lines may be the ones that prove it: then the intake asks.
        is_left = self._parts.queue.is_solo and self._shortened_log is not None
        gaps = self._log.state.gaps(reader.source) if is_left else self._log.forgotten(reader.source)
        if not gaps:
            return
        cursor = reader.cursor()
        for gap in gaps:
            builder = WindowBuilder(self._parts.target.shaper, self._window_lines, reader.format)
            for block in reader.again(cursor, gap.first, gap.offset, gap.end_offset):
                for window in builder.feed(block):
                    await self._doubt_window(window)
            for window in builder.flush():
                await self._doubt_window(window)

    async def _doubt_window(self, window: ReadWindow) -> None:
        await self._parts.queue.room()
        await self._log.intend([window.window()])
        self._parts.settlement.refuse(*window.refusals(), window.records)
        self._doubt(window.records, FORGOTTEN)

    async def _revisit(self, reader: Reader) -> None:
        """Take ambiguous lines into doubt again."""
        rows = [row for row in self._ambiguous if row.source == reader.source]
        if rows and self._is_update:
            overtaken = find_overtaken(
                self._log,
                self._parts.target.shaper,
                self._window_lines,
                self._readers,
                reader.source,
                rows,
                self._ambiguous,
            )
            rows = [row for row in rows if row.line not in overtaken]
        offsets = [row.offset or 0 for row in rows]
        single = WindowBuilder(self._parts.target.shaper, 1, reader.format)
        for row, offset, data in zip(rows, offsets, reader.lines(offsets), strict=True):
            line = data or b""
            (window,) = single.feed(Block(row.source, row.line, offset, [line], line))
            if not window.records:
                raise SourceError(f"line {row.line} of {reader.name} is not what it was", CHANGED_HINT)
            await self._parts.queue.room()
            self._doubt(window.records, row.outcome.reason)

    def _doubt(self, records: Sequence[Record], reason: str) -> None:
        """Doubt records whose answers were lost before this process began: all at once, be their locks free or not."""

        def doubt(some: Sequence[Record]) -> None:
            age_seconds = self._parts.runtime.clock() - self._began
            self._parts.reconciler.doubt(some, reason, age_seconds=age_seconds)

        doubt(self._parts.queue.admit(records, lambda record: doubt([record])))

    def _reread(self, reader: Reader, cursor: Cursor, window: Window) -> ReadWindow:
        """Read a window's lines again. Errors: SourceError where they are not the lines that were read before."""
        builder = WindowBuilder(self._parts.target.shaper, window.end - window.first, reader.format)
        windows: list[ReadWindow] = []
        for block in reader.again(cursor, window.first, window.offset, window.end_offset):
            windows += builder.feed(block)
        windows += builder.flush()
        if len(windows) != 1 or windows[0].crc != window.crc:
            raise SourceError(
                f"lines {window.first} to {window.end - 1} of {reader.name} are not what they were when the run read them",
                CHANGED_HINT,
            )
        return windows[0]
