"""A discrete-event simulation of one client under rate finding and one target with a limiter, in virtual time.

Demand is endless; each request has its own latency, half of it on the way there. Nothing sleeps: 150 simulated seconds at 100
requests a second take a fraction of one.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, inf, pi, sin

from loader.rate.finder import acquire, answered, begin, in_flight_cap, next_send_at, succeed
from loader.rate.signals import Throttled, Ticket
from tests.unit.rate.limiters import Limiter

SEND, ARRIVE, ANSWER, NEIGHBOUR = range(4)


@dataclass(frozen=True)
class Scenario:
    """One target, and how long it is looked at. `available` is the rate that was there to be had, where not all.

    `change_seconds` after the limit changes to `change_to` times itself are left out of what is measured.
    """

    name: str
    make: Callable[[], Limiter]
    latency: float = 0.05
    sigma: float = 0.0
    seconds: float = 150.0
    settle_seconds: float = 10.0
    retry_after: str = "none"
    change_at: float | None = None
    change_to: float = 1.0
    change_seconds: float = 10.0
    stall: tuple[float, float] = (0.0, 0.0)
    neighbours: str = "none"
    available: float | None = None


@dataclass
class Outcome:
    """What was seen after the start, and outside of the time allowed after a change: the share of the rate that was to be had,
    the share of 429s. How long the way back took after the change, and how many 429s came in the time allowed for it.
    """

    goodput: float
    throttled: float
    sent: int
    started_throttled: int
    recovery_seconds: float | None
    change_throttled: int
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
        self.queue: list[tuple[float, int, int, Ticket | None, tuple[bool, float | None]]] = []
        self.order = 0
        self.number = 0
        self.accepted: list[float] = []
        self.throttled: list[float] = []
        self.latencies: list[float] = []
        self.trace = trace
        self.base_rate = self.limiter.per_second

    def push(
        self, at: float, kind: int, sent: Ticket | None = None, said: tuple[bool, float | None] = (True, None)
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
        acquire(self.state, self.number, now)
        sent = Ticket(self.number, now, self.state.rate)
        self.push(now + self.latency() / 2, ARRIVE, sent)

    def latency(self) -> float:
        scenario = self.scenario
        return scenario.latency * (exp(self.random.gauss(0.0, scenario.sigma)) if scenario.sigma else 1.0)

    def handle(self, now: float, kind: int, sent: Ticket | None, said: tuple[bool, float | None]) -> None:
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
            succeed(self.state, sent.number, sent.at, now - sent.at, now)
        else:
            self.throttled.append(now)
            answered(self.state, sent, Throttled(said[1]), now)

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
        change = scenario.change_at if scenario.change_at is not None else inf
        parts = [(scenario.settle_seconds, min(change, scenario.seconds), 1.0)]
        if change < inf:
            parts.append((change + scenario.change_seconds, scenario.seconds, scenario.change_to))
        rate = scenario.available if scenario.available is not None else self.base_rate
        available = sum(rate * factor * (end - begin_at) for begin_at, end, factor in parts)
        accepted = sum(_between(self.accepted, begin_at, end) for begin_at, end, _ in parts)
        throttled = sum(_between(self.throttled, begin_at, end) for begin_at, end, _ in parts)
        latencies = sorted(self.latencies[len(self.latencies) // 2 :]) or [0.0]
        return Outcome(
            goodput=accepted / available,
            throttled=throttled / max(accepted + throttled, 1),
            sent=self.number,
            started_throttled=_between(self.throttled, -1.0, scenario.settle_seconds),
            recovery_seconds=self.recovery(),
            change_throttled=_between(self.throttled, change, change + scenario.change_seconds),
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


def _between(times: list[float], begin_at: float, end: float) -> int:
    return bisect_right(times, end) - bisect_right(times, begin_at)
