"""How long to wait before a chunk is sent again, and when to stop the run instead.

Pure: the clock and the random draw are arguments. Only requests that were certainly not applied come here (`Retry`, or not sent);
a lost answer goes to reconciling, never here. Giving up stops the run; it makes no outcome of any record.

Two schedules, because a fault and a throttle differ: a fault passes in a moment or lasts, a throttle passes with the target's
window. Both are capped exponentials with full jitter, `draw * min(cap, base * 2**(attempt - 1))`, so that chunks that failed
together do not come back together. What Retry-After asks for is a floor below which no draw goes.

The budget bounds how much of a run's traffic may be retries. An empty one is a pause of everything, not the end: each
success pays one token back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from loader.model import Retry

MAX_EXPONENT = 63
"""2**63 times any base is past any cap; a larger exponent would only make a float overflow."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Send again after `seconds`. `is_pause`: the retry budget is spent, so nothing else should be sent meanwhile either."""

    seconds: float
    is_pause: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop the run, resumable: the patience is over."""

    reason: str


RetryStep: TypeAlias = Wait | GiveUp


@dataclass(frozen=True, slots=True)
class Schedule:
    """A capped exponential. Units: seconds."""

    base_seconds: float
    cap_seconds: float

    def ceiling_seconds(self, attempt: int) -> float:
        """Return the longest wait after an attempt (from 1)."""
        exponent = min(max(attempt, 1) - 1, MAX_EXPONENT)
        return min(self.cap_seconds, self.base_seconds * 2.0**exponent)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The waits of a run. `patience_seconds`: how long the target may give no good answer."""

    patience_seconds: float = 900.0
    # AWS' figures of 2026 (reliability.md 1): 50 ms for a fault, 1 s for a throttle. 30 s: a target that is back is noticed
    # soon. 60 s: the longest window that rate limits are commonly counted in.
    fault: Schedule = Schedule(0.05, 30.0)
    throttle: Schedule = Schedule(1.0, 60.0)
    max_retry_after_seconds: float = 300.0
    """A header may ask for a day by mistake, and asking once in five minutes harms nobody."""

    def next_step(
        self, attempt: int, retry: Retry, bad_seconds: float, draw: float, *, has_budget: bool = True
    ) -> RetryStep:
        """Decide after the attempt (from 1) that ended in `retry`.

        `bad_seconds`: time since the last good answer of the target; 0.0 while it is well. `draw` is uniform in [0, 1).
        """
        if bad_seconds >= self.patience_seconds:
            return GiveUp(f"no good answer for {bad_seconds:.0f} s; the last was: {retry.reason}")
        schedule = self.throttle if retry.is_throttled else self.fault
        # Whoever waits as long as the patience lasts gets no good answer meanwhile, and gives up by himself.
        most = self.patience_seconds / 4
        # A pause of everything lasts half of the cap at least: with full jitter alone it could be none.
        pause = min(schedule.cap_seconds, most) * (0.5 + draw / 2)
        seconds = min(schedule.ceiling_seconds(attempt), most) * draw if has_budget else pause
        if retry.after_seconds is not None:
            # Jitter above the floor: chunks that were refused together were all given the same time.
            floor = min(max(retry.after_seconds, 0.0), self.max_retry_after_seconds)
            seconds = max(seconds, floor + schedule.base_seconds * draw)
        return Wait(seconds, is_pause=not has_budget)


class RetryBudget:
    """The retries that a run may make beyond its successes: a bucket that retries draw from and successes refill.

    Source: the figures are the AWS SDKs' of 2026 (reliability.md 2.5): 500 tokens, 14 for a fault, 5 for a throttle.
    """

    __slots__ = ("_tokens",)

    SIZE = 500
    FAULT_COST = 14
    THROTTLE_COST = 5

    def __init__(self) -> None:
        self._tokens = self.SIZE

    def __repr__(self) -> str:
        return f"RetryBudget({self._tokens} of {self.SIZE})"

    @property
    def tokens(self) -> int:
        """Say what is left."""
        return self._tokens

    def spend(self, *, is_throttled: bool) -> bool:
        """Pay for one retry; False, and nothing is paid, where the bucket does not hold its cost."""
        cost = self.THROTTLE_COST if is_throttled else self.FAULT_COST
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True

    def succeed(self, count: int = 1) -> None:
        """Pay one token back for each good answer."""
        self._tokens = min(self._tokens + count, self.SIZE)
