"""Walking along a source by line number, for what the log names by number alone.

It goes forwards only and holds one block. A source that is gone (None) has no lines.
"""

from __future__ import annotations

from collections.abc import Callable

from loader.errors import SourceError
from loader.reading.source import Block, Opened, read_blocks


class LineWalk:
    """Finds lines by ascending number. After a fault it finds nothing any more, and has said so once."""

    def __init__(self, opened: Opened | None, source: int, max_line_bytes: int, warn: Callable[[str], None]) -> None:
        self._blocks = iter(()) if opened is None else read_blocks(opened, source=source, max_line_bytes=max_line_bytes)
        self._block: Block | None = None
        self._index = 0
        self._offset = 0
        self._warn = warn

    def find(self, number: int) -> tuple[int | None, bytes | None]:
        """Return offset and bytes of a line behind the last one asked for."""
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
