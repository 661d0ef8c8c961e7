"""The chunks of a run between the reader and the workers: fresh, deferred, parked behind a lock, in flight.

It owns four rules. (1) A waiting chunk holds no worker: it is deferred and comes back when it is due. (2) Two records
with one lock are never out together: the second is parked until the first has an outcome. (3) While `is_solo` is set,
one record is out at a time (until the user's claim about a stamp or a unique item is proved). (4) Where order is
asked for, only the first record without an outcome may go: one that waits, was halved or is in doubt holds back all
that follow. It sends nothing and decides no outcome. A record is outstanding from `admit` until `release`; memory is
bounded because the reader waits in `room` while too much is outstanding.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import attrgetter

from msgspec import Struct

from loader.columns import RecordBlock
from loader.delivery.chunking import bytes_of
from loader.delivery.locks import GoLater, Locks
from loader.delivery.order import SourceOrder, place_of
from loader.model import Chunk, Record

MAX_LOOKED_AT = 1000
MAX_OUTSTANDING_BYTES = 32 * 1024 * 1024
"""Bytes of unsettled records held at most: with the parser's own blocks it keeps the process far under 80 MB."""


_lock_of, _records_of = attrgetter("lock"), attrgetter("chunk.records")
_NO_LOCK = {None}


class QueuedChunk(Struct, gc=False):
    """One chunk on its way. `attempts` counts its sendings, `blocks` those that somebody on the way refused."""

    chunk: Chunk
    attempts: int = 0
    blocks: int = 0


def has_no_locks(records: Sequence[Record]) -> bool:
    """Say whether none of some records has a lock."""
    return isinstance(records, RecordBlock) or set(map(_lock_of, records)) == _NO_LOCK


class ChunkQueue:
    """Hands chunks to workers. One event loop, no threads."""

    def __init__(
        self, *, lookahead: int, max_outstanding: int, is_ordered: bool = False, is_solo: bool = False
    ) -> None:
        self.is_ordered = is_ordered
        self.is_solo = is_solo
        self.outstanding = 0
        self.in_flight = 0
        self._lookahead = lookahead
        self._max_outstanding = max_outstanding
        self._outstanding_bytes = 0
        self._fresh: deque[QueuedChunk] = deque()
        self._fresh_records = 0
        self._later: list[tuple[float, int, QueuedChunk]] = []
        self._later_records = 0
        self._order = 0
        self._source_order = SourceOrder()
        self._locks = Locks()
        self._takers: deque[asyncio.Future[None]] = deque()
        self._changed = asyncio.Event()
        self._awaited = 0  # tasks that wait for a change
        self._is_closed = False

    # --- the reader's side ---------------------------------------------------------------------------------------------

    def admit(self, records: Sequence[Record], go_later: GoLater | None = None) -> Sequence[Record]:
        """Count records as outstanding; return those that may go now, and park the rest behind their locks.

        A parked record is sent when its lock is free, or handed to `go_later` where it is given.
        """
        self.outstanding += len(records)
        if self.is_ordered:
            self._source_order.enter(records)
        self._outstanding_bytes += bytes_of(records)
        if has_no_locks(records):
            return records
        return [record for record in records if record.lock is None or self._locks.acquire(record, go_later)]

    async def room(self) -> None:
        """Wait until another window may be read."""
        while not self._is_closed and not self._has_room():
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        self._awaited += 1
        try:
            await self._changed.wait()
        finally:
            self._awaited -= 1

    def _has_room(self) -> bool:
        # All that has an intent and may not have been sent: a crash leaves it in doubt, so it counts towards what was announced.
        waiting = self._fresh_records + self._later_records + self._locks.parked
        return not (
            waiting > self._lookahead
            or self.outstanding > self._max_outstanding
            or self._outstanding_bytes > MAX_OUTSTANDING_BYTES
            or (self.is_solo and (self._fresh or self._later or self.in_flight))
        )

    def _wake_reader(self) -> None:
        """Wake the reader if it may go on. Looking costs less than waking it in vain."""
        if self._awaited and (not self.outstanding or self._has_room()):
            self._changed.set()

    async def drained(self) -> None:
        """Wait until nothing is outstanding, or the queue is closed."""
        while self.outstanding and not self._is_closed:
            await self._change()

    # --- the workers' side ---------------------------------------------------------------------------------------------

    def put(self, queued_chunks: Iterable[QueuedChunk], *, is_front: bool = False) -> None:
        """Make chunks ready to be taken."""
        for queued in queued_chunks:
            if self.is_ordered:
                queued.chunk = Chunk(tuple(sorted(queued.chunk.records, key=place_of)), queued.chunk.in_doubt)
            if is_front:
                self._fresh.appendleft(queued)
            else:
                self._fresh.append(queued)
            self._fresh_records += len(queued.chunk.records)
            if self._takers:
                self._wake()
        if self.is_ordered:
            self._fresh = deque(sorted(self._fresh, key=lambda queued: place_of(queued.chunk.records[0])))

    def defer(self, queued: QueuedChunk, seconds: float) -> None:
        """Make a chunk ready after a while. It then goes before fresh ones."""
        loop = asyncio.get_running_loop()
        self._order += 1
        self._later_records += len(queued.chunk.records)
        heapq.heappush(self._later, (loop.time() + seconds, self._order, queued))
        loop.call_later(seconds, self._bring_back)

    def _bring_back(self) -> None:
        now = asyncio.get_running_loop().time()
        # A timer may fire up to one clock tick early; without the allowance the chunk would wait for the next timer.
        while self._later and self._later[0][0] <= now + 0.002:
            queued = heapq.heappop(self._later)[2]
            self._later_records -= len(queued.chunk.records)
            self.put([queued], is_front=True)

    def take_now(self) -> QueuedChunk | None:
        """Return the next chunk as `take` does, or None if that would have to wait."""
        return self._hand_out() if not self._is_closed and self._can_hand_out() else None

    def take_next(self, count: int) -> Sequence[QueuedChunk]:
        """Swap `count` finished chunks for up to `count` new ones. Call `done` once for each one that gets no successor."""
        if self._is_closed or self.is_solo or self.is_ordered:
            return ()
        fresh = self._fresh
        queued_chunks = [fresh.popleft() for _ in range(min(count, len(fresh)))]
        self._fresh_records -= sum(map(len, map(_records_of, queued_chunks)))
        for _ in range(min(len(fresh), len(self._takers))):
            self._wake()
        self._wake_reader()
        return queued_chunks

    async def take(self) -> QueuedChunk | None:
        """Return the next chunk, which is in flight from now on; None when the queue is closed."""
        while not self._is_closed:
            if (queued := self.take_now()) is not None:
                return queued
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled():
                    self._wake()  # pass the wake-up on: it must not be lost with this task
                raise
        return None

    def _can_hand_out(self) -> bool:
        if not self._fresh or (self.is_solo and self.in_flight):
            return False
        return not self.is_ordered or self._source_order.is_first(self._fresh[0].chunk.records[0])

    def _hand_out(self) -> QueuedChunk:
        queued = self._fresh.popleft()
        self._fresh_records -= len(queued.chunk.records)
        if self.is_solo:
            queued = self.keep_first(queued)
        elif self.is_ordered and len(queued.chunk.records) > 1:
            queued = self._keep(queued, self._source_order.count_first(queued.chunk.records))
        self.in_flight += 1
        self._wake_reader()
        return queued

    def keep_untried(self, queued: QueuedChunk) -> QueuedChunk:
        """Keep a chunk's first record, or rather that of one that was never sent: nothing speaks against it yet."""
        if queued.attempts and not self.is_ordered:
            for index, other in enumerate(islice(self._fresh, MAX_LOOKED_AT)):
                if not other.attempts:
                    self._fresh[index] = queued
                    self._fresh_records += len(queued.chunk.records) - len(other.chunk.records)
                    return self.keep_first(other)
        return self.keep_first(queued)

    def keep_first(self, queued: QueuedChunk) -> QueuedChunk:
        """Keep the first record of a chunk and put the others back in front."""
        return self._keep(queued, 1)

    def _keep(self, queued: QueuedChunk, count: int) -> QueuedChunk:
        records = queued.chunk.records
        if len(records) <= count:
            return queued
        first, rest = (Chunk(some, queued.chunk.in_doubt) for some in (records[:count], records[count:]))
        self.put([QueuedChunk(rest, queued.attempts)], is_front=True)
        return QueuedChunk(first, queued.attempts)

    def done(self) -> None:
        """Count a taken chunk as no longer in flight."""
        self.in_flight -= 1
        self._wake_reader()
        if self._fresh and self._takers:
            self._wake()

    def release(self, records: Sequence[Record]) -> None:
        """Let go of records that have an outcome: they are outstanding no longer, and their locks pass on."""
        self.outstanding -= len(records)
        if self.is_ordered:
            self._source_order.leave(records)
            self._wake()
        if isinstance(records, RecordBlock):
            self._outstanding_bytes -= records.data_bytes
        else:
            for record in records:
                self._outstanding_bytes -= len(record.data)
                if record.lock is not None:
                    self._unlock(record)
        if self._awaited:
            self._wake_reader()

    def is_locked(self, record: Record) -> bool:
        """Say whether another record is out that may change the same row."""
        return self._locks.is_held(record)

    def _unlock(self, record: Record) -> None:
        for parked in self._locks.release(record):
            if parked.go_later is None:
                self.put([QueuedChunk(Chunk((parked.record,)))], is_front=True)
            else:
                parked.go_later(parked.record)

    def let_all_go(self) -> None:
        """End `is_solo`."""
        self.is_solo = False
        self._changed.set()
        for _ in range(len(self._takers)):
            self._wake()

    # --- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Hand out nothing any more; wake everybody who waits."""
        self._is_closed = True
        self._changed.set()
        while self._takers:
            self._wake()

    def unsent(self) -> list[Record]:
        """List the records that this execution certainly did not send: they wait here, are not in flight and not ambiguous.

        A chunk that is in doubt and was never tried counts as unsent, too: it holds lines that a shortened log may have
        forgotten, and the next execution asks about them again.
        """
        waiting = list(self._fresh) + [entry[2] for entry in self._later]
        kept = [queued.chunk for queued in waiting if not (queued.chunk.in_doubt and queued.attempts)]
        records = [record for chunk in kept for record in chunk.records]
        return records + self._locks.unsent()

    def _wake(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return
