"""Which ambiguous updates were overtaken: behind them another one was read that may be of the same row.

To send such an update again now would undo the later one, so it stays ambiguous. The later ones may stand in later sources, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from loader.checkpoint import AmbiguousLine, CheckpointLog
from loader.delivery.locks import BY_VALUE, TABLE, Likeness, keys_of
from loader.delivery.order import place_of
from loader.model import Record
from loader.reading.readers import Reader
from loader.reading.windows import Shaper, WindowBuilder
from loader.row_lock import Lock, RowLock

Place = tuple[int, int]


class Ambiguities:
    """The ambiguous updates of a source that nobody has overtaken yet."""

    def __init__(self) -> None:
        self.overtaken: set[Place] = set()
        self._left: dict[Place, Lock] = {}
        self._by_key: dict[tuple[str, str], set[Place]] = {}
        """By the fields of a lock and one of its keys."""
        self._likeness = Likeness()
        self._level = BY_VALUE

    def add(self, record: Record) -> None:
        """Take in an ambiguous update."""
        if record.lock is not None:
            self._take(record.lock)
            self._left[place_of(record)] = record.lock
            self._index(place_of(record), record.lock)

    def overtake(self, record: Record) -> None:
        """Take in an update that was read behind those that were added."""
        lock = record.lock
        if lock is None:
            return
        self._take(lock)
        for place in list(self._behind_which(lock)):
            self.overtaken.add(place)
            self._left.pop(place, None)

    def _behind_which(self, lock: Lock) -> Iterator[Place]:
        fields = lock.fields if isinstance(lock, RowLock) else ""
        for key in keys_of(lock, self._level):
            yield from self._by_key.pop((fields, key), ())
        for other in [one for one in self._by_key if one[0] != fields]:  # filters of other fields may mean the same row
            yield from self._by_key.pop(other)

    def _take(self, lock: Lock) -> None:
        """Compare by numbers, or not at all, from where the updates were so."""
        level = self._likeness.take(lock) if isinstance(lock, RowLock) else BY_VALUE
        if level != self._level:
            self._level = level
            self._by_key.clear()
            for place, left in self._left.items():
                self._index(place, left)

    def _index(self, place: Place, lock: Lock) -> None:
        fields = lock.fields if isinstance(lock, RowLock) and self._level != TABLE else ""
        for key in keys_of(lock, self._level):
            self._by_key.setdefault((fields, key), set()).add(place)


def find_overtaken(
    log: CheckpointLog,
    shaper: Shaper,
    window_lines: int,
    readers: Sequence[Reader],
    source: int,
    rows: Sequence[AmbiguousLine],
    all_rows: Sequence[AmbiguousLine],
) -> set[int]:
    """Return those lines of `rows`, which are the source's, behind which another update of the same row was read."""
    asked, every = {(row.source, row.line) for row in rows}, {(row.source, row.line) for row in all_rows}
    found = Ambiguities()
    for reader in readers:
        if reader.source < source:
            continue
        end = log.state.last_intent_end(reader.source)[1]
        first = (rows[0].line, rows[0].offset or 0) if reader.source == source else (1, 0)
        if first[1] >= end:
            continue
        builder = WindowBuilder(shaper, window_lines, reader.format)
        for block in chain(reader.again(reader.cursor(), *first, end), (None,)):
            for window in builder.flush() if block is None else builder.feed(block):
                for record in window.records:
                    if place_of(record) in asked:
                        found.add(record)
                    elif place_of(record) not in every:
                        found.overtake(record)
    return {line for _, line in found.overtaken}
