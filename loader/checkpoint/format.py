"""The wire form of the checkpoint log: entry <-> one sealed line. Pure: no file, no clock, no state.

FORMAT.md beside this file is the description; the two change together, and with any change that an older loader would
misread `FORMAT` goes up. What every line shares: the type `t` first, the sequence number `n`, `s` (the highest `n` known
durable when the line was written), and the checksum `c` last. The checksum is seeded with the run's id, so that a line of
another log never validates, and its eight digits are compared as bytes: every bit of a line is covered.

The second file (`checkpoint.settled`) has the same form under another seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from isal.isal_zlib import crc32

from loader.model import Counts

FORMAT: Final = 1

LOG_SEED: Final = b"loader checkpoint.log "
SETTLED_SEED: Final = b"loader checkpoint.settled "

# ,"c":"01234567"} closes every line
_CHECK: Final = b',"c":"'
_CLOSE: Final = b'"}'
_TAIL_BYTES: Final = len(_CHECK) + 8 + len(_CLOSE)

MIN_RUN_LENGTH: Final = 3  # shorter runs of numbers are smaller as single numbers

Lines: TypeAlias = list[int | tuple[int, int]]
"""Line numbers in a given order: a number stands for itself, a pair for first..end (end excluded)."""

RejectedRow: TypeAlias = tuple[int, int, str, str, str]
"""Line, offset, stage, code, message."""

AmbiguousRow: TypeAlias = tuple[int, int, str]
"""Line, offset, reason."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="t"):
    """What every line of either file has."""

    n: int
    s: int


class Header(Entry, frozen=True, kw_only=True, tag="header"):
    """The first line of either file. `settled`: what a later generation needs of checkpoint.settled: bytes, checksum."""

    format: int
    run: str
    created: str = ""
    generation: int = 0
    bound: dict[str, Any] = {}
    settled: tuple[int, str] | None = None


class Opened(Entry, frozen=True, kw_only=True, tag="opened"):
    """A process took the log."""

    pid: int
    version: str
    time: str


class Intent(Entry, frozen=True, kw_only=True, tag="intent"):
    """The records of these lines may be sent from now on."""

    source: int
    lines: tuple[int, int]
    bytes: tuple[int, int]
    crc: int
    records: int = 0
    blanks: Lines = []


class Outcomes(Entry, frozen=True, kw_only=True, tag="outcomes"):
    """How lines of one window ended. `ids` are those of `created`, in its order.

    `was` is empty for first outcomes. For amended ones it has a letter a line, in the order in which the lines stand here:
    what the line was before (`windows.Letter`).
    """

    source: int
    created: Lines = []
    ids: list[int | str | None] = []
    updated: Lines = []
    unchanged: Lines = []
    rejected: list[RejectedRow] = []
    ambiguous: list[AmbiguousRow] = []
    was: str = ""


class Doubt(Entry, frozen=True, kw_only=True, tag="doubt"):
    """A request with these lines may have been applied; it is being found out. Only informs."""

    source: int
    lines: Lines
    reason: str


class Note(Entry, frozen=True, kw_only=True, tag="note"):
    """A named value; the last one of a name counts."""

    name: str
    value: Any


class Snapshot(Entry, frozen=True, kw_only=True, tag="snapshot"):
    """Everything that is known and not in checkpoint.settled, so that reading may begin here.

    `settled` says how much of that file this relies on. The nested entries keep the `n` of their last change.
    """

    settled: tuple[int, str]
    executions: int = 0
    notes: dict[str, Any] = {}
    windows: list[Intent] = []
    outcomes: list[Outcomes] = []
    doubts: list[Doubt] = []
    amended: list[Outcomes] = []


class Fold(Entry, frozen=True, kw_only=True, tag="fold"):
    """Head of a folded range in checkpoint.settled; its body is the next line, `body` bytes long.

    `upto`: entries of the log up to this `n` are in it. `start`: generation, offset and `n` of the snapshot where reading the
    log may begin once all folds up to here are known; None before the first one. `ints`, `texts`: lowest and highest id.
    """

    source: int
    lines: tuple[int, int]
    bytes: tuple[int, int]
    counts: Counts
    upto: int
    body: int
    start: tuple[int, int, int] | None = None
    ints: tuple[int, int] | None = None
    texts: tuple[str, str] | None = None


class Packed(msgspec.Struct, frozen=True):
    """Ids, packed (`id_codec`)."""

    form: str
    count: int
    size: int
    data: str


class Body(Entry, frozen=True, kw_only=True, tag="body"):
    """What a fold holds. Lines named nowhere else were created, with `ids` in line order.

    `windows`: end line, end offset and checksum of the raw lines, one after another. `unknown`: created, id not learnt.
    """

    windows: list[tuple[int, int, int]]
    blanks: Lines = []
    unknown: Lines = []
    updated: Lines = []
    unchanged: Lines = []
    rejected: list[RejectedRow] = []
    ambiguous: list[AmbiguousRow] = []
    ids: Packed | None = None


AnyEntry: TypeAlias = Header | Opened | Intent | Outcomes | Doubt | Note | Snapshot | Fold | Body

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEntry] = msgspec.json.Decoder(AnyEntry)


def seed_of(run_id: str, kind: bytes = LOG_SEED) -> int:
    """Return what the checksums of a run's file begin from."""
    return zlib.crc32(run_id.encode(), zlib.crc32(kind))


def seal(entry: Entry, seed: int) -> bytes:
    """Write an entry as one line, newline included."""
    content = _encoder.encode(entry)[:-1]
    return b'%b,"c":"%08x"}\n' % (content, crc32(content, seed))


def checksum(line: bytes) -> str:
    """Return the checksum's text of a sealed line, newline included."""
    return line[-11:-3].decode("ascii", "replace")


def is_sealed(line: bytes, seed: int) -> bool:
    """Say whether a line (without its newline) is just what `seal` wrote under this seed."""
    if line[-_TAIL_BYTES:-10] != _CHECK or line[-2:] != _CLOSE:
        return False
    return line[-10:-2] == b"%08x" % zlib.crc32(memoryview(line)[:-_TAIL_BYTES], seed)


def decode(line: bytes) -> AnyEntry:
    """Read an entry from a sealed line (without its newline) whose checksum holds.

    Errors: ValueError where this loader does not know the entry; its checksum holds, so another version wrote it.
    """
    return _decoder.decode(line[:-_TAIL_BYTES] + b"}")


def pack_lines(numbers: Sequence[int]) -> Lines:
    """Write line numbers short, in their order: runs of `MIN_RUN_LENGTH` and more become pairs."""
    count = len(numbers)
    if count < MIN_RUN_LENGTH:
        return [*numbers]
    if isinstance(numbers, range) or list(numbers) == list(range(numbers[0], numbers[0] + count)):
        return [(numbers[0], numbers[0] + count)]
    packed: Lines = []
    for first, end in line_runs(numbers):
        if end - first >= MIN_RUN_LENGTH:
            packed.append((first, end))
        else:
            packed.extend(range(first, end))
    return packed


def line_runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs of numbers that follow each other, in their order: first and end, end excluded."""
    first = end = None
    for number in numbers:
        if number != end:
            if first is not None and end is not None:
                yield first, end
            first = number
        end = number + 1
    if first is not None and end is not None:
        yield first, end


def each_line(lines: Lines) -> Iterator[int]:
    """Yield the line numbers, in their order."""
    for item in lines:
        if isinstance(item, int):
            yield item
        else:
            yield from range(*item)
