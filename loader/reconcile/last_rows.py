"""Records that are at fault though no other one can show it: they are the last of the run, and the target fails on them alone.

Elsewhere a record is blamed because others succeed meanwhile (`reconciler`). Here there are no others. What speaks against the
record instead: the same words each time, for a minute at least, from a target that answers the questions about it, and that
had each of them absent. Faults of the way or of its load never count.
"""

from __future__ import annotations

from collections.abc import Callable

from loader.delivery.order import place_of
from loader.delivery.queue import ChunkQueue
from loader.model import Record, Rejected
from loader.reconcile.doubt import PASSING_STATUSES, Doubt, Fault
from loader.runtime import Runtime

SAME_FAULTS = 5
LEAST_SECONDS = 60.0
"""A database that is restarted is back in less."""
FEW_RECORDS = 20
"""More of them that all fail look like a target that fails."""
REMEMBERED_RECORDS = 1000
FIRST_SERVER_ERROR = 500


class LastRows:
    """Remembers who met which fault since when."""

    def __init__(self, runtime: Runtime, queue: ChunkQueue, on_blame: Callable[[], None]) -> None:
        self._on_blame = on_blame
        self._runtime = runtime
        self._queue = queue
        self._met: dict[tuple[int, int], tuple[str, float, int]] = {}
        """Place of a record: the words of its faults, when the first came, how many."""

    def add(self, record: Record, status: int, reason: str) -> None:
        """Take note of a fault."""
        place = place_of(record)
        words, since, count = self._met.pop(place, (reason, self._runtime.clock(), 0))
        if words != reason:
            since, count = self._runtime.clock(), 0
        if status >= FIRST_SERVER_ERROR and status not in PASSING_STATUSES and last_words(reason):
            self._met[place] = (reason, since, count + 1)
            if len(self._met) > REMEMBERED_RECORDS:
                del self._met[next(iter(self._met))]

    def forget(self, record: Record) -> None:
        """Forget a record that has an outcome."""
        self._met.pop(place_of(record), None)

    def is_to_blame(self, record: Record) -> bool:
        """Say whether a record that is absent now is at fault."""
        if self._queue.outstanding > FEW_RECORDS:
            return False
        _, since, count = self._met.get(place_of(record), ("", 0.0, 0))
        return count >= SAME_FAULTS and self._runtime.clock() - since >= LEAST_SECONDS

    def rejected(self, fault: Fault, doubt: Doubt) -> Rejected:
        """Refuse a record that the target fails on, be it among others or alone, with the target's own words."""
        self._on_blame()
        message = f"the target answered {fault.status} {fault.count} times, and did not create the record"
        return Rejected("target", str(fault.status), message + last_words(doubt.reason))


def last_words(reason: str) -> str:
    """Say what the answer said for whose sake there is a doubt; nothing if it had no words."""
    words = reason.removeprefix("the target answered ")
    return f"; the last: {words}" if ":" in words else ""


def with_more(reason: str, more: str) -> str:
    """Join two reasons; a record that is asked about in every execution keeps a short one."""
    return reason if reason.endswith(more) else f"{reason}; {more}"
