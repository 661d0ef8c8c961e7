"""The sources of a run as the intake reads them: files in the loop, standard input in a thread of its own.

A regular file is read inline: a block comes from the page cache in microseconds. A pipe may be silent for hours, so it
is read by a daemon thread that hands over one block at a time; a process that ends does not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import TypeAlias

from loader.errors import UsageError
from loader.reading.cursor import Cursor, lines_at
from loader.reading.lines import Block, LineSplitter
from loader.reading.source import FileSource, Opened, SourceStopped, read_blocks
from loader.reading.spool import Spool
from loader.reading.stdin import Kept, StandardInput


class FileReader:
    """Reads one regular file."""

    is_slow = False

    def __init__(self, source: int, file: FileSource, max_line_bytes: int) -> None:
        self.source = source
        self.name = file.name
        self._file = file
        self._max_line_bytes = max_line_bytes
        self._kept_bytes = 0

    @property
    def total_bytes(self) -> int | None:
        """Return the file's size, compressed if it is."""
        return self._file.size_bytes

    @property
    def read_bytes(self) -> int:
        """Return how far the run has come in `total_bytes`; of a compressed file, how far it was read."""
        return self._kept_bytes if self._file.can_seek else self._file.read_bytes

    async def blocks(self, offset: int, number: int) -> AsyncGenerator[Block, None]:
        """Read from the line that begins at `offset`."""
        for block in read_blocks(
            self._file, source=self.source, offset=offset, number=number, max_line_bytes=self._max_line_bytes
        ):
            yield block

    def cursor(self) -> Cursor:
        """Begin to read again; a compressed file is decoded once, however many places are visited."""
        return Cursor(self._file)

    def again(self, cursor: Cursor, number: int, offset: int, end: int) -> Iterator[Block]:
        """Read lines once more, from the one that begins at `offset` up to the byte `end`."""
        return read_again(cursor, LineSplitter(self.source, number, offset, self._max_line_bytes), offset, end)

    def lines(self, offsets: Iterable[int]) -> Iterator[bytes | None]:
        """Read the single lines that begin at these ascending offsets."""
        return lines_at(self._file, offsets, self._max_line_bytes)

    async def keep(self, end_offset: int) -> None:
        """Keep nothing: a file can be read again."""
        self._kept_bytes = end_offset

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class PipeReader:
    """Reads standard input, and keeps it, so that lines can be read again."""

    source = 0
    name = StandardInput.name
    is_slow = True
    total_bytes: int | None = None

    def __init__(self, spool: Spool | None, max_line_bytes: int, *, reads_pipe: bool) -> None:
        self._spool = spool
        self._pipe = StandardInput(spool) if reads_pipe else None
        self._max_line_bytes = max_line_bytes

    @property
    def read_bytes(self) -> int:
        """Return how many bytes have come."""
        opened = self._pipe or self._spool
        return opened.read_bytes if opened else 0

    def blocks(self, offset: int, number: int) -> AsyncGenerator[Block, None]:
        """Read what comes, behind what was read before."""
        opened = self._pipe or self._spool
        assert opened is not None  # noqa: S101 -- a run whose lines are not kept always reads the pipe; this tells mypy
        stop = self._pipe.stop if self._pipe else _nothing
        return from_thread(lambda: self._read(opened, offset, number), stop)

    def cursor(self) -> Cursor:
        """Begin to read kept lines again."""
        if self._spool is None:
            raise UsageError("the lines of this run were not kept", "load into another run directory: --run NEW")
        return Cursor(Kept(self._spool))

    def again(self, cursor: Cursor, number: int, offset: int, end: int) -> Iterator[Block]:
        """Read kept lines once more, from the one that begins at `offset` up to the byte `end`."""
        return read_again(cursor, LineSplitter(self.source, number, offset, self._max_line_bytes), offset, end)

    def lines(self, offsets: Iterable[int]) -> Iterator[bytes | None]:
        """Read the single kept lines that begin at these ascending offsets."""
        return lines_at(Kept(self._spool), offsets, self._max_line_bytes) if self._spool else iter(())

    def _read(self, opened: Opened, offset: int, number: int) -> Iterator[Block]:
        limit = self._max_line_bytes
        return read_blocks(opened, source=self.source, offset=offset, number=number, max_line_bytes=limit)

    async def keep(self, end_offset: int) -> None:
        """Make what was read durable, before it is intended."""
        del end_offset
        if self._spool is not None:
            await asyncio.to_thread(self._spool.sync)

    def close(self) -> None:
        """Close the kept lines; standard input itself stays open."""
        if self._pipe is not None:
            self._pipe.stop()
        if self._spool is not None:
            self._spool.close()


def read_again(cursor: Cursor, splitter: LineSplitter, offset: int, end: int) -> Iterator[Block]:
    """Cut the bytes between two offsets into lines."""
    cursor.move_to(offset)
    for piece in cursor.pieces(end - offset):
        yield from splitter.feed(piece)
    yield from splitter.finish()


AnyReader: TypeAlias = FileReader | PipeReader


def _nothing() -> None:
    """Stop nothing: kept lines never wait."""


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
        except BaseException as error:  # noqa: BLE001 -- handed over whole: it is raised again in the loop
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
