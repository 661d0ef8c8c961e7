"""Gather lines into windows: each line is decoded, checked and made a record, or refused. Nothing is sent or written. Pure.

The checksum of a window covers the raw lines, so that a later execution can tell whether it reads the same ones. isal
computes zlib's checksum, thirty times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count
from typing import Any, Protocol

from isal.isal_zlib import crc32

from loader.columns import RecordBlock, Splice
from loader.model import Record, Rejected, Window
from loader.reading.format import Format
from loader.reading.lines import Block

MAX_WINDOW_BYTES = 8 * 1024 * 1024
"""A window of very long lines ends early: its records are all in memory at once."""


@dataclass(slots=True)
class ReadWindow:
    """A window that was read. `records` can be sent; `refused` lines have their outcome already; all other lines are blank."""

    source: int
    first_line: int
    first_offset: int
    line_count: int = 0
    byte_count: int = 0
    crc: int = 0
    records: Sequence[Record] = ()
    refused: list[tuple[Record, Rejected]] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)

    def refusals(self) -> tuple[list[Record], list[Rejected]]:
        """Return the refused lines and their outcomes."""
        return [line for line, _ in self.refused], [outcome for _, outcome in self.refused]

    def window(self) -> Window:
        """Return what the log keeps of the window."""
        return Window(
            self.source,
            self.first_line,
            self.first_line + self.line_count,
            self.first_offset,
            self.first_offset + self.byte_count,
            self.crc,
            len(self.records),
            tuple(self.blank),
        )


class Shaper(Protocol):
    """The part of a target that makes records of lines."""

    max_records: int
    splice: Splice | None

    def shape(self, fields: dict[str, Any], data: bytes, source: int, number: int, offset: int) -> Record | Rejected:
        """Check a decoded line and make the record that is sent."""
        ...


class WindowBuilder:
    """Makes windows of blocks. Its only state is the lines of the next window of one source."""

    def __init__(self, target: Shaper, window_lines: int, source_format: Format) -> None:
        self._target = target
        self._format = source_format
        self._window_lines = window_lines
        self._source = self._number = self._offset = 0  # of the next window's first line
        self._line_count = self._byte_count = 0
        self._raw: list[bytes] = []
        splice = target.splice
        self._check = None if splice is None else source_format.check_many(splice)
        self._all_good = True  # by `_check`
        self._lines: list[
            bytes
        ] = []  # if single ones are needed anyway: no `_check`, or each becomes a request of its own

    def feed(self, block: Block) -> list[ReadWindow]:
        """Take a block; return the windows that are full now."""
        if block.too_long_bytes:
            return self._pass_over(block)
        full: list[ReadWindow] = []
        number, at, start = block.number, 0, 0
        while at < len(block.lines):
            if not self._line_count:
                self._source, self._number, self._offset = block.source, number, block.offset + start
            lines = block.lines[at : at + self._window_lines - self._line_count]
            size = sum(map(len, lines)) if at + len(lines) < len(block.lines) else len(block.raw) - start
            if self._byte_count + size > MAX_WINDOW_BYTES:
                lines, size = _until_full(lines, MAX_WINDOW_BYTES - self._byte_count)
            self._take(lines, block.raw[start : start + size])
            number, at, start = number + len(lines), at + len(lines), start + size
            if self._line_count >= self._window_lines or self._byte_count >= MAX_WINDOW_BYTES:
                full += self.flush()
        return full

    def flush(self) -> list[ReadWindow]:
        """Return the window of the lines that are left, if there are any."""
        if not self._line_count:
            return []
        raw = b"".join(self._raw)
        window = ReadWindow(self._source, self._number, self._offset, self._line_count, self._byte_count, crc32(raw))
        splice = self._target.splice
        if self._check is None:
            window.records = self._one_by_one(window, self._lines)
        elif self._all_good and splice is not None:
            raw = raw if raw.endswith(b"\n") else raw + b"\n"
            place = window.source, window.first_line, window.first_offset
            block = RecordBlock(*place, raw, window.line_count, splice, self._lines or None)
            window.records = [*block] if self._lines else block
        else:
            window.records = self._one_by_one(window, self._format.cut(raw))
        self._line_count = self._byte_count = 0
        self._raw, self._lines, self._all_good = [], [], True
        return [window]

    def _take(self, lines: list[bytes], raw: bytes) -> None:
        """Check lines as soon as they are split, while they are in the processor's caches; mostly only `raw` is kept."""
        self._line_count += len(lines)
        self._byte_count += len(raw)
        self._raw.append(raw)
        if self._check is None:
            self._lines += lines
        elif self._all_good:
            if not raw.endswith(b"\n"):
                lines = [*lines[:-1], lines[-1] + b"\n"]
                raw += b"\n"
            self._all_good = self._check.all_good(lines, raw)
            if self._target.max_records == 1:
                self._lines += lines

    def _one_by_one(self, window: ReadWindow, lines: list[bytes]) -> list[Record]:
        """Decode each line; return the records, and add the other lines to the window."""
        decode, shape, source = self._format.decode, self._target.shape, window.source
        starts = accumulate(map(len, lines), initial=window.first_offset)
        records: list[Record] = []
        for line, place, start in zip(lines, count(window.first_line), starts, strict=False):
            fields, data = decode(line)
            record = shape(fields, data, source, place, start) if type(fields) is dict else fields
            if type(record) is Record:
                records.append(record)
            elif record is None:
                window.blank.append(place)
            else:
                window.refused.append((Record(source, place, start, b""), record))  # type: ignore[arg-type]  # type() is no narrowing
        return records

    def _pass_over(self, block: Block) -> list[ReadWindow]:
        """Make an over-long line a window of its own: its checksum cannot be joined to its neighbours'."""
        size = block.too_long_bytes
        window = ReadWindow(block.source, block.number, block.offset, line_count=1, byte_count=size, crc=block.crc)
        message = f"the line has {size} bytes; raise --max-line-bytes to load it"
        window.refused.append(
            (Record(block.source, block.number, block.offset, b""), Rejected("parse", "too_long", message))
        )
        return [*self.flush(), window]


def _until_full(lines: list[bytes], room: int) -> tuple[list[bytes], int]:
    """Return the first lines, up to the one that fills the room, and their bytes."""
    for taken, size in enumerate(accumulate(map(len, lines)), 1):
        if size >= room:
            return lines[:taken], size
    return lines, sum(map(len, lines))
