"""The rejected and the ambiguous records, each with its line, derived from the log and the source; nothing of it is stored.

It must not change anything. If a source is gone or has changed, the facts of the log are still listed, and the lines are left
out with a warning. Rows come by source and line, so every source is read once, forwards.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from loader.checkpoint import State, read_run_directory
from loader.checkpoint.notes import Notes
from loader.errors import SourceError
from loader.reading.blocks import LinesByNumber
from loader.reading.cursor import Cursor
from loader.reading.fingerprint import check, identify
from loader.reading.format import Format
from loader.reading.formats import format_of
from loader.reading.source import FileSource, Opened
from loader.reading.spool import Spool
from loader.report.reject_groups import RejectGroup, RejectGroups
from loader.runs import directory as run_directory
from loader.runs.directory import SPOOL_FILE, STANDARD_INPUT, RunInfo, SourceInfo
from loader.runs.run_lock import holder_of

MAX_RECORD_BYTES = 1024 * 1024
"""A longer line is not quoted (cli.md)."""

_HINT = "a run belongs to its data: put the source back as it was, where it was"
"""These commands load nothing: there is no other run to name."""

Warn = Callable[[str], None]


class Listed(NamedTuple):
    """A line that needs somebody's eye.

    `offset` None: the log knows the line by its number alone, because it has no outcome yet. `data`: the line with its line
    end; None where it is too long or cannot be read.
    """

    source: int
    number: int
    offset: int | None
    stage: str
    code: str
    message: str
    data: bytes | None = None

    def to_object(self, *, file: str | None) -> dict[str, Any]:
        """Return the shape of cli.md; with the source's index and file where the run has several."""
        values: dict[str, Any] = {} if file is None else {"source": self.source, "file": file}
        values |= {"line": self.number, "offset": self.offset}
        values |= {"stage": self.stage, "code": self.code, "message": self.message}
        text = None if self.data is None else self.data.removesuffix(b"\n").removesuffix(b"\r")
        try:
            return values | {"record": None if text is None else text.decode("utf-8")}
        except UnicodeDecodeError:
            return values | {"record": None, "record_base64": base64.b64encode(text or b"").decode()}


def rejected(directory: Path) -> Iterator[Listed]:
    """Yield the rejected records of a run, by source and line, without their lines."""
    with read_run_directory(directory) as run:
        for row in run.rejects():
            yield Listed(row.source, row.line, row.offset, *row.outcome)


def reject_groups(directory: Path) -> tuple[RejectGroup, ...]:
    """Group the rejected records of a run by their code; none if the log was removed meanwhile."""
    groups = RejectGroups()
    with contextlib.suppress(FileNotFoundError), read_run_directory(directory) as run:
        for row in run.rejects():
            groups.add(row.outcome.code, row.source, row.line, row.outcome.message)
    return groups.groups()


def ambiguous(directory: Path) -> Iterator[Listed]:
    """Yield the records of unknown fate, in the shape of rejects.

    A line without an outcome is one of them, unless the last execution knew that it had not sent it, or the run goes on: then
    its answer is on the way.
    """
    with read_run_directory(directory) as run:
        is_running = holder_of(run.state.run_id, directory) not in (None, os.getpid())
        unsent = Notes(run.state.notes).unsent
        for row in run.ambiguous():
            if not row.is_unresolved or not (
                is_running or any(s == row.source and first <= row.line <= last for s, first, last in unsent)
            ):
                yield Listed(row.source, row.line, row.offset, "target", "ambiguous", row.outcome.reason)


def count_unsent(state: State) -> int:
    """Count the lines that were read and certainly not sent."""
    ranges = Notes(state.notes).unsent
    return sum(not state.is_settled(source, line) for source, first, last in ranges for line in range(first, last + 1))


def with_lines(rows: Iterable[Listed], directory: Path, info: RunInfo, warn: Warn) -> Iterator[Listed]:
    """Add the lines of up to MAX_RECORD_BYTES, and the offsets that are missing."""
    for source, group in groupby(rows, key=lambda row: row.source):
        opened = reopen_or_warn(info, source, directory, warn)
        lines = LinesByNumber(opened, source, info.options, warn)
        at = (Cursor(opened), format_of(opened, info.options)) if opened else None
        try:
            for row in group:
                if row.offset is None:
                    offset, data = lines.find(row.number)
                    yield row._replace(offset=offset, data=data if len(data or b"") <= MAX_RECORD_BYTES else None)
                    continue
                data = None
                if at is not None:
                    cursor, source_format = at
                    try:
                        cursor.move_to(row.offset)
                        data = source_format.line(cursor, MAX_RECORD_BYTES)
                    except SourceError as error:
                        warn(f"{error.message}; its further lines are left out")
                        at = None
                yield row._replace(data=data)
        finally:
            if opened is not None:
                opened.close()


def raw_lines(rows: Iterable[Listed], directory: Path, info: RunInfo) -> Iterator[bytes]:
    """Yield the lines byte for byte, over-long ones piece by piece; a last line gets the LF that it lacks.

    Errors: SourceError where a line cannot be read: leaving one out would lose it.
    """
    for source, group in groupby(rows, key=lambda row: row.source):
        opened = reopen(info, source, directory)
        try:
            lines = LinesByNumber(opened, source, info.options, _refuse)
            yield from _raw_lines(group, opened, format_of(opened, info.options), lines)
        finally:
            opened.close()


def _raw_lines(rows: Iterable[Listed], opened: Opened, source_format: Format, lines: LinesByNumber) -> Iterator[bytes]:
    cursor = Cursor(opened)
    for row in rows:
        offset = row.offset if row.offset is not None else lines.find(row.number)[0]
        if offset is None:
            raise SourceError(f"{opened.name} has no line {row.number:,} any more", _HINT)
        cursor.move_to(offset)
        data = source_format.line(cursor, MAX_RECORD_BYTES)
        if data is None:
            yield from _long_line(opened, offset, cursor.offset)
        else:
            yield data if data.endswith(b"\n") else data + b"\n"


def _long_line(opened: Opened, offset: int, end: int) -> Iterator[bytes]:
    again = Cursor(opened)
    again.move_to(offset)
    piece = b""
    for piece in again.pieces(end - offset):
        yield piece
    if not piece.endswith(b"\n"):
        yield b"\n"


def reopen(info: RunInfo, source: int, directory: Path) -> Opened:
    """Open a source of a run once more, as it was. Errors: SourceError where it is not there, or is not what it was."""
    recorded = info.sources[source]
    try:
        if recorded.path == STANDARD_INPUT:
            return _reopen_spool(directory)
        path = Path(run_directory.locate_source(recorded, directory))
        _check_unchanged(recorded, path)
        return FileSource(path)
    except SourceError as error:
        raise SourceError(error.message, _HINT) from None


def reopen_or_warn(info: RunInfo, source: int, directory: Path, warn: Warn) -> Opened | None:
    """Do the same; None, with a warning, where that cannot be."""
    try:
        return reopen(info, source, directory)
    except SourceError as error:
        warn(f"{error.message}; its lines are left out")
        return None


def _reopen_spool(directory: Path) -> Spool:
    if not (directory / SPOOL_FILE).exists():
        raise SourceError("standard input was not kept", _HINT)
    return Spool(directory / SPOOL_FILE, is_read_only=True)


def _check_unchanged(recorded: SourceInfo, path: Path) -> None:
    if recorded.fingerprint is not None and check(recorded.fingerprint, identify(path)) == "changed":
        raise SourceError(f"{path} is not what the run has read", _HINT)


def _refuse(text: str) -> None:
    raise SourceError(text, _HINT)
