"""Whether the target keeps a text as it was written, and shows it: asked about a created record, by its text and its id.

The question has three answers. Found by its text: kept, and shown so much later (the read lag). The row, asked for by its id,
holds another text: not kept, at once. The row cannot be seen yet: a read may lag behind a write, so it is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.model import Absent, Created, Halt, NoResponse, Record, RecordId, Retry, Undecided, Unknown
from loader.reconcile.strategies import Conclusion, Known, Strategy
from loader.redaction import escape
from loader.runtime import Runtime
from loader.targets.base import OwnRows, StoredText

ASK_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits between questions for a record that was just created; the last one from then on."""
SAY_SECONDS = 5.0
"""Nothing is waited for in silence for longer."""
LONGER = 4
"""A query may lag; how long it is waited for, as a multiple, where the target gave no id to ask for the row by."""
SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Kept:
    """The record was found by its text, `lag_seconds` after it was asked for first; 0: at the first question."""

    lag_seconds: float


@dataclass(frozen=True, slots=True)
class NotKept:
    """The target does not keep the text, or does not show it."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Asks about created records. `word` names what they are asked by: stamp or key. `strategy` finds every row with the text.

    `own_rows` None: nobody tells what a row holds. Then absence for `short_seconds` means that it cannot be found; if the row
    itself cannot be seen, it is waited for as long as `patience_seconds`.
    """

    word: str
    strategy: Strategy
    own_rows: OwnRows | None
    sender: Sender
    stop: Stop
    runtime: Runtime
    warn: Callable[[str], None]
    short_seconds: float
    patience_seconds: float

    async def examine(
        self, record: Record, record_id: RecordId, say: Callable[[str], None] | None = None
    ) -> Kept | NotKept | None:
        """Find a created record by its text. None: the run is stopping. `say` is told why it takes so long."""
        began = self.runtime.clock()
        waits = list(ASK_SECONDS)
        is_first = True
        while not self.stop.is_requested:
            conclusions = await self.strategy.ask([record])
            if isinstance(conclusions, Halt):
                self.stop.halt(conclusions)
                return None
            waited = self.runtime.clock() - began
            conclusion = conclusions[0]
            if _is_own(conclusion, record_id):
                return Kept(0.0 if is_first else waited)
            refutation = await self._refutation(record, record_id, conclusion, waited)
            if refutation is not None:
                return NotKept(refutation)
            if waited >= SAY_SECONDS:
                self.warn(f"a record that was created cannot be found by its {self.word} yet; it is asked for again")
            if say is not None:
                say(f"it cannot be found by its {self.word} yet")
            is_first = False
            await self.runtime.sleep(waits.pop(0) if len(waits) > 1 else waits[0])
        return None

    async def _refutation(
        self, record: Record, record_id: RecordId, conclusion: Conclusion, waited: float
    ) -> str | None:
        """Say why the text is not kept, or None: that is not known yet."""
        stored = await self._stored(record_id)
        if isinstance(stored, StoredText) and stored.text != record.key:
            return stored_otherwise(self.word, record, stored)
        if isinstance(conclusion, Known) and self.word == "stamp":
            return "another record answers to the stamp of the first one"
        if isinstance(conclusion, Undecided):
            return f"the target cannot be asked by the {self.word}: {conclusion.reason}"
        if waited >= self._limit_seconds(conclusion, stored):
            return f"a record was created, but cannot be found by its {self.word} for {waited:.0f} s"
        return None

    def _limit_seconds(self, conclusion: Conclusion, stored: object) -> float:
        """Return how long the record is asked for."""
        short = max(self.short_seconds, sum(ASK_SECONDS))
        if not isinstance(conclusion, Absent) or stored is not None:
            return max(short, self.patience_seconds)
        return short if self.own_rows is None else LONGER * short

    async def _stored(self, record_id: RecordId) -> StoredText | Absent | Retry | Unknown | None:
        """Ask what the row holds. None: nobody tells."""
        if self.own_rows is None or record_id is None:
            return None
        reply = await self.sender.send(self.own_rows.ask_row(record_id), is_record=False)
        if isinstance(reply, NoResponse):
            return Retry(reply.error)
        answer = self.own_rows.read_row(reply)
        if isinstance(answer, Halt):
            self.stop.halt(answer)
            return Retry(answer.message)
        self.sender.was_answered(is_useful=not isinstance(answer, Retry | Unknown))
        return None if isinstance(answer, Undecided) else answer


def stored_otherwise(word: str, record: Record, stored: StoredText) -> str:
    """Say what was written and what is there, cut and escaped."""
    held = "nothing" if stored.text is None else f"'{escape(stored.text, SHOWN_CHARACTERS)}'"
    return f"the {word} '{escape(record.key or '', SHOWN_CHARACTERS)}' is stored as {held}"


def _is_own(conclusion: Conclusion, record_id: RecordId) -> bool:
    """Say whether the created record was found; by a count of rows, without ids, any one will do."""
    if not isinstance(conclusion, Known) or not isinstance(conclusion.outcome, Created):
        return False
    ids: Sequence[RecordId] = (conclusion.outcome.id, *conclusion.twins)
    return record_id is None or None in ids or record_id in ids
