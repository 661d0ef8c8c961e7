"""One trial of the crash suite: kill a load at points or moments, damage what a power loss or a hand would, end it, compare."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from loader.emulator import Emulator, running
from loader.emulator.faults import Fault
from tests.emulated.crash_jobs import CREDENTIALS, Job, Kind, plan_of
from tests.emulated.nursery import Nursery, Order, lose_power, points_of

QUICK = ("--settle", "0.2", "--timeout", "20")
LOST_ANSWERS: tuple[Fault, ...] = msgspec.convert(
    [
        {"kind": "close", "when": "after", "probability": 0.1, "operations": ["insert", "update", "add", "query"]},
        {"kind": "reset", "when": "before", "probability": 0.05, "operations": ["insert", "update", "add", "query"]},
    ],
    tuple[Fault, ...],
)


WAIT_SECONDS = 30.0
"""Only ends what hangs."""


@dataclass(frozen=True, slots=True)
class Kill:
    """When a process dies: at a point by its number, or `seconds` after its start."""

    at: int = 0
    is_torn: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What happens to one load before it is let go to its end."""

    kind: Kind
    kills: Sequence[Kill]
    seed: int
    records: int = 16
    has_faults: bool = False
    loses_power: bool = False
    is_cut: bool = False
    transport: str = "session"

    def __str__(self) -> str:
        marks = [name for name in ("has_faults", "loses_power", "is_cut") if getattr(self, name)]
        kills = [f"{kill.seconds:.2f}s" if kill.seconds else f"{kill.at}{'t' * kill.is_torn}" for kill in self.kills]
        return "-".join([self.kind.name, self.transport, *kills, *marks, f"seed{self.seed}"])


KILLS: Counter[str] = Counter()
"""Processes that were killed in this session, and the loads that had to survive it, by transport: the suite's figures."""


class Processes:
    """Starts one job's processes, one after another, each with an output of its own."""

    def __init__(self, nursery: Nursery, job: Job) -> None:
        self.notes = job.folder / "notes"
        self._nursery = nursery
        self._job = job
        self._count = 0

    def start(self, kill: Kill | None = None, *, more: Sequence[str] = (), **values: Any) -> int:
        """Start the command, with more words behind it."""
        kill = kill or Kill()
        self._count += 1
        order = Order(
            words=values.pop("words", [*self._job.words, *more]),
            folder=str(self._job.run),
            notes=str(self.notes),
            stdin=str(self._job.source) if self._job.kind.is_piped else os.devnull,
            stdout=str(self._output("out")),
            stderr=str(self._output("err")),
            kill_at=kill.at,
            is_torn=kill.is_torn,
            environment=CREDENTIALS,
            **values,
        )
        return self._nursery.start(order)

    def wait(self, pid: int) -> int:
        """Wait for a process; return its exit code."""
        return self._nursery.wait(pid)

    def has_ended(self, pid: int) -> bool:
        """Say whether a process has ended; it must still be waited for. Reads /proc, so only on Linux."""
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    def kill(self, kill: Kill) -> bool:
        """Start the command and have it killed. False: it ended before."""
        pid = self.start(kill)
        if kill.seconds:
            time.sleep(kill.seconds)
            os.kill(pid, signal.SIGKILL)  # it is not reaped before `wait`, so the number is still its own
        code = self.wait(pid)
        assert code in (-signal.SIGKILL, 0, 3), f"exit {code}: {self.said()}"
        is_killed = code == -signal.SIGKILL
        KILLS["kills"] += is_killed
        return is_killed

    def finish(self) -> dict[str, Any]:
        """Run to the end; return the report."""
        code = self.wait(self.start())
        return self.report(code)

    def report(self, code: int) -> dict[str, Any]:
        """Read the report of the last process."""
        text = self._output("out").read_bytes()
        assert text, f"exit {code}: {self.said()}"
        report: dict[str, Any] = json.loads(text)
        return report | {"exit": code}

    def said(self) -> str:
        """Return what the last process said on standard error."""
        return self._output("err").read_text()

    def _output(self, name: str) -> Path:
        return self._job.folder / f"{name}{self._count}"


def wait_for_requests(emulator: Emulator, count: int) -> None:
    """Return once so many requests have come."""
    until = time.monotonic() + WAIT_SECONDS
    while emulator.journal.requests < count:
        assert time.monotonic() < until, f"{emulator.journal.requests} of {count} requests came"
        time.sleep(0.005)


def cut_log(run: Path, draw: random.Random) -> None:
    """Cut the checkpoint log somewhere behind its header, as a restored backup or a careless hand would."""
    log = run / "checkpoint.log"
    data = log.read_bytes() if log.exists() else b""
    header = data.find(b"\n") + 1
    if header:
        log.write_bytes(data[: draw.randint(header, len(data))])


def crash(nursery: Nursery, folder: Path, trial: Trial) -> list[str]:
    """Carry out a trial; return what is wrong."""
    draw = random.Random(trial.seed)
    with running(plan_of(trial.kind)) as emulator:
        job = Job(trial.kind, folder, trial.records, emulator.base_url, (*QUICK, "--transport", trial.transport))
        job.prepare(emulator)
        KILLS[f"loads, {trial.transport}"] += 1
        emulator.set_faults(*(LOST_ANSWERS if trial.has_faults else ()))
        processes = Processes(nursery, job)
        for kill in trial.kills:
            if not processes.kill(kill):
                break
            if trial.loses_power and job.run.exists():
                lose_power(job.run, processes.notes, draw)
            if trial.is_cut and job.run.exists():
                cut_log(job.run, draw)
        report = processes.finish()
        wrong = job.check(emulator, report)
        if report["exit"] != 3:  # every source has a bad line
            wrong.append(f"exit {report['exit']}")
        return wrong + check_again(job, processes, emulator)


def check_again(job: Job, processes: Processes, emulator: Emulator) -> list[str]:
    """Repeat a finished run: it must send nothing, change nothing in the log but a line at its end, and say the same.

    Where data is piped in again, it may be more than before: then the target is greeted, but no record is sent.
    """
    log = job.run / "checkpoint.log"
    before, requests, inserted = log.read_bytes(), emulator.journal.requests, emulator.journal.operations["insert"]
    wrong = job.check(emulator, processes.finish())
    added = log.read_bytes().removeprefix(before)
    if not log.read_bytes().startswith(before):
        wrong.append("the finished run changed what stood in its log")
    if emulator.journal.operations["insert"] != inserted:
        wrong.append("the finished run sent records")
    # A finished run with ambiguous records that can be asked about asks about them once more (cli.md).
    asks_again = job.kind.is_update and not job.kind.is_exact
    if not job.kind.is_piped and not asks_again and emulator.journal.requests != requests:
        wrong.append(f"the finished run sent {emulator.journal.requests - requests} requests")
    if not job.kind.is_piped and not asks_again and added.count(b"\n") > 1:
        wrong.append(f"the finished run wrote {len(added)} bytes into its log")
    return wrong


def count_points(nursery: Nursery, folder: Path, kind: Kind, transport: str = "session") -> list[str]:
    """Carry out a load of 16 records without a kill and name the points that it passes."""
    with running(plan_of(kind)) as emulator:
        job = Job(kind, folder, 16, emulator.base_url, (*QUICK, "--transport", transport))
        job.prepare(emulator)
        processes = Processes(nursery, job)
        report = processes.finish()
        wrong = job.check(emulator, report)
        assert not wrong, wrong
        return points_of(processes.notes)
