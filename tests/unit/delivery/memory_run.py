"""The parts of one execution, all real, on a log in memory and in the loop's own time. The target's replies come from a function.

`MemoryRun` is built inside of the loop: `run_virtual(main())`, where `main` begins with `run = await MemoryRun.begin(...)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from loader.checkpoint import CheckpointLog, Tools, read_run_directory
from loader.checkpoint.windows import Slot
from loader.delivery.breaker import Breaker
from loader.delivery.claim import Claim, Prover
from loader.delivery.packer import ChunkPacker
from loader.delivery.queue import ChunkQueue, QueuedChunk
from loader.delivery.sender import Sender
from loader.delivery.settlement import RejectGuard, Settlement
from loader.delivery.stop import Stop
from loader.delivery.unsent import Unsent
from loader.model import NoResponse, Outcome, Record, Request, Response, Window
from loader.rate.throttle import FixedThrottle
from loader.settings import RejectLimit
from loader.transport.base import Follow
from tests.unit.checkpoint.conftest import FakeDisk, Inline, Node
from tests.unit.virtual_loop import loop_runtime

NOWHERE = Path("/nowhere")
LINE_BYTES = 10


def line(
    number: int, *, source: int = 0, key: str | None = None, lock: str | None = None, data: bytes = b"{}"
) -> Record:
    """Make the record of a line."""
    return Record(source, number, number * LINE_BYTES, data, key, lock)


def window(first: int, end: int, source: int = 0) -> Window:
    """Make a window without blank lines."""
    return Window(source, first, end, first * LINE_BYTES, end * LINE_BYTES, 5, end - first)


def memory_tools(disk: FakeDisk) -> Tools:
    """Let a log stand on a disk in memory, without threads."""
    return Tools(storage=disk, clock=lambda: "2025-01-01T00:00:00+00:00", new_worker=Inline)


class Replies:
    """A transport: each request is answered at once, by a function. `sent` holds when each left, and its body."""

    def __init__(self, reply_to: Callable[[Request], Response | NoResponse]) -> None:
        self.reply_to = reply_to
        self.sent: list[tuple[float, bytes]] = []
        self.dropped = 0

    async def send(self, request: Request, follow: Follow | None = None) -> Response | NoResponse:
        del follow
        self.sent.append((asyncio.get_running_loop().time(), request.body))
        return self.reply_to(request)

    def drop_idle(self) -> None:
        self.dropped += 1

    async def close(self) -> None:
        """Nothing is open."""


def unanswered(_: Request) -> NoResponse:
    """Reply to nothing."""
    return NoResponse(is_sent=True, error="nobody answers here")


class MemoryRun:
    """A run whose lines 1 to `lines` of each source are intended."""

    def __init__(
        self,
        disk: FakeDisk,
        log: CheckpointLog,
        queue: ChunkQueue,
        prover: Prover | None,
        limit: RejectLimit,
        reply_to: Callable[[Request], Response | NoResponse],
    ) -> None:
        self.disk, self.log, self.queue = disk, log, queue
        self.runtime = loop_runtime(draw=lambda: 0.5)
        self.stop = Stop()
        self.stop.on_request(queue.close)
        self.packer = ChunkPacker(queue, log, overhead_bytes=10, max_records=10, max_bytes=1000)
        self.unsent = Unsent(queue, log)
        self.claim = Claim(prover, queue, self.unsent, log)
        self.settlement = Settlement(log, queue, self.stop, RejectGuard(limit))
        self.outcomes: dict[int, Outcome] = {}
        self.settlement.add_sink(self._take)
        self.replies = Replies(reply_to)
        self.sender = Sender(self.replies, FixedThrottle(self.runtime, 1e6), Breaker(self.runtime))

    @classmethod
    async def begin(
        cls,
        *,
        lines: int = 40,
        sources: int = 1,
        is_ordered: bool = False,
        prover: Prover | None = None,
        limit: RejectLimit | None = None,
        reply_to: Callable[[Request], Response | NoResponse] = unanswered,
    ) -> Self:
        """Begin the run."""
        disk = FakeDisk()
        log = await CheckpointLog.create(NOWHERE, "run", {}, tools=memory_tools(disk))
        await log.intend([window(1, lines + 1, source) for source in range(sources)])
        queue = ChunkQueue(lookahead=1000, max_outstanding=1000, is_ordered=is_ordered, is_solo=prover is not None)
        return cls(disk, log, queue, prover, limit or RejectLimit(), reply_to)

    def _take(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        self.outcomes.update(zip((record.number for record in records), outcomes, strict=True))

    def waiting(self) -> list[QueuedChunk]:
        """Take the chunks that wait, as workers would."""
        chunks = []
        while (queued := self.queue.take_now()) is not None:
            chunks.append(queued)
        return chunks

    async def logged(self) -> dict[int, Slot]:
        """Return what the first source's lines are for a reader of the log."""
        await self.log.sync()
        return durable_slots(self.disk)


def durable_slots(disk: FakeDisk) -> dict[int, Slot]:
    """Return what a reader would find of the first source if the power went now and all that was not synced were lost."""
    left = FakeDisk()
    for name, node in disk.names.items():
        left.names[name] = kept = Node()
        kept.data = node.durable
    with read_run_directory(NOWHERE, storage=left) as run:
        return {number: slot for source, number, slot in run.each_slot() if source == 0 and slot is not None}


def numbers(chunks: Sequence[QueuedChunk]) -> list[list[int]]:
    """Return the line numbers of some chunks."""
    return [[record.number for record in queued.chunk.records] for queued in chunks]
