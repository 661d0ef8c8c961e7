"""Compare the loader with its peers: how fast, at what cost, and what is lost and doubled when something goes wrong.

    python -m benchmarks.peers [--rounds 5] [--shapes single batch] [--only NAME ...] [--parts speed faults] [--share 1.0]

Prints one table for each shape on standard error and one JSON object on standard output. A contestant that is not installed is
named with what would install it; so is one that could not finish. Where a folder of results holds an earlier object, what is not
measured this time is kept from it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.peers import ours, packages, shell
from benchmarks.peers.contest import Contestant, Shape
from benchmarks.peers.faults import TRIALS, hold_all
from benchmarks.peers.speed import Contest

PEERS = (*shell.CONTESTANTS, *packages.CONTESTANTS)


def available(contestants: Sequence[Contestant], missing: dict[str, str]) -> list[Contestant]:
    """Take those that are installed; say of the others what would install them."""
    found = []
    for contestant in contestants:
        lacking = contestant.missing()
        if lacking:
            missing[contestant.name] = f"no {', '.join(lacking)}: {contestant.hint}"
        else:
            found.append(contestant)
    return found


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Hold the rounds and the trials of every shape."""
    missing: dict[str, str] = {}
    peers = available(PEERS, missing)
    # The loader runs in every race: it is what the others are compared with.
    racers = [*ours.FOR_SPEED, *(one for one in peers if not arguments.only or one.name in arguments.only)]
    tried = [one for one in (*ours.FOR_FAULTS, *peers) if not arguments.only or one.name in arguments.only]
    before = measuring.kept("peers").get("shapes", {})
    shapes: dict[str, Any] = {}
    for shape in arguments.shapes:
        result: dict[str, Any] = {}
        if "speed" in arguments.parts:
            result |= race(shape, racers, folder, arguments)
        if "faults" in arguments.parts:
            rows = hold_all(shape, tried, folder, arguments.trial)
            kept = before.get(shape, {}).get("faults", ())
            result |= {"faults": with_kept(kept, rows), "faults_at": measuring.now()}
        shapes[shape] = result
    whole = {shape: before.get(shape, {}) | shapes.get(shape, {}) for shape in before | shapes}
    trials = {trial.name: trial.about for trial in TRIALS}
    return {"missing": missing, "trials": trials, "shapes": whole}


def with_kept(kept: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put new trials in the place of those kept before; what was not tried again stays."""
    new = {row["name"]: row for row in rows}
    old = {row["name"]: row for row in kept}
    return [
        old.get(name, {})
        | new.get(name, {})
        | {"trials": old.get(name, {}).get("trials", {}) | new.get(name, {}).get("trials", {})}
        for name in old | new
    ]


def race(shape: Shape, racers: Sequence[Contestant], folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Hold the rounds of one shape."""
    contest = Contest(shape, racers, folder, arguments.share)
    for number in range(arguments.rounds + 1):
        contest.round(number)
        print(f"{shape}: round {number} of {arguments.rounds} done", file=sys.stderr)
    rows = contest.rows()
    return {"speed": rows, "noise": contest.noise, "rounds": arguments.rounds, "speed_at": measuring.now()}


def table(shape: str, result: dict[str, Any]) -> list[str]:
    """Lay one shape out for a terminal."""
    lines = [f"-- {shape}"]
    if "speed" in result:
        lines.append(f"{'':26} {'records/s':>10} {'us CPU':>8} {'start s':>8} {'MB':>6}  by CPU / by pace")
    for row in result.get("speed", ()):
        if "failed" in row:
            lines.append(f"{row['name']:26} {row['failed']}")
            continue
        standing = (
            f"{row['by_cpu']} ({row['cpu_ratio']}) / {row['by_pace']} ({row['pace_ratio']})" if "by_cpu" in row else ""
        )
        lines.append(
            f"{row['name']:26} {row['records_per_second']:>10,} {row['cpu_microseconds_per_record']:>8}"
            f" {row['start_cpu_seconds']:>8} {row['peak_mb']:>6}  {standing}"
        )
    for row in result.get("faults", ()):
        cells = [f"{name}: -{one['lost']} +{one['doubled']} {one['ends'][-1]}" for name, one in row["trials"].items()]
        lines.append(f"{row['name']:26} {' | '.join(cells)}")
    return lines


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", nargs="+", default=["single", "batch"])
    parser.add_argument("--parts", nargs="+", default=["speed", "faults"])
    parser.add_argument("--only", nargs="+", help="names of contestants")
    parser.add_argument("--trial", help="the name of the one trial to hold")
    parser.add_argument("--share", type=float, default=1.0, help="share of the records that a speed run sends")
    arguments = parser.parse_args()
    measuring.pin(measuring.SERVER_CORE)
    with tempfile.TemporaryDirectory(prefix="loader-peers-") as folder:
        result = measure(arguments, Path(folder))
    lines = [line for shape, one in result["shapes"].items() for line in table(shape, one)]
    lines += [f"not installed: {name} ({hint})" for name, hint in result["missing"].items()]
    measuring.print_result("peers", result, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
