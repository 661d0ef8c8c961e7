"""Which lines of open windows have certainly not left this process: the note that spares them a question after a crash."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from loader.checkpoint import CheckpointLog
from loader.checkpoint.notes import Notes
from loader.delivery.order import place_of
from loader.delivery.queue import ChunkQueue
from loader.model import Record


class Unsent:
    """Keeps the note. `earlier`: lines that an earlier execution noted, and that are not taken up yet.

    Only lines of open windows count: a line whose intent was lost behind the note is new, and may leave before another note
    is written.
    """

    def __init__(self, queue: ChunkQueue, log: CheckpointLog) -> None:
        self.earlier = {
            (source, number)
            for source, first, last in Notes.of(log).unsent
            for live in log.state.unresolved_windows()
            if live.window.source == source
            for number in range(max(first, live.window.first), min(last + 1, live.window.end))
        }
        self._coming: Sequence[Sequence[Record]] = ()
        self._queue = queue
        self._log = log

    def expect(self, windows: Sequence[Sequence[Record]]) -> None:
        """Name the records whose intent is being written. They are not queued yet, so they have not left."""
        self._coming = windows

    def note(self) -> None:
        """Write the note: the records that wait in the queue, those that are expected, and what an earlier execution left."""
        places = {place_of(record) for record in chain(self._queue.unsent(), *self._coming)}
        Notes.of(self._log).set_unsent(places | self.earlier)

    async def note_durably(self) -> None:
        """Write the note and wait until it is on the disk. Errors: LogStorageFailed."""
        self.note()
        await self._log.sync()

    async def forget(self) -> None:
        """Take the note back, since from now on any record may leave. Errors: LogStorageFailed."""
        Notes.of(self._log).set_unsent(())
        await self._log.sync()
