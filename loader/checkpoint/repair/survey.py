"""What is left of a damaged checkpoint.log, line by line: sound entries, bad bytes, missing numbers. Pure; judges nothing.

Unlike `replay`, which stops at the first bad line, this looks at all of them. A seal is believed wherever it stands, for nothing
but this run's writer can have made it: entries that changed places are put in order by their numbers, copies are counted once,
and an entry is found also where only the line feed beside it was hit.

A hole is a range of missing numbers. What it may have held is bounded by its count, and by what can still be seen of its bytes:
a tag of a dozen bytes that is whole was not made by damage. Bytes that say nothing may have been anything.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from loader.checkpoint.format import AnyEntry, Header, Snapshot, is_sealed
from loader.checkpoint.scan import open_line, split_lines

_BEGIN: Final = re.compile(rb'(?<![,\[])\{"t":"')  # not of the entries inside a snapshot
_END: Final = re.compile(rb',"c":"[0-9a-f]{8}"\}')
_PARTS: Final = re.compile(rb'\n|(?<![,\[])(?=\{"t":")')
_TAG: Final = re.compile(rb'\{"t":"(opened|intent|outcomes|doubt|note|snapshot)","n":')
_CONTROL: Final = bytes(range(32))

_MAX_STRAY_BYTES: Final = 3  # control bytes in a line that lost a few bits; a sector of zeros or noise has dozens
_MIN_ENTRY_BYTES: Final = 60  # of the shortest note
_MIN_INTENT_BYTES: Final = 80
_SHAPE: Final = re.compile(rb'^\{"t":"[a-z]+","n":\d+,"s":-?\d+,.*,"c":"[0-9a-f]{8}"\}$', re.DOTALL)


class Spot(NamedTuple):
    """Where a sound entry stands."""

    n: int
    offset: int
    end: int
    check: bytes


class Scrap(NamedTuple):
    """Bytes that are no sound entry."""

    offset: int
    end: int


class Hole(NamedTuple):
    """Missing entries. `missing` None: at the end of the log, nobody knows how many."""

    first_n: int
    missing: int | None
    offset: int
    size: int
    max_intents: int
    may_hold_outcomes: bool
    may_hold_opened: bool
    is_base: bool = False
    """It may have held the snapshot that says what earlier generations knew."""

    @property
    def last_n(self) -> int:
        """Return the highest number that is known to be missing."""
        return self.first_n + (self.missing or 1) - 1


@dataclass
class Survey:
    """What is there. `spots` are ascending in `n`, each number once."""

    size: int = 0
    header: Header | None = None
    header_end: int = 0
    spots: list[Spot] = field(default_factory=list)
    scraps: list[Scrap] = field(default_factory=list)
    repeats: list[Spot] = field(default_factory=list)  # behind an entry with the same or a higher number
    conflicts: list[tuple[Spot, Spot]] = field(default_factory=list)  # one number, two contents: neither is believed
    base_n: int = 1  # where the numbers begin
    is_rotated: bool = False
    shaped: int = 0  # bad lines that look sealed, where no line is sealed by this run

    @property
    def last_n(self) -> int:
        """Return the highest number that is there; -1 where there is none."""
        return self.spots[-1].n if self.spots else self.header.n if self.header else -1


def survey_log(blocks: Iterable[bytes], seed: int, name: str) -> Survey:
    """Look at every line. Errors: LogDamaged where a later version of loader wrote in it."""
    found = Survey()
    spots: dict[int, Spot] = {}
    highest = -1
    first: AnyEntry | None = None
    for offset, data, entry in pieces(blocks, seed, name):
        found.size = offset + len(data)
        if entry is None:
            found.shaped += looks_sealed(data)
            add_scrap(found.scraps, offset, found.size)
            continue
        spot = Spot(entry.n, offset, found.size, data.rstrip(b"\n")[-10:-2])
        if entry.n <= highest:
            found.repeats.append(spot)
        highest = max(highest, entry.n)
        if isinstance(entry, Header):
            if found.header is None or entry.n > found.header.n:
                found.header, found.header_end = entry, found.size
            continue
        first = first or entry
        _add_spot(found, spots, spot)
    for one, _ in found.conflicts:
        spots.pop(one.n, None)
    found.shaped *= highest < 0
    if found.header:
        found.base_n, found.is_rotated = found.header.n + 1, found.header.generation > 0
    elif isinstance(first, Snapshot):
        found.base_n, found.is_rotated = first.n, True
    found.spots = [spots[n] for n in sorted(spots) if n >= found.base_n]
    return found


def find_holes(survey: Survey, read: Callable[[int, int], bytes]) -> list[Hole]:
    """Return what is missing, in the order of the numbers. `read` gives bytes of the log: offset, size."""
    holes = []
    expected, at = survey.base_n, survey.header_end
    for spot in survey.spots:
        if spot.n > expected:
            holes.append(_hole(survey, read, expected, spot.n - expected, (at, spot.offset)))
        expected, at = spot.n + 1, spot.end
    end = max([survey.header_end, *(spot.end for spot in survey.spots)])
    tail = _hole(survey, read, expected, None, (end, survey.size))
    if tail.max_intents or tail.may_hold_outcomes or tail.may_hold_opened:
        holes.append(tail)
    return holes


def _hole(
    survey: Survey, read: Callable[[int, int], bytes], first_n: int, missing: int | None, span: tuple[int, int]
) -> Hole:
    scraps = [scrap for scrap in survey.scraps if span[0] <= scrap.offset and scrap.end <= span[1]]
    data = b"\n".join([read(scrap.offset, scrap.end - scrap.offset) for scrap in scraps])
    seen, unclear_bytes = _contents(data, is_end=missing is None)
    unknown = max(0, missing - seen.total()) if missing is not None else unclear_bytes // _MIN_ENTRY_BYTES
    return Hole(
        first_n,
        missing,
        scraps[0].offset if scraps else span[0],
        sum(scrap.end - scrap.offset for scrap in scraps),
        seen["intent"] + (unknown if missing is not None else unclear_bytes // _MIN_INTENT_BYTES),
        unknown > 0 or seen["outcomes"] > 0,
        unknown > 1 or seen["opened"] > 0,
        # without a header nobody knows whether the log ever had an earlier generation
        is_base=first_n == survey.base_n and (survey.is_rotated or survey.header is None),
    )


def _contents(data: bytes, *, is_end: bool) -> tuple[Counter[str], int]:
    """Count the entries whose kind can still be seen, and the bytes that say nothing.

    At the end of the log what lacks its newline was never whole, so it was not acknowledged.
    """
    seen: Counter[str] = Counter()
    unclear_bytes = 0
    parts = _PARTS.split(data)
    for count, part in enumerate(parts, 1):
        tag = _TAG.match(part)
        if not tag or len(part) - len(part.translate(None, _CONTROL)) > _MAX_STRAY_BYTES:
            unclear_bytes += len(part)
        elif not is_end or count < len(parts):
            seen[tag[1].decode()] += 1
    return seen, unclear_bytes


def looks_sealed(data: bytes) -> bool:
    """Say whether bytes have the shape of an entry, whatever their seal."""
    return bool(_SHAPE.match(data.rstrip(b"\n")))


def _add_spot(found: Survey, spots: dict[int, Spot], spot: Spot) -> None:
    known = spots.setdefault(spot.n, spot)
    if known.check != spot.check:
        found.conflicts.append((known, spot))


def add_scrap(scraps: list[Scrap], offset: int, end: int) -> None:
    """Note bad bytes, joined with those right before them."""
    if scraps and scraps[-1].end == offset:
        scraps[-1] = Scrap(scraps[-1].offset, end)
    else:
        scraps.append(Scrap(offset, end))


def pieces(blocks: Iterable[bytes], seed: int, name: str) -> Iterator[tuple[int, bytes, AnyEntry | None]]:
    """Yield offset, bytes and entry of every line; bad lines are taken apart where a sealed entry is in them."""
    offset = 0
    for line in split_lines(blocks):
        entry = open_line(line, seed, name)
        if entry is not None:
            yield offset, line, entry
        else:
            yield from _take_apart(line, offset, seed, name)
        offset += len(line)


def _take_apart(line: bytes, offset: int, seed: int, name: str) -> Iterator[tuple[int, bytes, AnyEntry | None]]:
    begins = [match.start() for match in _BEGIN.finditer(line)]
    at = 0
    for close in _END.finditer(line) if begins else ():
        end = close.end()
        begin = next((begin for begin in begins if at <= begin < end and is_sealed(line[begin:end], seed)), None)
        if begin is None:
            continue
        if begin > at:
            yield offset + at, line[at:begin], None
        yield offset + begin, line[begin:end], open_line(line[begin:end] + b"\n", seed, name)
        at = end
    if at < len(line):
        yield offset + at, line[at:], None
