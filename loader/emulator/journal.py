"""What happened: one fact a request, and the counts of all of them.

A fact holds no body, no header and no credential. Facts are bounded (the oldest go), counts are not. A fact is written when its
request ends, so that the order is that of the answers; `sequence` is the order of arrival. Rows that are committed after their
connection was lost stand in a second fact with the same sequence and fault "late_commit".
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

from loader.emulator.wire import Api, Operation


class Fact(NamedTuple):
    """One request. `arrived` is of the monotonic clock; `status` is 0 if no answer left, `ids` are the rows created."""

    sequence: int
    arrived: float
    method: str
    path: str
    api: Api
    operation: Operation
    records: int
    status: int
    ids: tuple[int | str, ...]
    fault: str | None


class Journal:
    """The facts and the counts. Written by the emulator's thread only; may be read from any."""

    def __init__(self, size: int) -> None:
        self._facts: deque[Fact] = deque(maxlen=size)
        self.requests = 0
        self.committed = 0
        """Rows created."""
        self.throttled = 0
        self.faults: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.operations: Counter[str] = Counter()

    def add(self, fact: Fact) -> None:
        """Take in one fact."""
        self._facts.append(fact)
        self.committed += len(fact.ids)
        self.statuses[fact.status] += 1
        self.operations[fact.operation] += 1
        if fact.fault is not None:
            self.faults[fact.fault] += 1

    def add_late(self, fact: Fact) -> None:
        """Take in the second fact of a request: rows written after it had ended."""
        self._facts.append(fact)
        self.committed += len(fact.ids)

    def facts(self) -> list[Fact]:
        """Copy the facts, oldest first. One step of the interpreter, so that no other thread can add in between."""
        return list(self._facts)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts())

    def __len__(self) -> int:
        return len(self._facts)
