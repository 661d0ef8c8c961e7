"""Learning from a list of the target which records it holds, and under which ids: `loader reconcile RUN --filter ID`.

Canbus cannot be asked for a record by value, but it lists the rows of a saved filter. A row is a record's by the stamp, else by
the key item. Three laws: nothing is written before the whole list was read, because a second row may stand on its last page; a
record gets an id only where it has one row and no other record has the same text; and a record that is not in the list stays
what it was, for a filter need not show every row. A stamp in a row also proves that a doubtful record exists; a key does not,
for the row may have been there before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, TypeAlias

from loader.checkpoint import Spot, read_run_directory
from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.errors import LogStorageFailed, RunStopped
from loader.model import Created, Halt, Response
from loader.reading.blocks import LinesByNumber
from loader.reconcile.doubt import Duplicate
from loader.reconcile.row_matches import CREATED, DOUBTFUL, Match, Matches, Wanted, Was
from loader.runs.ids import Keys
from loader.runs.opening import OpenRun
from loader.runs.rejects import ambiguous, reopen_or_warn
from loader.runtime import Runtime
from loader.settings import CanbusAdd
from loader.targets.canbus.records import Page
from loader.targets.registry import build_canbus_records
from loader.transport.http import MAX_ANSWER_BYTES

Lacking: TypeAlias = tuple[int, int, Was]
"""Source and line of a record."""

PAGE_ROWS = (1000, 100, 10, 1)
"""Rows asked for at once. The largest page is not documented (apis.md 2.6), so a smaller one is tried where one is refused, or
longer than an answer may be."""
MAX_WALKS = 3
"""The list is read again where its length changed meanwhile: a row may have been skipped (apis.md 2.6)."""
MAX_REPEATS = 3
"""So often one page may follow itself. A row that is added while the list is read can bring that about once."""
MAX_TWINS = 1_000
WRITE_RECORDS = 1_000
ASK_AGAIN_SECONDS = 1.0
BAD_REQUEST = 400


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a list taught. `wanted`: records that had no id or no known fate; `has_item`: some row showed the item."""

    ids: int
    wanted: int
    unseen: int
    several: int
    rows: int
    has_item: bool
    item: str

    @property
    def text(self) -> str:
        """Say it in a sentence."""
        if not self.wanted:
            return "no record lacks an id"
        told = f"{self.ids:,} of {self.wanted:,} ids learnt from {self.rows:,} rows"
        left = [f"{self.unseen:,} stand in none of them"] * bool(self.unseen)
        left += [f"{self.several:,} in several"] * bool(self.several)
        others = self.wanted - self.ids - self.unseen - self.several
        left += [f"{others:,} cannot be told apart"] * bool(others)
        hidden = "" if self.has_item or not self.rows else f"; no row shows the item {self.item}"
        return told + (": " + ", ".join(left) if left else "") + hidden


class Learner:
    """Reads one list for one run. `watch` is called after each answer: it minds the disk and the patience."""

    def __init__(
        self,
        run: OpenRun,
        sender: Sender,
        stop: Stop,
        runtime: Runtime,
        filter_id: str,
        *,
        watch: Callable[[], None],
        warn: Callable[[str], None],
    ) -> None:
        target = run.plan.target
        assert isinstance(target, CanbusAdd)  # noqa: S101 -- `config` lets no other come here; this tells mypy
        self.learnt: Learnt | None = None
        self.duplicates: list[Duplicate] = []
        """Records that stand in the list several times under their stamp."""
        self._is_stamped = target.stamp is not None
        self._item = target.stamp or target.key or ""
        by = replace(target, key=None) if self._is_stamped else target
        self._keys = Keys(by, run.info.run, run.info.stamp_form)
        self._records = build_canbus_records(run.plan.credentials)
        self._run = run
        self._sender = sender
        self._stop = stop
        self._runtime = runtime
        self._filter_id = filter_id
        self._watch = watch
        self._warn = warn
        self._sizes = list(PAGE_ROWS)
        self._rows = 0
        self._has_item = False

    async def learn(self) -> None:
        """Read the list and write what it teaches into the log. If the run is stopped first, nothing is written.

        Errors: RunStopped where the target refuses the list; LogStorageFailed; LogDamaged.
        """
        try:
            with Matches() as matches:
                wanted = matches.want(self._wanted())
                if wanted:
                    await self._walk(matches)
                if self._stop.is_requested:
                    return
                ids = await self._write(matches)
                several, unseen = matches.count_several(), matches.count_unseen()
        except sqlite3.Error as error:
            hint = "make room in the folder for temporary files, or name another one: TMPDIR=DIR"
            raise LogStorageFailed(f"what the list says cannot be kept: {error}", hint) from None
        self.learnt = Learnt(ids, wanted, unseen, several, self._rows, self._has_item, self._item)

    # --- what is looked for --------------------------------------------------------------------------------------------

    def _wanted(self) -> Iterator[Wanted]:
        """Yield the records that lack an id, and those of unknown fate, by source and line."""
        directory = self._run.plan.run_directory
        doubtful: Iterator[Lacking] = ((row.source, row.number, DOUBTFUL) for row in ambiguous(directory))
        with read_run_directory(directory) as written:
            created: Iterator[Lacking] = ((row.source, row.line, CREATED) for row in written.unknown_ids())
            for source, group in groupby(merge(doubtful, created), key=itemgetter(0)):
                opened = None if self._is_stamped else reopen_or_warn(self._run.info, source, directory, self._warn)
                lines = LinesByNumber(opened, source, self._run.info.options, self._warn)
                try:
                    for _, number, was in group:
                        data = None if self._is_stamped else lines.find(number)[1]
                        yield Wanted(source, number, was, self._keys.of(source, number, data, lines))
                finally:
                    if opened is not None:
                        opened.close()

    # --- the list ------------------------------------------------------------------------------------------------------

    async def _walk(self, matches: Matches) -> None:
        """Read all pages; once more where the list's length changed meanwhile."""
        for _ in range(MAX_WALKS):
            self._rows, repeats = 0, 0
            totals: set[int | None] = set()
            before: tuple[dict[str, Any], ...] = ()
            while (page := await self._page()) is not None and page.rows:
                repeats = repeats + 1 if page.rows == before else 0
                if repeats == MAX_REPEATS:
                    hint = "look whether the filter shows its rows in Canbus; another filter may do"
                    raise RunStopped("answers", "the target gives the same page of the list again and again", hint)
                before = page.rows
                self._rows += len(page.rows)
                totals.add(page.total)
                await self._see(matches, page)
                self._watch()
            if page is None or len(totals) < 2:
                return

    async def _see(self, matches: Matches, page: Page) -> None:
        """Take notice of the rows that may be records without an id: those with a key or stamp of one, not yet in the log."""
        self._has_item = self._has_item or any(self._item in row for row in page.rows)
        rows = matches.among(self._records.texts_of(page.rows, self._item))
        if rows:
            logged = await self._run.log.find_ids({record_id for _, record_id in rows})
            matches.see(row for row in rows if row[1] not in logged)

    async def _page(self) -> Page | None:
        """Ask for the page behind the rows that were read, until it comes. None: the run is stopping."""
        while not self._stop.is_requested:
            question = self._records.list_request(self._rows, self._sizes[0], self._filter_id)
            reply = await self._sender.send(question, is_record=False)
            if isinstance(reply, Response):
                answer = self._records.read_list(reply)
                self._sender.was_answered(is_useful=isinstance(answer, Page))
                if isinstance(answer, Page):
                    return answer
                is_too_long = not reply.is_complete and len(reply.body) >= MAX_ANSWER_BYTES
                if is_too_long or reply.status == BAD_REQUEST:
                    self._take_smaller_pages(is_too_long=is_too_long)
                    continue
                if isinstance(answer, Halt):
                    self._stop.halt(answer)
                    continue
            self._watch()
            await self._runtime.sleep(ASK_AGAIN_SECONDS)
        return None

    def _take_smaller_pages(self, *, is_too_long: bool) -> None:
        """Ask for fewer rows from now on. Errors: RunStopped where it was one row already."""
        if len(self._sizes) > 1:
            del self._sizes[0]
        elif is_too_long:
            raise RunStopped("answers", "a row of the list is too long to be read", "take a filter that leaves it out")
        else:
            hint = "its id stands in the page source of the list screen: window.GLOBAL.FILTER_ID"
            raise RunStopped("answers", f"the target refuses to list by the filter {self._filter_id!r}", hint)

    # --- what it taught ------------------------------------------------------------------------------------------------

    async def _write(self, matches: Matches) -> int:
        """Write the ids that are sure into the log; return how many."""
        count = 0
        found = (match for match in matches.single() if self._is_stamped or match.was == CREATED)
        while batch := list(islice(found, WRITE_RECORDS)):
            self._settle(batch, [Created(match.id) for match in batch])
            await self._run.log.sync()
            count += len(batch)
        twice = matches.several() if self._is_stamped else iter(())
        while twins := list(islice(twice, WRITE_RECORDS)):
            doubtful = [record for record, _ in twins if record.was == DOUBTFUL]
            self._settle(doubtful, [Created(None)] * len(doubtful))
            await self._run.log.sync()
            self.duplicates += [Duplicate(record.source, record.number, ids) for record, ids in twins][
                : MAX_TWINS - len(self.duplicates)
            ]
        return count

    def _settle(self, records: Sequence[Match | Wanted], outcomes: Sequence[Created]) -> None:
        pairs = zip(records, outcomes, strict=True)
        for source, group in groupby(pairs, key=lambda pair: pair[0].source):
            some = list(group)
            places = [
                Spot(source, record.number, 0) for record, _ in some
            ]  # a created line's offset stands in no entry
            self._run.log.settle(places, [outcome for _, outcome in some])
