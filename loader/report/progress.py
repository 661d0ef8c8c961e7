"""Following a run: the observer's protocol, and the observers that write plain lines and samples.

An observer is called from the run's own thread and must return at once. None of them may stop a load: a broken pipe at
standard error or a full disk under the samples costs the display, not the records. No clock is read here: a sample carries the
seconds since the start. The display for terminals is in `dashboard`, because it needs rich.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import orjson
from msgspec.structs import asdict

from loader.redaction import escape
from loader.report import wording
from loader.report.report import LIMITED_BY, SHOWN_WARNINGS, Report, Sample, Start

FIRST_LINE_SECONDS = 1.0
LINE_SECONDS = 5.0
METRICS_SECONDS = 5.0
MAX_WARNINGS = SHOWN_WARNINGS
"""Different warnings shown; the log file and the report have them all."""


class Observer(Protocol):
    """Follows a run. Contract: no method raises or waits."""

    def started(self, start: Start) -> None:
        """Take what will happen; called once, after the preflight and before the first record."""
        ...

    def sample(self, sample: Sample) -> None:
        """Take how it goes; called a few times a second."""
        ...

    def warned(self, text: str) -> None:
        """Take what the user should know now."""
        ...

    def ended(self, report: Report) -> None:
        """Take how it ended; called once."""
        ...


class Broadcast:
    """Passes everything on to several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def started(self, start: Start) -> None:
        for observer in self._observers:
            observer.started(start)

    def sample(self, sample: Sample) -> None:
        for observer in self._observers:
            observer.sample(sample)

    def warned(self, text: str) -> None:
        for observer in self._observers:
            observer.warned(text)

    def ended(self, report: Report) -> None:
        for observer in self._observers:
            observer.ended(report)


class Warnings:
    """Decides which warnings are shown: each text once, and not more than can be read."""

    def __init__(self, limit: int | None = MAX_WARNINGS) -> None:
        self._seen: set[str] = set()
        self._limit = limit

    def admit(self, text: str) -> str | None:
        """Return the line to show, or None."""
        if text in self._seen or (self._limit is not None and len(self._seen) > self._limit):
            return None
        self._seen.add(text)
        if self._limit is not None and len(self._seen) > self._limit:
            return "warning: there are more; --log-file FILE keeps them all"
        return f"warning: {escape(text, None)}"


class PlainProgress:
    """Writes the start line, warnings, and, with `has_samples`, a line every few seconds."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        has_start: bool = True,
        has_samples: bool = True,
        is_verbose: bool = False,
    ) -> None:
        self._write = write
        self._has_start = has_start
        self._has_samples = has_samples
        self._warnings = Warnings(None if is_verbose else MAX_WARNINGS)
        self._next_seconds = FIRST_LINE_SECONDS
        self._every_seconds = 1.0 if is_verbose else LINE_SECONDS
        self._done = "created"
        self._is_started = False

    def started(self, start: Start) -> None:
        self._done, self._is_started = done_word(start), True
        if self._has_start:
            self._say(start_text(start))

    def sample(self, sample: Sample) -> None:
        if not self._has_samples or sample.seconds < self._next_seconds:
            return
        if self._is_started:
            self._say(sample_text(sample, self._done))
        elif sample.waiting_reason:
            self._say(f"waiting: {escape(sample.waiting_reason, None)}")
        else:
            return
        self._next_seconds = sample.seconds + self._every_seconds

    def warned(self, text: str) -> None:
        if line := self._warnings.admit(text):
            self._say(line)

    def ended(self, report: Report) -> None:
        """Say nothing: the report itself follows on standard output."""

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._write(line + "\n")


class MetricsFile:
    """Appends a sample to metrics.ndjson every few seconds and at the end. Shape: `Sample` with the wall-clock time.

    The run directory exists when `started` is called; a dry run has none and gets no samples.
    """

    def __init__(self, path: Path, wall_time: Callable[[], str]) -> None:
        self._path = path
        self._wall_time = wall_time
        self._descriptor: int | None = None
        self._next_seconds = 0.0
        self._last: Sample | None = None

    def started(self, start: Start) -> None:
        if not start.is_dry_run:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            with contextlib.suppress(OSError):
                self._descriptor = os.open(self._path, flags, 0o600)

    def sample(self, sample: Sample) -> None:
        self._last = sample
        if sample.seconds >= self._next_seconds:
            self._next_seconds = sample.seconds + METRICS_SECONDS
            self._append(sample)

    def warned(self, text: str) -> None:
        """Keep no warnings: the report has them."""

    def ended(self, report: Report) -> None:  # noqa: ARG002 - the last sample says the same, in the file's own shape
        if self._last is not None:
            self._append(self._last)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, sample: Sample) -> None:
        if self._descriptor is not None:
            values = {"time": self._wall_time(), "sample": sample}
            line = orjson.dumps(values, default=asdict, option=orjson.OPT_APPEND_NEWLINE)
            with contextlib.suppress(OSError):
                os.write(self._descriptor, line)


# --- the lines --------------------------------------------------------------------------------------------------------


def start_text(start: Start) -> str:
    """Say what will happen: target, company or tenant, table, bytes, rate, and what a crash could leave ambiguous."""
    total = "an unknown number of bytes" if start.total_bytes is None else wording.size(start.total_bytes)
    line = f"{wording.place(start.target, start.table, start.identity)}: {total}, rate {start.rate}"
    if start.is_dry_run:
        return f"{line}; dry run, nothing is sent"
    bound = wording.counted(start.crash_bound_records, "record")
    again = f"resuming behind {wording.counted(start.settled_lines, 'settled line')}; " if start.is_resumed else ""
    return f"{line}; {again}a crash could leave at most {bound} ambiguous\nrun directory: {escape(start.run, None)}"


def done_word(start: Start) -> str:
    """Say what becomes of a good record: `created`, `updated`."""
    return "updated" if start.target.endswith("update") else "created"


def sample_text(sample: Sample, done: str = "created") -> str:
    """Say how it goes, on one line."""
    parts = [wording.seconds(sample.seconds), bytes_text(sample), *counts_text(sample, done), *rates_text(sample)]
    if sample.eta_seconds is not None:
        parts.append(f"{wording.seconds(sample.eta_seconds)} left")
    if sample.waiting_reason:
        parts.append(f"waiting: {escape(sample.waiting_reason, None)}")
    return ", ".join(parts)


def bytes_text(sample: Sample) -> str:
    """Say how much was read: `34.2 MiB of 104.1 MiB (33 %)`."""
    if not sample.total_bytes:
        return f"{wording.size(sample.bytes_read)} read"
    share = min(100, 100 * sample.bytes_read // sample.total_bytes)
    return f"{wording.size(sample.bytes_read)} of {wording.size(sample.total_bytes)} ({share} %)"


def counts_text(sample: Sample, done: str) -> list[str]:
    """Say what became of the records."""
    counts = sample.counts
    good = f"{wording.count(counts.updated + counts.created)} {done}"
    return [good, f"{wording.count(counts.rejected)} rejected", f"{wording.count(counts.ambiguous)} ambiguous"]


def rates_text(sample: Sample) -> list[str]:
    """Say how fast it goes and what limits it."""
    limit = f" of {wording.rate(sample.rate_limit)}/s" if sample.rate_limit is not None else ""
    speeds = [
        f"{wording.rate(sample.records_per_second)} records/s",
        f"{wording.rate(sample.requests_per_second)} requests/s{limit}",
    ]
    return speeds + ([LIMITED_BY[sample.limited_by]] if sample.limited_by else [])
