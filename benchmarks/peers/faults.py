"""What the contestants lose and double when something goes wrong: the trials, as data, on the emulator.

After every trial the rows are counted in the emulator's own database; no contestant's word counts. A command that ends with a
code that asks for it is run again, as an operator would, up to three runs in all (413 would be the same again). `missing` are
records of the source that are not there, `lost` those of them that the contestant does not list as unknown or refused, `doubled`
rows too many. Only the loader keeps such lists by line; drt's file of failures is off unless asked for.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.peers.contest import APP, KEYS, TABLE, Contestant, Job, Shape
from benchmarks.peers.running import run
from benchmarks.peers.speed import write_source
from loader.emulator import Emulator, Plan, running
from loader.emulator.faults import Close, Fault, Latency, StatusFault
from loader.emulator.switches import CanbusApp, CanbusItem, CanbusSwitches, OzariSwitches, RateLimit
from loader.emulator.wire import Operation

LATE_SECONDS = 0.5
COUNTS: dict[Shape, int] = {"single": 1_000, "batch": 20_000}
LIMITS: dict[Shape, float] = {"single": 100.0, "batch": 20.0}


@dataclass(frozen=True)
class Trial:
    """One thing that goes wrong. `rules` may hit creating requests alone."""

    name: str
    about: str
    rules: tuple[Fault, ...] = ()
    is_killed: bool = False
    is_limited: bool = False
    max_records: int = 1000
    max_runs: int = 3
    shapes: tuple[Shape, ...] = ("single", "batch")


CREATING: tuple[Operation, ...] = ("insert", "add")
TRIALS = (
    Trial(
        name="lost answers",
        about="every 50th request is carried out and its connection closed without an answer",
        rules=(Close(operations=CREATING, every=50),),
    ),
    Trial(
        name="kill -9 and rerun",
        about="killed when half of the records are there (20 ms a request), then the same command again",
        rules=(Latency(operations=CREATING, milliseconds=20),),
        is_killed=True,
    ),
    Trial(
        name="429",
        about="a bucket of 100 requests a second (batches: 20), Retry-After: 1",
        is_limited=True,
    ),
    Trial(
        name="503",
        about="one request in ten is answered 503, nothing is written",
        rules=(StatusFault(operations=CREATING, status=503, probability=0.1),),
    ),
    Trial(
        name="413",
        about="bodies of more than 50 records are answered 413, and 100 are sent",
        max_records=50,
        max_runs=1,
        shapes=("batch",),
    ),
)


def plan_of(trial: Trial, shape: Shape) -> Plan:
    """Make the fault plan. The spare item of the Canbus app, and nothing else, forbids duplicates."""
    limit = RateLimit(kind="bucket", per_second=LIMITS[shape], burst=int(LIMITS[shape])) if trial.is_limited else None
    app = CanbusApp(app_id=APP, items={"Stamp": CanbusItem(is_unique=True)})
    canbus = CanbusSwitches(apps=(app,), any_user=True, max_records=trial.max_records, rate_limit=limit)
    return Plan(ozari=OzariSwitches(any_table=True, rate_limit=limit), canbus=canbus, faults=trial.rules)


def hold(trial: Trial, contestant: Contestant, shape: Shape, folder: Path, count: int | None = None) -> dict[str, Any]:
    """Hold one trial for one contestant; return what was lost and doubled. `count`: records, where not as many as usual."""
    if count is None:
        # GNU parallel starts a process for each request.
        count = COUNTS[shape] // (10 if contestant.name.startswith("GNU") and shape == "single" else 1)
    source, home, database = folder / "records.ndjson", folder / "home", folder / "rows.sqlite"
    write_source(source, count, shape)
    home.mkdir()
    began = time.perf_counter()
    with running(plan_of(trial, shape), database=str(database)) as emulator:
        ends = repeat(trial, contestant, Job(shape, source, home, emulator.base_url), emulator, count)
        requests, throttled = emulator.journal.requests, emulator.journal.throttled
    emulator.close()
    missing, doubled = judge(database, shape, count)
    lists = listed(home)
    return {
        "records": count,
        "missing": len(missing),
        "lost": len(missing.difference(*lists.values())),
        "doubled": doubled,
        "listed": {name: len(lines) for name, lines in lists.items()},
        "ends": ends,
        "requests": requests,
        "throttled": throttled,
        "seconds": round(time.perf_counter() - began, 1),
    }


def repeat(trial: Trial, contestant: Contestant, job: Job, emulator: Emulator, count: int) -> list[str]:
    """Run the command until it says that it has finished, or often enough; return how each run ended."""
    ends: list[str] = []
    for number in range(trial.max_runs):
        kill_at = count // 2 if trial.is_killed and number == 0 else None
        usage = run(contestant, job, lambda: emulator.journal.committed, wanted=count, kill_at=kill_at)
        time.sleep(LATE_SECONDS)  # what was in flight is carried out
        ends.append(usage.end if usage.end != "by itself" else f"exit {usage.code}")
        if usage.end != "killed" and (usage.code in contestant.finished_codes or contestant.is_endless):
            break
    return ends


def judge(database: Path, shape: Shape, count: int) -> tuple[set[int], int]:
    """Look into the emulator's database; return the lines whose records are missing, and how many rows are too many."""
    table, key = (TABLE, KEYS[shape]) if shape == "single" else (APP, KEYS[shape])
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute(f'SELECT "{key}" FROM "{table}"').fetchall()  # noqa: S608 - two constants
    except sqlite3.OperationalError:  # nothing was ever written, so there is no such table
        rows = []
    finally:
        connection.close()
    lines = {int(code.removeprefix("K-")) for (code,) in rows}
    return set(range(1, count + 1)) - lines, len(rows) - len(lines)


def listed(home: Path) -> dict[str, set[int]]:
    """Return the lines that the loader itself lists, by list; every other contestant keeps none that could be read."""
    directory = home / "load.run"
    return {name: _lines(name, directory) for name in ("ambiguous", "rejects")} if directory.exists() else {}


def _lines(name: str, directory: Path) -> set[int]:
    command = [sys.executable, "-m", "loader", name, str(directory)]
    done = subprocess.run(command, capture_output=True, check=False)
    return {int(orjson.loads(line)["line"]) for line in done.stdout.splitlines() if line.startswith(b"{")}


def hold_all(shape: Shape, contestants: Sequence[Contestant], folder: Path, only: str | None) -> list[dict[str, Any]]:
    """Hold every trial for everyone."""
    rows = []
    for contestant in contestants:
        if shape not in contestant.shapes:
            continue
        row: dict[str, Any] = {"name": contestant.name, "trials": {}}
        for trial in TRIALS:
            if shape in trial.shapes and (only is None or only == trial.name):
                place = folder / "trial"
                place.mkdir()
                row["trials"][trial.name] = found = hold(trial, contestant, shape, place)
                shutil.rmtree(place)
                print(f"{shape} {trial.name}: {contestant.name}: {found}", file=sys.stderr)
        rows.append(row)
    return rows
