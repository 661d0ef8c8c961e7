"""Measure how well a rate is found and kept, over loopback and in real time, and what a ticket costs.

    python -m benchmarks.rates [--seconds 30] [--limits 5 50 250] [--alone 1000]

Found: the whole loader (`pipeline.run_load`) with `--rate auto` against the emulator's limiters. By the emulator's journal, after
the start that rate.md section 5 names: what share of the limit was accepted, what share of the requests was refused. Limiters of
one limit run at once, those of `--alone` one by one. Kept: a throttle of a fixed rate and 64 workers without a target: the mean,
the most in any second, CPU. Cost: CPU of one ticket that nobody waits for, found beside fixed, by turns.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any

from benchmarks import measuring
from loader.cli.running import run
from loader.emulator.emulator import running
from loader.emulator.plan import Plan
from loader.emulator.switches import OzariSwitches, RateLimit
from loader.pipeline.pipeline import run_load
from loader.rate.throttle import AutoThrottle, FixedThrottle, Success, Throttle
from loader.runs.plan import LoadPlan
from loader.runtime import Runtime
from loader.settings import Options, OzariCredentials, OzariInsert, Rate, Secret

KINDS = ("window", "sliding", "bucket", "leaky")
GOAL_REACHED, GOAL_REFUSED = 0.95, 0.01
GOAL_MEAN_ERROR = 0.005
WORKERS = 64
LATENCY_SECONDS = 0.004
WARM_SECONDS = 1.0


def start_seconds(limit: float) -> float:
    """Return the start that is left out (rate.md section 5)."""
    return max(10.0, 100 / limit)


async def find(folder: Path, kind: Any, limit: float, seconds: float) -> dict[str, Any]:
    """Load under one limiter until the time is over."""
    start = start_seconds(limit)
    lines = int(limit * (start + seconds + 10))
    source = folder / f"{limit:g}.ndjson"
    if not source.exists():
        measuring.write_records(source, lines)
    rate_limit = RateLimit(kind=kind, per_second=limit, retry_after="none")
    switches = OzariSwitches(token="bench", any_table=True, rate_limit=rate_limit)  # noqa: S106 -- the emulator's own
    with running(Plan(ozari=switches)) as emulator:
        plan = LoadPlan(
            sources=(str(source),),
            target=OzariInsert(table="tbench"),
            credentials=OzariCredentials(Secret("bench")),
            options=Options(rate=Rate(), base_url=emulator.base_url, max_lines=int(limit * (start + seconds))),
            run_directory=folder / f"{kind}-{limit:g}.run",
        )
        report = await run_load(plan)
        facts = emulator.journal.facts()
    first, last = facts[0].arrived + start, facts[-1].arrived
    seen = [fact for fact in facts if first <= fact.arrived < last]
    refused = sum(fact.status == 429 for fact in seen)
    reached = (len(seen) - refused) / (limit * (last - first))
    return {
        "limiter": kind,
        "limit": limit,
        "reached": round(reached, 3),
        "refused": round(refused / len(seen), 4),
        "refused_in_start": sum(fact.status == 429 for fact in facts) - refused,
        "is_met": reached >= GOAL_REACHED and refused / len(seen) < GOAL_REFUSED and report.created == report.lines,
    }


async def keep(rate: float, burst: float | None, seconds: float) -> dict[str, Any]:
    """Draw tickets of a fixed rate as fast as they come."""
    throttle = FixedThrottle(Runtime(), rate, burst)
    times: list[float] = []
    end = time.monotonic() + WARM_SECONDS + seconds

    async def work() -> None:
        while time.monotonic() < end:
            ticket = await throttle.admit()
            times.append(ticket.at)
            await asyncio.sleep(LATENCY_SECONDS)
            throttle.answered(ticket, Success(LATENCY_SECONDS))

    began = measuring.cpu_seconds()
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    cpu = measuring.cpu_seconds() - began
    # Between two tickets, so that no edge of the time counts.
    steady = [at for at in times if at >= times[0] + WARM_SECONDS]
    mean = (len(steady) - 1) / (steady[-1] - steady[0])
    most = max(bisect_left(times, at + 1) - index for index, at in enumerate(times))
    allowed = rate + (burst if burst is not None else max(1.0, rate / 20))
    return {
        "rate": rate,
        "burst": burst,
        "mean_error": round(mean / rate - 1, 4),
        "most_in_a_second": most,
        "allowed_in_a_second": allowed,
        "cpu_share": round(cpu / (seconds + WARM_SECONDS), 3),
        "is_met": abs(mean / rate - 1) <= GOAL_MEAN_ERROR and most <= allowed,
    }


async def cost(rounds: int, tickets: int) -> dict[str, Any]:
    """Compare what one ticket costs that is there at once."""

    def block(throttle: Throttle) -> measuring.Block:
        async def draw(count: int) -> float:
            signal = Success(0.01)
            began = measuring.cpu_seconds()
            for _ in range(count):
                throttle.answered(await throttle.admit(), signal)
            return measuring.cpu_seconds() - began

        return draw

    contenders = {
        "fixed": block(FixedThrottle(Runtime(), 1e6)),
        "fixed again": block(FixedThrottle(Runtime(), 1e6)),
        "auto": block(AutoThrottle(Runtime(), 1e6)),
    }
    found = await measuring.alternate(contenders, rounds=rounds, records=tickets)
    ratio = found.ratio("fixed", "auto")
    return {
        "noise": round(found.noise("fixed", "fixed again"), 3),
        "fixed_microseconds": measuring.median_microseconds(found.costs["fixed"]),
        "auto_microseconds": measuring.median_microseconds(found.costs["auto"]),
        "ratio": round(ratio.median, 3),
    }


async def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all of it."""
    found: list[dict[str, Any]] = []
    for limit in arguments.limits:
        found += await asyncio.gather(*(find(folder, kind, limit, arguments.seconds) for kind in KINDS))
    for limit in arguments.alone:
        found += [await find(folder, kind, limit, arguments.seconds) for kind in KINDS]
    rates = [(rate, burst) for rate in arguments.rates for burst in (None, 1.0)]
    kept = [await keep(rate, burst, arguments.kept_seconds) for rate, burst in rates]
    return {"found": found, "kept": kept, "cost": await cost(20, 5000)}


def table(result: dict[str, Any]) -> list[str]:
    """Write the tables."""
    lines = [
        f"{'limiter':8} {'limit/s':>8} {'reached':>8} {'429':>7} {'in start':>9}  goal: {GOAL_REACHED}, {GOAL_REFUSED:.0%}"
    ]
    lines += [
        f"{row['limiter']:8} {row['limit']:8g} {row['reached']:8.3f} {row['refused']:7.2%} {row['refused_in_start']:9}"
        f"  {'reached' if row['is_met'] else 'missed'}"
        for row in result["found"]
    ]
    lines.append(
        f"{'rate/s':>8} {'burst':>8} {'mean':>8} {'most/s':>8} {'allowed':>8} {'CPU':>6}  goal: {GOAL_MEAN_ERROR:.1%}"
    )
    for row in result["kept"]:
        burst = "default" if row["burst"] is None else f"{row['burst']:g}"
        lines.append(
            f"{row['rate']:8g} {burst:>8} {row['mean_error']:8.2%} {row['most_in_a_second']:8} {row['allowed_in_a_second']:8g}"
            f" {row['cpu_share']:6.1%}  {'reached' if row['is_met'] else 'missed'}"
        )
    price = result["cost"]
    lines.append(
        f"a ticket costs {price['fixed_microseconds']} us at a fixed rate, {price['auto_microseconds']} us at one that is found"
        f" (noise {price['noise']})"
    )
    return lines


def main() -> int:
    """Measure, print; exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--kept-seconds", type=float, default=5)
    parser.add_argument("--limits", type=float, nargs="*", default=[5.0, 50.0, 250.0])
    parser.add_argument("--alone", type=float, nargs="*", default=[1000.0])
    parser.add_argument("--rates", type=float, nargs="*", default=[10.0, 100.0, 1000.0, 5000.0])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(measure(arguments, Path(folder)))
    measuring.print_result("rates", result, table(result))
    return 0 if all(row["is_met"] for row in (*result["found"], *result["kept"])) else 1


if __name__ == "__main__":
    sys.exit(main())
