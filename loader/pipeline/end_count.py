"""The count at the end of a run with stamps: as many rows carry them as records were created.

It sees what no answer tells: a twin made by something between us and the target that sends twice, a record that was written and
then refused, a row that is not there any more. One question if all is well; where there are too many rows, their list names the
twins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from loader.model import Halt, NoResponse, RecordId, Request, Response, Retry, Undecided, Unknown
from loader.pipeline.grounds import Grounds
from loader.reconcile.doubt import Duplicate, Duplicates
from loader.targets.base import OwnRows, StampedRow

if TYPE_CHECKING:
    from loader.pipeline.session import Session

_T = TypeVar("_T")
STAMP = re.compile(r"[a-z0-9]+-(?:([0-9]+)x)?([0-9]+)")
ASK_SECONDS = (0.2, 1.0, 2.0, 5.0)
"""Waits before the question is repeated: no good answer, or a read that lags."""
MAX_UNANSWERED = 2
"""The field need not have an index; a large table may take longer than a request may."""
MAX_PAGES = 500
"""A hundred thousand rows are looked through for twins; more of them are counted, not named."""

MAX_NAMED = 20


class EndCount:
    """Counts the rows of a run that is through."""

    def __init__(self, own_rows: OwnRows, session: Session, lag_seconds: float) -> None:
        run = session.run
        self._own_rows = own_rows
        self._prefix = f"{run.info.run}-"
        self._log = run.log
        self._sender = session.sender
        self._stop = session.stop
        self._runtime = session.runtime
        self._warn = session.warn
        self._strangers = 0
        self._least_seconds = max(lag_seconds, run.plan.options.settle_seconds)

    async def look(self, duplicates: Duplicates, grounds: Grounds) -> None:
        """Compare the rows with the log; add what is wrong to `duplicates`, and what is right to `grounds`."""
        counts = self._log.state.counts
        rows = await self._count(counts.created)
        if rows is None or self._stop.is_requested:
            grounds.assume(
                "the rows with the run's stamps could not be counted at the end; nothing has doubled one unseen"
            )
            return
        most = counts.created + counts.ambiguous
        if rows < counts.created:
            duplicates.missing = counts.created - rows
        elif rows > most:
            found = await self._twins(duplicates)
            duplicates.extra = max(0, rows - most - found)
        else:
            ambiguous = f", and at most {counts.ambiguous:,} ambiguous" if counts.ambiguous else ""
            grounds.check(
                f"counted at the end: {rows:,} rows carry the run's stamps, {counts.created:,} created{ambiguous}"
            )

    async def _count(self, expected: int) -> int | None:
        """Ask how many rows there are; again, if there are fewer than there should be. None: nobody tells."""
        question = self._own_rows.ask_stamps(self._prefix, 1, 1)
        rows: int | None = None
        unanswered = 0
        for seconds in (*ASK_SECONDS, self._least_seconds, None):
            rows = await self._ask(question, self._own_rows.read_count)
            unanswered = 0 if rows is not None else unanswered + 1
            is_enough = (rows is not None and rows >= expected) or unanswered == MAX_UNANSWERED
            if is_enough or seconds is None or self._stop.is_requested:
                break
            await self._runtime.sleep(seconds)
        return rows

    async def _twins(self, duplicates: Duplicates) -> int:
        """List the stamps that stand in several rows; return how many rows are too many."""
        known = {(one.source, one.number) for one in duplicates.proved}
        count, left = 0, list[StampedRow]()
        for page in range(1, MAX_PAGES + 1):
            question = self._own_rows.ask_stamps(self._prefix, page, self._own_rows.page_rows)
            rows = await self._ask(question, self._own_rows.read_stamps)
            groups = [list(group) for _, group in groupby([*left, *(rows or ())], key=lambda row: row.text)]
            is_last = rows is None or len(rows) < self._own_rows.page_rows
            left = [] if is_last or not groups else groups.pop()
            own = await self._log.find_ids({row.id for group in groups for row in group if row.id is not None})
            for source, number, ids in _lines(groups):
                further = tuple(one for one in ids if one not in own)
                if len(ids) == 1 and further:
                    self._name_stranger(source, number, ids[0])
                elif len(ids) > 1:
                    count += len(ids) - 1
                    if (source, number) not in known:
                        duplicates.proved.append(Duplicate(source, number, further[len(ids) == len(further) :]))
            if is_last:
                break
        return count

    def _name_stranger(self, source: int, number: int, record_id: RecordId) -> None:
        """Warn of a row with the stamp of a line that was not created, as far as the log knows."""
        self._strangers += 1
        if self._strangers <= MAX_NAMED and not self._log.state.counts.ids_unknown:
            place = f"line {number} of source {source}" if source else f"line {number}"
            self._warn(f"{place} was not created as far as the log knows, but a row carries its stamp: id {record_id}")

    async def _ask(
        self, question: Request, read: Callable[[Response], _T | Undecided | Retry | Unknown | Halt]
    ) -> _T | None:
        reply = await self._sender.send(question, is_record=False)
        answer = None if isinstance(reply, NoResponse) else read(reply)
        self._sender.was_answered(is_useful=True)  # nobody waits for this answer, so no patience ends over it
        return None if answer is None or isinstance(answer, Undecided | Retry | Unknown | Halt) else answer


def _lines(groups: list[list[StampedRow]]) -> Iterator[tuple[int, int, list[RecordId]]]:
    """Yield the lines whose stamps these are, with the ids of each one's rows."""
    for group in groups:
        found = STAMP.fullmatch(group[0].text)
        if found is not None:
            yield int(found[1] or 0), int(found[2]), [row.id for row in group]
