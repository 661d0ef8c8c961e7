"""Ambiguous records, from the lost answer to an outcome, a re-send, or the list of what cannot be known.

How it works: a doubtful record waits for the settle time, because the target may still apply a request whose
connection died. Then the target is asked. Found is final at any time; absent is believed only after the settle time,
and is asked once more at the end of the run (`second_look`). Where nothing can be asked, the record is held: it ends
as Ambiguous and is listed.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from loader.delivery.claim import Claim
from loader.delivery.order import place_of
from loader.delivery.packer import ChunkPacker
from loader.delivery.queue import ChunkQueue, QueuedChunk
from loader.delivery.settlement import Settlement
from loader.delivery.stop import Stop
from loader.model import Absent, Ambiguous, Chunk, Created, Halt, Outcome, Record, Rejected, Undecided
from loader.reconcile.culprit import is_culprit
from loader.reconcile.doubt import Doubt, Duplicate, Duplicates, Fault
from loader.reconcile.strategies import AskAgain, ByLookup, Known, SendAgain, Strategy
from loader.runtime import Runtime

Decision: TypeAlias = Literal["accept", "resend"]

UNKNOWN_ID = Created(None)
UNPROVED = "no record was created by which the key or stamp could be proved"
EARLY_LOOK_SECONDS = 1.0
"""A first question soon after the loss: most lost answers belong to records that are there, and need no long wait."""
ASK_AGAIN_SECONDS = 5.0
MAX_SECOND_LOOKS = 2_000
"""Re-sent records remembered for the second look at the end; beyond that the oldest are looked at sooner."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What an execution does about ambiguous records.

    `strategy`: how the target is asked; None where it is not. `sends_blindly`: each is sent again at once, whatever that doubles
    (`--ambiguous resend`). `decision`: what the user says of records that nothing else settles (`loader reconcile`), and
    `accepted` the outcome that "accept" stands for.
    """

    settle_seconds: float
    strategy: Strategy | None = None
    sends_blindly: bool = False
    decision: Decision | None = None
    accepted: Outcome = UNKNOWN_ID


class Reconciler:
    """Keeps the doubtful records of a run and settles them beside the flow of new ones."""

    def __init__(
        self,
        runtime: Runtime,
        queue: ChunkQueue,
        packer: ChunkPacker,
        settlement: Settlement,
        claim: Claim,
        stop: Stop,
        policy: Policy,
        duplicates: Duplicates,
    ) -> None:
        self.strategy = policy.strategy
        self.duplicates = duplicates
        self._policy = policy
        self._claim = claim
        self._packer = packer
        self._runtime = runtime
        self._queue = queue
        self._settlement = settlement
        self._stop = stop
        self._settle_seconds = policy.settle_seconds
        self._due: list[tuple[float, int, Doubt]] = []
        self._order = 0
        self._failures = 0  # server errors of records, of all of them together
        self._faults: dict[tuple[int, int], Fault] = {}
        self._second_looks: list[Record] = []
        self._pending: set[tuple[int, int]] = set()
        self._unbelieved: list[Doubt] = []  # absent, while another record may still be found and prove the claim
        self._sent_by_decision: set[tuple[int, int]] = set()  # each once
        self._changed = asyncio.Event()

    @property
    def pending(self) -> int:
        return len(self._pending)

    # --- into doubt ----------------------------------------------------------------------------------------------------

    def doubt(
        self, records: Sequence[Record], reason: str, status: int | None = None, age_seconds: float = 0.0
    ) -> None:
        """Take over records whose request may have been applied. `age_seconds`: how long ago its connection died."""
        if self._policy.sends_blindly:
            self.duplicates.blind += len(records)
            for record in records:
                self._settlement.keep_reason(record, reason)
                self._queue.defer(QueuedChunk(Chunk((record,)), attempts=1), EARLY_LOOK_SECONDS)
            return
        now = self._runtime.clock()
        for record in records:
            # Behind a lock, or in order, a late effect would come behind what was sent later.
            if self.strategy is None and record.lock is None and not self._queue.is_ordered:
                self._leave(record, reason)
                continue
            if status is not None:
                self._note_fault(record, status)
            doubt = Doubt(record, reason, now - age_seconds)
            self._pending.add(place_of(record))
            self._wait(doubt, now)
            self._settlement.keep_reason(record, reason)

    def _note_fault(self, record: Record, status: int) -> None:
        new = Fault(status, self._settlement.successes, self._failures)
        self._faults.setdefault(place_of(record), new).add(status)
        self._failures += 1

    def _wait(self, doubt: Doubt, now: float) -> None:
        strategy = self.strategy
        settled_at = doubt.lost_at + self._settle_seconds
        early = now + EARLY_LOOK_SECONDS
        is_early = strategy is not None and strategy.can_ask_early and doubt.looks == 0 and early < settled_at
        self._push(doubt, early if is_early else max(now, settled_at))

    def _push(self, doubt: Doubt, due: float) -> None:
        self._order += 1
        heapq.heappush(self._due, (due, self._order, doubt))
        self._changed.set()

    # --- out of doubt --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Settle doubts as they fall due, until cancelled."""
        while True:
            batch = await self._next_due()
            await self._claim.decided()
            strategy = self.strategy
            for doubt in batch if strategy is None else ():
                self._leave(doubt.record, doubt.reason)
            while strategy is not None and batch and not self._stop.is_requested:
                size = min(strategy.size_after(self._fault_count(doubt.record)) for doubt in batch)
                is_answered = await self._ask(strategy, batch[:size])
                batch = batch[size:]
                if not is_answered:
                    await self._hold_off(batch)
                    break
            await self.second_look(MAX_SECOND_LOOKS)

    async def _next_due(self) -> list[Doubt]:
        while True:
            now = self._runtime.clock()
            batch = []
            while self._due and self._due[0][0] <= now:
                batch.append(heapq.heappop(self._due)[2])
            if batch:
                return batch
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._due[0][0] - now if self._due else None):
                    await self._changed.wait()

    def _fault_count(self, record: Record) -> int:
        fault = self._faults.get(place_of(record))
        return fault.count if fault else 0

    async def _hold_off(self, rest: Sequence[Doubt]) -> None:
        """Ask nothing for a while: a target that did not answer one question is not to be flooded with all the others."""
        now = self._runtime.clock()
        for doubt in rest:
            self._push(doubt, now)
        await self._runtime.sleep(ASK_AGAIN_SECONDS * (0.5 + self._runtime.draw()))

    async def _ask(self, strategy: Strategy, batch: Sequence[Doubt]) -> bool:
        """Apply what is learnt of each. False: the target did not answer."""
        conclusions = await strategy.ask([doubt.record for doubt in batch])
        if isinstance(conclusions, Halt):
            self._stop.halt(conclusions)
            return True
        if any(isinstance(conclusion, Known) for conclusion in conclusions):
            await self._claim.found()
        again: list[Record] = []
        is_in_doubt = False
        for doubt, conclusion in zip(batch, conclusions, strict=True):
            doubt.looks += 1
            if isinstance(conclusion, SendAgain):
                is_in_doubt = conclusion.is_in_doubt
                self._repeat(doubt, strategy, again)
            else:
                self._apply(doubt, conclusion, strategy)
        self._packer.queue_again(again, in_doubt=is_in_doubt)
        self._end_unbelieved()
        self._changed.set()
        return not all(isinstance(conclusion, AskAgain) for conclusion in conclusions)

    def _end_unbelieved(self) -> None:
        """Leave absent records once all that is in doubt was asked for and none was found; ask again once one was."""
        if self._claim.is_given_up and len(self._unbelieved) < len(self._pending):
            return
        waiting, self._unbelieved = self._unbelieved, []
        for doubt in waiting:
            if self._claim.is_given_up:
                self._leave(doubt.record, _with(doubt.reason, UNPROVED))
            else:
                self._push(doubt, self._runtime.clock())

    def _apply(self, doubt: Doubt, conclusion: Known | Absent | AskAgain | Undecided, strategy: Strategy) -> None:
        record, now = doubt.record, self._runtime.clock()
        believed_at = doubt.lost_at + self._settle_seconds
        match conclusion:
            case Known(outcome, twins):
                if twins:
                    self.duplicates.proved.append(Duplicate(record.source, record.number, twins))
                self._conclude(record, outcome)
            case AskAgain():
                self._push(doubt, now + ASK_AGAIN_SECONDS * (0.5 + self._runtime.draw()))
            case Absent() | Undecided() if now < believed_at:
                self._push(doubt, believed_at)
            case Absent() if self._claim.is_given_up:
                self._unbelieved.append(doubt)
            case Absent():
                self._send_absent(record, strategy)
            case Undecided(reason):
                self._leave(record, _with(doubt.reason, reason))
            case _:
                assert_never(conclusion)

    def _leave(self, record: Record, reason: str) -> None:
        """End what cannot be settled: by the user's decision, else as ambiguous."""
        if self._policy.decision == "accept":
            self._conclude(record, self._policy.accepted)
        elif self._policy.decision == "resend" and place_of(record) not in self._sent_by_decision:
            self._sent_by_decision.add(place_of(record))
            self._pending.discard(place_of(record))
            self.duplicates.blind += 1
            self._queue.put([QueuedChunk(Chunk((record,)), attempts=1)])
        else:
            self._conclude(record, Ambiguous(reason))

    def _send_absent(self, record: Record, strategy: Strategy) -> None:
        if self._is_culprit(record, strategy):
            fault = self._faults[place_of(record)]
            message = f"the target answered {fault.status} {fault.count} times, and did not create the record"
            self._conclude(record, Rejected("target", str(fault.status), message))
            return
        self._pending.discard(place_of(record))
        if isinstance(strategy, ByLookup):
            self._second_looks.append(record)
        self._queue.put([QueuedChunk(Chunk((record,)), attempts=1)], is_front=True)

    def _repeat(self, doubt: Doubt, strategy: Strategy, again: list[Record]) -> None:
        record = doubt.record
        if self._claim.is_given_up:
            self._leave(record, _with(doubt.reason, UNPROVED))
            return
        if self._is_culprit(record, strategy):
            status = self._faults[place_of(record)].status
            self._conclude(record, Ambiguous(f"the target answered {status} each time, while other records succeeded"))
            return
        self._pending.discard(place_of(record))
        again.append(record)

    def _is_culprit(self, record: Record, strategy: Strategy) -> bool:
        fault = self._faults.get(place_of(record))
        if fault is None:
            return False
        failed = self._failures - fault.failures_before - fault.count
        succeeded = self._settlement.successes - fault.successes_before
        return is_culprit(fault.count, fault.weight, strategy.max_faults, failed, succeeded)

    def _conclude(self, record: Record, outcome: Outcome) -> None:
        self._pending.discard(place_of(record))
        self._faults.pop(place_of(record), None)
        self._settlement.conclude([record], [outcome])

    # --- the end of the run --------------------------------------------------------------------------------------------

    async def second_look(self, keep: int = 0) -> None:
        """Ask once more about records that were sent again after they had been absent: a late twin shows now."""
        strategy = self.strategy
        while isinstance(strategy, ByLookup) and len(self._second_looks) > keep and not self._stop.is_requested:
            batch = self._second_looks[: strategy.size_after(0)]
            for record, ids in zip(batch, await strategy.twins(batch), strict=True):
                if ids:
                    self.duplicates.proved.append(Duplicate(record.source, record.number, ids))
            del self._second_looks[: len(batch)]


def _with(reason: str, more: str) -> str:
    """Join two reasons; a record that is asked about in every execution keeps a short one."""
    return reason if reason.endswith(more) else f"{reason}; {more}"
