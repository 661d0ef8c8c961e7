"""Measure how soon a load begins, from the command's start to the first record, and that a long source changes nothing.

    python -m benchmarks.begin [--rounds 5] [--gigabytes 10] [--real]

By turns a source of 100 kB and one of 10 GB. By default the long one is a hole behind its first 16 MB of records, with good
records again at its end; `--real` writes all of it, which takes that much disk. The command is ended after its first request.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.memory import CREDENTIALS, command

GOAL_SECONDS = 1.0
SHORT_LINES = 400
BLOCK_LINES = 64_000
POLL_SECONDS = 0.01
MAX_SECONDS = 60.0
TARGETS = ("ozari", "canbus")


def write_long(path: Path, size: int, *, is_canbus: bool, is_real: bool) -> None:
    """Write a source of so many bytes: a block of records again and again, or at both ends of a hole."""
    block_bytes = measuring.write_records(path, BLOCK_LINES, is_canbus=is_canbus)
    block = path.read_bytes()
    with path.open("ab") as file:
        if not is_real:
            file.truncate(max(size - block_bytes, block_bytes))
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        while file.tell() < size:
            file.write(block)


def first_request(target: str, source: Path) -> tuple[float, float]:
    """Start a load; return the seconds until the server had the first record's request and the CPU seconds by then; end it."""
    with measuring.running_server() as base_url, tempfile.TemporaryDirectory() as folder:
        words = command(target, source, base_url, Path(folder) / "begin.run")
        began = time.monotonic()
        process = subprocess.Popen(words, env=os.environ | CREDENTIALS, stdout=subprocess.DEVNULL)
        try:
            while time.monotonic() - began < MAX_SECONDS:
                time.sleep(POLL_SECONDS)
                seen = measuring.ask_server(base_url)
                if seen["requests"]:
                    return float(seen["began"]) - began, measuring.cpu_of(process.pid)
            raise SystemExit(f"no request within {MAX_SECONDS} s")
        finally:
            process.kill()
            process.wait()


def measure(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Run both lengths by turns for each target; the first round is thrown away."""
    rows: list[dict[str, Any]] = []
    for target in TARGETS:
        short, long = folder / "short.ndjson", folder / "long.ndjson"
        measuring.write_records(short, SHORT_LINES, is_canbus=target == "canbus")
        size = arguments.gigabytes * 10**9
        write_long(long, size, is_canbus=target == "canbus", is_real=arguments.real)
        seconds: dict[Path, list[tuple[float, float]]] = {short: [], long: []}
        for number in range(arguments.rounds + 1):
            for source, found in seconds.items():
                one = first_request(target, source)
                if number:
                    found.append(one)
        for source, found in seconds.items():
            waits, costs = zip(*found, strict=True)
            row = {"target": target, "bytes": source.stat().st_size, "seconds": round(statistics.median(waits), 3)}
            rows.append(row | {"longest": round(max(waits), 3), "cpu_seconds": round(statistics.median(costs), 2)})
        long.unlink()
    return rows


def main() -> int:
    """Measure, print; exit 1 where the goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=int, default=10)
    parser.add_argument("--real", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loader-begin-") as folder:
        rows = measure(arguments, Path(folder))
    table = [f"{'target':8} {'source bytes':>15} {'first record after s':>21} {'longest':>8} {'CPU s':>6}"]
    table += [
        f"{row['target']:8} {row['bytes']:>15,} {row['seconds']:>21} {row['longest']:>8} {row['cpu_seconds']:>6}"
        for row in rows
    ]
    result = {"goal_seconds": GOAL_SECONDS, "rounds": arguments.rounds, "is_sparse": not arguments.real, "rows": rows}
    measuring.print_result("begin", result, table)
    return 1 if any(row["seconds"] > GOAL_SECONDS for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
