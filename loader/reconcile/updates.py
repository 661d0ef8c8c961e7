"""What can be done about ambiguous updates: send them again where that changes nothing more, else ask, else hold them."""

from __future__ import annotations

from collections.abc import Sequence

from loader.delivery.sender import Sender
from loader.model import Found, Halt, NoResponse, Record, Retry, Undecided, Unknown, Updated
from loader.reconcile.doubt import Doubt
from loader.reconcile.strategies import FAULTS_TO_REJECT, AskAgain, Conclusion, Known, SendAgain, Strategy
from loader.targets.base import MatchedRows, Side, UpdateLookup

SIDES: tuple[Side, Side] = ("old", "new")
CANNOT_ASK = "it changes a field that it is filtered by, and the target has no query to ask whether it did"
CANNOT_KNOW = "no single row with its new values was found, so whether it was applied cannot be known"


async def conclusions_about(doubts: Sequence[Doubt], strategy: Strategy) -> Sequence[Conclusion] | Halt:
    """Ask about doubts. One whose second sending was refused comes alone: updates are settled one at a time."""
    if not (doubts[0].is_refused and isinstance(strategy, ByUpdateLookup)):
        return await strategy.ask([doubt.record for doubt in doubts])
    conclusion = await strategy.ask_refused(doubts[0].record)
    return conclusion if isinstance(conclusion, Halt) else [conclusion]


class ByUpdateLookup:
    """Send an idempotent update again; ask about one that touches its own filters, with its old and its new values.

    Where the target cannot be queried, nothing is asked: a question that writes is none.
    """

    can_ask_early = False
    max_faults = FAULTS_TO_REJECT

    def __init__(self, lookup: UpdateLookup, sender: Sender) -> None:
        self._lookup = lookup
        self._sender = sender

    def size_after(self, faults: int) -> int:
        """Settle one after the other: each may take some questions."""
        del faults
        return 1

    async def ask(self, records: Sequence[Record]) -> Sequence[Conclusion] | Halt:
        """Ask, or say that it may be sent again."""
        conclusions: list[Conclusion] = []
        for record in records:
            conclusion = await self._ask(record) if self._lookup.is_needed(record) else SendAgain(is_in_doubt=True)
            if isinstance(conclusion, Halt):
                return conclusion
            conclusions.append(conclusion)
        return conclusions

    async def ask_refused(self, record: Record) -> Conclusion | Halt:
        """Ask about an update whose second sending found no single row: does one hold its values all the same?

        First by all filters, then by all but one: a column that the row's own change moves is found out that way.
        """
        lookup = self._lookup
        if not lookup.can_ask:
            return Undecided(CANNOT_KNOW)
        for without in (None, *lookup.left_out(record)):
            found = await self._rows(record, "old", without)
            if not isinstance(found, MatchedRows):
                return found
            if lookup.is_applied(record, found):
                return Known(Updated())
        return Undecided(CANNOT_KNOW)

    async def _ask(self, record: Record) -> Conclusion | Halt:
        lookup = self._lookup
        if not lookup.can_ask:
            return Undecided(CANNOT_ASK)
        sides: list[MatchedRows] = []
        for side in SIDES:
            found = await self._rows(record, side)
            if not isinstance(found, MatchedRows):
                return found
            sides.append(found)
        finding = lookup.conclude(record, *sides)
        return Known(Updated()) if isinstance(finding, Found) else finding

    async def _rows(
        self, record: Record, side: Side, without: str | None = None
    ) -> MatchedRows | AskAgain | Undecided | Halt:
        reply = await self._sender.send(self._lookup.encode(record, side, without), is_record=False)
        if isinstance(reply, NoResponse):
            return AskAgain(reply.error)
        answer = self._lookup.read(record, reply)
        if isinstance(answer, Halt):
            return answer
        self._sender.was_answered(is_useful=not isinstance(answer, Retry | Unknown))
        return AskAgain(answer.reason) if isinstance(answer, Retry | Unknown) else answer
