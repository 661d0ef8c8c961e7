"""What the log says, at any moment. Pure: entries in, answers out.

One `apply` serves replay and the running process alike. The running process applies just what it has written, so that its memory
is what a reader of the files would hold. The size of a State follows its folds and the windows that are not folded, not the
number of records.

Every error here is a ValueError: in replay it means damage (or another version), in the running process a bug of the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from loader.checkpoint.folds import FoldJob, FoldRef
from loader.checkpoint.format import (
    AnyEntry,
    Doubt,
    Header,
    Intent,
    Note,
    Opened,
    Outcomes,
    each_line,
)
from loader.checkpoint.source_state import FOLD_LINES, SourceState
from loader.checkpoint.windows import Gap, LiveWindow, Slot, id_slots, letter_of, rows_of, tally, window_of
from loader.model import Counts


class Amendment(NamedTuple):
    """A later outcome of a folded line. `was`: the letter that the fold has for it."""

    slot: Slot
    n: int
    was: str


class State:
    """Everything that was read from or written to the log of one run."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.counts = Counts()
        self.notes: dict[str, Any] = {}
        self.warnings: list[str] = []  # what was found when the log was opened
        self.executions = 0
        self.is_shortened = False  # the log came back shorter than it was: see `gaps`
        self.last_n = header.n
        self.amendments: dict[tuple[int, int], Amendment] = {}
        self.sources: dict[int, SourceState] = {}

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.header.run

    @property
    def bound(self) -> dict[str, Any]:
        """What the run was made for, as given at its creation."""
        return self.header.bound

    # --- questions ------------------------------------------------------------------------------------------------------

    def unresolved_windows(self) -> Iterator[LiveWindow]:
        """Yield the unresolved windows, those with lines that have no outcome, by source and line."""
        for index in sorted(self.sources):
            source_state = self.sources[index]
            yield from (
                source_state.windows[first] for first in source_state.firsts if source_state.windows[first].unresolved
            )

    def last_intent_end(self, source: int) -> tuple[int, int]:
        """Return the first line, and its offset, that no intent holds; none holds what follows it."""
        source_state = self.sources.get(source)
        return (source_state.end, source_state.end_offset) if source_state else (1, 0)

    def is_settled(self, source: int, line: int) -> bool:
        """Say whether a line has an outcome or is blank."""
        source_state = self.sources.get(source)
        if source_state is None:
            return False
        live = source_state.find(line)
        return live.slot(line) is not None if live else source_state.folds.find(line) is not None

    def settled(self, source: int) -> list[tuple[int, int]]:
        """Return the line ranges of settled windows, merged."""
        return self.sources[source].settled() if source in self.sources else []

    def gaps(self, source: int) -> list[Gap]:
        """Return what is missing below the last intent. Only a log that came back shorter has any."""
        return self.sources[source].gaps(source) if source in self.sources else []

    def folds(self) -> Iterator[FoldRef]:
        """Yield all folds, by source and line."""
        for index in sorted(self.sources):
            yield from self.sources[index].folds

    # --- entries --------------------------------------------------------------------------------------------------------

    def load(self, refs: Iterable[FoldRef]) -> None:
        """Take the folds of checkpoint.settled in, before any entry is applied."""
        for ref in refs:
            self._source_state(ref.source).folds.add(ref)
        for source_state in self.sources.values():
            for ref in source_state.folds:
                self.counts.merge(ref.counts)
            source_state.end, source_state.end_offset = source_state.folds.ends()

    def apply(self, entry: AnyEntry) -> None:
        """Bring in the next entry of the log. A snapshot changes nothing: all it holds has been read (see `snapshots`)."""
        if isinstance(entry, Outcomes):
            if entry.was:
                self._amend(entry)
            else:
                self._settle(entry)
        elif isinstance(entry, Intent):
            self._intend(entry)
        elif isinstance(entry, Note):
            if entry.value is None:
                self.notes.pop(entry.name, None)
            else:
                self.notes[entry.name] = entry.value
        elif isinstance(entry, Doubt):
            self._doubt(entry)
        elif isinstance(entry, Opened):
            self.executions += 1
        self.last_n = entry.n

    def _source_state(self, source: int) -> SourceState:
        source_state = self.sources.get(source)
        if source_state is None:
            source_state = self.sources[source] = SourceState()
        return source_state

    def _intend(self, entry: Intent) -> None:
        source_state = self._source_state(entry.source)
        first, end = entry.lines
        if source_state.folds.find(first):
            return
        window = window_of(entry)
        source_state.add(LiveWindow(window, entry.n))
        self.counts.lines += end - first
        self.counts.skipped_blank += len(window.blanks)

    def _settle(self, entry: Outcomes) -> None:
        """Bring in first outcomes: created ones by the run, the others one by one."""
        source_state = self._source_state(entry.source)
        at = 0
        known = entry.ids
        for item in entry.created:
            first, end = (item, item + 1) if isinstance(item, int) else item
            ids = known if end - first == len(known) else known[at : at + end - first]
            at += end - first
            slots = id_slots(ids)
            if at <= len(known) and self._place(source_state, first, slots, entry.n):
                self.counts.created += len(ids)
                self.counts.ids_unknown += 0 if slots is ids else ids.count(None)
        if at != len(known):
            raise ValueError(f"{len(known)} ids for {at} lines")
        if entry.updated or entry.unchanged or entry.rejected or entry.ambiguous:
            for place, (line, slot) in enumerate(rows_of(entry)):
                if place >= at and self._place(source_state, line, [slot], entry.n):
                    tally(self.counts, letter_of(slot))

    def _place(self, source_state: SourceState, first: int, slots: list[Slot], n: int) -> bool:
        """Put first outcomes into their window. False where a fold has them already."""
        live = source_state.find(first)
        if live is None:
            ref = source_state.folds.find(first)
            if ref is None or n > ref.upto or first + len(slots) > ref.end:
                raise ValueError(f"an outcome for line {first}, which has one or was never intended")
            return False
        live.fill(first, slots)
        live.last_n = n
        if not live.unresolved:
            source_state.settled_lines += len(live.slots)
        return True

    def _amend(self, entry: Outcomes) -> None:
        """Bring in later outcomes of lines that have one."""
        source_state = self._source_state(entry.source)
        for was, (line, slot) in zip(entry.was, rows_of(entry), strict=True):
            live = source_state.find(line)
            ref = None if live else source_state.folds.find(line)
            if live:
                before = letter_of(live.amend(line, slot))
                live.last_n = entry.n
            elif ref is None:
                raise ValueError(f"an amended outcome for line {line}, which was never intended")
            elif entry.n <= ref.upto:
                continue
            else:
                before = self._amend_folded((entry.source, line), slot, entry.n, was)
            tally(self.counts, before, -1)
            tally(self.counts, letter_of(slot))

    def _amend_folded(self, key: tuple[int, int], slot: Slot, n: int, was: str) -> Any:
        earlier = self.amendments.get(key)
        self.amendments[key] = Amendment(slot, n, earlier.was if earlier else was)
        return letter_of(earlier.slot) if earlier else was

    def _doubt(self, entry: Doubt) -> None:
        source_state = self._source_state(entry.source)
        for line in each_line(entry.lines):
            live = source_state.find(line)
            if live and live.slot(line) is None:
                live.doubts[line] = entry.reason

    # --- folding --------------------------------------------------------------------------------------------------------

    def freeze(self, upto: int, *, is_all: bool, min_lines: int = FOLD_LINES) -> list[FoldJob]:
        """Take settled windows out, as ranges of `min_lines` and more; with `is_all` smaller ones too.

        Only windows whose last entry is durable (`n` <= upto): what checkpoint.settled says, the log has said before.
        Their lines count as folded from now on.
        """
        jobs: list[FoldJob] = []
        for source_state in self.sources.values():
            if not source_state.settled_lines or not (is_all or source_state.settled_lines >= min_lines):
                continue
            jobs += source_state.freeze(upto, min_lines, is_all=is_all)
        return jobs

    def folded(self, job: FoldJob, ref: FoldRef) -> None:
        """Know a job as written: from now on its body is read from `ref`, and amendments in it are forgotten."""
        self.sources[job.source].folds.add(ref)
        if not self.amendments:
            return
        for key, amendment in list(self.amendments.items()):
            if key[0] == job.source and job.first <= key[1] < job.end:
                if amendment.n <= job.upto:
                    del self.amendments[key]
                else:
                    self.amendments[key] = amendment._replace(was=letter_of(job.slots[key[1] - job.first]))
