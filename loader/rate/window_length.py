"""How long a window is whose length no header names, from the headers of successive answers.

A Reset as a time of day, less the answer's own Date, is a difference of two rounded clocks: up to two seconds too long, which is
everything where a window is a second. But successive Resets of fixed windows are one window apart. And where more than half of
every window is left unused at its end, although requests go as fast as the length allows, the length was overestimated.
"""

from __future__ import annotations

ROUNDING_SECONDS = 2.0
REFILLED_SHARE = 0.05
UNUSED_SHARE = 0.4
UNUSED_WINDOWS = 3
"""Windows in a row that end half unused before it is believed; the first may be one in which the load began."""
SHORTENING = 0.75


class WindowLength:
    """Learns a window's length; None as long as nothing is better than the longest Reset."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._reset_at: float | None = None
        self._step: float | None = None
        self._remaining = 0.0
        self._began: float | None = None
        self._unused = 0
        self._shortened = 1.0

    def length(self, limit: float, remaining: float, reset: float, reset_at: float | None, now: float) -> float | None:
        """Take in one answer's headers; return the length that they and those before teach."""
        self._longest = max(self._longest, reset)
        is_refilled = remaining >= self._remaining + max(2.0, REFILLED_SHARE * limit)
        if reset_at is not None:
            self._learn_step(reset_at, is_refilled=is_refilled)
        if is_refilled:
            self._learn_unused(limit, now)
        self._remaining = remaining
        longest = self._longest
        if reset_at is not None:
            least = max(longest - ROUNDING_SECONDS, 0.0)
            if self._step is not None and least <= self._step <= longest:
                longest = self._step
        if longest == self._longest and self._shortened == 1.0:
            return None
        return max(longest * self._shortened, 0.1)

    def _learn_step(self, reset_at: float, *, is_refilled: bool) -> None:
        before, self._reset_at = self._reset_at, reset_at
        if before is None or reset_at <= before or not is_refilled:
            return
        step = reset_at - before
        self._step = step if self._step is None else min(step, self._step)

    def _learn_unused(self, limit: float, now: float) -> None:
        """A window has ended; see how much of it was left."""
        began, self._began = self._began, now
        if began is None or now - began > 1.5 * max(self._longest, 1.0):
            self._unused = 0  # nobody sent for a while, or it was a window that nobody filled
            return
        self._unused = self._unused + 1 if self._remaining > UNUSED_SHARE * limit else 0
        if self._unused >= UNUSED_WINDOWS and self._longest <= ROUNDING_SECONDS:
            self._unused = 0
            self._shortened = max(self._shortened * SHORTENING, 0.5)
