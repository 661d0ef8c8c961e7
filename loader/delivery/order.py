"""The order of records: which of those that are outstanding comes first. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from loader.model import Record


class SourceOrder:
    """Knows the first outstanding record, whatever the order in which records come and go."""

    def __init__(self) -> None:
        self._places: list[tuple[int, int]] = []  # a heap of (source, line)
        self._left: set[tuple[int, int]] = set()

    def enter(self, records: Sequence[Record]) -> None:
        """Take note of records that are outstanding now."""
        for record in records:
            heapq.heappush(self._places, place_of(record))

    def leave(self, records: Sequence[Record]) -> None:
        """Take note of records that have an outcome."""
        self._left.update(map(place_of, records))
        while self._places and self._places[0] in self._left:
            self._left.remove(heapq.heappop(self._places))

    def is_first(self, record: Record) -> bool:
        """Say whether every record before this one has an outcome."""
        return self._places[0] == place_of(record)

    def count_first(self, records: Sequence[Record]) -> int:
        """Count how many of these records, from the first on, come next with no other between them."""
        waiting = heapq.nsmallest(len(records) + len(self._left), self._places)
        places = [place for place in waiting if place not in self._left]
        pairs = zip(map(place_of, records), places, strict=False)
        return next((count for count, (mine, next_one) in enumerate(pairs) if mine != next_one), len(records))


def place_of(record: Record) -> tuple[int, int]:
    """Return where a record stands in the sources."""
    return record.source, record.number
