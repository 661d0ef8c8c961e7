"""The grid of simulated targets of rate.md section 4, and which of its goals (section 5) each group must meet.

`goal` is (goodput at least, share of 429s at most). Groups that section 5 declares unreachable (neighbours in small quotas, a
doubled limit of 5 a second, windows whose limit moves) are watched, not judged: their goal is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.unit.rate_simulation import (
    FixedWindow,
    LeakyQueue,
    Limiter,
    Scenario,
    SlidingWindow,
    TokenBucket,
    Workers,
)

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
HIGH = (20, 100, 500, 2000)

STRICT = (0.95, 0.01)
JITTERY = (0.93, 0.01)
SLOW = (0.92, 0.015)
COUNTED = (0.80, 0.015)
COUNTED_SLOW = (0.80, 0.035)
CHANGED = (0.90, 0.01)
"""Section 5 names the time to recover, not a share; this keeps an eye on the rest of the run."""
SHARED = (0.85, 0.01)
MOVING = (0.60, 0.01)


@dataclass(frozen=True)
class Case:
    """One cell of the grid."""

    group: str
    scenario: Scenario
    goal: tuple[float, float] | None


def _seconds(rate: float) -> float:
    return 150.0 if rate < 2000 else 45.0


def _start(rate: float, latency: float) -> float:
    """Section 5: measured after a start of max(10 s, 40 latencies, 100/L)."""
    return max(10.0, 40 * latency, 100 / rate)


def _cell(group: str, goal: tuple[float, float] | None, kind: str, make: Make, rate: float, **rest: object) -> Case:
    latency = float(rest.get("latency", 0.05))  # type: ignore[arg-type]  # a keyword of Scenario
    options: dict[str, object] = {"seconds": _seconds(rate), "settle_seconds": _start(rate, latency), **rest}
    name = f"{group}: {kind} {rate:g}/s {latency:g}s"
    return Case(group, Scenario(name, lambda: make(rate), **options), goal)  # type: ignore[arg-type]  # keywords of Scenario


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
            options = {"latency": latency, "sigma": sigma, "settle_seconds": 60.0, "seconds": 900.0}
            yield _cell("steady 5/s", goal, kind, make, 5, **options)


def _headers() -> Iterator[Case]:
    for kind, make in LIMITERS.items():
        for rate in HIGH:
            for said in ("honest", "absurd"):
                yield _cell(f"Retry-After {said}", STRICT, kind, make, rate, retry_after=said)


def _changes() -> Iterator[Case]:
    for kind, make in LIMITERS.items():
        for rate in (20, 100, 500):
            yield _cell("halved", CHANGED, kind, make, rate, change_at=80.0, change_to=0.5)
        for rate in (100, 500):
            yield _cell("doubled", CHANGED, kind, make, rate, change_at=80.0, change_to=2.0)
        yield _cell("doubled 20/s", None, kind, make, 20, change_at=80.0, change_to=2.0)
        yield _cell("doubled 5/s", None, kind, make, 5, change_at=80.0, change_to=2.0)


def _hard() -> Iterator[Case]:
    for kind, make in COUNTING.items():
        for rate in HIGH:
            yield _cell("rejects count", COUNTED, kind, make, rate)
            yield _cell("rejects count slow", COUNTED_SLOW, kind, make, rate, latency=0.5)
    for kind, make in LIMITERS.items():
        for rate in (500, 100, 20):
            for who, goal in (("poisson", SHARED), ("sine", MOVING), ("square", MOVING)):
                options = {"neighbours": who, "available": 0.7 * rate, "settle_seconds": 20.0}
                yield _cell(f"neighbours {who}", goal if rate > 100 else None, kind, make, rate, **options)
        for rate in (20, 200):
            yield _cell("stalls", STRICT, kind, make, rate, stall=(2.0, 20.0), available=0.9 * rate)


def _long() -> Iterator[Case]:
    windows: dict[str, Make] = {
        "fixed60": lambda rate: FixedWindow(rate, 60.0),
        "sliding60": lambda rate: SlidingWindow(rate, 60.0),
        "bucket60": lambda rate: TokenBucket(rate, 60.0),
    }
    for kind, make in windows.items():
        for rate in (1, 10, 50):
            for latency in (0.05, 0.5):
                options = {"latency": latency, "seconds": 790.0, "settle_seconds": 130.0}
                yield _cell("minutes", (0.92, 0.015) if rate > 1 else None, kind, make, rate, **options)
    for kind in ("fixed60", "sliding60"):
        for factor in (0.5, 2.0):
            options = {"seconds": 970.0, "settle_seconds": 130.0, "change_at": 490.0, "change_to": factor}
            yield _cell("minutes changed", None, kind, windows[kind], 10, **options)
    for count in (4, 16, 64):
        make = _workers(count)
        yield _cell("knee", STRICT, f"{count} workers", make, count, latency=0.0, available=count / 0.05)


def _workers(count: int) -> Make:
    return lambda _rate: Workers(count)


def grid() -> list[Case]:
    """Return every cell."""
    return [*_steady(), *_headers(), *_changes(), *_hard(), *_long()]


if __name__ == "__main__":
    import collections
    import sys
    import time

    from tests.unit.rate_simulation import simulate

    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    rows: dict[str, list[tuple[bool, float, float]]] = collections.defaultdict(list)
    began = time.perf_counter()
    for case in grid():
        if only and only not in case.group:
            continue
        for seed in range(seeds):
            seen = simulate(case.scenario, seed)
            goal = case.goal or STRICT
            is_met = seen.goodput >= goal[0] and seen.throttled < goal[1]
            rows[case.group].append((is_met, seen.goodput, seen.throttled))
            if not is_met:
                print(f"{'MISS' if case.goal else 'miss'} {case.scenario.name} seed {seed}: {seen}")  # noqa: T201 - a script
    for group, cells in rows.items():
        goodputs, rejects = [cell[1] for cell in cells], [cell[2] for cell in cells]
        print(  # noqa: T201 - a script
            f"{group:22} n {len(cells):3} met {sum(cell[0] for cell in cells):3} goodput {sum(goodputs) / len(cells):.3f} "
            f"worst {min(goodputs):.3f} 429 {100 * sum(rejects) / len(cells):.2f}% worst {100 * max(rejects):.2f}%"
        )
    print(f"{time.perf_counter() - began:.0f} s")  # noqa: T201 - a script
