"""Measure what the loader costs per single-record request, beside a bare tuned aiohttp loop, by turns in one process.

    python -m benchmarks.pipeline [--rounds 16] [--records 12000] [--concurrency 64]

The bare loop posts bytes that lie ready, reads the answer and looks at its status: no file, no check, no rate, no log. The
loader is the whole loader (`pipeline.run_load`): file, validation, shaping, token bucket, intents and outcomes on disk,
answer checked. It is held between blocks by the pause that a slow `async for` causes; a block is long enough that beginning and
ending it (workers that wake and wait, a log that is brought up to date) is little of what is seen: of 4,000 records it was 0.6 us
each. CPU per request of the whole process, threads included; ratios over the bare loop; an A-A control says what the noise is.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from benchmarks import measuring
from loader.cli.running import run
from loader.model import Outcome, Record
from loader.pipeline.pipeline import run_load
from loader.runs.plan import LoadPlan
from loader.settings import Options, OzariCredentials, OzariInsert, Rate, Secret

TABLE = "tbench"
PATH = f"/integration/tables/{TABLE}/records"
BEYOND_REACH = 100_000.0
"""A rate that never limits, so that the bucket is at work and nobody waits for it."""
QUIET_SECONDS = 0.02
GOALS = {"lean": 2.8}
"""The session is the fallback, aiohttp as it comes: it is measured, and has no goal of its own."""


class Bare:
    """The floor: worker loops over one iterator on a session with every public knob turned that saves time."""

    def __init__(self, base_url: str, bodies: list[bytes], concurrency: int) -> None:
        self._url = URL(base_url + PATH, encoded=True)
        self._bodies = bodies
        self._concurrency = concurrency
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Authorization": "Bearer bench", "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )

    async def block(self, count: int) -> float:
        """Post so many bodies."""
        began = measuring.cpu_seconds()
        bodies = iter(self._bodies[:count])
        await asyncio.gather(*(self._worker(bodies) for _ in range(self._concurrency)))
        return measuring.cpu_seconds() - began

    async def _worker(self, bodies: Any) -> None:
        for body in bodies:
            async with self._session.post(self._url, data=body) as answer:
                await answer.read()
                if answer.status != 201:
                    raise SystemExit(f"the server answered {answer.status}")

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()


class Loader:
    """One load that goes on from block to block."""

    def __init__(self, plan: LoadPlan) -> None:
        self._has_room = asyncio.Event()
        self._wanted = self._done = 0
        self._reached = asyncio.Event()
        self._task = asyncio.create_task(run_load(plan, sink=self._take, has_room=self._has_room))

    def _take(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        del outcomes
        self._done += len(records)
        if self._done >= self._wanted:
            self._has_room.clear()
            self._reached.set()

    async def block(self, count: int) -> float:
        """Let so many records go, and wait until what was read beyond them has an outcome too."""
        first, began = self._done, measuring.cpu_seconds()
        self._wanted = first + count
        self._reached.clear()
        self._has_room.set()
        reached = asyncio.create_task(self._reached.wait())
        await asyncio.wait({reached, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            raise SystemExit(f"the load ended too early: {self._task.result()}")
        seen = -1
        while seen != self._done:
            seen = self._done
            await asyncio.sleep(QUIET_SECONDS)
        # Read once, at the end: the clock of a process costs as much as a tenth of a request.
        return (measuring.cpu_seconds() - began) * count / (self._done - first)

    async def close(self) -> None:
        """Let the load run to its end: every record must have been created."""
        self._wanted = sys.maxsize
        self._has_room.set()
        report = await self._task
        if report.state != "finished" or report.created != report.lines or report.retries:
            raise SystemExit(f"the load did not go well: {report.to_text()}")


def plan_of(folder: Path, name: str, base_url: str, concurrency: int, **options: Any) -> LoadPlan:
    """Plan a load with everything on that a user's load has."""
    return LoadPlan(
        sources=(str(folder / "records.ndjson"),),
        target=OzariInsert(table=TABLE),
        credentials=OzariCredentials(Secret("bench")),
        options=Options(rate=Rate(per_second=BEYOND_REACH), concurrency=concurrency, base_url=base_url, **options),
        run_directory=folder / f"{name}.run",
    )


async def measure(arguments: argparse.Namespace, folder: Path, base_url: str) -> dict[str, Any]:
    """Run all blocks and judge."""
    lines = (arguments.rounds + 2) * (arguments.records + 8 * arguments.concurrency)
    measuring.write_records(folder / "records.ndjson", lines)
    with (folder / "records.ndjson").open("rb") as file:
        bodies = [b'{"fields":%b}' % line.rstrip() for line, _ in zip(file, range(arguments.records), strict=False)]
    bare = Bare(base_url, bodies, arguments.concurrency)
    loads = {
        name: Loader(plan_of(folder, name, base_url, arguments.concurrency, transport=name))
        for name in arguments.transports
    }
    contenders: dict[str, measuring.Block] = {"bare": bare.block, "bare again": bare.block}
    contenders |= {name: load.block for name, load in loads.items()}
    rounds = await measuring.alternate(contenders, rounds=arguments.rounds, records=arguments.records)
    await bare.close()
    for load in loads.values():
        await load.close()
    noise = rounds.noise("bare", "bare again")
    rows: dict[str, dict[str, Any]] = {}
    for name in contenders:
        ratio = rounds.ratio("bare", name)
        rows[name] = {
            "microseconds_per_request": measuring.median_microseconds(rounds.costs[name]),
            "least": round(1e6 * min(rounds.costs[name]), 2),
            "ratio": round(ratio.median, 3),
            "ratio_error": round(ratio.error, 3),
        }
        if name in GOALS:
            rows[name] |= {"goal": GOALS[name], "verdict": measuring.verdict(ratio, GOALS[name], noise)}
    return {"concurrency": arguments.concurrency, "rounds": arguments.rounds, "noise": round(noise, 3), "rows": rows}


def main() -> int:
    """Measure, print; exit 1 where a goal is missed beyond the noise."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--records", type=int, default=12_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--transports", nargs="*", default=["session", "lean"])
    arguments = parser.parse_args()
    measuring.pin(measuring.CLIENT_CORE)
    with measuring.running_server() as base_url, tempfile.TemporaryDirectory() as folder:
        result = run(measure(arguments, Path(folder), base_url))
    table = [f"{'':12} {'us/request':>10} {'least':>7} {'ratio':>7} {'+-':>6}"]
    for name, row in result["rows"].items():
        table.append(
            f"{name:12} {row['microseconds_per_request']:>10} {row['least']:>7} {row['ratio']:>7} {row['ratio_error']:>6}"
            f"  {row.get('verdict', '')}"
        )
    measuring.print_result("pipeline", result, [*table, f"noise floor {result['noise']}"])
    return 1 if any(row.get("verdict") == "missed" for row in result["rows"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
