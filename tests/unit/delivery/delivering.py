"""A delivery whose verdicts are handed to it, with a reconciler that only takes records over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from loader.delivery.delivery import Delivery, Parts
from loader.delivery.queue import QueuedChunk
from loader.delivery.retry import RetryPolicy, Schedule
from loader.model import Chunk, NoResponse, Record, Response, Verdict
from loader.settings import CanbusAdd, CanbusCredentials, OzariCredentials, OzariInsert, Secret
from loader.targets.base import Target
from loader.targets.registry import build_target
from tests.unit.delivery.memory_run import MemoryRun, line

OZARI = build_target(OzariInsert("tcity"), OzariCredentials(Secret("token")), "run")
CANBUS = build_target(CanbusAdd("tom"), CanbusCredentials("tenant", Secret("a"), Secret("b"), Secret("c")), "run")


@dataclass
class Doubted:
    """A reconciler that only takes records over."""

    taken: list[tuple[list[int], str, int | None]] = field(default_factory=list)

    def doubt(
        self, records: Sequence[Record], reason: str, status: int | None = None, age_seconds: float = 0.0
    ) -> None:
        self.taken.append(([record.number for record in records], reason, status))

    def refused(self, records: Sequence[Record], reason: str) -> None:
        self.taken.append(([record.number for record in records], reason, None))


class Delivering:
    """A delivery on a log in memory."""

    def __init__(self, run: MemoryRun, target: Target) -> None:
        self.run = run
        self.doubted = Doubted()
        self.warnings: list[str] = []
        self.are_credentials_good = True
        self.parts = Parts(
            run.runtime,
            target,
            run.sender,
            run.queue,
            run.packer,
            run.settlement,
            self.doubted,
            run.claim,
            run.stop,
            self.warnings.append,
        )
        policy = RetryPolicy(fault=Schedule(4.0, 30.0))
        self.delivery = Delivery(self.parts, policy, confirm_credentials=self._confirm)

    async def _confirm(self) -> bool:
        return self.are_credentials_good

    def taken(self, *numbers: int, in_doubt: bool = False, attempts: int = 1) -> QueuedChunk:
        """Return a chunk that is in flight."""
        records = tuple(line(number, data=b'{"fn":%d}' % number) for number in numbers)
        self.run.queue.admit(records)
        return QueuedChunk(Chunk(records, in_doubt), attempts)

    def read(self, queued: QueuedChunk, reply: Response | NoResponse) -> Verdict | None:
        """Read one reply."""
        (verdict,) = self.delivery.read_replies([queued], [reply])
        return verdict


async def delivering(target: Target = OZARI) -> Delivering:
    """Begin a run of 200 lines and its delivery."""
    return Delivering(await MemoryRun.begin(lines=200), target)
