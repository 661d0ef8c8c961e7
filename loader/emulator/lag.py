"""How far behind the writes a reader is: which of the new rows it sees already."""

from __future__ import annotations

from collections import deque


class Lag:
    """New rows stay unseen for a while; keys grow. Holds the rows of that while only, and none if there is no lag."""

    def __init__(self, seconds: float, last_key: int) -> None:
        self._seconds = seconds
        self._seen = last_key
        # (when rows were created, the last one's key), oldest first
        self._fresh: deque[tuple[float, int]] = deque()

    def add(self, now: float, key: int) -> None:
        """Take note of a new row, or of the last of several."""
        if self._seconds:
            self._fresh.append((now, key))

    def newest(self, now: float) -> int | None:
        """Return the key of the newest row that is seen; None if all are."""
        if not self._seconds:
            return None
        while self._fresh and self._fresh[0][0] <= now - self._seconds:
            self._seen = self._fresh.popleft()[1]
        return self._seen
