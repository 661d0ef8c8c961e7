"""The one place where outcomes are made: they go to the log, release their records, and are counted.

Nothing becomes an outcome without passing here, and what passes here is final for this execution (an ambiguous record
may still be settled by a later `reconcile`). Giving up never makes an outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loader.checkpoint import CheckpointLog
from loader.columns import are_created
from loader.delivery.queue import ChunkQueue
from loader.delivery.stop import Stop
from loader.errors import RunStopped
from loader.model import Created, Outcome, Record, Rejected, Updated
from loader.reading.backslashes import escapes_singly
from loader.reading.parsing import DOUBLED
from loader.settings import RejectLimit

FIRST_ANSWERED = 100
IN_A_ROW = 1000
SUCCESSES = frozenset({Created, Updated})

REJECTS_HINT = "look at them with `loader rejects RUN`; go on with `loader resume RUN --max-rejects 100%`"
DOUBLED_HINT = (
    "look at what was created; export anew, and load that with --run NEW; "
    "if the other lines mean what they say: `loader resume RUN --max-rejects 100%`"
)

Sink = Callable[[Sequence[Record], Sequence[Outcome]], None]


class RejectGuard:
    """Says when too many records were refused by the target (cli.md, `--max-rejects`)."""

    def __init__(self, limit: RejectLimit) -> None:
        self._limit = limit
        self.answered = 0
        self.rejected = 0
        self.in_a_row = 0
        self.refused = 0  # here, before they were sent
        self.read = 0
        self.refused_in_a_row = 0

    @property
    def may_stop(self) -> bool:
        """Say whether any number of rejects stops the run."""
        return self._limit.percent is None or self._limit.percent < 100

    def count(self, outcomes: Sequence[Outcome]) -> str | None:
        """Count outcomes; return why to stop, or None."""
        if not self.rejected and are_created(outcomes):
            return self.count_created(len(outcomes))  # as nearly always
        for outcome in outcomes:
            if isinstance(outcome, Rejected):
                if outcome.stage != "target":
                    continue
                self.rejected += 1
                self.in_a_row += 1
            else:
                self.in_a_row = 0
            self.answered += 1
        return self._verdict() if self.rejected else None

    def count_created(self, count: int) -> str | None:
        """Count records that were created; return why to stop, or None."""
        self.answered += count
        self.in_a_row = 0
        return self._verdict() if self.rejected else None

    def count_read(self, refused: int, good: int) -> str | None:
        """Count the lines of a window that were refused here, and its records; return why to stop, or None."""
        self.read += refused + good
        if not refused:
            self.refused_in_a_row = 0
            return None
        self.refused += refused
        self.refused_in_a_row = 0 if good else self.refused_in_a_row + refused
        limit = self._limit
        if limit.count is not None:
            return self._verdict()
        if limit.percent is not None:
            rejected, known = self.rejected + self.refused, max(self.read, self.answered + self.refused)
            is_past = known >= FIRST_ANSWERED and 100.0 * rejected / known > limit.percent
            return f"{100.0 * rejected / known:.1f} % of the lines were rejected" if is_past else None
        if self.refused_in_a_row >= IN_A_ROW:
            return f"{self.refused_in_a_row} lines in a row were refused here, before they were sent"
        return None

    def _verdict(self) -> str | None:
        limit = self._limit
        if limit.count is not None:
            rejected = self.rejected + self.refused
            return f"{rejected} records were rejected, more than {limit.count}" if rejected > limit.count else None
        if limit.percent is not None:
            share = 100.0 * self.rejected / self.answered
            is_past = self.answered >= FIRST_ANSWERED and share > limit.percent
            return f"{share:.1f} % of the answered records were rejected" if is_past else None
        if self.rejected == self.answered >= FIRST_ANSWERED:
            return f"the first {self.rejected} records that the target answered were all rejected"
        if self.in_a_row >= IN_A_ROW:
            return f"{self.in_a_row} records in a row were rejected"
        return None


def _doubled(records: Sequence[Record], outcomes: Sequence[Rejected], good: Sequence[Record]) -> str | None:
    """Say which line shows that the backslashes of its file are doubled: records beside it would get wrong texts."""
    for record, outcome in zip(records, outcomes, strict=True):
        if DOUBLED in outcome.message:
            is_one_line = escapes_singly(other.data for other in good)
            return None if is_one_line else f"line {record.number:,}: {outcome.message}"
    return None


class Settlement:
    """Concludes records. `created` counts this execution's creations and updates: they show that others succeed."""

    def __init__(self, log: CheckpointLog, queue: ChunkQueue, stop: Stop, guard: RejectGuard) -> None:
        self.successes = 0
        self.is_order_at_stake = False
        """`--ordered`: a record ended otherwise than created. Were that forgotten, it would be created behind later ones."""
        self._log = log
        self._queue = queue
        self._stop = stop
        self._guard = guard
        self._sinks: list[Sink] = []

    def add_sink(self, sink: Sink) -> None:
        """Call `sink` with records and their outcomes, whenever there are some."""
        self._sinks.append(sink)

    def conclude(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Write the outcomes of outstanding records to the log and let the records go."""
        if not records:
            return
        self._write(records, outcomes)
        self.is_order_at_stake |= self._queue.is_ordered and not are_created(outcomes)
        self._queue.release(records)
        self.successes += (
            len(outcomes) if are_created(outcomes) else sum(map(SUCCESSES.__contains__, map(type, outcomes)))
        )
        self._stop_for(self._guard.count(outcomes))

    def conclude_created(self, records: Sequence[Record], outcomes: Sequence[Created]) -> None:
        """Do the same for single records that were all created, of whatever source, each by an answer of its own."""
        self._log.settle_each(records, outcomes)
        for sink in self._sinks:
            sink(records, outcomes)
        self._queue.release(records)
        self.successes += len(records)
        self._stop_for(self._guard.count_created(len(records)))

    def keep_reason(self, record: Record, reason: str) -> None:
        """Write to the log why a record has no outcome yet, so that the reason outlives this process."""
        self._log.doubt(record, reason)

    async def keep_order(self) -> None:
        """Make durable how the records before the next one ended, where its place depends on that. Errors: LogStorageFailed."""
        if self.is_order_at_stake:
            await self._log.sync()
            self.is_order_at_stake = False

    def refuse(self, records: Sequence[Record], outcomes: Sequence[Rejected], good: Sequence[Record]) -> None:
        """Write the outcomes of lines that never became work. `good`: the records of their window, which have not left yet."""
        if records:
            self._write(records, outcomes)
        if reason := self._guard.count_read(len(records), len(good)):
            self._stop_for(f"{reason}; line {records[0].number:,}: {outcomes[0].message}")
        elif records and self._guard.may_stop and (where := _doubled(records, outcomes, good)):
            self._stop.fail(RunStopped("rejects", f"the texts of the source may be wrong: {where}", DOUBLED_HINT))

    def _stop_for(self, reason: str | None) -> None:
        if reason is not None:
            self._stop.fail(RunStopped("rejects", f"too many records are rejected: {reason}", REJECTS_HINT))

    def _write(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        self._log.settle(records, outcomes)
        for sink in self._sinks:
            sink(records, outcomes)
