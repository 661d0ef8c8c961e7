"""What is recorded in one turn of the event loop, on its way into entries. Pure.

The outcomes of a window are collected until the turn ends and become one entry: 19 bytes a record instead of 75.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter

from loader.checkpoint.format import AmbiguousRow, Doubt, Lines, Note, Outcomes, RejectedRow, each_line, pack_lines
from loader.checkpoint.state import State
from loader.checkpoint.windows import Letter, Place, outcome_fields, rows_of
from loader.columns import CreatedIds, RecordBlock, are_created
from loader.model import Ambiguous, Created, Outcome, Rejected, Updated, Window

LetterOf = Callable[[int, int], Letter]
"""(source, line) -> what a settled line was."""

RangeOf = Callable[[int, int], tuple[int, int]]
"""(source, line) -> first line and end of the window or fold that holds it. Errors: ValueError where none does."""


_id_of, _number_of, _source_of = attrgetter("id"), attrgetter("number"), attrgetter("source")


class WindowOutcomes:
    """The outcomes of lines of one window or fold, each line once."""

    __slots__ = (
        "ambiguous",
        "count",
        "created",
        "first",
        "ids",
        "pieces",
        "rejected",
        "runs",
        "singles",
        "source",
        "unchanged",
        "updated",
    )

    def __init__(self, source: int, first: int) -> None:
        self.source = source
        self.first = first  # line of the window or fold
        self.pieces: list[Lines] = []  # the lines, as they were given; below once more, to be found quickly
        self.singles: set[int] = set()
        self.runs: list[tuple[int, int]] = []
        self.count = 0
        self.created: Lines = []
        self.ids: list[int | str | None] = []
        self.updated: list[int] = []
        self.unchanged: list[int] = []
        self.rejected: list[RejectedRow] = []
        self.ambiguous: list[AmbiguousRow] = []

    def add(self, lines: Lines, places: Sequence[Place], outcomes: Sequence[Outcome]) -> None:
        """Take outcomes in. `lines` are the numbers of `places`, none of them known here."""
        self.pieces.append(lines)
        if len(outcomes) == 1 and type(outcomes[0]) is Created:  # what a target of single records brings
            self.singles.add(places[0].number)
            self.count += 1
            self.created += lines
            self.ids.append(outcomes[0].id)
            return
        for item in lines:
            if isinstance(item, int):
                self.singles.add(item)
            else:
                self.runs.append(item)
        self.count += len(outcomes)
        if isinstance(outcomes, CreatedIds):
            self.created += lines
            self.ids += outcomes.ids
            return
        if are_created(outcomes):
            self.created += lines
            self.ids += map(_id_of, outcomes)
            return
        for place, outcome in zip(places, outcomes, strict=True):
            self._add(place.number, place.offset, outcome)

    def _add(self, line: int, offset: int, outcome: Outcome) -> None:
        match outcome:
            case Created(item):
                self.created.append(line)
                self.ids.append(item)
            case Updated(is_unchanged):
                (self.unchanged if is_unchanged else self.updated).append(line)
            case Rejected(stage, code, message):
                self.rejected.append((line, offset, stage, _writable(code), _writable(message)))
            case Ambiguous(reason):
                self.ambiguous.append((line, offset, _writable(reason)))

    def is_disjoint(self, lines: Lines) -> bool:
        """Say whether none of these lines is known here."""
        for item in lines:
            first, end = (item, item + 1) if isinstance(item, int) else item
            if any(first < other_end and other < end for other, other_end in self.runs):
                return False
            if item in self.singles or (end - first > 1 and not self.singles.isdisjoint(range(first, end))):
                return False
        return True

    def entry(self, n: int, s: int) -> Outcomes:
        """Return the entry."""
        if len(self.ids) == self.count:
            return Outcomes(n=n, s=s, source=self.source, created=self.created, ids=self.ids)
        return Outcomes(
            n=n,
            s=s,
            source=self.source,
            created=pack_lines(list(each_line(self.created))),
            ids=self.ids,
            updated=pack_lines(self.updated),
            unchanged=pack_lines(self.unchanged),
            rejected=self.rejected,
            ambiguous=self.ambiguous,
        )

    def entries(self, state: State, n: int, s: int, letter_of_line: LetterOf) -> list[Outcomes]:
        """Return one entry, or two where some lines have an outcome already; numbered from `n` on."""
        bare = self.entry(n, s)
        piece = self.pieces[0][0]
        live = state.sources[self.source].find(piece if isinstance(piece, int) else piece[0])
        if live and all(live.is_fresh(lines) for lines in self.pieces):
            return [bare]
        found: list[Outcomes] = []
        rows = list(rows_of(bare))
        is_settled = {line: not live or live.slot(line) is not None for line, _ in rows}
        for is_amended, same in groupby(
            sorted(rows, key=lambda row: is_settled[row[0]]), lambda row: is_settled[row[0]]
        ):
            fields = outcome_fields(same)
            entry = Outcomes(n=n + len(found), s=s, source=self.source, **fields)
            if is_amended:
                was = "".join(letter_of_line(self.source, line) for line, _ in rows_of(entry))
                entry = Outcomes(n=entry.n, s=s, source=self.source, was=was, **fields)
            found.append(entry)
        return found


class Turn:
    """What was recorded since the last write, in order."""

    def __init__(self) -> None:
        self._items: list[WindowOutcomes | Note | Doubt | Window] = []
        self._open: dict[tuple[int, int], WindowOutcomes] = {}  # by source and first line of window or fold
        self._places: list[Place] = []  # of single lines, with `_outcomes`
        self._outcomes: list[Outcome] = []
        self._doubts: dict[tuple[int, str], list[int]] = {}  # source and reason -> lines

    def __bool__(self) -> bool:
        return bool(self._items or self._places or self._doubts)

    def windows(self) -> list[Window]:
        """Return the windows that are to be intended."""
        return [item for item in self._items if isinstance(item, Window)]

    def doubt(self, place: Place, reason: str) -> None:
        """Add why a line may have been applied. Lines with one reason share an entry, behind the turn's outcomes."""
        self._doubts.setdefault((place.source, _writable(reason)), []).append(place.number)

    def add(self, item: Note | Window) -> None:
        """Add something other than outcomes and doubts."""
        self._items.append(item)

    def settle(self, places: Sequence[Place], outcomes: Sequence[Outcome], range_of: RangeOf) -> None:
        """Add outcomes of lines of one source. Errors: ValueError where a line was never intended, or stands twice."""
        self.group_by_window(range_of)
        if not isinstance(places, RecordBlock):  # whose lines follow each other in one source
            if places[0].source != places[-1].source:
                raise ValueError("outcomes of several sources at once")
            if len(set(map(_number_of, places))) != len(places):
                raise ValueError("two outcomes for a line at once")
        self._settle(places, outcomes, range_of)

    def settle_each(self, places: Sequence[Place], outcomes: Sequence[Outcome]) -> None:
        """Add the outcomes of single lines; `group_by_window` looks at them."""
        self._places += places
        self._outcomes += outcomes

    def group_by_window(self, range_of: RangeOf) -> None:
        """Put the outcomes of single lines to those of their windows. Errors: ValueError, as in `settle`."""
        if not self._places:
            return
        places, outcomes = self._places, self._outcomes
        self._places, self._outcomes = [], []
        numbers = list(map(_number_of, places))
        if len(set(map(_source_of, places))) == 1 and len(set(numbers)) == len(numbers):
            if len(numbers) > 1:
                # Records that left together come back in any order; sorted they are runs of lines, as cheap as a line each.
                order = sorted(range(len(numbers)), key=numbers.__getitem__)
                places, outcomes = [places[at] for at in order], [outcomes[at] for at in order]
            self._settle(places, outcomes, range_of)
            return
        for place, outcome in zip(places, outcomes, strict=True):
            self._settle([place], [outcome], range_of)

    def _settle(self, places: Sequence[Place], outcomes: Sequence[Outcome], range_of: RangeOf) -> None:
        lines = places.numbers if isinstance(places, RecordBlock) else list(map(_number_of, places))
        packed = pack_lines(lines)
        source = places.source if isinstance(places, RecordBlock) else places[0].source
        first, end = range_of(source, lines[0])
        is_one_run = len(packed) == 1  # as a chunk's lines nearly always are
        low, high = (lines[0], lines[-1] + 1) if is_one_run else (min(lines), max(lines) + 1)
        if low < first or high > end:  # of several windows
            pairs = list(zip(places, outcomes, strict=True))
            inside = [pair for pair in pairs if first <= pair[0].number < end]
            for some in (inside, [pair for pair in pairs if not first <= pair[0].number < end]):
                self._settle([place for place, _ in some], [outcome for _, outcome in some], range_of)
            return
        known = self._open.get((source, first))
        if known is None or not known.is_disjoint(packed):
            known = self._open[source, first] = WindowOutcomes(source, first)
            self._items.append(known)
        known.add(packed, places, outcomes)

    def take(self) -> list[list[WindowOutcomes | Note | Doubt | Window]]:
        """Return what was recorded, in batches. No batch has the outcomes of a window twice: the later amend the earlier."""
        batches: list[list[WindowOutcomes | Note | Doubt | Window]] = [[]]
        keys: set[tuple[int, int]] = set()
        for item in self._items:
            if isinstance(item, WindowOutcomes):
                if (item.source, item.first) in keys:
                    batches.append([])
                    keys = set()
                keys.add((item.source, item.first))
            batches[-1].append(item)
        for (source, reason), lines in self._doubts.items():
            batches[-1].append(Doubt(n=0, s=0, source=source, lines=pack_lines(lines), reason=reason))
        self._items, self._open, self._doubts = [], {}, {}
        return batches


def _writable(text: str) -> str:
    """Replace what UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
