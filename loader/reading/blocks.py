"""The lines of a source: in blocks one after another, single ones by offset, single ones by number.

Owns: where lines begin in a source that is read again. All goes forwards, over a `Cursor`, by the source's format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from loader.errors import SourceError
from loader.reading.compression import BLOCK_BYTES
from loader.reading.cursor import SEEK_BYTES, Cursor
from loader.reading.format import Decoded, Format
from loader.reading.formats import format_of
from loader.reading.lines import Block
from loader.reading.source import CHANGED_HINT, Opened
from loader.settings import Options


def read_blocks(
    cursor: Cursor,
    source_format: Format,
    *,
    source: int,
    offset: int = 0,
    number: int = 1,
    max_line_bytes: int,
    end: int | None = None,
) -> Iterator[Block]:
    """Yield the lines from `offset` on, where line `number` begins; with `end`, up to that offset.

    Units: `max_line_bytes` counts a line without its line end.
    Errors: SourceError, after every whole line before the fault; its message names the last good line. SourceStopped.
    """
    splitter = source_format.splitter(source, number, offset, max_line_bytes)
    try:
        _begin(cursor, source_format, offset, number)
        splitter.offset = cursor.offset
        for piece in cursor.pieces() if end is None else cursor.pieces(end - cursor.offset):
            yield from splitter.feed(piece)
        if end is not None and cursor.offset < end:
            raise cursor.shorter()
    except SourceError as error:
        where = f", behind line {splitter.number - 1:,}" if splitter.number > 1 else ""
        raise SourceError(error.message + where, error.hint) from None
    yield from splitter.finish()


def _begin(cursor: Cursor, source_format: Format, offset: int, number: int) -> None:
    """Move to the beginning of line `number`, which was at `offset` when the line before it was read.

    Unless the cursor is there already, it looks whether that line has grown since.
    """
    if offset == 0:
        source_format.begin(cursor)
    elif number == 1 or cursor.offset >= offset:
        cursor.move_to(offset)
    else:
        cursor.move_to(offset - 1)
        last = cursor.take(1)
        if not last:
            raise cursor.shorter()
        if not source_format.goes_on(cursor, last):
            what = f"has changed: line {number - 1:,} was its last one and has grown"
            raise SourceError(f"{cursor.name} {what}", CHANGED_HINT)


def lines_at(
    opened: Opened, source_format: Format, offsets: Iterable[int], max_line_bytes: int
) -> Iterator[bytes | None]:
    """Yield the line that begins at each of the ascending offsets, with its line end; None if it is too long."""
    cursor = Cursor(opened, SEEK_BYTES if opened.can_seek else BLOCK_BYTES)
    for offset in offsets:
        cursor.move_to(offset)
        yield source_format.line(cursor, max_line_bytes)


class LinesByNumber:
    """Finds single lines by ascending number, for what the log names by number alone; it holds one block.

    A source that is gone (None) has no lines. After a fault it finds nothing any more, and has warned once.
    """

    def __init__(self, opened: Opened | None, source: int, options: Options, warn: Callable[[str], None]) -> None:
        self._format = None if opened is None else format_of(opened, options)
        self._blocks: Iterator[Block] = iter(())
        if opened is not None and self._format is not None:
            limit = options.max_line_bytes
            self._blocks = read_blocks(Cursor(opened), self._format, source=source, max_line_bytes=limit)
        self._block: Block | None = None
        self._index = 0
        self._offset = 0
        self._warn = warn

    def find(self, number: int) -> tuple[int | None, bytes | None]:
        """Return offset and bytes of a line after the last one asked for."""
        try:
            while (block := self._block) is None or number >= block.number + max(1, len(block.lines)):
                self._block = block = next(self._blocks, None)
                if block is None:
                    return None, None
                self._index, self._offset = 0, block.offset
        except SourceError as error:
            self._warn(f"{error.message}; offsets and keys behind it are left out")
            self._blocks, self._block = iter(()), None
            return None, None
        if not block.lines:
            return block.offset, None
        while block.number + self._index < number:
            self._offset += len(block.lines[self._index])
            self._index += 1
        return self._offset, block.lines[self._index]

    def decode(self, line: bytes) -> Decoded:
        """Decode a line that was found."""
        assert self._format is not None  # noqa: S101 -- a source that is gone has no lines; this tells mypy
        return self._format.decode(line)
