"""Measure each stage of a record's way alone, with pytest-benchmark: microseconds of CPU a record.

    python -m benchmarks.stages

The cases are in `stage_cases.py`. Timed is the CPU of the process, threads included; the median over the rounds counts, and the
middle half of the rounds says how far to believe it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks import measuring

CASES = Path(__file__).with_name("stage_cases.py")


def measure(folder: Path) -> list[dict[str, Any]]:
    """Run the cases; return a row for each."""
    kept = folder / "stages.json"
    arguments = [
        str(CASES),
        "-q",
        "-s",
        "-o",
        "addopts=",
        "--import-mode=importlib",
        "-p",
        "no:xdist",
        "-p",
        "no:randomly",
    ]
    options = ["--benchmark-timer=time.process_time", "--benchmark-quiet", f"--benchmark-json={kept}"]
    paces = [
        "--benchmark-min-rounds=15",
        "--benchmark-max-time=0.7",
        "--benchmark-min-time=0.02",
        "--benchmark-warmup=on",
    ]
    code = pytest.main([*arguments, *options, *paces])
    if code:
        raise SystemExit(f"the stages ended with {code}; look above for the case that failed")
    rows = []
    for case in json.loads(kept.read_text(encoding="utf-8"))["benchmarks"]:
        scale = 1e6 / case["extra_info"]["records"]
        stats = case["stats"]
        rows.append(
            {
                "stage": case["name"].removeprefix("test_"),
                "microseconds_per_record": round(stats["median"] * scale, 3),
                "quartiles": [round(stats[name] * scale, 3) for name in ("q1", "q3")],
                "rounds": stats["rounds"],
            }
        )
    return rows


def main() -> int:
    """Measure, print."""
    measuring.pin(measuring.CLIENT_CORE)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder))
    table = [f"{'stage':22} {'us/record':>10} {'quartiles':>18}"]
    for row in rows:
        low, high = row["quartiles"]
        table.append(f"{row['stage']:22} {row['microseconds_per_record']:>10} {f'{low} to {high}':>18}")
    measuring.print_result("stages", {"rows": rows}, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
