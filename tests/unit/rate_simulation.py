"""A discrete-event simulation of one client under rate finding and one target with a limiter, in virtual time.

The limiters are written from their textbook definitions and share no code with the loader. Demand is endless; each request
has its own latency, half of it on the way there. Nothing sleeps: 150 simulated seconds at 100 requests a second take a
fraction of one.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, exp, inf, pi, sin
from typing import Protocol

from loader.rate import Acquired, Sent, Success, Throttled, apply, begin, in_flight_cap, next_send_at

SEND, ARRIVE, ANSWER, NEIGHBOUR = range(4)


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
    _count: float = 0

    def decide(self, now: float) -> tuple[bool, float, float]:
        index = int((now + self.phase * self.window) // self.window)
        if index != self._index:
            self._index, self._count = index, 0
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


@dataclass(frozen=True)
class Scenario:
    """One target, and how long it is looked at. `available` is the rate that was there to be had."""

    name: str
    make: Callable[[], Limiter]
    latency: float = 0.05
    sigma: float = 0.0
    seconds: float = 150.0
    settle_seconds: float = 10.0
    retry_after: str = "none"
    change_at: float | None = None
    change_to: float = 1.0
    stall: tuple[float, float] = (0.0, 0.0)
    neighbours: str = "none"
    available: float | None = None
    goal: tuple[float, float] = (0.95, 0.01)


@dataclass
class Outcome:
    """What was seen after the start: shares of the available rate, of 429s, and of base latency."""

    goodput: float
    throttled: float
    sent: int
    started_throttled: int
    recovery_seconds: float | None
    latency: float


def simulate(scenario: Scenario, seed: int, trace: Callable[[float, object], None] | None = None) -> Outcome:
    """Run one scenario. The same seed gives the same outcome."""
    return _World(scenario, seed, trace).run()


class _World:
    def __init__(self, scenario: Scenario, seed: int, trace: Callable[[float, object], None] | None) -> None:
        self.scenario = scenario
        self.random = random.Random(seed)
        self.limiter = scenario.make()
        self.state = begin(0.0)
        self.queue: list[tuple[float, int, int, Sent | None, tuple[bool, float | None]]] = []
        self.order = 0
        self.number = 0
        self.accepted: list[float] = []
        self.throttled: list[float] = []
        self.latencies: list[float] = []
        self.trace = trace
        self.base_rate = self.limiter.per_second

    def push(
        self, at: float, kind: int, sent: Sent | None = None, said: tuple[bool, float | None] = (True, None)
    ) -> None:
        self.order += 1
        heapq.heappush(self.queue, (at, self.order, kind, sent, said))

    def run(self) -> Outcome:
        scenario, state = self.scenario, self.state
        if scenario.neighbours != "none":
            self.push(self.neighbour_gap(0.0), NEIGHBOUR)
        now = 0.0
        jitter = 1.0
        while now < scenario.seconds:
            due = inf
            if state.in_flight < in_flight_cap(state):
                due = next_send_at(state)
                if state.is_closed and due < inf:
                    due += (due - state.closed_at) * 0.1 * jitter
                due = max(due, now)
            if self.queue and self.queue[0][0] <= due:
                now, _, kind, sent, said = heapq.heappop(self.queue)
                self.change(now)
                self.handle(now, kind, sent, said)
            elif due < inf:
                now = due
                jitter = self.random.random()
                self.send(now)
            else:
                break
            if self.trace is not None:
                self.trace(now, state)
        return self.outcome()

    def change(self, now: float) -> None:
        if self.scenario.change_at is not None and now >= self.scenario.change_at:
            self.limiter.per_second = self.base_rate * self.scenario.change_to

    def send(self, now: float) -> None:
        self.number += 1
        apply(self.state, Acquired(self.number), now)
        sent = Sent(self.number, now, self.state.rate)
        self.push(now + self.latency() / 2, ARRIVE, sent)

    def latency(self) -> float:
        scenario = self.scenario
        return scenario.latency * (exp(self.random.gauss(0.0, scenario.sigma)) if scenario.sigma else 1.0)

    def handle(self, now: float, kind: int, sent: Sent | None, said: tuple[bool, float | None]) -> None:
        if kind == NEIGHBOUR:
            self.limiter.decide(now)
            self.push(now + self.neighbour_gap(now), NEIGHBOUR)
            return
        assert sent is not None
        if kind == ARRIVE:
            is_accepted, wait, queued = self.limiter.decide(now)
            said = (is_accepted, None if is_accepted else self.retry_after(wait))
            answer_at = self.after_stall(now) + queued + self.latency() / 2
            self.push(answer_at, ANSWER, sent, said)
        elif said[0]:
            self.accepted.append(now)
            self.latencies.append(now - sent.at)
            apply(self.state, Success(sent, now - sent.at), now)
        else:
            self.throttled.append(now)
            apply(self.state, Throttled(sent, said[1]), now)

    def after_stall(self, now: float) -> float:
        length, period = self.scenario.stall
        return now if not period or now % period > length else now - now % period + length

    def retry_after(self, wait: float) -> float | None:
        return {"none": None, "honest": float(ceil(wait)), "absurd": 3600.0}[self.scenario.retry_after]

    def neighbour_gap(self, now: float) -> float:
        rate = self.limiter.per_second
        share = {
            "poisson": 0.3,
            "sine": 0.3 + 0.2 * sin(2 * pi * now / 60),
            "square": 0.1 if now % 40 < 20 else 0.5,
        }[self.scenario.neighbours]
        return self.random.expovariate(rate * share)

    def outcome(self) -> Outcome:
        scenario = self.scenario
        parts = [(scenario.settle_seconds, scenario.seconds)]
        if scenario.change_at is not None:
            parts = [(scenario.settle_seconds, scenario.change_at), (scenario.change_at + 10, scenario.seconds)]
        available = accepted = throttled = 0.0
        for begin_at, end in parts:
            rate = scenario.available if scenario.available is not None else self.base_rate
            if scenario.change_at is not None and begin_at > scenario.change_at:
                rate *= scenario.change_to
            available += rate * (end - begin_at)
            accepted += sum(begin_at < at <= end for at in self.accepted)
            throttled += sum(begin_at < at <= end for at in self.throttled)
        latencies = sorted(self.latencies[len(self.latencies) // 2 :]) or [0.0]
        return Outcome(
            goodput=accepted / available,
            throttled=throttled / max(accepted + throttled, 1),
            sent=self.number,
            started_throttled=sum(at <= scenario.settle_seconds for at in self.throttled),
            recovery_seconds=self.recovery(),
            latency=latencies[len(latencies) // 2],
        )

    def recovery(self) -> float | None:
        """Return how long after the change a clean stretch above 90 % of the new limit began (20 answers or 2 s)."""
        scenario = self.scenario
        if scenario.change_at is None:
            return None
        rate = self.base_rate * scenario.change_to
        length = max(2.0, 20 / rate)
        answers = [at for at in self.accepted if at > scenario.change_at]
        first = 0
        for last, at in enumerate(answers):
            while answers[first] < at - length:
                first += 1
            if at >= scenario.change_at + length and last - first + 1 >= 0.9 * rate * length:
                return answers[first] - scenario.change_at
        return inf
