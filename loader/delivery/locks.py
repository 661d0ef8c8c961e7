"""The locks of records that may not be in flight together, and what is parked behind them.

A lock is a text: equal keys, say. Or it is the lock of an update (`model.RowLock`), which tells rows apart only as well as the
updates of a run have been alike so far. Three levels, each coarser than the one before: by the filters' values; by the numbers
that the values begin with, once numbers and texts that begin with a number have both come (a database may hold 1547 equal to
"1547abc"); the table as a whole, once filters of other fields have come, which may mean the same row. A record that asks for a
coarser level waits until all that is out has its outcome, and so does everything after it: no two levels are in use at once. So
nothing has to be known of an earlier execution, except what it left open, and that comes first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from loader.model import Record
from loader.row_lock import NUMBER, NUMBER_AND_MORE, NUMBER_TEXT, TEXT, UNTOLD, ZERO, Lock, RowLock

GoLater: TypeAlias = Callable[[Record], None]

BY_VALUE, BY_NUMBER, TABLE = range(3)
WHOLE_TABLE = ("",)


class Likeness:
    """What the updates that were seen have shown of how well rows can be told apart. It only gets coarser."""

    def __init__(self) -> None:
        self.level = BY_VALUE
        self._fields: str | None = None
        self._forms = 0

    def take(self, lock: RowLock) -> int:
        """Take in one more update's lock; return the level from now on."""
        if self.level == TABLE or (lock.fields == self._fields and lock.forms | self._forms == self._forms):
            return self.level  # as nearly always
        self._forms |= lock.forms
        is_zero_any_text = self._forms & ZERO and self._forms & TEXT
        if (self._fields is not None and lock.fields != self._fields) or self._forms & UNTOLD or is_zero_any_text:
            self.level = TABLE
        elif self._forms & NUMBER_AND_MORE and self._forms & (NUMBER | NUMBER_TEXT):
            self.level = BY_NUMBER
        self._fields = lock.fields
        return self.level


def keys_of(lock: Lock, level: int) -> tuple[str, ...]:
    """Return what a lock holds at a level."""
    if isinstance(lock, str):
        return (lock,)
    return (lock.texts, lock.numbers, WHOLE_TABLE)[level]


class Parked:
    """A record that waits. `missing`: how many of its keys others hold; None while it waits for a coarser level."""

    __slots__ = ("go_later", "missing", "record")

    def __init__(self, record: Record, go_later: GoLater | None) -> None:
        self.record = record
        self.go_later = go_later
        self.missing: int | None = None


class Locks:
    """Who holds what, and who waits for it: in the order in which they came, so that nobody waits for one who came later."""

    def __init__(self) -> None:
        self._likeness = Likeness()
        self._level = BY_VALUE
        self._held: dict[str, deque[Parked] | None] = {}
        """By key: who waits behind the holder."""
        self._behind: deque[Parked] = deque()
        """Who waits for a coarser level, and all that came after."""
        self._parked: dict[int, Parked] = {}

    @property
    def parked(self) -> int:
        """Count the records that wait."""
        return len(self._parked)

    def acquire(self, record: Record, go_later: GoLater | None = None) -> bool:
        """Say whether a record may go now; else park it."""
        lock = record.lock
        if lock is None:
            return True
        level = self._likeness.take(lock) if isinstance(lock, RowLock) else self._level
        if self._behind or (level != self._level and self._held):
            self._behind.append(self._park(Parked(record, go_later)))
            return False
        self._level = level
        keys = keys_of(lock, level)
        if self._hold(keys):
            return True
        self._queue(keys, self._park(Parked(record, go_later)))
        return False

    def release(self, record: Record) -> list[Parked]:
        """Give a record's lock back; return those that may go now."""
        if record.lock is None:
            return []
        free = []
        for key in keys_of(record.lock, self._level):
            waiting = self._held.get(key)
            if not waiting:
                self._held.pop(key, None)
                continue
            first = waiting.popleft()
            assert first.missing is not None  # noqa: S101 -- it waits for a key; this tells mypy
            first.missing -= 1
            if not first.missing:
                free.append(self._unpark(first))
        return free + self._coarsen() if self._behind and not self._held else free

    def is_held(self, record: Record) -> bool:
        """Say whether somebody holds a record's lock, or waits for it at a coarser level."""
        if record.lock is None:
            return False
        return bool(self._behind) or not self._held.keys().isdisjoint(keys_of(record.lock, self._level))

    def unsent(self) -> list[Record]:
        """List the records that wait to be sent, and not to be asked about."""
        return [parked.record for parked in self._parked.values() if parked.go_later is None]

    def _hold(self, keys: Sequence[str]) -> bool:
        """Hold all keys if nobody holds one of them."""
        held = self._held
        for key in keys:
            if key in held:
                return False
        for key in keys:
            held[key] = None
        return True

    def _queue(self, keys: Sequence[str], parked: Parked) -> None:
        """Hold the keys that are free, and wait for the others."""
        parked.missing = 0
        for key in keys:
            if key not in self._held:
                self._held[key] = None
                continue
            parked.missing += 1
            queue = self._held[key]
            if queue is None:
                queue = self._held[key] = deque()
            queue.append(parked)

    def _coarsen(self) -> list[Parked]:
        """Begin the coarser level, now that nothing is out: take in all that has waited for it."""
        self._level = self._likeness.level
        waiting, self._behind = self._behind, deque()
        free = []
        for parked in waiting:
            keys = keys_of(parked.record.lock or "", self._level)
            if self._hold(keys):
                free.append(self._unpark(parked))
            else:
                self._queue(keys, parked)
        return free

    def _park(self, parked: Parked) -> Parked:
        self._parked[id(parked)] = parked
        return parked

    def _unpark(self, parked: Parked) -> Parked:
        del self._parked[id(parked)]
        return parked
