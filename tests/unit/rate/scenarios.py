"""The grid of simulated targets of rate.md section 4, and which of its goals (section 5) each cell must meet.

A cell without a goal is watched, not judged: section 5 names it as beyond reach, or its goal does not cover it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from tests.unit.rate.limiters import FixedWindow, LeakyQueue, Limiter, SlidingWindow, TokenBucket, Workers
from tests.unit.rate.simulation import Outcome, Scenario

Make = Callable[[float], Limiter]

LIMITERS: dict[str, Make] = {
    "fixed": FixedWindow,
    "sliding": SlidingWindow,
    "bucket1": TokenBucket,
    "bucket01": lambda rate: TokenBucket(rate, 0.1),
    "leaky": lambda rate: LeakyQueue(rate, 0.5),
}
COUNTING: dict[str, Make] = {
    "fixed": lambda rate: FixedWindow(rate, counts_rejects=True),
    "sliding": lambda rate: SlidingWindow(rate, counts_rejects=True),
    "bucket1": lambda rate: TokenBucket(rate, 1.0, counts_rejects=True),
}
MINUTES: dict[str, Make] = {
    "fixed60": lambda rate: FixedWindow(rate, 60.0),
    "sliding60": lambda rate: SlidingWindow(rate, 60.0),
    "bucket60": lambda rate: TokenBucket(rate, 60.0),
}
HIGH = (20, 100, 500, 2000)
MEASURED_SECONDS, MEASURED_REQUESTS = 60.0, 1000
"""Section 5: measured over at least so much."""


@dataclass(frozen=True)
class Goal:
    """Share of the limit at least, share of 429s below; after a change also: back within, 429s at most."""

    goodput: float
    throttled: float
    recovery_seconds: float | None = None
    change_throttled: float | None = None


STRICT = Goal(0.95, 0.01)
JITTERY = Goal(0.93, 0.01)
SLOW = Goal(0.92, 0.015)
COUNTED = Goal(0.80, 0.015)
COUNTED_SLOW = Goal(0.80, 0.035)
SHARED = Goal(0.85, 0.01)
MOVING = Goal(0.60, 0.01)


@dataclass(frozen=True)
class Case:
    """One cell of the grid. `goal` is what it is held against, also where nobody can reach it."""

    group: str
    scenario: Scenario
    goal: Goal
    is_judged: bool = True


def misses(case: Case, seen: Outcome) -> list[str]:
    """Say what of the goal was not reached."""
    goal = case.goal
    found = {
        "goodput": seen.goodput < goal.goodput,
        "429": seen.throttled >= goal.throttled,
        "recovery": goal.recovery_seconds is not None and (seen.recovery_seconds or 0.0) > goal.recovery_seconds,
        "429 after the change": goal.change_throttled is not None and seen.change_throttled > goal.change_throttled,
    }
    return [name for name, is_missed in found.items() if is_missed]


def _start(rate: float, latency: float) -> float:
    """Section 5: measured after a start of max(10 s, 40 latencies, 100/L)."""
    return max(10.0, 40 * latency, 100 / rate)


def _cell(group: str, goal: Goal | None, kind: str, make: Make, rate: float, **rest: object) -> Case:
    latency = float(rest.get("latency", 0.05))  # type: ignore[arg-type]  # a keyword of Scenario
    start = _start(rate, latency)
    seconds = start + max(140.0 if rate < 2000 else MEASURED_SECONDS, MEASURED_REQUESTS / rate)
    options: dict[str, object] = {"seconds": seconds, "settle_seconds": start, **rest}
    noise = f" sigma {rest['sigma']:g}" if rest.get("sigma") else ""
    scenario = Scenario(f"{group}: {kind} {rate:g}/s {latency:g}s{noise}", partial(make, rate), **options)  # type: ignore[arg-type]  # keywords of Scenario
    return Case(group, scenario, goal or STRICT, is_judged=goal is not None)


def _steady() -> Iterator[Case]:
    for kind, make in LIMITERS.items():
        for rate in (20, 100, 500):
            yield _cell("steady", STRICT, kind, make, rate, latency=0.005)
            yield _cell("steady", STRICT, kind, make, rate)
        yield _cell("steady", STRICT, kind, make, 2000)
        for rate in HIGH:
            yield _cell("steady jittery", JITTERY, kind, make, rate, sigma=0.25)
            yield _cell("steady slow", SLOW, kind, make, rate, latency=0.5)
        for latency, sigma in ((0.005, 0.0), (0.05, 0.0), (0.05, 0.25), (0.5, 0.0)):
            # One request of tolerance or less under jitter cannot be met (section 5).
            goal = None if kind == "bucket01" and sigma else JITTERY if sigma else SLOW if latency > 0.1 else STRICT
            yield _cell("steady 5/s", goal, kind, make, 5, latency=latency, sigma=sigma, seconds=860.0)
            # Fewer requests than the goal wants to be measured over.
            yield _cell("steady 5/s short", None, kind, make, 5, latency=latency, sigma=sigma, seconds=130.0)


def _loopback() -> Iterator[Case]:
    """Make the emulator's own queue, a second long, close by: latency shows it before it is full."""
    for rate in (5, 50, 250, 1000):
        yield _cell("close by", STRICT, "leaky1", LeakyQueue, rate, latency=0.001)


def _headers() -> Iterator[Case]:
    for kind, make in LIMITERS.items():
        for rate in HIGH:
            for said in ("honest", "absurd"):
                yield _cell(f"Retry-After {said}", STRICT, kind, make, rate, retry_after=said)


def _changed(case: Case, rate: float, factor: float, allowed: float) -> Case:
    """Let the limit change once as much was measured as the goal wants, and measure as much after the time allowed."""
    scenario = case.scenario
    change_at = scenario.settle_seconds + max(MEASURED_SECONDS, MEASURED_REQUESTS / rate)
    end = change_at + allowed + max(MEASURED_SECONDS, MEASURED_REQUESTS / (rate * factor))
    latency = scenario.latency
    cost = 2 * rate * latency + 10 if factor < 1 else None
    return replace(
        case,
        scenario=replace(scenario, seconds=end, change_at=change_at, change_to=factor, change_seconds=allowed),
        goal=replace(case.goal, recovery_seconds=allowed, change_throttled=cost),
    )


def _changes() -> Iterator[Case]:
    for kind, make in LIMITERS.items():
        # Not 5: half of it is no whole number of requests in a window of a second.
        for rate in (6, 20, 100, 500):
            yield _changed(_cell("halved", STRICT, kind, make, rate), rate, 0.5, 10.0)
        for rate in (5, 20, 100, 500):
            # At 5 a second no probe that is within the budget comes in time (section 5).
            doubled = _cell("doubled", STRICT if rate > 5 else None, kind, make, rate)
            yield _changed(doubled, rate, 2.0, 1.5 * max(15.0, 500 / rate))


def _hard() -> Iterator[Case]:
    for kind, make in COUNTING.items():
        for rate in HIGH:
            yield _cell("rejects count", COUNTED, kind, make, rate)
            yield _cell("rejects count slow", COUNTED_SLOW, kind, make, rate, latency=0.5)
    for kind, make in LIMITERS.items():
        for rate in (500, 100, 20):
            for who, goal in (("poisson", SHARED), ("sine", MOVING), ("square", MOVING)):
                options = {"neighbours": who, "available": 0.7 * rate}
                yield _cell(f"neighbours {who}", goal if rate >= 100 else None, kind, make, rate, **options)
        for rate in (20, 200):
            yield _cell("stalls", STRICT, kind, make, rate, stall=(2.0, 20.0), available=0.9 * rate)


def _long() -> Iterator[Case]:
    for kind, make in MINUTES.items():
        for rate in (1, 10, 50):
            for latency in (0.05, 0.5):
                seconds = 120.0 + max(660.0, MEASURED_REQUESTS / rate)
                options = {"latency": latency, "seconds": seconds, "settle_seconds": 120.0}
                yield _cell("minutes", STRICT if latency < 0.1 else SLOW, kind, make, rate, **options)
    for kind in ("fixed60", "sliding60"):
        for factor, windows in ((0.5, 2), (2.0, 4)):
            options = {"settle_seconds": 120.0}
            case = _cell(f"minutes x{factor:g}", STRICT, kind, MINUTES[kind], 10, **options)
            yield _changed(case, 10, factor, 60.0 * windows)
    for count in (4, 16, 64):
        yield _cell("knee", STRICT, f"{count} workers", _workers(count), count, latency=0.0, available=count / 0.05)


def _workers(count: int) -> Make:
    return lambda _rate: Workers(count)


def grid() -> list[Case]:
    """Return every cell."""
    return [*_steady(), *_loopback(), *_headers(), *_changes(), *_hard(), *_long()]
