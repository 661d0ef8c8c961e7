"""Run directories damaged at random, as a disk or a restored backup would: refused, repaired, resumed, compared with the target.

Where the damage is in nothing that is read (a header, which `run.json` has too; folds that the log can make anew) a run goes on
without a repair, and must come out right as well (`unit/checkpoint/test_repair_fuzz` says exactly when it may).

Each load is killed in the middle, in its second execution, so that its log has folds and open windows. Only what the log
acknowledged is damaged; damage behind it looks like a torn end, which a power loss leaves too (`test_crash`).
LOADER_FUZZ_CASES says how many (`make soak`: 50 of each kind).
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loader.emulator import Emulator, running
from loader.emulator.faults import Fault
from loader.runs import rejects
from loader.runs.check import check_log, repair_log
from tests.emulated.crash_jobs import KINDS, TRANSPORTS, Job, Kind, plan_of
from tests.emulated.crash_trials import QUICK, Processes, wait_for_requests
from tests.emulated.nursery import Nursery
from tests.unit.checkpoint.repairing import KINDS as DAMAGES

CASES = max(1, int(os.environ.get("LOADER_FUZZ_CASES", "4000")) // 4000)
RECORDS = 200
EXIT_REFUSED = 5
LOG, SETTLED = "checkpoint.log", "checkpoint.settled"
SLOW: tuple[Fault, ...] = msgspec.convert([{"kind": "latency", "milliseconds": 20}], tuple[Fault, ...])
RECORD_OPERATIONS = ("insert", "update", "add")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as server:
        yield server


def acknowledged_bytes(data: bytes) -> int:
    """Return how far a log's entries were known to be durable when its last line was written."""
    *lines, _torn = data.splitlines(keepends=True) or [b""]
    entries = [json.loads(line) for line in lines]
    durable = entries[-1]["s"] if entries else -1
    return sum(len(line) for line, entry in zip(lines, entries, strict=True) if entry["n"] <= durable)


def interrupt(processes: Processes, kind: Kind, emulator: Emulator, draw: random.Random) -> None:
    """Load a part, and end; then load on, and be killed."""
    emulator.set_faults(*SLOW)
    if not kind.is_piped:
        assert processes.wait(processes.start(more=["--limit", str(draw.randint(1, 80))])) in (0, 3), processes.said()
    pid = processes.start()
    some = 5 if kind.is_add else 40
    wait_for_requests(emulator, emulator.journal.requests + draw.randint(some, 2 * some))
    os.kill(pid, signal.SIGKILL)
    processes.wait(pid)
    emulator.set_faults()


def damage(run: Path, draw: random.Random) -> str:
    """Damage one of the files, or both."""
    kind: Callable[[bytearray, random.Random], None] = draw.choice(DAMAGES)
    names = draw.choice([(LOG,), (LOG,), (LOG,), (SETTLED,), (LOG, SETTLED)])
    for name in names:
        whole = (run / name).read_bytes()
        size = acknowledged_bytes(whole) if name == LOG else len(whole)
        data = bytearray(whole[:size])
        kind(data, draw)
        (run / name).write_bytes(bytes(data) + whole[size:])
    if draw.random() < 0.1:
        (run / SETTLED).unlink()
    return f"{kind.__name__} in {names}"


def sent(emulator: Emulator) -> int:
    """Count the requests with records."""
    return sum(emulator.journal.operations[operation] for operation in RECORD_OPERATIONS)


def survive(nursery: Nursery, folder: Path, name: str, seed: int) -> tuple[str, list[str]]:
    """Carry out one case; return how it was damaged, and what is wrong."""
    draw = random.Random(f"{name} {seed}")
    wrong = []
    kind = KINDS[name]
    with running(plan_of(kind)) as emulator:
        job = Job(kind, folder, RECORDS, emulator.base_url, (*QUICK, "--transport", draw.choice(TRANSPORTS)))
        job.prepare(emulator)
        processes = Processes(nursery, job)
        interrupt(processes, kind, emulator, draw)
        what = damage(job.run, draw)
        found = check_log(job.run)
        what = f"{name} {seed}: {what}, {found.verdict}"
        code = processes.wait(processes.start())
        if code == EXIT_REFUSED and not found.is_usable:
            done = repair_log(job.run)
            wrong += marked_and_not_listed(done.to_json(), job.run)
            if not check_log(job.run).is_usable:
                wrong.append("it is not sound after the repair")
            job = job.as_the_log_knows()
            code = processes.wait(processes.start())
        return what, wrong + compared(job, emulator, processes.report(code))


def marked_and_not_listed(repaired: bytes, run: Path) -> list[str]:
    """See that what a repair says to be in doubt is listed as ambiguous."""
    doubtful = json.loads(repaired)["doubtful"]
    marked = {line for row in doubtful for line in range(row["lines"][0], row["lines"][1] + 1)}
    missing = marked - {row.number for row in rejects.ambiguous(run)}
    return [f"lines {sorted(missing)[:5]} are marked and not listed"] * bool(missing)


def compared(job: Job, emulator: Emulator, report: dict[str, Any]) -> list[str]:
    """Compare log and target. An update that a later one of its row has overtaken stays ambiguous rather than undo it."""
    if job.kind.name == "insert-key":
        return job.check(emulator, report) + [
            reason for reason in job._ambiguous().values() if not reason.endswith("may be older than the run")
        ]
    if job.kind.name != "update":
        return job.check(emulator, report)
    wrong = job._check_updated(emulator.rows(job.kind.table), report | {"updated": RECORDS})
    if report["updated"] + report["ambiguous"] != RECORDS:
        wrong.append(f"{report['updated']} updated and {report['ambiguous']} ambiguous")
    return wrong


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", ["insert", "insert-hold", "update"])
def test_a_damaged_run_is_refused_repaired_and_ended(nursery: Nursery, tmp_path: Path, name: str) -> None:
    for seed in range(CASES):
        what, wrong = survive(nursery, tmp_path / str(seed), name, seed)
        assert wrong == [], what


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", ["insert-key", "insert-no-query", "insert-pipe", "update-filters", "add", "add-hold"])
def test_any_damaged_run_is_refused_repaired_and_ended(nursery: Nursery, tmp_path: Path, name: str) -> None:
    test_a_damaged_run_is_refused_repaired_and_ended(nursery, tmp_path, name)
