"""What can be done about ambiguous records: ask the target, or send again where that can do no harm.

A remedy gets records whose wait is over and returns what it learnt of each. It never guesses: a record of which
nothing was learnt comes back as `Later` or `Open`, never as created and never as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from loader.checkpoint import CheckpointLog
from loader.delivery.sender import Sender
from loader.model import (
    Absent,
    Created,
    Finding,
    Found,
    Halt,
    NoResponse,
    Outcome,
    Record,
    RecordId,
    Retry,
    Undecided,
    Unknown,
)
from loader.targets.base import Lookup, LookupAnswer

FAULTS_TO_REJECT = 3
"""Three server errors for one record while others succeed: the record is at fault, not the server."""


@dataclass(frozen=True, slots=True)
class Known:
    """The record's fate is known. `twins` are further ids that stand for the same record."""

    outcome: Outcome
    twins: tuple[RecordId, ...] = ()


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Sending again does no harm: it is the question. `is_in_doubt`: a refusal as a duplicate then means: ours."""

    is_in_doubt: bool


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The target did not answer, or not in a way that says anything."""

    reason: str


Conclusion: TypeAlias = Known | Absent | Undecided | SendAgain | AskAgain
"""What is to be done about one record. `Absent` and `Undecided` are the target's own findings."""


class Strategy(Protocol):
    """One way of settling ambiguous records."""

    can_ask_early: bool
    """Whether a question before the settle time is worth its request: what is found is found."""
    max_faults: int
    """Server errors of one record after which it, and not the server, is taken to be at fault."""

    def size_after(self, faults: int) -> int:
        """Return how many records may be settled together when one of them has had so many server errors."""
        ...

    async def ask(self, records: Sequence[Record]) -> Sequence[Conclusion] | Halt:
        """Return one conclusion per record, same order."""
        ...


class ByLookup:
    """Ask by key or stamp. By key, a row counts only if the log does not hold its id already. `learn` gets what was concluded."""

    def __init__(
        self,
        lookup: Lookup,
        sender: Sender,
        log: CheckpointLog,
        *,
        is_exact: bool,
        learn: Callable[[Sequence[Record], Sequence[Conclusion]], None] | None = None,
    ) -> None:
        self._learn = learn
        self.can_ask_early = True
        self.max_faults = FAULTS_TO_REJECT
        self._lookup = lookup
        self._sender = sender
        self._log = log
        self._is_exact = is_exact
        # By key, the probe of one record finds older rows as well; a query looks above the run's first row only.
        self.tells_old_from_new = is_exact or lookup.max_records > 1

    def size_after(self, faults: int) -> int:
        """Ask about as many as the look-up takes: a question has no culprit."""
        del faults
        return self._lookup.max_records

    async def ask(self, records: Sequence[Record]) -> Sequence[Conclusion] | Halt:
        """Ask about records that have a key; those without one stay open."""
        asked = [record for record in records if record.key is not None]
        conclusions: dict[Record, Conclusion] = {}
        if asked:
            reply = await self._sender.send(self._lookup.encode(asked), is_record=False)
            if isinstance(reply, NoResponse):
                return [AskAgain(reply.error)] * len(records)
            answer = self._lookup.read(asked, reply)
            if isinstance(answer, Halt):
                return answer
            self._sender.was_answered(is_useful=isinstance(answer, LookupAnswer))
            if isinstance(answer, Retry | Unknown):
                return [AskAgain(answer.reason)] * len(records)
            known_ids = await self._logged([f for f in answer.findings if isinstance(f, Found)])
            for record, finding in zip(asked, answer.findings, strict=True):
                conclusions[record] = self._conclusion(finding, known_ids)
            if self._learn is not None:
                self._learn(asked, [conclusions[record] for record in asked])
        keyless = Undecided("the line has no key to ask by")
        return [conclusions.get(record, keyless) for record in records]

    async def twins(self, records: Sequence[Record]) -> Sequence[tuple[RecordId, ...]]:
        """Return, per created record, the ids under which it stands once more; empty where there is none or nobody tells."""
        reply = await self._sender.send(self._lookup.encode(records), is_record=False)
        answer = None if isinstance(reply, NoResponse) else self._lookup.read(records, reply)
        self._sender.was_answered(is_useful=True)  # nobody waits for this answer, so no patience ends over it
        if not isinstance(answer, LookupAnswer):
            return [()] * len(records)
        ids = {record_id for f in answer.findings if isinstance(f, Found) for record_id in f.ids}
        own = set(await self._log.find_ids(ids)) if ids else set()
        return [self._beyond_own(finding, own) for finding in answer.findings]

    def _beyond_own(self, finding: Finding, own: set[int | str]) -> tuple[RecordId, ...]:
        if not isinstance(finding, Found):
            return ()
        if not finding.ids:
            return (None,) * (finding.rows - 1) if self._is_exact else ()
        foreign = tuple(record_id for record_id in finding.ids if record_id not in own)
        # The record's own row may be one whose id was never learnt, and so is not in the log.
        return foreign[1:] if len(foreign) == finding.rows else foreign

    async def _logged(self, found: Sequence[Found]) -> set[RecordId]:
        if self._is_exact:
            return set()
        candidates = {record_id for finding in found for record_id in finding.ids}
        return set(await self._log.find_ids(candidates)) if candidates else set()

    def _conclusion(self, finding: Finding, known_ids: set[RecordId]) -> Conclusion:
        if isinstance(finding, Found):
            ids = [record_id for record_id in finding.ids if record_id not in known_ids]
            if ids:
                return Known(Created(ids[0]), tuple(ids[1:]))
            if finding.ids:
                return Absent()  # every row is another record of this run with the same key
            return Known(Created(None), (None,) * (finding.rows - 1))
        return finding


class BySending:
    """Send again, against a unique item of Canbus."""

    can_ask_early = False

    def __init__(self, max_records: int, *, is_in_doubt: bool) -> None:
        self.max_faults = FAULTS_TO_REJECT + len(str(max_records)) - 1
        self._max_records = max_records
        self._is_in_doubt = is_in_doubt

    def size_after(self, faults: int) -> int:
        """Send a tenth together after each further error, so that a record that always fails ends up alone."""
        return max(1, self._max_records // int(10 ** max(0, faults - 1)))

    async def ask(self, records: Sequence[Record]) -> Sequence[Conclusion] | Halt:
        """Say for each record that it may be sent again."""
        return [SendAgain(self._is_in_doubt)] * len(records)
