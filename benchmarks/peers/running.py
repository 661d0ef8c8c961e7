"""Run a contestant's command on the client's core, and find what it cost: CPU of it and its children, peak memory, wall time.

CPU is what the kernel charged to the process and to every child that it waited for. Memory is sampled: the resident memory of the
whole tree, or the highest mark of any one process, whichever is more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measuring
from benchmarks.peers.contest import Contestant, Job

SAMPLE_SECONDS = 0.025
IDLE_SECONDS = 20.0
"""What never ends by itself is ended after that long without a new record."""
GRACE_SECONDS = 3.0
"""The same, once as many rows are there as were wanted: some may be doubles, and others still to come."""
MAX_SECONDS = 180.0
OUTPUT_BYTES = 2000


@dataclass(frozen=True)
class Usage:
    """What a command cost. `code`: its exit code, negative for a signal; `end`: why it ended."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    code: int
    end: str
    output: str


def run(
    contestant: Contestant,
    job: Job,
    arrived: Callable[[], int],
    *,
    wanted: int,
    kill_at: int | None = None,
) -> Usage:
    """Run a contestant to its end. `arrived` counts the records at the server; at `kill_at` of them everything is killed."""
    command = contestant.build(job)
    log = job.folder / "output"
    before = os.sched_getaffinity(0)
    measuring.pin(measuring.CLIENT_CORE)
    with log.open("ab") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=contestant.child_environment(job),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    os.sched_setaffinity(0, before)
    watch = Watch(process.pid, arrived, wanted, kill_at, is_endless=contestant.is_endless)
    end = watch.until_end()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what a killed shell left behind
    text = log.read_bytes()[-OUTPUT_BYTES:].decode(errors="replace").strip()
    cpu = usage.ru_utime + usage.ru_stime
    return Usage(seconds - watch.waited, cpu, round(watch.peak_mb, 1), process.returncode, end, text)


class Watch:
    """Watch a process and its children until they end, or end them."""

    def __init__(
        self, process_id: int, arrived: Callable[[], int], wanted: int, kill_at: int | None, *, is_endless: bool
    ) -> None:
        self._id = process_id
        self._arrived = arrived
        self._wanted = wanted
        self._kill_at = kill_at
        self._is_endless = is_endless
        self._count = 0
        self._changed = self._began = time.perf_counter()
        self.peak_mb = 0.0
        self.waited = 0.0
        """Seconds that were spent on seeing that nothing more comes."""

    def until_end(self) -> str:
        """Sample until it ends; return why it did."""
        end = ""
        while os.waitid(os.P_PID, self._id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            self.peak_mb = max(self.peak_mb, resident_mb(self._id))
            found = self._reason() if not end else None
            if found is not None:
                end, number = found
                send(self._id, number)
            time.sleep(SAMPLE_SECONDS)
        return end or "by itself"

    def _reason(self) -> tuple[str, int] | None:
        now = time.perf_counter()
        if now - self._began > MAX_SECONDS:
            return "out of time", signal.SIGKILL
        if self._kill_at is None and not self._is_endless:
            return None
        count = self._arrived()
        if count != self._count:
            self._count, self._changed = count, now
        if self._kill_at is not None and count >= self._kill_at:
            return "killed", signal.SIGKILL
        patience = GRACE_SECONDS if count >= self._wanted else IDLE_SECONDS
        if self._is_endless and now - self._changed > patience:
            self.waited = now - self._changed
            return ("all arrived" if count >= self._wanted else "idle"), signal.SIGTERM
        return None


def send(session: int, number: int) -> None:
    """Signal a whole session: GNU parallel puts its jobs into groups of their own."""
    for process_id in [*tree(session)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, number)


def tree(process_id: int) -> Iterator[int]:
    """Yield a process and all its descendants (Linux)."""
    yield process_id
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process_id}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from tree(int(child))


def resident_mb(process_id: int) -> float:
    """Return what a tree of processes holds in memory, or the highest mark of any of them."""
    now = highest = 0
    for one in tree(process_id):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("VmRSS:"):
                    now += int(line.split()[1])
                elif line.startswith("VmHWM:"):
                    highest = max(highest, int(line.split()[1]))
    return max(now, highest) / 1024
