"""Answers that are not the API's: of a login page, a firewall, a proxy's own error page.

One of them says nothing of the target, and little of the record. So they are counted in a row, which any readable answer ends. A
row is a fault of the way: the breaker opens, and then one record goes at a time, less and less often. When none of those
was answered readably either, the run stops, and shows what came instead.

A record is refused for such answers (`is_to_blame`) only if it met them every time, slowly, with the probe answered well
after each, while hardly any other record met one.
"""

from __future__ import annotations

from loader.delivery.breaker import Breaker
from loader.delivery.order import place_of
from loader.delivery.stop import Stop
from loader.model import Chunk, Halt

ROW_TO_OPEN = 5
"""As many as of the faults that open the breaker (`breaker.FAULTS_TO_OPEN`)."""
OPENINGS_TO_STOP = 6
"""The first, and five records that went alone after 1, 2, 4, 8 and 16 s: half a minute in which nothing readable came."""
BLOCKS_TO_REFUSE = 4
BLOCK_SECONDS = 1.0
"""A blocked record waits 1, 2 and 4 s: longer than the window of a limiter that answers with a 403 mostly is."""
MAX_SHARE = 0.2
"""Of the last answers: above it the way is at fault, or the speed, and no record is."""
FEW_RECORDS = 3
SHARE_DECAY = 0.98
"""The last 50 answers or so."""


class Strangers:
    """Counts answers that are not the API's."""

    def __init__(self, breaker: Breaker, stop: Stop) -> None:
        self._breaker = breaker
        self._stop = stop
        self._row = 0
        self._openings = 0
        self._share = 0.0
        self._places: set[tuple[int, int]] = set()
        """Records that met one in this row; a handful of them is enough to know."""

    def end_row(self, count: int) -> None:
        """Take note of readable answers."""
        self._row = self._openings = 0
        self._share *= SHARE_DECAY**count
        self._places.clear()

    def add(self, chunk: Chunk, said: str) -> None:
        """Take note of an answer that is not the API's. `said`: what came, safe to show."""
        self._row += 1
        self._share = SHARE_DECAY * self._share + 1 - SHARE_DECAY
        if len(self._places) <= FEW_RECORDS:
            self._places.add(place_of(chunk.records[0]))
        if self._row < ROW_TO_OPEN or self._breaker.is_open:
            return
        self._openings += 1
        self._breaker.distrust(self._openings)
        if self._openings >= OPENINGS_TO_STOP:
            message = f"{self._row} answers in a row are not the API's; the last: {said}"
            hint = (
                "somebody between here and the API answers in its place; mend that, then go on with `loader resume RUN`"
            )
            self._stop.halt(Halt("answers", message, hint))

    def is_to_blame(self, blocks: int) -> bool:
        """Say whether a record that was blocked so many times is at fault itself."""
        return blocks >= BLOCKS_TO_REFUSE and (self._share <= MAX_SHARE or len(self._places) <= FEW_RECORDS)
