"""Ambiguous records, from the lost answer to an outcome, a re-send, or the list of what cannot be known.

How it works: a doubtful record waits for the settle time, because the target may still apply a request whose
connection died. Then its remedy is applied. Found is final at any time; absent is believed only after the settle time,
and is asked once more at the end of the run (`second_look`). Where nothing can be asked, the record is held: it ends
as Ambiguous and is listed.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import groupby
from typing import Literal, TypeAlias, assert_never

from loader.delivery.chunking import Chunker
from loader.delivery.order import place_of
from loader.delivery.queue import ChunkQueue, QueuedChunk
from loader.delivery.settlement import Settlement
from loader.delivery.stop import Stop
from loader.model import Ambiguous, Chunk, Created, Halt, Outcome, Record, Rejected
from loader.reconcile.doubt import Doubt, Duplicate, Duplicates, Fault
from loader.reconcile.strategies import Asking, Known, Later, Missing, Open, Remedy, SendAgain
from loader.runtime import Runtime

Word: TypeAlias = Literal["accept", "resend"]

UNPROVED = "no record was created by which the key or stamp could be proved"
EARLY_LOOK_SECONDS = 1.0
"""A first question soon after the loss: most lost answers belong to records that are there, and need no long wait."""
ASK_AGAIN_SECONDS = 5.0
MAX_SECOND_LOOKS = 2_000
"""Re-sent records remembered for the second look at the end; beyond that the oldest are looked at sooner."""


class Reconciler:
    """Keeps the doubtful records of a run and settles them beside the flow of new ones."""

    def __init__(
        self,
        world: Runtime,
        work: ChunkQueue,
        settlement: Settlement,
        stop: Stop,
        *,
        settle_seconds: float,
        new_chunker: Callable[[], Chunker],
        keep_reason: Callable[[Record, str], None],
    ) -> None:
        self.remedy: Remedy | None = None
        self.is_blind = False
        self.accepted: Outcome = Created(None)
        self.word: Word | None = None
        """What the user says of records that nothing else settles (`loader reconcile`)."""
        self.is_ready = asyncio.Event()
        """Set once the user's word about the key or stamp is proved; before that nobody is asked by it."""
        self.is_unproved = False
        """Nothing was created by which the word could be proved: then what is found counts, and absence does not."""
        self.on_found: Callable[[], Awaitable[None]] | None = None
        """Set while a record that is found by its stamp would prove the stamp."""
        self.suspicions = Duplicates()
        self._world = world
        self._work = work
        self._settlement = settlement
        self._stop = stop
        self._settle_seconds = settle_seconds
        self._new_chunker = new_chunker
        self._keep_reason = keep_reason  # in the log, where it outlives this process
        self._due: list[tuple[float, int, Doubt]] = []
        self._order = 0
        self._faults: dict[tuple[int, int], Fault] = {}
        self._second_looks: list[Record] = []
        self._pending: set[tuple[int, int]] = set()
        self._unbelieved: list[Doubt] = []  # absent, while another record may still be found and prove the word
        self._worded: set[tuple[int, int]] = set()  # sent again by the user's word, once
        self._changed = asyncio.Event()

    @property
    def pending(self) -> int:
        return len(self._pending)

    # --- into doubt ----------------------------------------------------------------------------------------------------

    def doubt(
        self, records: Sequence[Record], reason: str, status: int | None = None, age_seconds: float = 0.0
    ) -> None:
        """Take over records whose request may have been applied. `age_seconds`: how long ago its connection died."""
        if self.is_blind:
            self.suspicions.blind += len(records)
            for record in records:
                self._keep_reason(record, reason)
                self._work.defer(QueuedChunk(Chunk((record,)), attempts=1), EARLY_LOOK_SECONDS)
            return
        now = self._world.clock()
        for record in records:
            # Behind a lock, or in order, a late effect would come behind what was sent later.
            if self.remedy is None and record.lock is None and not self._work.is_ordered:
                self._leave(record, reason)
                continue
            if status is not None:
                fault = self._faults.setdefault(place_of(record), Fault(status, self._settlement.successes))
                fault.add(status)
            doubt = Doubt(record, reason, now - age_seconds)
            self._pending.add(place_of(record))
            self._wait(doubt, now)
            self._keep_reason(record, reason)

    def _wait(self, doubt: Doubt, now: float) -> None:
        remedy = self.remedy
        settled_at = doubt.lost_at + self._settle_seconds
        early = now + EARLY_LOOK_SECONDS
        is_early = remedy is not None and remedy.can_ask_early and doubt.looks == 0 and early < settled_at
        self._push(doubt, early if is_early else max(now, settled_at))

    def _push(self, doubt: Doubt, due: float) -> None:
        self._order += 1
        heapq.heappush(self._due, (due, self._order, doubt))
        self._changed.set()

    def go_unproved(self) -> None:
        """Settle what can be settled without the proof: nothing else can go on, and nothing would ever prove the word."""
        if not self.is_ready.is_set():
            self.is_unproved = True
            self.is_ready.set()

    # --- out of doubt --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Settle doubts as they fall due, until cancelled."""
        while True:
            batch = await self._next_due()
            await self.is_ready.wait()
            remedy = self.remedy
            for doubt in batch if remedy is None else ():
                self._leave(doubt.record, doubt.reason)
            while remedy is not None and batch and not self._stop.is_requested:
                size = min(remedy.size_after(self._fault_count(doubt.record)) for doubt in batch)
                is_answered = await self._settle(remedy, batch[:size])
                batch = batch[size:]
                if not is_answered:
                    await self._hold_off(batch)
                    break
            await self.second_look(MAX_SECOND_LOOKS)

    async def _next_due(self) -> list[Doubt]:
        while True:
            now = self._world.clock()
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
        now = self._world.clock()
        for doubt in rest:
            self._push(doubt, now)
        await self._world.sleep(ASK_AGAIN_SECONDS * (0.5 + self._world.draw()))

    async def _settle(self, remedy: Remedy, batch: Sequence[Doubt]) -> bool:
        """Apply what is learnt of each. False: the target did not answer."""
        lessons = await remedy.learn([doubt.record for doubt in batch])
        if isinstance(lessons, Halt):
            self._stop.halt(lessons)
            return True
        if any(isinstance(lesson, Known) for lesson in lessons):
            await self.found()
        again: list[Record] = []
        is_in_doubt = False
        for doubt, lesson in zip(batch, lessons, strict=True):
            doubt.looks += 1
            if isinstance(lesson, SendAgain):
                is_in_doubt = lesson.is_in_doubt
                self._repeat(doubt, remedy, again)
            else:
                self._apply(doubt, lesson, remedy)
        self._work.put(
            [QueuedChunk(chunk, attempts=1) for chunk in self._chunks(again, is_in_doubt=is_in_doubt)], is_front=True
        )
        self._end_unbelieved()
        self._changed.set()
        return not all(isinstance(lesson, Later) for lesson in lessons)

    async def found(self) -> None:
        """Take notice that a record was found by what it was asked by: if that was not proved, it is now."""
        if self.on_found is not None:
            await self.on_found()

    def _end_unbelieved(self) -> None:
        """Leave absent records once all that is in doubt was asked for and none was found; ask again once one was."""
        if self.is_unproved and len(self._unbelieved) < len(self._pending):
            return
        waiting, self._unbelieved = self._unbelieved, []
        for doubt in waiting:
            if self.is_unproved:
                self._leave(doubt.record, _with(doubt.reason, UNPROVED))
            else:
                self._push(doubt, self._world.clock())

    def _apply(self, doubt: Doubt, lesson: Known | Missing | Later | Open, remedy: Remedy) -> None:
        record, now = doubt.record, self._world.clock()
        believed_at = doubt.lost_at + self._settle_seconds
        match lesson:
            case Known(outcome, twins):
                if twins:
                    self.suspicions.twins.append(Duplicate(record.source, record.number, twins))
                self._conclude(record, outcome)
            case Later():
                self._push(doubt, now + ASK_AGAIN_SECONDS * (0.5 + self._world.draw()))
            case Missing() | Open() if now < believed_at:
                self._push(doubt, believed_at)
            case Missing() if self.is_unproved:
                self._unbelieved.append(doubt)
            case Missing():
                self._send_absent(record, remedy)
            case Open(reason):
                self._leave(record, _with(doubt.reason, reason))
            case _:
                assert_never(lesson)

    def _leave(self, record: Record, reason: str) -> None:
        """End what cannot be settled: by the user's word, else as ambiguous."""
        if self.word == "accept":
            self._conclude(record, self.accepted)
        elif self.word == "resend" and place_of(record) not in self._worded:
            self._worded.add(place_of(record))
            self._pending.discard(place_of(record))
            self.suspicions.blind += 1
            self._work.put([QueuedChunk(Chunk((record,)), attempts=1)])
        else:
            self._conclude(record, Ambiguous(reason))

    def _send_absent(self, record: Record, remedy: Remedy) -> None:
        if self._is_culprit(record, remedy):
            fault = self._faults[place_of(record)]
            message = f"the target answered {fault.status} {fault.count} times, and did not create the record"
            self._conclude(record, Rejected("target", str(fault.status), message))
            return
        self._pending.discard(place_of(record))
        if isinstance(remedy, Asking):
            self._second_looks.append(record)
        self._work.put([QueuedChunk(Chunk((record,)), attempts=1)], is_front=True)

    def _repeat(self, doubt: Doubt, remedy: Remedy, again: list[Record]) -> None:
        record = doubt.record
        if self.is_unproved:
            self._leave(record, _with(doubt.reason, UNPROVED))
            return
        if self._is_culprit(record, remedy):
            status = self._faults[place_of(record)].status
            self._conclude(record, Ambiguous(f"the target answered {status} each time, while other records succeeded"))
            return
        self._pending.discard(place_of(record))
        again.append(record)

    def _is_culprit(self, record: Record, remedy: Remedy) -> bool:
        fault = self._faults.get(place_of(record))
        if fault is None or fault.weight < remedy.max_faults:
            return False
        return self._settlement.successes > fault.successes_before

    def _conclude(self, record: Record, outcome: Outcome) -> None:
        self._pending.discard(place_of(record))
        self._faults.pop(place_of(record), None)
        self._settlement.conclude([record], [outcome])

    def _chunks(self, records: Sequence[Record], *, is_in_doubt: bool) -> Iterator[Chunk]:
        for _, same in groupby(records, lambda record: record.source):  # the log settles lines of one source at a time
            chunker = self._new_chunker()
            for chunk in (*map(chunker.feed, same), chunker.flush()):
                if chunk is not None:
                    yield Chunk(chunk.records, is_in_doubt)

    # --- the end of the run --------------------------------------------------------------------------------------------

    async def second_look(self, keep: int = 0) -> None:
        """Ask once more about records that were sent again after they had been absent: a late twin shows now."""
        remedy = self.remedy
        while isinstance(remedy, Asking) and len(self._second_looks) > keep and not self._stop.is_requested:
            batch = self._second_looks[: remedy.size_after(0)]
            for record, ids in zip(batch, await remedy.twins(batch), strict=True):
                if ids:
                    self.suspicions.twins.append(Duplicate(record.source, record.number, ids))
            del self._second_looks[: len(batch)]


def _with(reason: str, more: str) -> str:
    """Join two reasons; a record that is asked about in every execution keeps a short one."""
    return reason if reason.endswith(more) else f"{reason}; {more}"
