"""Compare what the target holds with what was sent: beside the flow for warnings, or (`--exact`) before an update is sent.

Laws: a comparison that comes afterwards makes no outcome; it warns. A field is warned of once. Few requests are spent on it: the
first records are compared, and of updates those whose filters are of the kind by which databases find other rows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from loader.delivery.order import place_of
from loader.delivery.queue import ChunkQueue
from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.model import (
    Created,
    Halt,
    NoResponse,
    Outcome,
    Record,
    Rejected,
    Request,
    Retry,
    Undecided,
    Unknown,
    Updated,
)
from loader.row_lock import Lock, RowLock
from loader.runtime import Runtime
from loader.targets.base import Difference, MatchedRows, StoredLookup

FIRST_RECORDS = 3
"""So many are compared in any case: a first one may have a value that fits where the others' do not."""
MAX_WAITING = 1_000
MAX_OTHERS = 100
"""Warnings of other spellings; a source in which every line has one needs no more."""
LOOK_AGAIN_SECONDS = (0.3, 1.0)
"""A query may show a row as it was a moment ago."""
ASK_AGAIN_SECONDS = 1.0


def spelling_text(found: Difference) -> str:
    """Say that a row was found by another spelling."""
    return f"the filter {found.name} is {found.sent}, and the row that it finds holds {found.stored}"


class Comparing:
    """Takes records as they end, and compares them beside the flow."""

    def __init__(
        self,
        stored: StoredLookup,
        sender: Sender,
        queue: ChunkQueue,
        stop: Stop,
        runtime: Runtime,
        warn: Callable[[str], None],
    ) -> None:
        self._stored = stored
        self._sender = sender
        self._queue = queue
        self._stop = stop
        self._runtime = runtime
        self._warn = warn
        self._first: deque[tuple[Record, Outcome]] = deque()
        self._suspects: deque[Record] = deque()
        self._seen = 0
        self._others = 0
        self._fields: set[str] = set()
        self._overtaken: set[tuple[int, int]] = set()
        self._is_refused = False
        self._changed = asyncio.Event()

    def take(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Take in records that ended. It is a `settlement.Sink`."""
        if type(outcomes[0]) is Created and self._seen >= FIRST_RECORDS:
            return  # as nearly always
        for record, outcome in zip(records, outcomes, strict=True):
            self._overtake(record)
            if not isinstance(outcome, Updated) and not (isinstance(outcome, Created) and outcome.id is not None):
                continue
            if self._seen < FIRST_RECORDS:
                self._seen += 1
                self._first.append((record, outcome))
                self._changed.set()
            elif isinstance(outcome, Updated) and len(self._suspects) < MAX_WAITING and self._stored.is_suspect(record):
                self._suspects.append(record)
                self._changed.set()

    def _overtake(self, record: Record) -> None:
        """Take note that a row may hold a later update's values."""
        for earlier, _ in self._first:
            if _may_be_one_row(earlier.lock, record.lock):
                self._overtaken.add(place_of(earlier))

    async def run(self) -> None:
        """Compare as records come, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.finish()
            await self._runtime.sleep(ASK_AGAIN_SECONDS)  # more come meanwhile, and one question serves them all

    async def finish(self) -> None:
        """Compare all that waits."""
        while (self._first or self._suspects) and not self._stop.is_requested and not self._is_refused:
            if self._first:  # taken off when it is done: the run may end meanwhile, and the rest is compared behind it
                await self._read_back(*self._first[0])
                self._first.popleft()
            else:
                batch = self._batch()
                await self._compare_many(batch)
                for _ in batch:
                    self._suspects.popleft()

    # --- the first records ---------------------------------------------------------------------------------------------

    async def _read_back(self, record: Record, outcome: Outcome) -> None:
        """Compare all sent fields; and the filters that found the row."""
        is_created = isinstance(outcome, Created) and outcome.id is not None
        question = (
            self._stored.encode_created(record, outcome.id)
            if isinstance(outcome, Created) and outcome.id is not None
            else self._stored.encode([record])
        )
        found: MatchedRows | None = None
        for wait in (*LOOK_AGAIN_SECONDS, None):
            found = await self._ask(question)
            if found is None or self._queue.is_locked(record) or place_of(record) in self._overtaken:
                return  # what stands there may be a later update's
            differences = self._stored.differences(record, found.rows[0]) if len(found.rows) == 1 else []
            differences = [one for one in differences if one.name not in self._fields]
            if not differences and (found.rows or not is_created):
                break
            if wait is None:
                self._warn_of_fields(record, differences)
            elif not self._stop.is_requested:
                await self._runtime.sleep(wait)
        if not is_created and found is not None:
            self._warn_of_spelling(record, found)

    def _warn_of_fields(self, record: Record, differences: Sequence[Difference]) -> None:
        for found in differences:
            self._fields.add(found.name)
            self._warn(
                f"line {record.number}: the field {found.name} was sent as {found.sent} and is stored as {found.stored};"
                " other lines may be changed alike: see what the table's column can hold"
            )

    # --- filters that find other spellings -----------------------------------------------------------------------------

    def _batch(self) -> list[Record]:
        """Return the next records that one question can be about."""
        batch: list[Record] = []
        conditions = 0
        for record in self._suspects:
            conditions += len(self._stored.filters(record)) + 1
            if batch and conditions > self._stored.max_conditions:
                break
            batch.append(record)
        return batch

    async def _compare_many(self, batch: Sequence[Record]) -> None:
        found = await self._ask(self._stored.encode(batch))
        if found is None:
            return
        for record in batch if self._others < MAX_OTHERS else ():
            if found.total > len(found.rows) or self._stored.other_spelling(record, found) is not None:
                alone = await self._ask(self._stored.encode([record]))
                if alone is not None:
                    self._warn_of_spelling(record, alone)

    def _warn_of_spelling(self, record: Record, found: MatchedRows) -> None:
        other = self._stored.other_spelling(record, found)
        if other is None or self._others > MAX_OTHERS:
            return
        self._others += 1
        if self._others > MAX_OTHERS:
            self._warn(f"more than {MAX_OTHERS} updates found rows of another spelling; further ones are not listed")
            return
        self._warn(f"line {record.number}: {spelling_text(other)}; was that row meant? --exact rejects such lines")

    async def _ask(self, question: Request) -> MatchedRows | None:
        """Return the rows; None if the target does not say. A warning is not worth stopping or waiting for."""
        reply = await self._sender.send(question, is_record=False)
        answer = None if isinstance(reply, NoResponse) else self._stored.read(reply)
        self._sender.was_answered(is_useful=True)  # nobody waits for this answer, so no patience ends over it
        self._is_refused |= isinstance(answer, Undecided)
        return answer if isinstance(answer, MatchedRows) else None


def _may_be_one_row(one: Lock | None, other: Lock | None) -> bool:
    if not isinstance(one, RowLock) or not isinstance(other, RowLock):
        return False
    return one.fields != other.fields or not set(one.texts).isdisjoint(other.texts)


class ExactGuard:
    """`--exact`: looks at the row before an update is sent. See `delivery.Guard`."""

    def __init__(self, stored: StoredLookup, sender: Sender, stop: Stop, runtime: Runtime) -> None:
        self._stored = stored
        self._sender = sender
        self._stop = stop
        self._runtime = runtime

    async def refusal(self, record: Record) -> Rejected | None:
        """Say why an update is not to be sent; None: it may be, unless the run is stopping."""
        while not self._stop.is_requested:
            reply = await self._sender.send(self._stored.encode([record]), is_record=False)
            answer = Retry(reply.error) if isinstance(reply, NoResponse) else self._stored.read(reply)
            if isinstance(answer, Halt):
                self._stop.halt(answer)
            elif isinstance(answer, Undecided):
                hint = "go on without --exact, or have the table opened to queries"
                self._stop.halt(Halt("answers", f"--exact: {answer.reason}", hint))
            elif isinstance(answer, Retry | Unknown):
                self._sender.was_answered(is_useful=False)
                await self._runtime.sleep(ASK_AGAIN_SECONDS * (0.5 + self._runtime.draw()))
            else:
                self._sender.was_answered(is_useful=True)
                return self._judge(record, answer)
        return None

    def _judge(self, record: Record, found: MatchedRows) -> Rejected | None:
        if found.total == 0:
            return Rejected("target", "404", "no row holds the filters' values; with --exact nothing was sent")
        other = self._stored.other_spelling(record, found)
        return None if other is None else Rejected("target", "exact", spelling_text(other))
