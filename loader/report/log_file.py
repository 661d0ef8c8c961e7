"""The log file (`--log-file`): one JSON object a line, with every secret replaced.

It takes what an observer is given, and what libraries log. The forms in which a secret could appear are known before the first
line is written: as it is, percent-encoded, in base64, and escaped as in JSON.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import msgspec
import orjson

from loader.errors import UsageError
from loader.redaction import Redactor, plain_json, printable
from loader.report.report import Report, Sample, Start

SAMPLE_SECONDS = 10.0
WAITING_SECONDS = 5.0
SHORTEST_SECRET = 4
"""Of the redactor of a log file. A shorter secret would blacken ordinary words; no vendor issues such."""


class LogFile:
    """An observer that writes JSON lines. A write that fails is dropped: the log file is not the checkpoint log."""

    def __init__(
        self, path: str, wall_time: Callable[[], str], redactor: Redactor, *, is_verbose: bool = False
    ) -> None:
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(
                f"the log file {path} cannot be opened: {error.strerror}", "name another with --log-file"
            ) from None
        self._wall_time = wall_time
        self._redactor = redactor
        self._next_seconds = 0.0
        self._was_waiting = False
        self._every_seconds = 1.0 if is_verbose else SAMPLE_SECONDS

    def started(self, start: Start) -> None:
        self.write("info", "started", asdict(start))

    def sample(self, sample: Sample) -> None:
        is_waiting = sample.waiting_reason is not None
        is_due = sample.seconds >= self._next_seconds or (is_waiting and not self._was_waiting)
        if is_due:
            self._was_waiting = is_waiting
            self._next_seconds = sample.seconds + min(
                self._every_seconds, WAITING_SECONDS if is_waiting else SAMPLE_SECONDS
            )
            self.write("info", "sample", asdict(sample) | {"counts": msgspec.structs.asdict(sample.counts)})

    def warned(self, text: str) -> None:
        self.write("warning", "warned", {"text": text})

    def ended(self, report: Report) -> None:
        self.write("info", "ended", orjson.loads(report.to_json()))

    def write(self, level: str, event: str, values: dict[str, Any]) -> None:
        """Append one line."""
        cleaned = self._cleaned(values)
        line = orjson.dumps({"time": self._wall_time(), "level": level, "event": event, **cleaned}, default=str)
        with contextlib.suppress(OSError):
            os.write(self._descriptor, plain_json(line) + b"\n")

    def _cleaned(self, value: Any) -> Any:
        """Clean each text before orjson escapes it: a secret that is escaped twice would not be recognised."""
        if isinstance(value, str):
            return printable(self._redactor.clean(value))
        if isinstance(value, dict):
            return {key: self._cleaned(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._cleaned(item) for item in value]
        return value


class LibraryLogs(logging.Handler):
    """Sends what libraries log into the log file, or nowhere: on standard error it would break the display."""

    def __init__(self, log_file: LogFile | None) -> None:
        super().__init__(logging.WARNING)
        self._log_file = log_file

    def emit(self, record: logging.LogRecord) -> None:
        if self._log_file is not None:
            # The text alone: exc_info and args may hold headers (reliability.md 5).
            self._log_file.write(record.levelname.lower(), "library", {"logger": record.name, "text": str(record.msg)})
