"""The lines of one source: windows that are not folded, and folds. Pure.

Windows and folds never overlap, and between them they cover every line from 1 to the last intent; only a log that came back
shorter than it was leaves gaps.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator

from loader.checkpoint.folds import FoldJob, FoldRef, FoldTable, job_of
from loader.checkpoint.windows import Gap, LiveWindow
from loader.model import Counts

FOLD_LINES = 4096  # a fold's head costs about 230 bytes: a twentieth of a byte a line


class SourceState:
    """One source: its folds, and its windows that are not folded, by first line."""

    __slots__ = ("end", "end_offset", "firsts", "folds", "settled_lines", "windows")

    def __init__(self) -> None:
        self.folds = FoldTable()
        self.firsts: list[int] = []  # of `windows`, ascending
        self.windows: dict[int, LiveWindow] = {}
        self.settled_lines = 0  # in settled windows that are not folded
        self.end, self.end_offset = 1, 0  # behind the last intent

    def find(self, line: int) -> LiveWindow | None:
        """Return the unfolded window that holds a line."""
        at = bisect_right(self.firsts, line) - 1
        if at < 0:
            return None
        live = self.windows[self.firsts[at]]
        return live if line < live.window.end else None

    def spans(self) -> Iterator[tuple[int, int, int, int, bool]]:
        """Yield first line, end line, offset, end offset and whether settled, of windows and folds, by line."""
        live = ((*live.window[1:5], live.is_settled) for live in self.windows.values())
        yield from sorted([*((*ref[1:5], True) for ref in self.folds), *live])

    def settled(self) -> list[tuple[int, int]]:
        """Return the line ranges of settled windows, merged."""
        ranges: list[tuple[int, int]] = []
        for first, end, _, _, is_settled in self.spans():
            if is_settled and ranges and ranges[-1][1] == first:
                ranges[-1] = (ranges[-1][0], end)
            elif is_settled:
                ranges.append((first, end))
        return ranges

    def gaps(self, source: int) -> list[Gap]:
        """Return the lines below the last intent that neither a window nor a fold holds."""
        found = []
        line, at = 1, 0
        for first, end, offset, end_offset, _ in self.spans():
            if first > line:
                found.append(Gap(source, line, first, at, offset))
            line, at = end, end_offset
        return found

    def add(self, live: LiveWindow) -> None:
        """Take a new window in. Errors: ValueError where it overlaps what is there."""
        window = live.window
        if window.first >= window.end:
            raise ValueError(f"a window of no lines at {window.first}")
        if window.first < self.end and any(span[0] < window.end and window.first < span[1] for span in self.spans()):
            raise ValueError(f"lines {window.first}..{window.end} are intended twice")
        self.windows[window.first] = live
        insort(self.firsts, window.first)
        if live.is_settled:
            self.settled_lines += len(live.slots)
        if window.end > self.end:
            self.end, self.end_offset = window.end, window.end_offset

    def freeze(self, upto: int, min_lines: int, *, is_all: bool) -> list[FoldJob]:
        """Take settled windows out, as jobs of adjacent ones; see `State.freeze`."""
        jobs = []
        run: list[LiveWindow] = []
        lines = 0
        for live in [*(self.windows[first] for first in self.firsts), None]:
            is_good = live is not None and not live.unresolved and live.last_n <= upto
            is_next = live is not None and bool(run) and run[-1].window.end == live.window.first
            if run and (lines >= min_lines or not is_good or not is_next):
                if is_all or lines >= min_lines:
                    jobs.append(self._take(run))
                run, lines = [], 0
            if live is not None and is_good:
                run.append(live)
                lines += len(live.slots)
        return jobs

    def _take(self, run: list[LiveWindow]) -> FoldJob:
        job = job_of(run, max(live.last_n for live in run))
        at = bisect_right(self.firsts, job.first) - 1
        del self.firsts[at : at + len(run)]
        for live in run:
            del self.windows[live.window.first]
        self.settled_lines -= len(job.slots)
        nothing = Counts()  # the run's counts hold these lines already
        self.folds.add(FoldRef(*job[:6], nothing, None, None, None, 0))
        return job
