"""Lines into windows: each is decoded, checked and shaped, or refused; nothing is sent, nothing is written. Pure.

The checksum of a window is that of the raw lines, so that a later execution can tell whether it reads the same ones. isal's
checksum is zlib's, thirty times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import accumulate, count
from typing import Any, Protocol

from isal.isal_zlib import crc32

from loader.columns import RecordBlock, Splice
from loader.model import Record, Rejected, Window
from loader.reading.bulk_check import BulkCheck
from loader.reading.lines import Block
from loader.reading.parsing import BLANK, parse

MAX_WINDOW_BYTES = 8 * 1024 * 1024
"""A window of very long lines ends early: its records are all in memory at once."""


@dataclass(slots=True)
class ReadWindow:
    """A window that was read. `records` are sendable; `refused` have their outcome already; the rest of the lines is blank."""

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
        """Return the refused lines, and how."""
        return [line for line, _ in self.refused], [outcome for _, outcome in self.refused]

    def window(self) -> Window:
        """Return the window as the log wants it."""
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
    """Makes records of lines: what is needed here of a target."""

    max_records: int
    splice: Splice | None

    def shape(self, fields: dict[str, Any], data: bytes, source: int, number: int, offset: int) -> Record | Rejected:
        """Check a decoded line and make the record that travels."""
        ...


class WindowBuilder:
    """SourceOrder blocks into drafts. Pure but for what it accumulates: the lines of the next window of one source."""

    def __init__(self, target: Shaper, window_lines: int) -> None:
        self._target = target
        self._window_lines = window_lines
        self._source = self._number = self._offset = 0  # of the first line that waits
        self._line_count = self._byte_count = 0
        self._raw: list[bytes] = []
        self._lines: list[bytes] = []  # where each becomes a request of its own, and they are plain
        splice = target.splice
        self._look = None if splice is None else BulkCheck(splice.absent, splice.are_good)
        self._is_plain = True

    def feed(self, block: Block) -> list[ReadWindow]:
        """Take a block; return the drafts that are full now."""
        if block.too_long_bytes:
            return self._skip(block)
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
        """Return what is left."""
        if not self._line_count:
            return []
        raw = b"".join(self._raw)
        draft = ReadWindow(self._source, self._number, self._offset, self._line_count, self._byte_count, crc32(raw))
        splice = self._target.splice
        if splice is not None and self._is_plain:
            raw = raw if raw.endswith(b"\n") else raw + b"\n"
            place = draft.source, draft.first_line, draft.first_offset
            block = RecordBlock(*place, raw, draft.line_count, splice, self._lines or None)
            draft.records = [*block] if self._lines else block
        else:
            draft.records = self._one_by_one(draft, BytesIO(raw).readlines())
        self._line_count = self._byte_count = 0
        self._raw, self._lines, self._is_plain = [], [], True
        return [draft]

    def _take(self, lines: list[bytes], raw: bytes) -> None:
        """Look at lines where they were split, while they are in the processor's caches; only their bytes are kept."""
        self._line_count += len(lines)
        self._byte_count += len(raw)
        self._raw.append(raw)
        if self._look is None or not self._is_plain:
            return
        if not raw.endswith(b"\n"):
            lines = [*lines[:-1], lines[-1] + b"\n"]
            raw += b"\n"
        self._is_plain = self._look.all_good(lines, raw)
        if self._target.max_records == 1:
            self._lines += lines

    def _one_by_one(self, draft: ReadWindow, lines: list[bytes]) -> list[Record]:
        """Put each line where it belongs."""
        parse_line, shape, source = parse, self._target.shape, draft.source
        starts = accumulate(map(len, lines), initial=draft.first_offset)
        records: list[Record] = []
        for line, place, start in zip(lines, count(draft.first_line), starts, strict=False):
            data = line.strip(BLANK)
            if not data:
                draft.blank.append(place)
                continue
            fields = parse_line(data)
            record = shape(fields, data, source, place, start) if type(fields) is dict else fields
            if type(record) is Record:
                records.append(record)
            else:
                draft.refused.append((Record(source, place, start, b""), record))  # type: ignore[arg-type]  # type() is no narrowing
        return records

    def _skip(self, block: Block) -> list[ReadWindow]:
        """Make an over-long line a window of its own: its checksum cannot be joined to its neighbours'."""
        size = block.too_long_bytes
        draft = ReadWindow(block.source, block.number, block.offset, line_count=1, byte_count=size, crc=block.crc)
        message = f"the line has {size} bytes; raise --max-line-bytes to load it"
        draft.refused.append(
            (Record(block.source, block.number, block.offset, b""), Rejected("parse", "too_long", message))
        )
        return [*self.flush(), draft]


def _until_full(lines: list[bytes], room: int) -> tuple[list[bytes], int]:
    """Return the first lines, up to the one that fills the room, and their bytes."""
    for taken, size in enumerate(accumulate(map(len, lines)), 1):
        if size >= room:
            return lines[:taken], size
    return lines, sum(map(len, lines))
