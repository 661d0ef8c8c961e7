"""What the loader must know of a source's format: where its lines begin and end, and which object a line holds.

All other modules read lines through a `Format` and know nothing of line ends, headers or encodings. A line here is one record
in the source's own form: the bytes that its checksum covers and that `rejects --records` gives back. It may hold line feeds. Its
number is the one that a user would count: a line, a row or an element.

A format object belongs to one source, so it may keep what it read at the beginning, such as a header.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

from loader.columns import Splice
from loader.model import Rejected
from loader.reading.cursor import Cursor
from loader.reading.lines import Block

Decoded: TypeAlias = tuple[dict[str, Any] | Rejected | None, bytes]
"""The fields of a line, and its object as JSON without white space around it. None: a blank line. Rejected: no good object."""


class Splitter(Protocol):
    """Cuts pieces of a stream into blocks of lines. `number` and `offset` are those of the next line."""

    number: int
    offset: int

    def feed(self, piece: bytes) -> Iterator[Block]:
        """Yield the lines that the piece completes. A piece is not empty."""
        ...

    def finish(self) -> Iterator[Block]:
        """Yield the last line if the source ends without the end of a line."""
        ...


class ManyCheck(Protocol):
    """Checks many lines at once, for formats whose lines travel as they are. Such a line is an object that ends with LF."""

    def all_good(self, lines: Sequence[bytes], raw: bytes) -> bool:
        """Say whether no line needs to be decoded. False only means that some may need it. `raw` is the lines joined."""
        ...


class Format(Protocol):
    """One format of sources."""

    def begin(self, cursor: Cursor) -> None:
        """Pass over what stands before the first line, from the source's beginning: a byte order mark, a header."""
        ...

    def goes_on(self, cursor: Cursor, last: bytes) -> bool:
        """Say whether the line before, which ended with the byte `last`, is still whole; pass over an end that it got later."""
        ...

    def splitter(self, source: int, number: int, offset: int, max_line_bytes: int) -> Splitter:
        """Make a splitter whose first line is `number`, at `offset`. Units: `max_line_bytes` excludes the line end."""
        ...

    def line(self, cursor: Cursor, max_line_bytes: int) -> bytes | None:
        """Return the line that begins at the cursor, with its line end; None, passed over, if it is longer than allowed."""
        ...

    def decode(self, line: bytes) -> Decoded:
        """Decode a line, or say why it is refused."""
        ...

    def cut(self, raw: bytes) -> list[bytes]:
        """Cut joined lines again; only asked if `check_many` gives something."""
        ...

    def check_many(self, splice: Splice) -> ManyCheck | None:
        """Make what checks many lines of a source for a target; None if each line must be decoded by itself."""
        ...
