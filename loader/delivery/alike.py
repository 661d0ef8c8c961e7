"""Records that all end alike: ambiguous, by the same words of a target that is well otherwise.

Where nothing can be asked about them, each further one would only be one more of unknown fate. So the run stops after a handful.
"""

from __future__ import annotations

from loader.delivery.breaker import Breaker
from loader.delivery.stop import Stop
from loader.model import Halt, Unknown

RECORDS_TO_STOP = 10
LONE_FAULTS_TO_STOP = 3
"""Good probes, each of them followed by one more record that met the same."""
SERVER_ERRORS_OF_RECORDS = frozenset({500, 501, 505, 506, 507, 508, 510, 511})
"""The others are of the way to the target, or of its load, and pass."""


class Alike:
    """Counts records in a row that met the same fault."""

    def __init__(self, breaker: Breaker, stop: Stop, *, can_ask: bool = False) -> None:
        self._can_ask = can_ask
        self._breaker = breaker
        self._stop = stop
        self._reason = ""
        self._row = 0

    def end_row(self) -> None:
        """Take note of a good answer."""
        self._row = 0

    def add(self, verdict: Unknown, records: int) -> None:
        """Take note of records that are ambiguous now."""
        if self._can_ask or verdict.status not in SERVER_ERRORS_OF_RECORDS:
            return
        self._row = records + (self._row if verdict.reason == self._reason else 0)
        self._reason = verdict.reason
        if self._row >= RECORDS_TO_STOP and self._breaker.lone_faults >= LONE_FAULTS_TO_STOP:
            message = f"{self._row} records in a row ended alike: {self._reason}"
            hint = "mend the records or the target; with --key or --stamp such records can be asked about, and are rejected"
            self._stop.halt(Halt("answers", message, hint))
