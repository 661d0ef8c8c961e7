"""Simulated limiters, each a function of the times it was asked at: textbook definitions, no code shared with the loader."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Protocol


class Limiter(Protocol):
    """Decides one arrival: (accepted, seconds until one would be accepted, seconds of queueing)."""

    per_second: float

    def decide(self, now: float) -> tuple[bool, float, float]: ...


@dataclass
class FixedWindow:
    """`per_second` * `window` arrivals in each aligned window."""

    per_second: float
    window: float = 1.0
    counts_rejects: bool = False
    phase: float = 0.37
    _index: int = -1
    _count: float = 0.0

    def decide(self, now: float) -> tuple[bool, float, float]:
        index = int((now + self.phase * self.window) // self.window)
        if index != self._index:
            self._index, self._count = index, 0.0
        is_accepted = self._count + 1 <= self.per_second * self.window + 1e-9
        if is_accepted or self.counts_rejects:
            self._count += 1
        return is_accepted, (index + 1) * self.window - self.phase * self.window - now, 0.0


@dataclass
class SlidingWindow:
    """`per_second` * `window` arrivals in any window that ends now."""

    per_second: float
    window: float = 1.0
    counts_rejects: bool = False
    _log: deque[float] = field(default_factory=deque)

    def decide(self, now: float) -> tuple[bool, float, float]:
        while self._log and self._log[0] <= now - self.window:
            self._log.popleft()
        is_accepted = len(self._log) + 1 <= self.per_second * self.window + 1e-9
        wait = 0.0 if is_accepted else self._log[0] + self.window - now
        if is_accepted or self.counts_rejects:
            self._log.append(now)
        return is_accepted, wait, 0.0


@dataclass
class TokenBucket:
    """Tokens drip in at `per_second`, up to `depth` seconds' worth, at least one."""

    per_second: float
    depth: float = 1.0
    counts_rejects: bool = False
    _tokens: float = inf
    _at: float = 0.0

    def decide(self, now: float) -> tuple[bool, float, float]:
        capacity = max(1.0, self.per_second * self.depth)
        self._tokens = min(capacity, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        is_accepted = self._tokens >= 1 - 1e-9
        if is_accepted:
            self._tokens -= 1
        elif self.counts_rejects:
            # A rejected arrival takes what little there is: it must be quiet for a whole token's time.
            self._tokens = 0.0
        return is_accepted, (1 - self._tokens) / self.per_second, 0.0


@dataclass
class LeakyQueue:
    """Serves one every 1/`per_second`; what waits longer than `depth` seconds is rejected."""

    per_second: float
    depth: float = 1.0
    _free_at: float = 0.0

    def decide(self, now: float) -> tuple[bool, float, float]:
        wait = max(0.0, self._free_at - now)
        if wait > self.depth:
            return False, wait - self.depth, 0.0
        self._free_at = max(now, self._free_at) + 1 / self.per_second
        return True, 0.0, wait


@dataclass
class Workers:
    """`count` workers of `seconds` each, and a queue without end: no 429, only latency."""

    count: int
    seconds: float = 0.05
    per_second: float = 0.0
    _free: list[float] = field(default_factory=list)

    def decide(self, now: float) -> tuple[bool, float, float]:
        if not self._free:
            self._free = [0.0] * self.count
        start = max(now, heapq.heappop(self._free))
        heapq.heappush(self._free, start + self.seconds)
        return True, 0.0, start - now + self.seconds
