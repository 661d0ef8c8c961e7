"""A reconciler on a log in memory, and two ways of asking: by a script of conclusions, and by a look-up in a small table."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from loader.delivery.claim import Prover
from loader.delivery.queue import QueuedChunk
from loader.model import Absent, Created, Found, Halt, Outcome, Record, Request, Response, Retry, Unknown
from loader.reconcile.doubt import Duplicates
from loader.reconcile.policy import UNKNOWN_ID, Decision, Policy
from loader.reconcile.reconciler import Reconciler
from loader.reconcile.strategies import ByLookup, Conclusion, Strategy
from loader.targets.base import LookupAnswer
from tests.unit.delivery.memory_run import MemoryRun, line

SETTLE_SECONDS = 30.0


class Script:
    """A strategy whose conclusions are written down: of each line one after another, the last one for good.

    `asked` holds when it was asked, and about which lines.
    """

    def __init__(
        self,
        conclusions: dict[int, list[Conclusion]],
        *,
        can_ask_early: bool = True,
        size: int = 100,
        halt: Halt | None = None,
    ) -> None:
        self.can_ask_early = can_ask_early
        self.max_faults = 3
        self.asked: list[tuple[float, list[int]]] = []
        self._lessons = conclusions
        self._size = size
        self._halt = halt

    def size_after(self, faults: int) -> int:
        return max(1, self._size // (1 + faults))

    async def ask(self, records: Sequence[Record]) -> Sequence[Conclusion] | Halt:
        self.asked.append((asyncio.get_running_loop().time(), [record.number for record in records]))
        return self._halt or [self._next(record.number) for record in records]

    def _next(self, number: int) -> Conclusion:
        conclusions = self._lessons.get(number, [Absent()])
        return conclusions.pop(0) if len(conclusions) > 1 else conclusions[0]


@dataclass
class Table:
    """A target's table and the look-up in it: the ids of the rows that hold a key. Every question is answered at once."""

    rows: dict[str, list[int]] = field(default_factory=dict)
    max_records: int = 100

    def encode(self, records: Sequence[Record]) -> Request:
        return Request("POST", "/query", b" ".join(str(record.key).encode() for record in records))

    def read(self, records: Sequence[Record], response: Response) -> LookupAnswer | Retry | Unknown | Halt:
        del response
        rows = [self.rows.get(record.key or "", []) for record in records]
        return LookupAnswer(tuple(Found(tuple(ids), len(ids)) if ids else Absent() for ids in rows))


class NeverProves:
    """A prover whom no created record satisfies; one that is found does."""

    is_proved_by_finding = True

    async def prove(self, record: Record, created: Created) -> bool:
        return False


class Reconciling:
    """A running reconciler, the lines in doubt, and what became of them."""

    def __init__(self, run: MemoryRun, reconciler: Reconciler) -> None:
        self.run = run
        self.reconciler = reconciler

    def doubt(
        self,
        *numbers: int,
        status: int | None = None,
        age_seconds: float = 0.0,
        lock: str | None = None,
        is_new: bool = True,
        reason: str = "lost",
    ) -> None:
        """Take lines into doubt. `is_new`: they are not outstanding yet."""
        records = [line(number, key=f"k{number}", lock=lock) for number in numbers]
        free = self.run.queue.admit(records) if is_new else records
        self.reconciler.doubt(free, reason, status, age_seconds)

    def outcomes(self) -> dict[int, Outcome]:
        """Return how lines ended."""
        return self.run.outcomes

    def sent_again(self) -> list[QueuedChunk]:
        """Take the chunks that the reconciler has queued, as workers would."""
        return self.run.waiting()


@contextlib.asynccontextmanager
async def reconciling(
    strategy: Strategy | None,
    *,
    prover: Prover | None = None,
    is_ordered: bool = False,
    sends_blindly: bool = False,
    decision: Decision | None = None,
    accepted: Outcome = UNKNOWN_ID,
) -> AsyncIterator[Reconciling]:
    """Run a reconciler as long as the block lasts."""
    run = await MemoryRun.begin(prover=prover, is_ordered=is_ordered)
    policy = Policy(SETTLE_SECONDS, strategy, sends_blindly, decision, accepted)
    async with _running(run, policy) as it:
        yield it


@contextlib.asynccontextmanager
async def looking_up(table: Table) -> AsyncIterator[Reconciling]:
    """Run a reconciler that asks by a look-up."""
    run = await MemoryRun.begin(reply_to=lambda _: Response(200, {}, b""))
    async with _running(run, Policy(SETTLE_SECONDS, ByLookup(table, run.sender, run.log, is_exact=True))) as it:
        yield it


@contextlib.asynccontextmanager
async def _running(run: MemoryRun, policy: Policy) -> AsyncIterator[Reconciling]:
    reconciler = Reconciler(
        run.runtime, run.queue, run.packer, run.settlement, run.claim, run.stop, policy, Duplicates()
    )
    task = asyncio.create_task(reconciler.run())
    try:
        yield Reconciling(run, reconciler)
        assert not task.done(), "it ends by being cancelled alone"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
