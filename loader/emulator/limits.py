"""Access limits as the emulator keeps them: four kinds, each a function of the times it was asked at.

No clock and no socket: `now` is an argument, in seconds of any steady clock. `take` says whether a request is admitted, after how
long a wait (only `leaky` makes one wait), or in how many seconds it would have been.
"""

from __future__ import annotations

import math
from collections import deque
from email.utils import formatdate
from typing import NamedTuple, Protocol

from loader.emulator.switches import RateLimit


class Admission(NamedTuple):
    """`seconds` is the wait before the request is served, or until a refused one would be admitted."""

    is_admitted: bool
    seconds: float


ADMITTED = Admission(True, 0.0)


class Limiter(Protocol):
    """One limit over one scope."""

    def take(self, now: float) -> Admission:
        """Ask for one request."""
        ...

    def left(self, now: float) -> tuple[int, float]:
        """Return how many more would be admitted at once, and in how many seconds it is as many as ever."""
        ...


class WindowLimiter:
    """Admit a fixed number in each window of the clock."""

    def __init__(self, limit: RateLimit) -> None:
        self._seconds = limit.window_seconds
        self._most = _most(limit)
        self._window = -1
        self._taken = 0

    def take(self, now: float) -> Admission:
        """Ask for one request. A refused one changes nothing: its window was full already."""
        window = int(now // self._seconds)
        if window != self._window:
            self._window, self._taken = window, 0
        if self._taken < self._most:
            self._taken += 1
            return ADMITTED
        return Admission(False, (window + 1) * self._seconds - now)

    def left(self, now: float) -> tuple[int, float]:
        """Return what is left of this window, and its remaining time."""
        window = int(now // self._seconds)
        return self._most - (self._taken if window == self._window else 0), (window + 1) * self._seconds - now


class SlidingLimiter:
    """Admit a fixed number in any stretch of a window's length."""

    def __init__(self, limit: RateLimit) -> None:
        self._seconds = limit.window_seconds
        self._most = _most(limit)
        self._rejects_count = limit.rejects_count
        self._times: deque[float] = deque()

    def take(self, now: float) -> Admission:
        """Ask for one request."""
        times = self._times
        while times and times[0] <= now - self._seconds:
            times.popleft()
        if len(times) < self._most:
            times.append(now)
            return ADMITTED
        if self._rejects_count:
            times.append(now)
        return Admission(False, times[len(times) - self._most] + self._seconds - now)

    def left(self, now: float) -> tuple[int, float]:
        """Return what is left, and when the newest one is forgotten."""
        return max(0, self._most - len(self._times)), self._times[-1] + self._seconds - now if self._times else 0.0


class BucketLimiter:
    """Admit while tokens are left; they come back at the rate, up to the burst."""

    def __init__(self, limit: RateLimit) -> None:
        self._rate = limit.rate_per_second
        self._burst = float(limit.burst if limit.burst is not None else max(1.0, self._rate))
        self._rejects_count = limit.rejects_count
        self._tokens = self._burst
        self._at: float | None = None

    def take(self, now: float) -> Admission:
        """Ask for one request. Where rejects count the debt ends at one burst, or a busy client would never get in again."""
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return ADMITTED
        if self._rejects_count:
            self._tokens = max(-self._burst, self._tokens - 1.0)
        return Admission(False, (1.0 - self._tokens) / self._rate)

    def left(self, now: float) -> tuple[int, float]:
        """Return the tokens, and when the bucket is full again."""
        del now  # asked right after `take`
        return max(0, int(self._tokens)), (self._burst - self._tokens) / self._rate


class LeakyLimiter:
    """Serve one request each 1/rate seconds; up to `burst` wait in a queue, further ones are refused."""

    def __init__(self, limit: RateLimit) -> None:
        self._rate = limit.rate_per_second
        self._queue_seconds = (limit.burst if limit.burst is not None else max(1.0, self._rate)) / self._rate
        self._next = 0.0

    def take(self, now: float) -> Admission:
        """Ask for one request."""
        wait = max(0.0, self._next - now)
        if wait > self._queue_seconds:
            return Admission(False, wait - self._queue_seconds)
        self._next = max(self._next, now) + 1.0 / self._rate
        return Admission(True, wait)

    def left(self, now: float) -> tuple[int, float]:
        """Return the places in the queue, and when it is empty."""
        wait = max(0.0, self._next - now)
        return max(0, int((self._queue_seconds - wait) * self._rate)), wait


def new_limiter(limit: RateLimit) -> Limiter:
    """Make the limiter of the kind asked for."""
    kinds: dict[str, type[WindowLimiter | SlidingLimiter | BucketLimiter | LeakyLimiter]] = {
        "window": WindowLimiter,
        "sliding": SlidingLimiter,
        "bucket": BucketLimiter,
        "leaky": LeakyLimiter,
    }
    return kinds[limit.kind](limit)


class Limits:
    """One limiter for each table, tenant or address that was seen."""

    def __init__(self, limit: RateLimit | None) -> None:
        self.limit = limit
        self._limiters: dict[str, Limiter] = {}

    def take(self, table: str, peer: str, now: float) -> Admission:
        """Ask for one request on a table from an address."""
        if self.limit is None:
            return ADMITTED
        scope = {"table": table, "tenant": "", "ip": peer}[self.limit.scope]
        limiter = self._limiters.get(scope)
        if limiter is None:
            limiter = self._limiters[scope] = new_limiter(self.limit)
        return limiter.take(now)

    def headers(self, table: str, peer: str, now: float, wall: float = 0.0) -> tuple[tuple[bytes, bytes], ...]:
        """Return the limit headers of an answer to a request that was asked for just now. `wall`: the time of day."""
        limit = self.limit
        if limit is None or limit.headers == "none":
            return ()
        remaining, seconds = self._limiters[{"table": table, "tenant": "", "ip": peer}[limit.scope]].left(now)
        most = (
            _most(limit) if limit.kind in {"window", "sliding"} else limit.burst or max(1, round(limit.rate_per_second))
        )
        if limit.reset == "time_of_day":
            date = (b"Date", formatdate(int(wall), usegmt=True).encode())
            return (*_write_headers(limit, most, remaining, math.ceil(wall + seconds)), date)
        return _write_headers(limit, most, remaining, math.ceil(seconds))


def _write_headers(limit: RateLimit, most: int, remaining: int, reset: int) -> tuple[tuple[bytes, bytes], ...]:
    window = max(1, round(most / limit.rate_per_second))
    match limit.headers:
        case "x" | "separate":
            family = b"X-RateLimit-" if limit.headers == "x" else b"RateLimit-"
            values = ((b"Limit", most), (b"Remaining", remaining), (b"Reset", reset))
            return tuple((family + name, b"%d" % value) for name, value in values)
        case "fields":
            return ((b"RateLimit", b"limit=%d, remaining=%d, reset=%d" % (most, remaining, reset)),)
        case _:
            policy = (b"RateLimit-Policy", b'"default";q=%d;w=%d' % (most, window))
            return (policy, (b"RateLimit", b'"default";r=%d;t=%d' % (remaining, reset)))


def retry_after(limit: RateLimit, seconds: float, wall: float) -> bytes:
    """Write the Retry-After of a refusal; empty if there is none. `wall`: the time of day."""
    match limit.retry_after:
        case "exact":
            return b"%.3f" % seconds
        case "rounded_up":
            return b"%d" % max(1, math.ceil(seconds))
        case "http_date":
            return formatdate(math.ceil(wall + seconds), usegmt=True).encode()
        case "fixed":
            return f"{limit.retry_after_seconds:g}".encode()
        case "none":
            return b""


def _most(limit: RateLimit) -> int:
    return max(1, round(limit.rate_per_second * limit.window_seconds))
