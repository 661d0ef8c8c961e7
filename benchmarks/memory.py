"""Sample the resident memory of the real command while it loads sources of growing length: it must not grow with them.

    python -m benchmarks.memory [--lines 10000 100000 1000000] [--targets ozari canbus] [--max-single-lines 100000]

Each load is a child process against the benchmark server, sampled every 50 ms from /proc (Linux). For every length: the
highest sample, the samples at a quarter, half and the end of the load, and what the run directory then holds, ids included.
A million single records take a minute or more; by default they stop at a tenth of that. `--full` goes to ten million lines,
for both targets, which takes as long as it takes. Where a folder of results holds an earlier object, the lengths that are not
measured this time are kept from it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import measuring

CEILING_MB = 80.0
SAMPLE_SECONDS = 0.05
MAX_SINGLE_LINES = 100_000
FULL_LINES = 10_000_000
BLOCK_LINES = 100_000
"""Longer sources repeat a block of so many."""
CURVE_POINTS = 60
MAX_RUN_BYTES = 12.0
"""Of the run directory for each record, beyond what a run holds once."""
KEPT_BYTES = 2 * 1024 * 1024
"""A log no longer than that is kept as it is (checkpoint/tools.py); what is settled in it stands in the folds as well."""
CREDENTIALS = {
    "OZARI_TOKEN": "bench",
    "CANBUS_TENANT_ID": "bench",
    "CANBUS_APP_ID": "bench",
    "CANBUS_API_KEY": "bench",
    "CANBUS_API_SECRET": "bench",
}


def command(target: str, source: Path, base_url: str, run: Path) -> list[str]:
    """Build the command of a load."""
    what = ["ozari", "insert", "--table", "tbench"] if target == "ozari" else ["canbus", "add", "--user", "bench"]
    return [
        *(sys.executable, "-m", "loader", *what[:2], str(source), *what[2:], "--base-url", base_url),
        *("--run", str(run), "--rate", "100000/s", "--quiet"),
    ]


def resident_mb(process_id: int) -> float | None:
    """Read what a process holds in memory; None where it has gone."""
    try:
        for line in Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None


def sample(arguments: list[str]) -> tuple[list[float], float]:
    """Run a load; return its samples in megabytes, and its seconds."""
    began = time.perf_counter()
    process = subprocess.Popen(arguments, env=os.environ | CREDENTIALS, stdout=subprocess.DEVNULL)
    samples = []
    while process.poll() is None:
        found = resident_mb(process.pid)
        if found:  # nothing yet, in the moment before the interpreter is loaded
            samples.append(found)
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"the load ended with {process.returncode}")
    return samples, time.perf_counter() - began


def write_source(path: Path, count: int, *, is_canbus: bool) -> None:
    """Write so many lines; a long source repeats itself."""
    block_lines = min(count, BLOCK_LINES)
    measuring.write_records(path, block_lines, is_canbus=is_canbus)
    block = path.read_bytes()
    with path.open("ab") as file:
        for _ in range(count // block_lines - 1):
            file.write(block)


def measure_one(target: str, count: int, folder: Path, base_url: str) -> dict[str, Any]:
    """Load one length into one target."""
    source, run = folder / f"{target}-{count}.ndjson", folder / f"{target}-{count}.run"
    write_source(source, count, is_canbus=target == "canbus")
    samples, seconds = sample(command(target, source, base_url, run))
    run_bytes = sum(path.stat().st_size for path in run.iterdir())
    source.unlink()
    shutil.rmtree(run)
    row = {
        "target": target,
        "lines": count,
        "seconds": round(seconds, 1),
        "highest_mb": round(max(samples), 1),
        "at_quarter_mb": round(samples[len(samples) // 4], 1),
        "at_half_mb": round(samples[len(samples) // 2], 1),
        "at_end_mb": round(samples[-1], 1),
        "run_bytes_per_record": round(run_bytes / count, 2),
    }
    step = max(1, len(samples) // CURVE_POINTS)
    return row | {"curve_mb": [round(one, 1) for one in samples[::step]], "at": measuring.now()}


def measure(arguments: argparse.Namespace, folder: Path, base_url: str) -> list[dict[str, Any]]:
    """Load every length into every target; keep the other rows of an earlier result."""
    found = {(row["target"], row["lines"]): row for row in measuring.kept("memory").get("rows", ())}
    for target in arguments.targets:
        for count in arguments.lines:
            if target != "ozari" or count <= arguments.max_single_lines:
                found[target, count] = measure_one(target, count, folder, base_url)
    return [found[key] for key in sorted(found)]


def is_heavy(row: dict[str, Any]) -> bool:
    """Say whether a run directory is too large for its records."""
    return bool(row["run_bytes_per_record"] > MAX_RUN_BYTES + KEPT_BYTES / row["lines"])


def main() -> int:
    """Measure, print; exit 1 past the ceiling."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--targets", nargs="+", default=["ozari", "canbus"])
    parser.add_argument("--max-single-lines", type=int, default=MAX_SINGLE_LINES)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    if arguments.full:
        arguments.lines, arguments.max_single_lines = [*arguments.lines, FULL_LINES], FULL_LINES
    with measuring.running_server() as base_url, tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments, Path(folder), base_url)
    table = [
        f"{'target':8} {'lines':>9} {'seconds':>8} {'highest MB':>11} {'quarter':>8} {'half':>6} {'end':>6} {'B/record':>9}"
    ]
    table += [
        f"{row['target']:8} {row['lines']:>9} {row['seconds']:>8} {row['highest_mb']:>11} {row['at_quarter_mb']:>8}"
        f" {row['at_half_mb']:>6} {row['at_end_mb']:>6} {row['run_bytes_per_record']:>9}"
        for row in rows
    ]
    goals = {"ceiling_mb": CEILING_MB, "max_run_bytes_per_record": MAX_RUN_BYTES}
    measuring.print_result("memory", goals | {"rows": rows}, table)
    return 1 if any(row["highest_mb"] > CEILING_MB or is_heavy(row) for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
