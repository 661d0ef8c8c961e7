"""Is this the source that the run began with?

Owns: the few facts kept about a source, and the proof by checksums that ranges of lines are as they were when they were
loaded. Facts (size, time, place, first bytes) can only save work or refuse early; the ranges' crc32 decides.

A source may grow at its end and in no other way. A last line that had no line end when it was loaded may get one; if
anything else follows it, it has become another line.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from loader.errors import SourceError
from loader.reading.cursor import Cursor
from loader.reading.format import Format
from loader.reading.formats import format_of
from loader.reading.source import CHANGED_HINT, FileSource, Opened
from loader.redaction import printable
from loader.settings import Options

HEAD_BYTES = 64 * 1024

Comparison: TypeAlias = Literal["same", "grown", "changed"]


class Range(NamedTuple):
    """Lines that were loaded: [offset, end) of the uncompressed stream, its crc32, and the number of its first line."""

    offset: int
    end: int
    crc: int
    first_line: int


def identify(path: Path) -> dict[str, Any]:
    """Take the fingerprint of a file.

    Shape: for JSON: path (resolved), name, kind, size, mtime_ns, device, inode, head_crc (crc32 of its first 64 KiB).
    Errors: SourceError.
    """
    opened = FileSource(path)
    try:
        status = opened.status()
        head = opened.read_at(0, HEAD_BYTES)
    finally:
        opened.close()
    return {
        "path": printable(os.path.realpath(path)),
        "name": printable(path.name),
        "kind": opened.kind,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "device": status.st_dev,
        "inode": status.st_ino,
        "head_crc": zlib.crc32(head),
    }


def check(stored: dict[str, Any], current: dict[str, Any]) -> Comparison:
    """Compare two fingerprints. The path and the name of the file do not matter.

    same: nothing has to be read again. changed: refuse. grown: perhaps the same data and more after it, a copy, or a file
    that was touched or compressed anew; every range must be verified before the file is read on.
    """
    if stored["kind"] != current["kind"]:
        return "changed"
    is_plain = stored["kind"] == "plain"
    if is_plain and current["size"] < stored["size"]:
        return "changed"
    # A shorter head than HEAD_BYTES covers other bytes once the file has grown.
    has_equal_head_length = stored["size"] == current["size"] or min(stored["size"], current["size"]) >= HEAD_BYTES
    if is_plain and has_equal_head_length and stored["head_crc"] != current["head_crc"]:
        return "changed"
    facts = ("size", "mtime_ns", "device", "inode", "head_crc")
    return "same" if all(stored.get(fact) == current.get(fact) for fact in facts) else "grown"


def verify_ranges(path: Path, ranges: Iterable[tuple[int, int, int, int]], options: Options) -> None:
    """Read the ranges (offset, end, crc, first line; ascending) again.

    Errors: SourceError that names the first that differs.
    """
    opened = FileSource(path)
    try:
        verify_opened(opened, format_of(opened, options), ranges)
    finally:
        opened.close()


def verify_opened(opened: Opened, source_format: Format, ranges: Iterable[tuple[int, int, int, int]]) -> None:
    """Do the same as `verify_ranges` for an open source."""
    cursor = Cursor(opened)
    given = map(Range._make, ranges)
    following = next(given, None)
    while following is not None:
        this, following = following, next(given, None)
        # A line end that a last line got later belongs to no range: the cursor has passed over it, and folds do not know of it.
        cursor.move_to(max(this.offset, cursor.offset))
        crc = 0
        last = b""
        for piece in cursor.pieces(this.end - cursor.offset):
            crc = zlib.crc32(piece, crc)
            last = piece
        if cursor.offset != this.end:
            raise _differs(opened.name, this, following, "the source ends in them")
        if crc != this.crc:
            raise _differs(opened.name, this, following, "they are not what was loaded")
        if last and not source_format.goes_on(cursor, last[-1:]):
            raise _differs(opened.name, this, following, "the last one has grown")


def _differs(name: str, this: Range, following: Range | None, why: str) -> SourceError:
    last = f" to {following.first_line - 1:,}" if following else " on"
    return SourceError(f"{name} has changed: lines {this.first_line:,}{last}: {why}", CHANGED_HINT)
