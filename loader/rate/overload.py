"""Whether faults (5xx, 403 pages, lost connections) come from the rate, so that they have to be taken for 429s.

A gateway may limit with any status, or just close. What tells a limit from an unreliable target is the share of faults: behind a
limit it grows with the rate, else it is the same at any rate. So answers and faults are counted by the rate in force when their
requests were sent. Pure: no clock, no random draw.

A suspicion arises where the share at the present rate is far above that at lower ones, or is high and nothing was sent slower yet.
While it lasts every fault counts as a 429, so the rate goes down. If as many fail at a little more than half of the rate, it is
refuted: the rate was not the cause.
"""

from __future__ import annotations

from enum import Enum
from math import log2, sqrt

STEPS_PER_OCTAVE = 4
NEAR_STEPS, LOWER_STEPS = 1, 2
"""Rates within a fifth count as the present one, those below seven tenths as lower."""
MAX_ANSWERS = 2000
"""Counted at one rate; then half of it is forgotten, so that a target may change."""
FEWEST_FAULTS, FEWEST_ROWS = 3, 2
"""Faults, in rows that good answers end. A single row is an outage, which the breaker deals with."""
FEWEST_LOWER = 20
SUSPICIOUS_SHARE = 0.05
DEVIATIONS = 3.0
REFUTING_SHARE = 0.5
REFUTING_RATE = 0.65
FEWEST_REFUTING = 40


class Cause(Enum):
    """What is known of the faults: nothing yet, that they come from the rate, that they come at any rate."""

    UNKNOWN = "unknown"
    RATE = "rate"
    ANYTHING = "anything"


class FaultShares:
    """Counts answers and faults by rate."""

    def __init__(self) -> None:
        self.cause = Cause.UNKNOWN
        self.suspected_rate = 0.0
        """The rate at which the suspicion arose."""
        self._shares: dict[int, list[float]] = {}
        """Step of the rate -> answers, faults, rows of faults. Bounded: there are few steps between any two rates."""
        self._is_in_row = False

    def good(self, rate: float, count: int = 1) -> None:
        """Count answers that are no faults."""
        share = self._at(rate)
        share[0] += count
        self._is_in_row = False
        if share[0] > MAX_ANSWERS:
            share[:] = [value / 2 for value in share]

    def fault(self, rate: float) -> bool:
        """Count a fault of a request sent at a rate. Say whether a suspicion was refuted by it."""
        share = self._at(rate)
        share[0] += 1
        share[1] += 1
        if not self._is_in_row:
            share[2] += 1
            self._is_in_row = True
        if self.cause is Cause.RATE:
            if self._is_refuted(rate):
                self.cause = Cause.ANYTHING
                return True
        elif self._is_suspicious(rate):
            self.cause, self.suspected_rate = Cause.RATE, rate
        return False

    def _is_suspicious(self, rate: float) -> bool:
        step = _step(rate)
        answers, faults, rows = self._sum(step - NEAR_STEPS, 10**6)
        if faults < FEWEST_FAULTS or rows < FEWEST_ROWS:
            return False
        lower_answers, lower_faults, _ = self._sum(-(10**6), step - LOWER_STEPS)
        if lower_answers < FEWEST_LOWER:
            return self.cause is Cause.UNKNOWN and faults >= SUSPICIOUS_SHARE * answers
        expected = answers * (lower_faults + 1) / (lower_answers + 1)
        return faults > expected + DEVIATIONS * sqrt(expected)

    def _is_refuted(self, rate: float) -> bool:
        if rate > REFUTING_RATE * self.suspected_rate:
            return False
        limit = _step(REFUTING_RATE * self.suspected_rate)
        answers, faults, _ = self._sum(-(10**6), limit)
        above_answers, above_faults, _ = self._sum(limit + 1, 10**6)
        if answers < FEWEST_REFUTING or faults < FEWEST_FAULTS:
            return False
        return faults / answers >= REFUTING_SHARE * above_faults / max(above_answers, 1.0)

    def _at(self, rate: float) -> list[float]:
        step = _step(rate)
        share = self._shares.get(step)
        if share is None:
            share = self._shares[step] = [0.0, 0.0, 0.0]
        return share

    def _sum(self, first: int, last: int) -> tuple[float, float, float]:
        found = [share for step, share in self._shares.items() if first <= step <= last]
        return sum(share[0] for share in found), sum(share[1] for share in found), sum(share[2] for share in found)


def _step(rate: float) -> int:
    return round(STEPS_PER_OCTAVE * log2(max(rate, 1e-3)))
