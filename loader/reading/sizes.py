"""How many lines make a window, and how many records may wait; both follow from the target and the options. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from loader.settings import Options

MIN_WINDOW_LINES = 64
WINDOW_ROUNDS = 4
"""Each window costs a sync of the disk before it is sent, some 200 us of CPU: with two rounds that is 1.5 us a record."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers that follow from target and options."""

    concurrency: int
    max_records: int
    window_lines: int

    @property
    def lookahead(self) -> int:
        """Return how many records may wait for a worker before reading pauses."""
        return self.window_lines // 2

    @property
    def crash_bound(self) -> int:
        """Return how many records a crash can leave ambiguous: in flight, waiting, and one window read ahead."""
        return self.concurrency * self.max_records + self.lookahead + self.window_lines


def sizes_of(max_records: int, concurrency: int, options: Options) -> Sizes:
    """Choose the sizes. `max_records` and `concurrency`: the target's own, of one request and of requests in flight.

    A window is one chunk if a request takes many records, and some rounds of all workers if it takes one.
    """
    is_single = max_records == 1
    concurrency = 1 if options.is_ordered else options.concurrency or concurrency
    max_records = min(options.max_records, max_records)
    window_lines = WINDOW_ROUNDS * concurrency if is_single else max_records * max(1, MIN_WINDOW_LINES // max_records)
    return Sizes(concurrency, max_records, max(MIN_WINDOW_LINES, window_lines))
