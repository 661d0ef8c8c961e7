"""How long a run with many settled records takes to go on: resume's first request, `status`, the first line of `ids`.

    python -m benchmarks.resume [--records 500000 50000000] [--ids int|hex]

The run directory is synthesised: the folds that such a run leaves, and a source that is a hole between its first and its last
lines.
Everything else is the real command against the emulator. The curve goes over growing
numbers of settled records.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import measuring
from loader import __version__
from loader.checkpoint import folds
from loader.checkpoint import format as log_format
from loader.checkpoint.fold_file import FoldFile
from loader.checkpoint.storage import DiskStorage
from loader.checkpoint.windows import Slot
from loader.emulator import Emulator, running
from loader.reading.fingerprint import identify
from loader.runs import directory as run_directory
from loader.runs.directory import RunInfo, describe_source
from loader.settings import Options, OzariInsert, Rate

RUN_ID = "benchmark1"
LINE_BYTES = 250
FOLD_LINES = 4096
WINDOW_LINES = 64
NEW_LINES = 100
FOLDS_AT_ONCE = 64
ROUNDS = 3
GOAL_SECONDS = 2.0
TIMED = ("resume_first_request_seconds", "status_seconds", "first_id_seconds")


def ids_of(kind: str, first: int) -> list[Slot]:
    """Make the ids of a fold: an auto-increment column's, or 24 hex digits as Canbus shows them."""
    if kind == "int":
        return [1_000_000 + first + number for number in range(FOLD_LINES)]
    return [
        f"{0x660FA9BD + first // 300_000:08x}6a831e0f4f{(first + number) & 0xFFFFFF:06x}"
        for number in range(FOLD_LINES)
    ]


def old_line(number: int) -> bytes:
    """Make a line of the length that all settled ones have."""
    return (b'{"fname":"old %d"}' % number).ljust(LINE_BYTES - 1) + b"\n"


def jobs(records: int, kind: str) -> Iterator[folds.FoldJob]:
    """Describe the folds of a run."""
    for first in range(1, records, FOLD_LINES):
        ends = range(WINDOW_LINES, FOLD_LINES + 1, WINDOW_LINES)
        shapes = [(first + end, (first + end - 1) * LINE_BYTES, end * 2654435761 % 2**32) for end in ends]
        begin, end = (first - 1) * LINE_BYTES, (first - 1 + FOLD_LINES) * LINE_BYTES
        yield folds.FoldJob(0, first, first + FOLD_LINES, begin, end, first, shapes, ids_of(kind, first))


def make_log(directory: Path, records: int, kind: str, bound: dict[str, object]) -> None:
    """Write checkpoint.settled and the log of a later generation."""
    storage = DiskStorage(directory)
    settled = FoldFile(storage.create("checkpoint.settled"), RUN_ID)
    settled.begin()
    batch = []
    for job in jobs(records, kind):
        batch.append(job)
        if len(batch) == FOLDS_AT_ONCE:
            settled.append(batch, None)
            batch = []
    if batch:
        settled.append(batch, None)
    header = log_format.Header(
        n=records + 10, s=records + 9, format=1, run=RUN_ID, generation=2, settled=settled.mark, bound=bound
    )
    snapshot = log_format.Snapshot(n=records + 11, s=records + 10, settled=settled.mark, executions=1, notes={})
    seed = log_format.seed_of(RUN_ID)
    (directory / "checkpoint.log").write_bytes(log_format.seal(header, seed) + log_format.seal(snapshot, seed))


def make_run(folder: Path, records: int, kind: str, base_url: str) -> Path:
    """Write the source and the run directory."""
    source, directory = folder / "source.ndjson", folder / "big.run"
    directory.mkdir(mode=0o700)
    with source.open("wb") as file:
        # `ids` reads the source beside the log, so its first lines must be there.
        file.write(b"".join(old_line(number) for number in range(FOLD_LINES)))
        file.truncate(records * LINE_BYTES - 1)
        file.seek(0, os.SEEK_END)
        file.write(b"\n")
        file.write(b"".join(b'{"fname":"new %d"}\n' % number for number in range(NEW_LINES)))
    described = describe_source(str(source), directory)
    info = RunInfo(
        run=RUN_ID,
        target="ozari insert",
        origin=base_url,
        identity=None,
        settings=OzariInsert("tcity"),
        sources=(run_directory.SourceInfo(described.path, described.from_run, identify(source)),),
        options=Options(base_url=base_url, rate=Rate(1000.0)),
        loader=__version__,
        created="2026-11-22T00:00:00Z",
    )
    run_directory.write(directory, info)
    make_log(directory, records, kind, json.loads(run_directory.encode(info)))
    return directory


def seconds_of_status(directory: Path) -> float:
    """Time the whole command."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "loader", "status", str(directory)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def seconds_to_first_id(directory: Path) -> float:
    """Time from the start of the command to its first line."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "loader", "ids", str(directory)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        process.stdout.readline()
        seconds = time.perf_counter() - began
        process.kill()
    return seconds


def seconds_to_first_request(directory: Path, emulator: Emulator) -> tuple[float, float]:
    """Time from the start of `resume` to the first record that the target gets, and to its end."""
    environment = os.environ | {"OZARI_TOKEN": "emulator-token"}
    began = time.monotonic()
    command = [sys.executable, "-m", "loader", "resume", str(directory), "--progress", "none"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    ended = time.monotonic()
    assert b"created" in done.stdout  # noqa: S101 - a benchmark of a load that loads nothing says nothing
    first = min(fact.arrived for fact in emulator.journal.facts() if fact.operation == "insert")
    return first - began, ended - began


def measure(wanted: int, kind: str) -> dict[str, Any]:
    """Measure one number of settled records."""
    records = wanted // FOLD_LINES * FOLD_LINES
    with tempfile.TemporaryDirectory(prefix="loader-resume-") as folder, running() as emulator:
        directory = make_run(Path(folder), records, kind, emulator.base_url)
        size = sum(path.stat().st_size for path in directory.iterdir())
        status = [seconds_of_status(directory) for _ in range(ROUNDS)]
        first_id = [seconds_to_first_id(directory) for _ in range(ROUNDS)]
        first, whole = seconds_to_first_request(directory, emulator)  # once: the run has new records then
    return {
        "records": records,
        "ids": kind,
        "run_directory_bytes_per_record": round(size / records, 3),
        "resume_first_request_seconds": round(first, 3),
        "resume_whole_seconds": round(whole, 3),
        "status_seconds": round(statistics.median(status), 3),
        "first_id_seconds": round(statistics.median(first_id), 3),
    }


def main() -> int:
    """Synthesise, measure, print; exit 1 where the goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, nargs="+", default=[500_000, 5_000_000, 50_000_000])
    parser.add_argument("--ids", choices=["int", "hex"], default="int")
    arguments = parser.parse_args()
    rows = [measure(records, arguments.ids) for records in arguments.records]
    table = [f"{'settled':>11} {'first request s':>16} {'status s':>9} {'first id s':>11} {'B/record':>9}"]
    table += [
        f"{row['records']:>11,} {row['resume_first_request_seconds']:>16} {row['status_seconds']:>9}"
        f" {row['first_id_seconds']:>11} {row['run_directory_bytes_per_record']:>9}"
        for row in rows
    ]
    measuring.print_result("resume", {"goal_seconds": GOAL_SECONDS, "rows": rows}, table)
    slowest = max(max(row[name] for name in TIMED) for row in rows)
    return 1 if slowest > GOAL_SECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
