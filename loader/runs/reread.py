"""The sources of a run, read once more in windows, for a log that has forgotten some of their lines.

It reads and compares; a load's own `WindowBuilder` makes the windows. Standard input is read from where it was kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from loader.checkpoint import Gap
from loader.errors import SourceError
from loader.model import Window
from loader.reading.blocks import read_blocks
from loader.reading.cursor import Cursor
from loader.reading.formats import format_of
from loader.reading.lines import Block
from loader.reading.source import CHANGED_HINT, Opened
from loader.reading.spool import Spool
from loader.reading.stdin import Kept
from loader.reading.windows import ReadWindow, Shaper, WindowBuilder
from loader.runs.directory import STANDARD_INPUT, RunInfo
from loader.runs.rejects import reopen


class SourcesAgain:
    """The sources of a run, read once more in windows. Errors: SourceError."""

    def __init__(self, directory: Path, info: RunInfo, target: Shaper, window_lines: int) -> None:
        self._directory = directory
        self._info = info
        self._target = target
        self._window_lines = window_lines

    def between(self, gap: Gap) -> Iterator[Window]:
        """Return windows for just these lines."""
        if self._is_gone(gap.source):  # it cannot be resumed, so the lines are never compared
            yield Window(*gap[:5], 0, gap.end - gap.first)
            return
        last = (gap.first, gap.offset)
        for draft in self._drafts(gap.source, gap.first, gap.offset, end_offset=gap.end_offset):
            last = (draft.first_line + draft.line_count, draft.first_offset + draft.byte_count)
            yield draft.window()
        if last != (gap.end, gap.end_offset):
            name = self._info.sources[gap.source].path
            raise SourceError(f"lines {gap.first:,} to {gap.end - 1:,} of {name} are not what they were", CHANGED_HINT)

    def behind(self, source: int, line: int, offset: int, end: int | None) -> Iterator[Window]:
        """Return windows from a line on; with `end`, up to that line."""
        if not self._is_gone(source):
            for draft in self._drafts(source, line, offset, end_line=end):
                yield draft.window()

    def places(self, window: Window) -> dict[int, int]:
        """Return the offset of every line of a window that is sent."""
        drafts = list(self._drafts(window.source, window.first, window.offset, end_offset=window.end_offset))
        if len(drafts) != 1 or drafts[0].crc != window.crc:
            name = self._info.sources[window.source].path
            raise SourceError(
                f"lines {window.first:,} to {window.end - 1:,} of {name} are not what they were", CHANGED_HINT
            )
        return {record.number: record.offset for record in drafts[0].records}

    def _is_gone(self, source: int) -> bool:
        return self._info.sources[source].path == STANDARD_INPUT and not self._info.options.is_kept

    def _reopen(self, source: int) -> Opened:
        try:
            return reopen(self._info, source, self._directory)
        except SourceError as error:
            hint = "Put the source back where it was, then repair again."
            raise SourceError(f"forgotten lines must be read again: {error.message}", hint) from None

    def _drafts(
        self, source: int, line: int, offset: int, *, end_line: int | None = None, end_offset: int | None = None
    ) -> Iterator[ReadWindow]:
        opened = self._reopen(source)
        try:
            source_format = format_of(opened, self._info.options)
            windows = WindowBuilder(self._target, self._window_lines, source_format)
            blocks = read_blocks(
                Cursor(Kept(opened) if isinstance(opened, Spool) else opened),
                source_format,
                source=source,
                offset=offset,
                number=line,
                max_line_bytes=self._info.options.max_line_bytes,
                end=end_offset,
            )
            for block in _whole(_up_to(blocks, end_line), opened):
                yield from windows.feed(block)
            yield from windows.flush()
        finally:
            opened.close()


def _up_to(blocks: Iterable[Block], end: int | None) -> Iterator[Block]:
    """Yield blocks up to line `end`."""
    for block in blocks:
        if end is None or block.number + max(1, len(block.lines)) <= end:
            yield block
            continue
        if block.number < end and block.lines:
            yield block.first(end - block.number)
        return


def _whole(blocks: Iterable[Block], opened: Opened) -> Iterator[Block]:
    """Leave out the last line of a pipe that broke off in it: it was never intended."""
    for block in blocks:
        if isinstance(opened, Spool) and not opened.is_complete and block.lines and not block.lines[-1].endswith(b"\n"):
            block = block.first(len(block.lines) - 1)  # noqa: PLW2901 - the same block, less its last line
        if block.lines or block.too_long_bytes:
            yield block
