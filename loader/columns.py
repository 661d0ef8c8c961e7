"""Many records held as columns instead of one object each, so that large chunks load fast. Pure.

If a target only needs to know that each line is a good object, a window's lines travel as they were read. They are checked,
spliced and settled together, and no object is made for a single record. Both classes are sequences of the types of `model`, so
code that looks at single records (a rejected or an ambiguous one, a halved chunk) need not know of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate, count
from typing import NamedTuple, TypeGuard, overload

from loader.model import Created, Record, new_tuple

_ONLY_CREATED = {Created}


class Splice(NamedTuple):
    """How to build records without decoding single lines: put `prefix` in place of each line's `{`.

    `prefix` is `{` and members, each with its comma. Allowed only if no line has a member named in `forbidden`, and if
    `names_ok(names)` is true for the names that it has (None: any name is). `forbidden` is apart because it can be ruled out
    without decoding. `stamp_of(source, line)` makes a line's stamp. It goes first, into the member that `stamp_prefix` begins.
    """

    prefix: bytes
    forbidden: tuple[str, ...]
    stamp_prefix: bytes = b""
    stamp_of: Callable[[int, int], str] | None = None
    names_ok: Callable[[Collection[str]], bool] | None = None


class RecordBlock(Sequence[Record]):
    """The records of adjacent lines. `raw` is `count` lines as read, each ending with LF; `lines` is the same, cut."""

    __slots__ = ("_count", "_lines", "_splice", "first", "offset", "raw", "source")

    def __init__(
        self,
        source: int,
        first: int,
        offset: int,
        raw: bytes,
        count: int,
        splice: Splice,
        lines: list[bytes] | None = None,
    ) -> None:
        self.source = source
        self.first = first
        self.offset = offset
        self.raw = raw
        self._count = count
        self._splice = splice
        self._lines = lines

    def __len__(self) -> int:
        return self._count

    @property
    def lines(self) -> list[bytes]:
        """The lines, cut only when single ones are needed."""
        if self._lines is None:
            self._lines = [line + b"\n" for line in self.raw.removesuffix(b"\n").split(b"\n")] if self._count else []
        return self._lines

    def __iter__(self) -> Iterator[Record]:
        return self._records(self.lines, self.first, self.offset)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> RecordBlock: ...
    def __getitem__(self, index: int | slice) -> Record | RecordBlock:
        """Return one record, or a block of adjacent ones."""
        if isinstance(index, slice):
            start, _, step = index.indices(self._count)
            if step != 1:
                raise ValueError("a part of a block has no gaps")
            lines = self.lines[index]
            offset = self._offset_of(start)
            return RecordBlock(self.source, self.first + start, offset, b"".join(lines), len(lines), self._splice)
        at = range(self._count)[index]
        return next(self._records([self.lines[at]], self.first + at, self._offset_of(at)))

    @property
    def numbers(self) -> range:
        """The records' line numbers."""
        return range(self.first, self.first + self._count)

    @property
    def data_bytes(self) -> int:
        """The size of all records' data, without commas between them."""
        size = len(self.raw) + self._count * (len(self._splice.prefix) - len(b"{\n"))
        if self._splice.stamp_of is not None:
            size += sum(map(len, self._stamps(self.numbers))) + self._count * (
                len(self._splice.stamp_prefix) + len(b'",') - 1
            )
        return size

    def data(self) -> bytes | memoryview:
        """Return the data of all records, with commas between them."""
        prefix = self._splice.prefix
        if self._splice.stamp_of is None:
            # One pass over all lines instead of a copy of each. It is right if no line has another brace than its first.
            replaced = self.raw.replace(b"{", prefix)
            if len(replaced) == len(self.raw) + self._count * (len(prefix) - len(b"{")):
                return memoryview(replaced.replace(b"\n", b","))[: -len(b",")]
            return prefix + (b"," + prefix).join([line[1:-1] for line in self.lines])
        return b",".join(self._stamped(self.lines, self._stamps(self.numbers)))

    def _stamps(self, numbers: range) -> list[str]:
        stamp_of, source = self._splice.stamp_of, self.source
        assert stamp_of is not None  # noqa: S101 -- every caller has checked it; this tells mypy
        return [stamp_of(source, number) for number in numbers]

    def _stamped(self, lines: list[bytes], stamps: list[str]) -> list[bytes]:
        """Return the data of some lines, each with its stamp."""
        before, after = self._splice.stamp_prefix, b'",' + self._splice.prefix[1:]
        return [before + stamp.encode() + after + line[1:-1] for stamp, line in zip(stamps, lines, strict=True)]

    def _offset_of(self, at: int) -> int:
        return self.offset + sum(map(len, self.lines[:at]))

    def _records(self, lines: list[bytes], first: int, offset: int) -> Iterator[Record]:
        """Make the records of some adjacent lines."""
        source, prefix = self.source, self._splice.prefix
        offsets = accumulate(map(len, lines), initial=offset)
        if self._splice.stamp_of is None:
            places = zip(count(first), offsets, lines, strict=False)
            return (
                new_tuple(Record, (source, number, start, prefix + line[1:-1], None, None))
                for number, start, line in places
            )
        stamps = self._stamps(range(first, first + len(lines)))
        rows = zip(count(first), offsets, self._stamped(lines, stamps), stamps, strict=False)
        return (new_tuple(Record, (source, number, start, data, stamp, None)) for number, start, data, stamp in rows)


class CreatedIds(Sequence[Created]):
    """Outcomes of records that were all created, with the ids that the target gave."""

    __slots__ = ("ids",)

    def __init__(self, ids: list[int | str]) -> None:
        self.ids = ids

    def __repr__(self) -> str:
        return f"CreatedIds({self.ids})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # it is equal to a tuple of the same, and has another hash

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Created]:
        return map(Created, self.ids)

    @overload
    def __getitem__(self, index: int) -> Created: ...
    @overload
    def __getitem__(self, index: slice) -> CreatedIds: ...
    def __getitem__(self, index: int | slice) -> Created | CreatedIds:
        """Return one outcome, or some of them."""
        return CreatedIds(self.ids[index]) if isinstance(index, slice) else Created(self.ids[index])


def are_created(outcomes: Sequence[object]) -> TypeGuard[Sequence[Created]]:
    """Say whether all outcomes of some records are Created."""
    return isinstance(outcomes, CreatedIds) or set(map(type, outcomes)) == _ONLY_CREATED
