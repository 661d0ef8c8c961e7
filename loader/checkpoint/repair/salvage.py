"""What can still be known of each line when parts of the log are gone. Pure.

Entries are brought in by number, as `state` does it, but holes are stepped over. Then the rules are these:

A sealed outcome is true: the last one of a line counts, whether its intent is there or not. A line of a known window that has
none may have had it in a hole: it stays open, which is what a resume asks about. Lines that no window holds any more lie in
gaps; their windows are made anew from the source (`fill`). A line that the target had rejected may have been sent again in a
hole, if a later execution may have reached into it: it is in doubt (`suspects`). Created and updated lines are never sent again,
and refusals of the loader's own follow from the line itself.

A sound snapshot behind a hole says everything about the lines that it holds, so the hole no longer matters to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from loader.checkpoint.folds import FoldRef
from loader.checkpoint.format import AnyEntry, Doubt, Fold, Intent, Note, Opened, Outcomes, Snapshot, each_line
from loader.checkpoint.repair.survey import Hole
from loader.checkpoint.source_state import SourceState
from loader.checkpoint.windows import Blank, LiveWindow, Slot, id_slots, is_rejected_by_target, rows_of, window_of
from loader.model import Window

_FOR_EVER: Final = 2**63
_Key = tuple[int, int]
"""Source and line."""


class Salvage:
    """What is known, line by line.

    `lost`: folds that cannot be read and that an earlier generation of the log relied on; None where even the head is gone.
    `has_lost_folds`: whether any fold cannot be read, also one whose entries the log still has.
    """

    def __init__(
        self, refs: Iterable[FoldRef], lost: Sequence[Fold | None], *, has_lost_folds: bool, is_rotated: bool
    ) -> None:
        self.sources: dict[int, SourceState] = {}
        self.notes: dict[str, Any] = {}
        self.stale_notes: set[str] = set()  # a later one of the name may be lost
        self.relied: list[tuple[int, str]] = []  # what snapshots rely on of checkpoint.settled
        self.executions = 0
        self.last_n = 0
        self.amended: dict[_Key, tuple[Slot, int]] = {}  # later outcomes of folded lines, and their `n`
        self.orphans: dict[_Key, tuple[Slot, int]] = {}  # outcomes of lines without a window
        self.suspects: set[_Key] = set()
        self.suspect_folds: set[_Key] = set()  # by source and first line
        self.hit: set[_Key] = set()  # windows that may have lost outcomes, by source and first line
        self.contradictions: list[str] = []
        self.is_endless = False  # entries may be missing behind the last one, nobody knows how many
        self._rejects: dict[_Key, int] = {}  # rejected by the target -> `n`, in windows
        self.holes: list[Hole] = []  # those that no snapshot behind them has made up for
        self._opened_n = -1
        self.intents: dict[int, int] = {}  # source -> `n` of its last intent
        self.lost_heads = [head for head in lost if head]
        self._has_lost_folds = has_lost_folds
        self._is_base_needed = is_rotated
        # whatever a lost fold held is then nowhere else; where not even its lines are known, there may be more of them
        self.has_unknown_folds = any(head is None for head in lost)
        for ref in refs:
            self._load(ref)
        for source_state in self.sources.values():
            source_state.end, source_state.end_offset = source_state.folds.ends()
        if lost:
            self._suspect_older_folds(lost)

    def _load(self, ref: FoldRef) -> None:
        try:
            self.source_state(ref.source).folds.add(ref)
        except ValueError as error:
            self.contradictions.append(str(error))

    def source_state(self, source: int) -> SourceState:
        """Return what is known of a source."""
        source_state = self.sources.get(source)
        if source_state is None:
            source_state = self.sources[source] = SourceState()
        return source_state

    def _suspect_older_folds(self, lost: Sequence[Fold | None]) -> None:
        """Notice that what is lost may be the second fold of a range, with later outcomes than the first has."""
        ranges = {(head.source, head.lines[0]) for head in lost if head}
        for source, source_state in self.sources.items():
            for ref in source_state.folds:
                if ref.counts.rejected and (self.has_unknown_folds or (source, ref.first) in ranges):
                    self.suspect_folds.add((source, ref.first))

    # --- entries --------------------------------------------------------------------------------------------------------

    def apply(self, entry: AnyEntry) -> None:
        """Bring in the next entry that is there."""
        self.last_n = entry.n
        if isinstance(entry, Snapshot):
            self.relied.append(entry.settled)
        match entry:
            case Outcomes():
                if not self._fill_runs(entry):
                    for line, slot in rows_of(entry):
                        self._place(entry.source, line, slot, entry.n, is_first=not entry.was)
            case Intent():
                self.intents[entry.source] = entry.n
                self._intend(entry)
            case Note():
                self._note(entry)
            case Opened():
                self.executions += 1
                self._opened_n = entry.n
            case Doubt():
                self._doubt(entry)
            case Snapshot() if self.holes or self._is_base_needed:
                self._restore(entry)
            case _:
                pass  # a snapshot that says nothing new

    def step_over(self, hole: Hole) -> None:
        """Bring in that entries are missing."""
        self.holes.append(hole)
        self.stale_notes |= set(self.notes)
        if not (hole.may_hold_outcomes or hole.is_base):
            return
        floor = hole.first_n if hole.may_hold_opened else self._opened_n
        last_n = _FOR_EVER if hole.missing is None else hole.last_n
        if hole.is_base:
            floor = last_n
        self._suspect(floor, last_n)
        for source, source_state in self.sources.items():
            self.hit |= {(source, first) for first, live in source_state.windows.items() if _is_unresolved(live)}

    def end(self, *, is_shorter: bool) -> None:
        """Bring in that there are no more entries. `is_shorter`: checkpoint.settled knows of later ones."""
        self.is_endless = is_shorter
        if is_shorter:
            self.stale_notes |= set(self.notes)
            self._suspect(_FOR_EVER, _FOR_EVER)
            for source, source_state in self.sources.items():
                self.hit |= {(source, first) for first, live in source_state.windows.items() if _is_unresolved(live)}

    def _suspect(self, floor: int, last_n: int) -> None:
        """Doubt what was rejected before entry `floor`, unless a fold knows more than entry `last_n`."""
        self.suspects |= {key for key, n in self._rejects.items() if n < floor}
        if floor > 1:
            for source, source_state in self.sources.items():
                self.suspect_folds |= {
                    (source, ref.first) for ref in source_state.folds if ref.counts.rejected and ref.upto < last_n
                }

    def _note(self, entry: Note) -> None:
        self.stale_notes.discard(entry.name)
        if entry.value is None:
            self.notes.pop(entry.name, None)
        else:
            self.notes[entry.name] = entry.value

    def _intend(self, entry: Intent) -> LiveWindow | None:
        source_state = self.source_state(entry.source)
        first, end = entry.lines
        known = source_state.find(first)
        if source_state.folds.find(first) or (known and known.window.end == end):
            return None
        live = LiveWindow(window_of(entry), entry.n)
        try:
            source_state.add(live)
        except ValueError as error:
            self.contradictions.append(str(error))
            return None
        return live

    def _fill_runs(self, entry: Outcomes) -> bool:
        """Bring in the usual entry, created lines of one window that have no outcome yet. False: it is another."""
        lines = entry.created
        live = (
            self.source_state(entry.source).find(lines[0] if isinstance(lines[0], int) else lines[0][0])
            if lines
            else None
        )
        if not live or entry.was or entry.updated or entry.unchanged or entry.rejected or entry.ambiguous:
            return False
        numbers = list(each_line(lines))
        first = live.window.first
        if min(numbers) < first or max(numbers) >= live.window.end or not live.is_fresh(lines):
            return False
        for line, slot in zip(numbers, id_slots(entry.ids), strict=True):
            live.slots[line - first] = slot
            live.doubts.pop(line, None)
        live.last_n = entry.n
        return True

    def _place(self, source: int, line: int, slot: Slot, n: int, *, is_first: bool) -> None:
        source_state = self.source_state(source)
        live = source_state.find(line)
        if live:
            self._set(live, line, slot, n, is_first=is_first)
            return
        ref = source_state.folds.find(line)
        if ref is None:
            self.orphans[source, line] = (slot, n)
        elif n > ref.upto:
            self.amended[source, line] = (slot, n)
            self._settle((source, line), slot, n)

    def _set(self, live: LiveWindow, line: int, slot: Slot, n: int, *, is_first: bool) -> None:
        at = line - live.window.first
        before = live.slots[at]
        if before is Blank.BLANK or (is_first and before not in (None, slot)):
            self.contradictions.append(f"line {line} of source {live.window.source} has two first outcomes")
            live.slots[at] = before if before is Blank.BLANK else None
            self.hit.add((live.window.source, live.window.first))
            return
        live.slots[at] = slot
        live.doubts.pop(line, None)
        live.last_n = max(live.last_n, n)
        self._settle((live.window.source, line), slot, n)

    def _settle(self, key: _Key, slot: Slot, n: int) -> None:
        self.suspects.discard(key)
        self._rejects.pop(key, None)
        if is_rejected_by_target(slot):
            self._rejects[key] = n

    def _doubt(self, entry: Doubt) -> None:
        source_state = self.source_state(entry.source)
        for line in each_line(entry.lines):
            live = source_state.find(line)
            if live and live.slot(line) is None:
                live.doubts[line] = entry.reason

    def _restore(self, entry: Snapshot) -> None:
        """Take over what a snapshot says; about its lines it is complete."""
        held = set()
        for intent in entry.windows:
            source_state = self.source_state(intent.source)
            first = intent.lines[0]
            held.add((intent.source, first))
            known = source_state.windows.get(first)
            if known and known.window.end == intent.lines[1]:
                source_state.windows[first] = LiveWindow(window_of(intent), intent.n)
            else:
                self._intend(intent)
        for outcomes in (*entry.outcomes, *entry.amended):
            for line, slot in rows_of(outcomes):
                self._place(outcomes.source, line, slot, outcomes.n, is_first=False)
        for doubt in entry.doubts:
            self._doubt(doubt)
        if entry.executions > max(1, self.executions):
            self._opened_n = entry.n  # a later execution has begun, nobody knows when
        self.notes, self.stale_notes, self.executions = dict(entry.notes), set(), entry.executions
        self._is_base_needed = False
        self._clear(held)

    def _clear(self, held: set[_Key]) -> None:
        """Forget doubts about lines of which a snapshot knows everything: about all lines, if no fold is lost."""
        self.hit -= held
        if not self._has_lost_folds:
            self.holes = []
            self.suspects = set()
            self.suspect_folds = set()
            return
        for key in list(self.suspects):
            live = self.sources[key[0]].find(key[1])
            if live and (key[0], live.window.first) in held:
                self.suspects.discard(key)

    # --- lines without a window -------------------------------------------------------------------------------------------

    def end_of(self, source: int) -> tuple[int, int]:
        """Return the first line, and its offset, behind all that is known."""
        source_state = self.source_state(source)
        return source_state.end, source_state.end_offset

    def fill(self, window: Window) -> None:
        """Take in a window that was made anew from the source."""
        live = LiveWindow(window, self.last_n)
        self.source_state(window.source).add(live)
        for line in range(window.first, window.end):
            kept = self.orphans.pop((window.source, line), None)
            if kept and live.slot(line) is not Blank.BLANK:
                self._set(live, line, kept[0], kept[1], is_first=False)
        self.hit.add((window.source, window.first))


def _is_unresolved(live: LiveWindow) -> bool:
    return any(slot is None for slot in live.slots)
