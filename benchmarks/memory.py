"""Sample the resident memory of the real command while it loads sources of growing length: it must not grow with them.

    python -m benchmarks.memory [--lines 10000 100000 1000000] [--targets ozari canbus]

Each load is a child process against the benchmark server, sampled every 50 ms from /proc (Linux). For every length: the
highest sample, and the samples at a quarter, half and the end of the load. Single records go at 100,000/s at most, so a
million of them takes a minute or more; by default they stop at a tenth of that.
"""

from __future__ import annotations

import argparse
import os
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
CREDENTIALS = {
    "OZARI_TOKEN": "bench",
    "CANBUS_TENANT_ID": "bench",
    "CANBUS_APP_ID": "bench",
    "CANBUS_API_KEY": "bench",
    "CANBUS_API_SECRET": "bench",
}


def command(target: str, source: Path, base_url: str) -> list[str]:
    """Build the command of a load."""
    what = ["ozari", "insert", "--table", "tbench"] if target == "ozari" else ["canbus", "add", "--user", "bench"]
    return [
        *(sys.executable, "-m", "loader", *what[:2], str(source), *what[2:], "--base-url", base_url),
        *("--run", str(source.with_suffix(".run")), "--rate", "100000/s", "--quiet"),
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
        if found is not None:
            samples.append(found)
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"the load ended with {process.returncode}")
    return samples, time.perf_counter() - began


def measure(lines: list[int], targets: list[str], folder: Path, base_url: str) -> list[dict[str, Any]]:
    """Load every length into every target."""
    rows = []
    for target in targets:
        for count in lines:
            if target == "ozari" and count > MAX_SINGLE_LINES:
                continue
            source = folder / f"{target}-{count}.ndjson"
            measuring.write_records(source, count, is_canbus=target == "canbus")
            samples, seconds = sample(command(target, source, base_url))
            source.unlink()
            quarters = [samples[len(samples) * part // 4] for part in (1, 2)]
            rows.append(
                {
                    "target": target,
                    "lines": count,
                    "seconds": round(seconds, 1),
                    "highest_mb": round(max(samples), 1),
                    "at_quarter_mb": round(quarters[0], 1),
                    "at_half_mb": round(quarters[1], 1),
                    "at_end_mb": round(samples[-1], 1),
                }
            )
    return rows


def main() -> int:
    """Measure, print; exit 1 past the ceiling."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--targets", nargs="+", default=["ozari", "canbus"])
    arguments = parser.parse_args()
    with measuring.running_server() as base_url, tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments.lines, arguments.targets, Path(folder), base_url)
    table = [f"{'target':8} {'lines':>9} {'seconds':>8} {'highest MB':>11} {'quarter':>8} {'half':>6} {'end':>6}"]
    table += [
        f"{row['target']:8} {row['lines']:>9} {row['seconds']:>8} {row['highest_mb']:>11} {row['at_quarter_mb']:>8}"
        f" {row['at_half_mb']:>6} {row['at_end_mb']:>6}"
        for row in rows
    ]
    measuring.print_result("memory", {"ceiling_mb": CEILING_MB, "rows": rows}, table)
    return 1 if any(row["highest_mb"] > CEILING_MB for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
