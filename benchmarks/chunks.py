"""Measure how many records a second the loader moves in chunks (Canbus), beside the limit that parsing alone sets.

    python -m benchmarks.chunks [--rounds 15] [--records 200000]

The limit reads the file line by line and decodes each with orjson, and does nothing else. The loader is the whole loader,
from the file to the last outcome on disk, answers checked, with its default chunks and concurrency. Both run by turns in one
process, on one core; the server has the other. The goal is half of the limit, by CPU time. gzip and zstd input run
likewise, beside the plain file.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from benchmarks import measuring
from loader.cli.running import run
from loader.pipeline.pipeline import run_load
from loader.runs.plan import LoadPlan
from loader.settings import CanbusAdd, CanbusCredentials, Options, Rate, Secret

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GOAL = 0.5
MAX_SURCHARGE = 0.15
"""What compressed input may cost more."""
BEYOND_REACH = 100_000.0
FORMS = ("plain", "gzip", "zstd")


async def parse_only(path: Path, records: int) -> float:
    """Read and decode, nothing else."""
    began = measuring.cpu_seconds()
    loads = orjson.loads
    with path.open("rb", buffering=1 << 20) as file:
        seen = sum(1 for line in file if type(loads(line)) is dict)
    if seen != records:
        raise SystemExit(f"{seen} records in the file, not {records}")
    return measuring.cpu_seconds() - began


class Loads:
    """Loads of one file, each in a run directory of its own. `walls`: seconds of wall time."""

    def __init__(self, source: Path, base_url: str) -> None:
        self._source = source
        self._base_url = base_url
        self.walls: list[float] = []

    async def block(self, records: int) -> float:
        """Load the file once."""
        directory = self._source.with_suffix(f".{len(self.walls)}.run")
        secret = Secret("bench")
        plan = LoadPlan(
            sources=(str(self._source),),
            target=CanbusAdd(user="bench"),
            credentials=CanbusCredentials("bench", secret, secret, secret),
            options=Options(rate=Rate(per_second=BEYOND_REACH), base_url=self._base_url),
            run_directory=directory,
        )
        began, cpu_began = time.perf_counter(), measuring.cpu_seconds()
        report = await run_load(plan)
        cpu = measuring.cpu_seconds() - cpu_began
        self.walls.append(time.perf_counter() - began)
        if report.state != "finished" or report.created != records:
            raise SystemExit(f"the load did not go well: {report.to_text()}")
        shutil.rmtree(directory)
        return cpu


def write_forms(folder: Path, records: int) -> dict[str, Path]:
    """Write the records plain and compressed."""
    paths = {form: folder / f"records.{form}" for form in FORMS}
    measuring.write_records(paths["plain"], records, is_canbus=True)
    with paths["plain"].open("rb") as plain, gzip.open(paths["gzip"], "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed)
    with paths["plain"].open("rb") as plain, zstd.open(paths["zstd"], "wb") as packed:
        shutil.copyfileobj(plain, packed)
    return paths


async def measure(arguments: argparse.Namespace, folder: Path, base_url: str) -> dict[str, Any]:
    """Run all blocks and judge."""
    paths = write_forms(folder, arguments.records)
    loads = {form: Loads(path, base_url) for form, path in paths.items()}

    async def parse(records: int) -> float:
        return await parse_only(paths["plain"], records)

    contenders: dict[str, measuring.Block] = {"parse": parse, "parse again": parse}
    contenders |= {form: load.block for form, load in loads.items()}
    rounds = await measuring.alternate(contenders, rounds=arguments.rounds, records=arguments.records)
    noise = rounds.noise("parse", "parse again")
    rows: dict[str, dict[str, Any]] = {}
    for name in contenders:
        ratio = rounds.ratio("parse", name)
        rows[name] = {
            "microseconds_per_record": measuring.median_microseconds(rounds.costs[name]),
            "of_parse_limit": round(ratio.median, 3),
            "error": round(ratio.error, 3),
        }
        if name in loads:
            walls = sorted(loads[name].walls[1:])
            rows[name]["records_per_second"] = round(arguments.records / walls[len(walls) // 2])
    rows["plain"] |= {"goal": GOAL, "verdict": measuring.verdict(rounds.ratio("parse", "plain"), GOAL, noise)}
    for form in FORMS[1:]:
        goal = 1 / (1 + MAX_SURCHARGE)
        rows[form] |= {"goal": round(goal, 3), "verdict": measuring.verdict(rounds.ratio("plain", form), goal, noise)}
    return {"records": arguments.records, "rounds": arguments.rounds, "noise": round(noise, 3), "rows": rows}


def main() -> int:
    """Measure, print; exit 1 where a goal is missed beyond the noise."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--records", type=int, default=200_000)
    arguments = parser.parse_args()
    measuring.pin(measuring.CLIENT_CORE)
    with measuring.running_server() as base_url, tempfile.TemporaryDirectory() as folder:
        result = run(measure(arguments, Path(folder), base_url))
    table = [f"{'':12} {'us/record':>10} {'of limit':>9} {'+-':>6} {'records/s':>10}"]
    for name, row in result["rows"].items():
        table.append(
            f"{name:12} {row['microseconds_per_record']:>10} {row['of_parse_limit']:>9} {row['error']:>6} "
            f"{row.get('records_per_second', ''):>10}  {row.get('verdict', '')}"
        )
    measuring.print_result("chunks", result, [*table, f"noise floor {result['noise']}"])
    return 1 if any(row.get("verdict") == "missed" for row in result["rows"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
