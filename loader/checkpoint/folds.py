"""Folds: a range of settled windows in one entry, and the table of them. Pure.

A fold is two lines of checkpoint.settled: a head that says what is in it, and a body with every outcome. Opening a run reads
heads only; a body is read when somebody asks for its lines. A second fold of the same range replaces the first: so are
outcomes that were amended later brought in. Folds of different ranges never overlap.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple, TypeAlias

from loader.checkpoint.format import Body, Fold, each_line, pack_lines, seal
from loader.checkpoint.id_codec import id_ranges, pack_ids, unpack_ids
from loader.checkpoint.windows import (
    ID_KINDS,
    UNCHANGED,
    UNKNOWN_ID,
    UPDATED,
    Blank,
    Exceptional,
    LiveWindow,
    Slot,
    letter_of,
    tally,
)
from loader.model import Ambiguous, Counts, Created, Rejected, Updated

Shape: TypeAlias = tuple[int, int, int]
"""A window inside a fold: its end line, end offset and the checksum of its raw lines."""

Start: TypeAlias = tuple[int, int, int]
"""Generation, offset and `n` of a snapshot in the log."""


class FoldRef(NamedTuple):
    """One fold as the table knows it. Its body stands at `position`, or in memory where that is None."""

    source: int
    first: int
    end: int
    offset: int
    end_offset: int
    upto: int
    counts: Counts
    ints: tuple[int, int] | None
    texts: tuple[str, str] | None
    position: int | None
    body: int
    kept: bytes = b""

    def __repr__(self) -> str:
        return f"<fold {self.source}:{self.first}..{self.end} upto {self.upto}>"


class FoldJob(NamedTuple):
    """A range to be folded. Nobody changes the slots any more."""

    source: int
    first: int
    end: int
    offset: int
    end_offset: int
    upto: int
    shapes: list[Shape]
    slots: list[Slot]


def job_of(windows: Sequence[LiveWindow], upto: int) -> FoldJob:
    """Make a job of adjacent settled windows."""
    head, last = windows[0].window, windows[-1].window
    shapes = [(live.window.end, live.window.end_offset, live.window.crc) for live in windows]
    slots = list(chain.from_iterable(live.slots for live in windows))
    return FoldJob(head.source, head.first, last.end, head.offset, last.end_offset, upto, shapes, slots)


def again(ref: FoldRef, body: Body, amended: Mapping[int, Slot], upto: int) -> FoldJob:
    """Make a job of a fold and the outcomes that were amended since."""
    slots = slots_of(ref, body)
    for line, slot in amended.items():
        slots[line - ref.first] = slot
    return FoldJob(ref.source, ref.first, ref.end, ref.offset, ref.end_offset, upto, body.windows, slots)


def seal_fold(job: FoldJob, n: int, position: int, start: Start | None, seed: int) -> tuple[bytes, FoldRef]:
    """Write a fold's two lines, numbered `n` and `n + 1`, to stand at `position`; and its place in the table."""
    kinds = set(map(type, job.slots))
    body, counts, ids = _body(job, kinds, n + 1)
    body_line = seal(body, seed)
    ints, texts = id_ranges(ids, kinds & ID_KINDS) if ids else (None, None)
    head = Fold(
        n=n,
        s=n - 1,
        source=job.source,
        lines=(job.first, job.end),
        bytes=(job.offset, job.end_offset),
        counts=counts,
        upto=job.upto,
        body=len(body_line),
        start=start,
        ints=ints,
        texts=texts,
    )
    head_line = seal(head, seed)
    return head_line + body_line, ref_of(head, position + len(head_line))


def ref_of(head: Fold, position: int) -> FoldRef:
    """Return a head's place in the table; its body stands at `position`."""
    return FoldRef(
        head.source, *head.lines, *head.bytes, head.upto, head.counts, head.ints, head.texts, position, head.body
    )


def slots_of(ref: FoldRef, body: Body) -> list[Slot]:
    """Return a slot for every line of a fold.

    Errors: ValueError where the body does not fit the head.
    """
    slots: list[Slot] = [None] * (ref.end - ref.first)
    marks: tuple[tuple[Sequence[int | tuple[int, int]], Slot], ...] = (
        (body.blanks, Blank.BLANK),
        (body.unknown, UNKNOWN_ID),
        (body.updated, UPDATED),
        (body.unchanged, UNCHANGED),
    )
    for lines, mark in marks:
        for line in each_line(list(lines)):
            slots[_at(ref, line)] = mark
    for line, offset, stage, code, message in body.rejected:
        slots[_at(ref, line)] = Exceptional(offset, Rejected(stage, code, message))  # type: ignore[arg-type]  # as written
    for line, offset, reason in body.ambiguous:
        slots[_at(ref, line)] = Exceptional(offset, Ambiguous(reason))
    ids = unpack_ids(body.ids) if body.ids else []
    free = [at for at, slot in enumerate(slots) if slot is None] if len(ids) < len(slots) else range(len(slots))
    if len(free) != len(ids):
        raise ValueError(f"{len(ids)} ids for {len(free)} lines")
    for at, item in zip(free, ids, strict=True):
        slots[at] = item
    return slots


class FoldTable:
    """The folds of one source, by line."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._refs: list[FoldRef] = []

    def __iter__(self) -> Iterator[FoldRef]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)

    def add(self, ref: FoldRef) -> None:
        """Take a fold in; one of the same range is replaced.

        Errors: ValueError where it overlaps another range.
        """
        at = bisect_right(self._firsts, ref.first)
        if at and self._firsts[at - 1] == ref.first and self._refs[at - 1].end == ref.end:
            self._refs[at - 1] = ref
            return
        if (at and self._refs[at - 1].end > ref.first) or (at < len(self._refs) and self._firsts[at] < ref.end):
            raise ValueError(f"the fold of lines {ref.first}..{ref.end} overlaps another")
        self._firsts.insert(at, ref.first)
        self._refs.insert(at, ref)

    def find(self, line: int) -> FoldRef | None:
        """Return the fold that holds a line."""
        at = bisect_right(self._firsts, line) - 1
        if at < 0 or line >= self._refs[at].end:
            return None
        return self._refs[at]

    def ends(self) -> tuple[int, int]:
        """Return end line and end offset of the last fold; (1, 0) where there is none."""
        return (self._refs[-1].end, self._refs[-1].end_offset) if self._refs else (1, 0)


def _at(ref: FoldRef, line: int) -> int:
    if not ref.first <= line < ref.end:
        raise ValueError(f"line {line} is not of the fold")
    return line - ref.first


def _body(job: FoldJob, kinds: set[type], n: int) -> tuple[Body, Counts, list[int | str]]:
    """Sort a job's slots, of these types, into a body, its counts and its ids."""
    counts = Counts(lines=len(job.slots))
    if kinds <= ID_KINDS:  # the usual fold, at a tenth of the price
        every: list[int | str] = job.slots  # type: ignore[assignment]  # only ids, as just seen
        counts.created = len(every)
        return Body(n=n, s=n - 1, windows=job.shapes, ids=pack_ids(every, kinds)), counts, every
    ids: list[int | str] = []
    marked: dict[object, list[int]] = {}
    found: list[tuple[int, Exceptional]] = []
    for line, slot in enumerate(job.slots, job.first):
        if isinstance(slot, Blank):
            counts.skipped_blank += 1
        else:
            tally(counts, letter_of(slot))
        if isinstance(slot, int | str):
            ids.append(slot)
        elif isinstance(slot, Exceptional):
            found.append((line, slot))
        elif isinstance(slot, Created | Updated | Blank):
            marked.setdefault(slot, []).append(line)
    body = Body(
        n=n,
        s=n - 1,
        windows=job.shapes,
        blanks=pack_lines(marked.get(Blank.BLANK, ())),
        unknown=pack_lines(marked.get(UNKNOWN_ID, ())),
        updated=pack_lines(marked.get(UPDATED, ())),
        unchanged=pack_lines(marked.get(UNCHANGED, ())),
        rejected=[(line, slot.offset, *slot.outcome) for line, slot in found if isinstance(slot.outcome, Rejected)],
        ambiguous=[
            (line, slot.offset, slot.outcome.reason) for line, slot in found if isinstance(slot.outcome, Ambiguous)
        ],
        ids=pack_ids(ids, kinds & ID_KINDS) if ids else None,
    )
    return body, counts, ids
