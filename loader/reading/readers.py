"""The sources of a run as the intake reads them: files in the event loop, standard input in a thread of its own.

A block of a regular file comes from the page cache in microseconds, so the loop reads it itself. A pipe may be silent for hours,
so a daemon thread reads it and hands over one block at a time; a process that ends does not wait for that thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

from loader.errors import UsageError
from loader.reading.blocks import lines_at, read_blocks
from loader.reading.cursor import Cursor
from loader.reading.formats import format_of
from loader.reading.lines import Block
from loader.reading.source import FileSource, Opened, SourceStopped
from loader.reading.spool import Spool
from loader.reading.stdin import Kept, StandardInput
from loader.settings import Options


class Reader:
    """Reads one source of a run: a file, or standard input, which `spool` keeps so that its lines can be read again.

    `opened` is what new lines come from: the file, the pipe, or the spool if nothing is piped in.
    """

    def __init__(
        self, source: int, opened: FileSource | StandardInput | Spool, options: Options, spool: Spool | None = None
    ) -> None:
        self.source = source
        self.is_slow = not isinstance(opened, FileSource)
        self.name = StandardInput.name if self.is_slow else opened.name
        self.format = format_of(opened, options)
        self._opened = opened
        self._spool = spool
        self._max_line_bytes = options.max_line_bytes
        self._kept_bytes = 0

    @property
    def total_bytes(self) -> int | None:
        """Return a file's size, compressed if it is."""
        return None if self.is_slow else self._opened.size_bytes

    @property
    def read_bytes(self) -> int:
        """Return how far the run has come in `total_bytes`; of a pipe or a compressed file, how much was read."""
        return self._kept_bytes if self._opened.can_seek and not self.is_slow else self._opened.read_bytes

    def blocks(self, offset: int, number: int) -> AsyncGenerator[Block, None]:
        """Read from the line that begins at `offset`. Whoever leaves before the end has to close it."""
        cursor = Cursor(self._opened)
        if not self.is_slow:
            return _in_loop(self.again(cursor, number, offset))
        stop = self._opened.stop if isinstance(self._opened, StandardInput) else _nothing
        return from_thread(lambda: self.again(cursor, number, offset), stop)

    def cursor(self) -> Cursor:
        """Begin to read again; a compressed file is decoded once, however many places are visited."""
        again = self._again()
        if again is None:
            raise UsageError("the lines of this run were not kept", "load into another run directory: --run NEW")
        return Cursor(again)

    def again(self, cursor: Cursor, number: int, offset: int, end: int | None = None) -> Iterator[Block]:
        """Read lines over a cursor, from the one that begins at `offset`; with `end`, up to that byte."""
        return read_blocks(
            cursor,
            self.format,
            source=self.source,
            number=number,
            offset=offset,
            max_line_bytes=self._max_line_bytes,
            end=end,
        )

    def lines(self, offsets: Iterable[int]) -> Iterator[bytes | None]:
        """Read the single lines that begin at these ascending offsets."""
        again = self._again()
        return iter(()) if again is None else lines_at(again, self.format, offsets, self._max_line_bytes)

    async def keep(self, end_offset: int) -> None:
        """Make what was read durable, before it is intended; a file can be read again as it is."""
        self._kept_bytes = end_offset
        if self._spool is not None:
            await asyncio.to_thread(self._spool.sync)

    def has_changed(self) -> bool:
        """Say whether a file was written to since it was opened."""
        return isinstance(self._opened, FileSource) and self._opened.has_changed()

    def close(self) -> None:
        """Close the file or the kept lines; standard input itself stays open."""
        if isinstance(self._opened, StandardInput):
            self._opened.stop()
        else:
            self._opened.close()
        if self._spool is not None:
            self._spool.close()

    def _again(self) -> Opened | None:
        """Return where lines can be read again."""
        if not self.is_slow:
            return self._opened
        return None if self._spool is None else Kept(self._spool)


def _nothing() -> None:
    """Stop nothing: reading kept lines never waits."""


async def _in_loop(blocks: Iterator[Block]) -> AsyncGenerator[Block, None]:
    """Yield the blocks of an iterator that never waits for long."""
    for block in blocks:
        yield block


async def from_thread(blocks: Callable[[], Iterator[Block]], stop: Callable[[], None]) -> AsyncGenerator[Block, None]:
    """Yield the blocks of an iterator that may wait for long, read by a daemon thread, one block ahead at most.

    `stop` ends the wait of the thread, from any thread.
    """
    loop = asyncio.get_running_loop()
    handed: asyncio.Queue[Block | BaseException | None] = asyncio.Queue()
    is_wanted = threading.Semaphore(2)
    is_over = False

    def hand(item: Block | BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(handed.put_nowait, item)

    def read() -> None:
        try:
            for block in blocks():
                is_wanted.acquire()
                if is_over:
                    return
                hand(block)
        except BaseException as error:  # noqa: BLE001 -- nothing is swallowed: it is raised again in the loop
            hand(error)
        else:
            hand(None)

    threading.Thread(target=read, name="standard input", daemon=True).start()
    try:
        while (item := await handed.get()) is not None:
            if isinstance(item, SourceStopped):
                return
            if isinstance(item, BaseException):
                raise item
            is_wanted.release()
            yield item
    finally:
        is_over = True
        is_wanted.release()
        stop()
