"""What earlier executions left behind: open windows, lines that a shortened log forgot, ambiguous records.

They are read again from the source, by offset and with their checksum. What was surely not sent is new work; the rest is in
doubt, and goes to reconciling.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain, groupby

from loader.checkpoint import AmbiguousLine, CheckpointLog
from loader.delivery.delivery import Parts
from loader.delivery.order import place_of
from loader.errors import SourceError
from loader.model import Record, Rejected, Window
from loader.reading.cursor import Cursor
from loader.reading.parsing import BLANK, parse
from loader.reading.readers import AnyReader
from loader.reading.source import CHANGED_HINT
from loader.reading.windows import ReadWindow, WindowBuilder
from loader.reconcile.reconciler import Reconciler
from loader.reconcile.strategies import AskingUpdates
from loader.runs.notes import Notes

INTERRUPTED = "the process ended before the answer was known"
FORGOTTEN = "the log came back shorter than it was, and does not know the line"


class Resume:
    """Takes up what is open, source by source."""

    def __init__(
        self,
        parts: Parts,
        reconciler: Reconciler,
        log: CheckpointLog,
        window_lines: int,
        let_go: Callable[[Sequence[Record]], Awaitable[None]],
        asks_first: Callable[[], bool],
    ) -> None:
        self.ambiguous: Sequence[AmbiguousLine] = ()
        """Lines that earlier executions left ambiguous and that can be asked about now."""
        self.unsent = {
            (source, number)
            for source, first, last in Notes.of(log).unsent
            for live in log.state.unresolved_windows()
            if live.window.source == source
            for number in range(max(first, live.window.first), min(last + 1, live.window.end))
        }
        """Lines of open windows that have certainly not left, by an earlier execution's note.

        Only of those: a line whose intent got lost behind the note is new, and may leave before another note is written.
        """
        self.coming: Sequence[Sequence[Record]] = ()
        """Records of the window that is being intended: not work yet, so they have not left either."""
        self.holds_back = False
        """Send nothing that was never sent (`loader reconcile`)."""
        self._parts = parts
        self._reconciler = reconciler
        self._log = log
        self._window_lines = window_lines
        self._let_go = let_go
        self._asks_first = asks_first

    async def run(self, reader: AnyReader) -> None:
        """Take up everything that is open of one source."""
        is_ordered = self._parts.work.is_ordered
        if is_ordered:  # what is ambiguous holds back what follows it, the open windows' lines too
            await self._revisit(reader)
        await self._reopen(reader)
        await self._fill_gaps(reader)
        if not is_ordered:
            await self._revisit(reader)

    def note_unsent(self) -> None:
        """Note which lines have certainly not left: those that wait, and those that are not work yet."""
        places = {place_of(record) for record in chain(self._parts.work.unsent(), *self.coming)}
        Notes.of(self._log).set_unsent(places | self.unsent)

    async def _reopen(self, reader: AnyReader) -> None:
        windows = [live for live in self._log.state.unresolved_windows() if live.window.source == reader.source]
        if not windows:
            return  # no cursor: lines that were not kept cannot be read again, and need not be
        cursor = reader.cursor()
        for live in windows:
            open_lines = set(live.unresolved_lines())
            draft = self._reread(reader, cursor, live.window)
            draft.refused = [(line, outcome) for line, outcome in draft.refused if line.number in open_lines]
            self._parts.settlement.refuse(*draft.refusals())
            records = [record for record in draft.records if record.number in open_lines]
            await self._take_up(records, live.doubts)

    async def _take_up(self, records: Sequence[Record], reasons: Mapping[int, str]) -> None:
        """Send what was surely not sent, doubt the rest: in source order, in which records with one lock must go."""

        def reason_of(record: Record) -> str | None:
            return None if place_of(record) in self.unsent else reasons.get(record.number, INTERRUPTED)

        for reason, group in groupby(records, reason_of):
            some = list(group)
            if reason is not None:
                self._doubt(some, reason)
            elif not self.holds_back:
                await self._let_go(some)
                if not self._parts.stop.is_requested:
                    self.unsent.difference_update(map(place_of, some))

    async def _fill_gaps(self, reader: AnyReader) -> None:
        """Take lines into doubt that were intended and that a shortened log does not know."""
        # No doubt is asked about before the word is proved, and it may be these lines by which it can be: then the intake asks.
        is_left = self._parts.work.is_solo and self._asks_first()
        gaps = self._log.state.gaps(reader.source) if is_left else self._log.forgotten(reader.source)
        if not gaps:
            return
        cursor = reader.cursor()
        for gap in gaps:
            sorter = WindowBuilder(self._parts.target, self._window_lines)
            for block in reader.again(cursor, gap.first, gap.offset, gap.end_offset):
                for draft in sorter.feed(block):
                    await self._doubt_window(draft)
            for draft in sorter.flush():
                await self._doubt_window(draft)

    async def _doubt_window(self, draft: ReadWindow) -> None:
        await self._parts.work.room()
        await self._log.intend([draft.window()])
        self._parts.settlement.refuse(*draft.refusals())
        self._doubt(draft.records, FORGOTTEN)

    async def _revisit(self, reader: AnyReader) -> None:
        """Take ambiguous lines into doubt again."""
        rows = [row for row in self.ambiguous if row.source == reader.source]
        if rows and isinstance(self._reconciler.remedy, AskingUpdates):
            overtaken = self._overtaken(reader, rows)
            rows = [row for row in rows if row.line not in overtaken]
        offsets = [row.offset or 0 for row in rows]
        for row, offset, data in zip(rows, offsets, reader.lines(offsets), strict=True):
            line = (data or b"").strip(BLANK)
            fields = parse(line)
            shape = self._parts.target.shape
            shaped = shape(fields, line, row.source, row.line, offset) if isinstance(fields, dict) else fields
            if isinstance(shaped, Rejected):
                raise SourceError(f"line {row.line} of {reader.name} is not what it was", CHANGED_HINT)
            await self._parts.work.room()
            self._doubt([shaped], row.outcome.reason)

    def _overtaken(self, reader: AnyReader, rows: Sequence[AmbiguousLine]) -> set[int]:
        """Find the updates behind which another one of the same row was read: to send them again now would undo it."""
        ambiguous, overtaken = {row.line for row in rows}, set[int]()
        by_lock: dict[str | None, list[int]] = {}
        sorter = WindowBuilder(self._parts.target, self._window_lines)
        end = self._log.state.last_intent_end(reader.source)[1]
        for block in chain(reader.again(reader.cursor(), rows[0].line, rows[0].offset or 0, end), (None,)):
            for draft in sorter.flush() if block is None else sorter.feed(block):
                for record in draft.records:
                    if record.number in ambiguous:
                        by_lock.setdefault(record.lock, []).append(record.number)
                    else:
                        overtaken.update(by_lock.pop(record.lock, ()))
        return overtaken

    def _doubt(self, records: Sequence[Record], reason: str) -> None:
        reconciler = self._reconciler
        free = self._parts.work.admit(records, lambda record: reconciler.doubt([record], reason))
        reconciler.doubt(free, reason)

    def _reread(self, reader: AnyReader, cursor: Cursor, window: Window) -> ReadWindow:
        """Read a window's lines again. Errors: SourceError where they are not the lines that were read before."""
        sorter = WindowBuilder(self._parts.target, window.end - window.first)
        drafts: list[ReadWindow] = []
        for block in reader.again(cursor, window.first, window.offset, window.end_offset):
            drafts += sorter.feed(block)
        drafts += sorter.flush()
        if len(drafts) != 1 or drafts[0].crc != window.crc:
            raise SourceError(
                f"lines {window.first} to {window.end - 1} of {reader.name} are not what they were when the run read them",
                CHANGED_HINT,
            )
        return drafts[0]
