"""The count at the end of a run with stamps: as many rows carry them as records were created.

It sees what no answer tells: a twin made by something between us and the target that sends twice, a record that was written and
then refused, a row that is not there any more. One question if all is well; where there are too many rows, their list names the
twins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TypeVar

from loader.delivery.sender import Sender
from loader.model import Halt, NoResponse, RecordId, Request, Response, Retry, Undecided, Unknown
from loader.pipeline.grounds import Grounds
from loader.reconcile.doubt import Duplicate, Duplicates
from loader.runs.opening import OpenRun
from loader.runtime import Runtime
from loader.targets.base import OwnRows, StampedRow

_T = TypeVar("_T")
STAMP = re.compile(r"[a-z0-9]+-(?:([0-9]+)x)?([0-9]+)")
ASK_SECONDS = (0.2, 1.0, 2.0, 5.0)
"""Waits before the question is repeated: no good answer, or a read that lags."""
MAX_PAGES = 500
"""A hundred thousand rows are looked through for twins; more of them are counted, not named."""


class EndCount:
    """Counts the rows of a run that is through."""

    def __init__(self, own_rows: OwnRows, run: OpenRun, sender: Sender, runtime: Runtime, lag_seconds: float) -> None:
        self._own_rows = own_rows
        self._prefix = f"{run.info.run}-"
        self._log = run.log
        self._sender = sender
        self._runtime = runtime
        self._least_seconds = max(lag_seconds, run.plan.options.settle_seconds)

    async def look(self, duplicates: Duplicates, grounds: Grounds) -> None:
        """Compare the rows with the log; add what is wrong to `duplicates`, and what is right to `grounds`."""
        counts = self._log.state.counts
        rows = await self._count(counts.created)
        if rows is None:
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
        for seconds in (*ASK_SECONDS, self._least_seconds, None):
            rows = await self._ask(question, self._own_rows.read_count)
            if (rows is not None and rows >= expected) or seconds is None:
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
            for source, number, ids in _several(groups):
                count += len(ids) - 1
                if (source, number) not in known:
                    own = set(await self._log.find_ids({one for one in ids if one is not None}))
                    further = tuple(one for one in ids if one not in own)
                    duplicates.proved.append(Duplicate(source, number, further if own else further[1:]))
            if is_last:
                break
        return count

    async def _ask(
        self, question: Request, read: Callable[[Response], _T | Undecided | Retry | Unknown | Halt]
    ) -> _T | None:
        reply = await self._sender.send(question, is_record=False)
        answer = None if isinstance(reply, NoResponse) else read(reply)
        self._sender.was_answered(is_useful=True)  # nobody waits for this answer, so no patience ends over it
        return None if answer is None or isinstance(answer, Undecided | Retry | Unknown | Halt) else answer


def _several(groups: list[list[StampedRow]]) -> Iterator[tuple[int, int, list[RecordId]]]:
    """Yield the lines whose stamp stands in several rows, with the rows' ids."""
    for group in groups:
        found = STAMP.fullmatch(group[0].text)
        if len(group) > 1 and found is not None:
            yield int(found[1] or 0), int(found[2]), [row.id for row in group]
