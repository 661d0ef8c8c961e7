"""Lines into windows: each is decoded, checked and shaped, or refused; nothing is sent, nothing is written. Pure.

The checksum of a window is that of the raw lines, so that a later execution can tell whether it reads the same ones. isal's
checksum is zlib's, thirty times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count

from isal.isal_zlib import crc32

from loader.checkpoint import Window
from loader.columns import RecordBlock
from loader.mapping import BLANK, are_plain, parse
from loader.model import Record, Rejected
from loader.splitting import Block
from loader.targets.base import Target

MAX_WINDOW_BYTES = 8 * 1024 * 1024
"""A window of very long lines ends early: its records are all in memory at once."""


@dataclass(slots=True)
class Draft:
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


class Sorter:
    """Turns blocks into drafts. Pure but for what it accumulates: the lines of the next window of one source."""

    def __init__(self, target: Target, window_lines: int) -> None:
        self._target = target
        self._window_lines = window_lines
        self._source = self._number = self._offset = 0  # of the first line that waits
        self._lines: list[bytes] = []
        self._byte_count = 0

    def feed(self, block: Block) -> list[Draft]:
        """Take a block; return the drafts that are full now."""
        if block.too_long_bytes:
            return self._skip(block)
        full: list[Draft] = []
        number, offset, at = block.number, block.offset, 0
        while at < len(block.lines):
            if not self._lines:
                self._source, self._number, self._offset = block.source, number, offset
            lines = block.lines[at : at + self._window_lines - len(self._lines)]
            size = sum(map(len, lines))
            if self._byte_count + size > MAX_WINDOW_BYTES:
                lines, size = _until_full(lines, MAX_WINDOW_BYTES - self._byte_count)
            self._lines += lines
            self._byte_count += size
            number, offset, at = number + len(lines), offset + size, at + len(lines)
            if len(self._lines) >= self._window_lines or self._byte_count >= MAX_WINDOW_BYTES:
                full += self.flush()
        return full

    def flush(self) -> list[Draft]:
        """Return what is left."""
        lines, self._lines = self._lines, []
        size, self._byte_count = self._byte_count, 0
        if not lines:
            return []
        raw = b"".join(lines)
        draft = Draft(self._source, self._number, self._offset, len(lines), size, crc32(raw))
        draft.records = self._as_block(draft, lines, raw) or self._one_by_one(draft, lines)
        return [draft]

    def _as_block(self, draft: Draft, lines: list[bytes], raw: bytes) -> RecordBlock | None:
        """Take all lines as they are, where the target allows it and each is a good one."""
        splice = self._target.splice
        if splice is None:
            return None
        if not raw.endswith(b"\n"):
            lines = [*lines[:-1], lines[-1] + b"\n"]
            raw += b"\n"
        if not are_plain(lines, raw, splice.absent):
            return None
        return RecordBlock(draft.source, draft.first_line, draft.first_offset, lines, splice, raw)

    def _one_by_one(self, draft: Draft, lines: list[bytes]) -> list[Record]:
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

    def _skip(self, block: Block) -> list[Draft]:
        """Make an over-long line a window of its own: its checksum cannot be joined to its neighbours'."""
        size = block.too_long_bytes
        draft = Draft(block.source, block.number, block.offset, line_count=1, byte_count=size, crc=block.crc)
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
