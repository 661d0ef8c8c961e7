"""From records to chunks in the queue, under limits that the target may lower.

One packer serves a whole execution: the intake, the reconciler and the delivery see the same limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from loader.checkpoint import CheckpointLog
from loader.checkpoint.notes import Notes
from loader.delivery.chunking import Chunker
from loader.delivery.queue import ChunkQueue, QueuedChunk
from loader.model import Chunk, Record


class ChunkPacker:
    """Packs records into chunks and queues them. `max_bytes` is the largest body that the target is known to take."""

    def __init__(
        self, queue: ChunkQueue, log: CheckpointLog, *, overhead_bytes: int, max_records: int, max_bytes: int
    ) -> None:
        self._notes = Notes.of(log)
        self.max_bytes = min(max_bytes, self._notes.max_bytes or max_bytes)
        self._queue = queue
        self._overhead_bytes = overhead_bytes
        self._max_records = max_records

    def release(self, records: Sequence[Record], *, in_doubt: bool = False) -> None:
        """Count records as outstanding and queue those that may go now. `in_doubt`: they may be in the target already."""
        if self._queue.is_ordered:
            records = [record._replace(lock=None) for record in records]  # one request at a time needs no locks
        self.queue(self._queue.admit(records), in_doubt=in_doubt)

    def queue(self, records: Sequence[Record], *, in_doubt: bool = False) -> None:
        """Queue records of one source that are outstanding already."""
        self._queue.put([QueuedChunk(chunk) for chunk in self._chunker(in_doubt=in_doubt).pack(records)])

    def queue_again(self, records: Sequence[Record], *, in_doubt: bool) -> None:
        """Queue records, of any sources, whose sending has no known end: they go before all others."""
        chunks = self._chunks_by_source(records, in_doubt=in_doubt)
        self._queue.put([QueuedChunk(chunk, attempts=1) for chunk in chunks], is_front=True)

    def lower_max_bytes(self, max_bytes: int) -> None:
        """Take note that a body was too large. The new limit holds for this run and its resumes."""
        if max_bytes < self.max_bytes:
            self.max_bytes = max(max_bytes, 1)
            self._notes.max_bytes = self.max_bytes

    def _chunks_by_source(self, records: Sequence[Record], *, in_doubt: bool) -> Iterator[Chunk]:
        for _, same in groupby(records, lambda record: record.source):  # the log settles lines of one source at a time
            yield from self._chunker(in_doubt=in_doubt).pack(list(same))

    def _chunker(self, *, in_doubt: bool) -> Chunker:
        return Chunker(self._overhead_bytes, self._max_records, self.max_bytes, in_doubt=in_doubt)
