"""`loader log check` and `loader log repair`: what a run's log holds, whether it is sound, and how it becomes so again.

The log alone decides what is known (`checkpoint.repair`). This file adds what stands beside it: run.json, from which a lost
header is made anew, and the sources, from which forgotten lines are read again. Nothing is sent.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import msgspec

from loader.checkpoint.format import line_runs
from loader.checkpoint.intended import intended_ends
from loader.checkpoint.notes import END, UNSENT, Notes
from loader.checkpoint.repair.refill import fill, gaps_of, windows_behind
from loader.checkpoint.repair.rewrite import Repair
from loader.checkpoint.storage import DiskStorage
from loader.errors import LogStorageFailed, SourceError
from loader.reading.sizes import sizes_of
from loader.reading.source import CHANGED_HINT
from loader.runs import directory as run_directory
from loader.runs.check_report import LogReport
from loader.runs.directory import RunInfo
from loader.runs.ownership import check_own
from loader.runs.reread import SourcesAgain
from loader.settings import asks_first
from loader.targets.registry import build_shaper, kind_of


def check_log(directory: Path) -> LogReport:
    """Read both files whole and say what they hold and what is wrong with them. Errors: LogDamaged of another run's log."""
    info = run_directory.read(directory)
    with _Work(directory, info, is_locked=False) as work:
        doubtful = work.repair.doubt()
        kept = work.repair.salvage.orphans
        for gap in gaps_of(work.repair.salvage):
            lines = (line for line in range(gap.first, gap.end) if (gap.source, line) not in kept)
            doubtful.setdefault(gap.source, []).extend(lines)
        return work.report(doubtful, work.behind() if work.is_damaged else {})


def repair_log(directory: Path, *, is_dry_run: bool = False) -> LogReport:
    """Write a sound generation of the log, in which everything that is in doubt counts as ambiguous.

    Errors: LogLocked; LogDamaged where it is another run's; SourceError where forgotten lines cannot be read again;
    LogStorageFailed.
    """
    check_own(directory)
    info = run_directory.read(directory)
    with _Work(directory, info, is_locked=not is_dry_run) as work:
        if not work.is_damaged:
            return work.report({}, {})
        left_to_asking = work.fill()
        doubtful = work.doubt()
        marked = sum(map(len, doubtful.values()))
        copies = () if is_dry_run else work.write(is_changed=bool(marked or left_to_asking))
        report = work.report(doubtful, dict.fromkeys(left_to_asking))
        return replace(report, marked=marked, copies=tuple(copies), is_repaired=not is_dry_run)


class _Work:
    """A run's log, examined, and what stands around it."""

    def __init__(self, directory: Path, info: RunInfo, *, is_locked: bool) -> None:
        self._directory = directory
        self._info = info
        bound: dict[str, Any] = msgspec.json.decode(run_directory.encode(info))
        storage = DiskStorage(directory)
        try:
            self.repair = Repair(storage, info.run, bound, is_locked=is_locked)
        except OSError as error:
            raise _unusable(directory, error) from None
        shaper = build_shaper(info.settings, info.run, form=info.stamp_form)
        sizes = sizes_of(shaper.max_records, kind_of(info.settings).concurrency, info.options)
        known = (
            live.window.end - live.window.first
            for source_state in self.repair.salvage.sources.values()
            for live in source_state.windows.values()
        )
        self._window_lines = max([sizes.window_lines, *known])
        self._intended_ends = intended_ends(storage, info.run)
        self._again = SourcesAgain(directory, info, shaper, self._window_lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.repair.close()

    @property
    def is_damaged(self) -> bool:
        """Say whether an opening would refuse the log, or lose something."""
        return self.repair.found.verdict in {"damaged", "shortened"}

    def behind(self) -> dict[int, int | None]:
        """Return how many lines may be forgotten behind the last known one, by source."""
        found: dict[int, int | None] = {}
        for source in range(len(self._info.sources)):
            windows = windows_behind(self.repair.salvage, source)
            marked = self._intended_ends.get(source, 1) - self.repair.salvage.end_of(source)[0]
            if windows is None or windows or marked > 0:
                found[source] = None if windows is None else max(windows * self._window_lines, marked)
        return found

    def fill(self) -> list[int]:
        """Read forgotten lines again; return the sources where a resume must ask on by itself. Errors: SourceError."""
        notes = Notes(self.repair.salvage.notes)
        sources = len(self._info.sources)
        ends = ((source, notes.end_of_source(source)) for source in range(sources))
        left_to_asking = fill(
            self.repair.salvage,
            self._again,
            sources=sources,
            window_lines=self._window_lines,
            least_ends={source: line for source, line in ends if line is not None},
            intended_ends=self._intended_ends,
            is_asked_first=asks_first(self._info.settings, self._info.options),
        )
        if self.repair.salvage.orphans:
            source, line = min(self.repair.salvage.orphans)
            name = self._info.sources[source].path
            raise SourceError(f"{name} has no line {line:,} any more, and the log has its outcome", CHANGED_HINT)
        return left_to_asking

    def doubt(self) -> dict[int, list[int]]:
        """Put lines in doubt, and return them by source. Errors: SourceError.

        An update that a later one of the same row has overtaken must not be sent again. A resume looks for that among ambiguous
        lines only, since among unresolved ones it cannot happen; so the lines of an update run become ambiguous.
        """
        return self.repair.doubt(self._again.places if self._info.settings.is_update else None)

    def write(self, *, is_changed: bool) -> list[str]:
        """Write both files. `is_changed`: a line came into doubt, so the run is not at its end."""
        stale = self.repair.salvage.stale_notes & {UNSENT, END}
        try:
            return self.repair.write(stale | ({END} if is_changed else set()))
        except OSError as error:
            raise _unusable(self._directory, error) from None

    def report(self, doubtful: dict[int, list[int]], behind: dict[int, int | None]) -> LogReport:
        """Say what was found."""
        found = self.repair.found
        return LogReport(
            run=str(self._directory),
            verdict=found.verdict,
            log_bytes=found.survey.size,
            entries=len(found.survey.spots) + (found.survey.header is not None),
            generation=found.header.generation,
            settled_bytes=found.folds.size,
            folds=len(found.folds.refs),
            counts=self.repair.counts(),
            findings=tuple(found.findings),
            doubtful=tuple(
                (source, first, end - 1)
                for source in sorted(doubtful)
                for first, end in line_runs(sorted(doubtful[source]))
            ),
            behind=tuple((source, self.repair.salvage.end_of(source)[0] - 1, most) for source, most in behind.items()),
            has_sources=len(self._info.sources) > 1,
        )


def _unusable(directory: Path, error: OSError) -> LogStorageFailed:
    return LogStorageFailed(
        f"{directory} cannot be used: {error.strerror or type(error).__name__}",
        "Make room or mend the disk, then repair again: nothing is lost, the damaged files are still there.",
    )
