"""Windows of lines and what is known of each line. Pure.

A window is a range of lines of one source with one intent. A line's slot holds what is known of it, in the cheapest form that
says it: None (no outcome yet), the id itself (created), an outcome, an outcome with its offset, or BLANK. Slots are lists, so
that a thousand outcomes are placed by one slice assignment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, cast

from loader.checkpoint.format import Intent, Lines, Outcomes, each_line, pack_lines
from loader.model import Ambiguous, Counts, Created, Outcome, Rejected, Stage, Updated, Window


def check_window(window: Window) -> None:
    """Say what is wrong with a window by itself. Errors: ValueError."""
    if not (window.source >= 0 and 0 < window.first < window.end and 0 <= window.offset <= window.end_offset):
        raise ValueError(f"not a window: {window}")
    if window.blanks and not (window.first <= min(window.blanks) and max(window.blanks) < window.end):
        raise ValueError(f"blank lines outside of their window: {window}")


def intent_of(window: Window, n: int, s: int) -> Intent:
    """Return the entry that says that a window's records may be sent."""
    return Intent(
        n=n,
        s=s,
        source=window.source,
        lines=(window.first, window.end),
        bytes=(window.offset, window.end_offset),
        crc=window.crc,
        records=window.records,
        blanks=pack_lines(window.blanks),
    )


class Gap(NamedTuple):
    """Lines below the last intent of which the log says nothing: it came back shorter than it was."""

    source: int
    first: int
    end: int
    offset: int
    end_offset: int


class Place(Protocol):
    """Where a line stands. `model.Record` is one; so is `Spot`."""

    @property
    def source(self) -> int:
        """Index of the source."""

    @property
    def number(self) -> int:
        """Physical line number, from 1."""

    @property
    def offset(self) -> int:
        """Byte offset of the line."""


class Spot(NamedTuple):
    """A line that never became a record."""

    source: int
    number: int
    offset: int


class Exceptional(NamedTuple):
    """An outcome that a user will want to look at, with its line's offset."""

    offset: int
    outcome: Rejected | Ambiguous


class Blank(Enum):
    """The mark of a blank line."""

    BLANK = 0


Slot: TypeAlias = int | str | Created | Updated | Exceptional | Blank | None

Letter: TypeAlias = Literal["c", "n", "u", "k", "r", "a"]
"""What a line was, in `Outcomes.was`: created, created with unknown id, updated, unchanged, rejected, ambiguous."""

ID_KINDS: Final = frozenset({int, str})
UNKNOWN_ID: Final = Created(None)
UPDATED: Final = Updated()
UNCHANGED: Final = Updated(is_unchanged=True)

_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "c": ("created",),
    "n": ("created", "ids_unknown"),
    "u": ("updated",),
    "k": ("updated", "unchanged"),
    "r": ("rejected",),
    "a": ("ambiguous",),
}


def window_of(entry: Intent) -> Window:
    """Return the window of an intent."""
    blanks = tuple(each_line(entry.blanks))
    return Window(entry.source, *entry.lines, *entry.bytes, entry.crc, entry.records, blanks)


def letter_of(slot: Slot) -> Letter:
    """Return the letter of an outcome's slot."""
    if isinstance(slot, Exceptional):
        return "r" if isinstance(slot.outcome, Rejected) else "a"
    if isinstance(slot, Updated):
        return "k" if slot.is_unchanged else "u"
    if isinstance(slot, Created):
        return "n"
    if slot is None or isinstance(slot, Blank):
        raise ValueError("a line without an outcome has no letter")
    return "c"


def tally(counts: Counts, letter: str, step: int = 1) -> None:
    """Count an outcome, or take it back. Errors: ValueError for a letter there is not."""
    try:
        fields = _FIELDS[letter]
    except KeyError:
        raise ValueError(f"no outcome has the letter {letter!r}") from None
    for name in fields:
        setattr(counts, name, getattr(counts, name) + step)


def outcome_of(slot: Slot) -> Outcome | None:
    """Return the outcome that a slot stands for; None where there is none."""
    if slot is None or isinstance(slot, Blank):
        return None
    if isinstance(slot, Exceptional):
        return slot.outcome
    if isinstance(slot, Created | Updated):
        return slot
    return Created(slot)


def is_rejected_by_target(slot: Slot) -> bool:
    """Say whether a line was sent and rejected; what the loader refused itself is not sent again as it is."""
    return isinstance(slot, Exceptional) and isinstance(slot.outcome, Rejected) and slot.outcome.stage == "target"


def id_slots(ids: Sequence[int | str | None]) -> list[Slot]:
    """Turn the ids of created lines into their slots."""
    if None in ids:
        return [UNKNOWN_ID if item is None else item for item in ids]
    return ids  # type: ignore[return-value]  # a list of ids is a list of slots


def rows_of(entry: Outcomes) -> Iterator[tuple[int, Slot]]:
    """Yield each line of an outcomes entry with its slot, in the order that `was` follows.

    Errors: ValueError where the entry's lists do not fit each other.
    """
    yield from zip(each_line(entry.created), id_slots(entry.ids), strict=True)
    for line in each_line(entry.updated):
        yield line, UPDATED
    for line in each_line(entry.unchanged):
        yield line, UNCHANGED
    for line, offset, stage, code, message in entry.rejected:
        yield line, Exceptional(offset, Rejected(cast("Stage", stage), code, message))
    for line, offset, reason in entry.ambiguous:
        yield line, Exceptional(offset, Ambiguous(reason))


def outcome_fields(rows: Iterable[tuple[int, Slot]]) -> dict[str, Any]:
    """Sort lines and slots into the fields of an outcomes entry; the reverse of `rows_of`, lines without outcome left out."""
    by_letter: dict[str, list[tuple[int, Slot]]] = {}
    for line, slot in rows:
        if slot is not None and not isinstance(slot, Blank):
            by_letter.setdefault("c" if letter_of(slot) == "n" else letter_of(slot), []).append((line, slot))
    created = by_letter.get("c", ())
    exceptional = {
        letter: [(line, slot) for line, slot in by_letter.get(letter, ()) if isinstance(slot, Exceptional)]
        for letter in "ra"
    }
    return {
        "created": pack_lines([line for line, _ in created]),
        "ids": [slot if isinstance(slot, int | str) else None for _, slot in created],
        "updated": pack_lines([line for line, _ in by_letter.get("u", ())]),
        "unchanged": pack_lines([line for line, _ in by_letter.get("k", ())]),
        "rejected": [(line, slot.offset, *slot.outcome) for line, slot in exceptional["r"]],
        "ambiguous": [(line, slot.offset, slot.outcome[0]) for line, slot in exceptional["a"]],  # [0]: why
    }


class LiveWindow:
    """A window that is not folded, and what is known of its lines."""

    __slots__ = ("doubts", "last_n", "slots", "unresolved", "window")

    window: Window
    slots: list[Slot]  # one a line
    unresolved: int  # lines without outcome
    last_n: int  # of the last entry about this window
    doubts: dict[int, str]  # line -> why its fate is being asked for

    def __init__(self, window: Window, n: int) -> None:
        self.window = window
        self.slots = [None] * (window.end - window.first)
        for line in window.blanks:
            self.slots[line - window.first] = Blank.BLANK
        self.unresolved = len(self.slots) - len(window.blanks)
        self.last_n = n
        self.doubts = {}

    def __repr__(self) -> str:
        window = self.window
        return f"<LiveWindow {window.source}:{window.first}..{window.end}, {self.unresolved} unresolved>"

    @property
    def is_settled(self) -> bool:
        """Every line has an outcome or is blank."""
        return not self.unresolved

    def rows(self) -> Iterator[tuple[int, Slot]]:
        """Yield each line with its slot."""
        return enumerate(self.slots, self.window.first)

    def unresolved_lines(self) -> list[int]:
        """Return the lines without outcome."""
        return [line for line, slot in self.rows() if slot is None]

    def slot(self, line: int) -> Slot:
        """Return what is known of a line."""
        return self.slots[line - self.window.first]

    def is_fresh(self, lines: Lines) -> bool:
        """Say whether none of these lines of the window has an outcome."""
        slots, first = self.slots, self.window.first
        for item in lines:
            if isinstance(item, int):
                if slots[item - first] is not None:
                    return False
            elif slots[item[0] - first : item[1] - first].count(None) != item[1] - item[0]:
                return False
        return True

    def fill(self, first: int, slots: list[Slot]) -> None:
        """Give lines from `first` on their first outcomes. Errors: ValueError where one has an outcome, or is not ours."""
        at = first - self.window.first
        count = len(slots)
        mine = self.slots
        if at < 0 or at + count > len(mine) or mine[at : at + count].count(None) != count:
            raise ValueError("an outcome for a line that has one, or is blank, or of another window")
        mine[at : at + count] = slots
        self.unresolved -= count
        if self.doubts:
            for line in range(first, first + count):
                self.doubts.pop(line, None)

    def amend(self, line: int, slot: Slot) -> Slot:
        """Give a line another outcome and return the one before."""
        at = line - self.window.first
        before = self.slots[at]
        if before is None or isinstance(before, Blank):
            raise ValueError("an amended outcome for a line that has none")
        self.slots[at] = slot
        return before
