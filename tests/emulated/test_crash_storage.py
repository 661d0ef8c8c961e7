"""A disk that fails or fills up under a load: exit 5, resumable, and the outcomes of what was in flight still fit.

Any call may fail once, and a sync that has failed is not tried again. The full disk is made three ways: writes that fail from a
byte on (`kill_points`), RLIMIT_FSIZE, and a file system of its own where one can be mounted.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loader.emulator import Emulator, running
from loader.emulator.faults import Fault
from tests.emulated.crash_jobs import KINDS, Job, plan_of
from tests.emulated.crash_trials import QUICK, Kill, Processes, count_points, wait_for_requests
from tests.emulated.nursery import Nursery, syncs_behind_a_failure

RECORDS = 600
SLOW: tuple[Fault, ...] = msgspec.convert([{"kind": "latency", "milliseconds": 10}], tuple[Fault, ...])
TMPFS_BYTES = 1_200_000
"""Room for the ballast and for what a few hundred records need."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as server:
        yield server


def prepared(name: str, folder: Path, emulator: Emulator, records: int = RECORDS) -> Job:
    job = Job(KINDS[name], folder / "job", records, emulator.base_url, QUICK)
    job.prepare(emulator)
    emulator.set_faults(*SLOW)
    return job


def fill(nursery: Nursery, folder: Path, name: str, room: int) -> tuple[list[int], list[str]]:
    """Load onto a disk that has room for so many bytes, twice, then onto one that has enough.

    Return the exit codes, and what is wrong. How many bytes a load needs depends on how its answers fall together.
    """
    with running(plan_of(KINDS[name])) as emulator:
        job = prepared(name, folder, emulator)
        processes = Processes(nursery, job)
        codes = [processes.wait(processes.start(room=room))]
        assert codes[0] in (3, 5), processes.said()
        if codes[0] == 5:
            codes.append(processes.wait(processes.start(room=room)))
            assert codes[1] in (3, 5), processes.said()
        report = processes.finish()
        wrong = job.check(emulator, report)
        if report["ambiguous"]:
            wrong.append(f"{report['ambiguous']} records are ambiguous, though the ballast held room for them")
        return codes, wrong


@pytest.mark.parametrize(
    ("name", "room"),
    [("insert", 700), ("insert-hold", 2500), ("insert-hold", 4500), ("update", 2500), ("add-hold", 2500)],
)
def test_a_full_disk_stops_the_run_and_loses_nothing(nursery: Nursery, tmp_path: Path, name: str, room: int) -> None:
    codes, wrong = fill(nursery, tmp_path, name, room)
    assert codes[0] == 5
    assert wrong == []


@pytest.mark.soak
@pytest.mark.parametrize("name", ["insert", "insert-hold", "insert-key", "update", "add", "add-hold"])
@pytest.mark.parametrize("room", [*range(1, 2000, 97), *range(2000, 9000, 611)])
def test_a_full_disk_stops_the_run_wherever_it_is_full(nursery: Nursery, tmp_path: Path, name: str, room: int) -> None:
    assert fill(nursery, tmp_path, name, room)[1] == []


@pytest.mark.parametrize("limit", [40_000, 1024 * 1024 - 1])
def test_files_that_may_not_grow_stop_the_run_before_anything_is_sent(
    nursery: Nursery, tmp_path: Path, limit: int
) -> None:
    """RLIMIT_FSIZE: the error is EFBIG, for which no ballast helps; the ballast itself does not fit."""
    with running(plan_of(KINDS["insert-hold"])) as emulator:
        job = prepared("insert-hold", tmp_path, emulator, records=20)
        processes = Processes(nursery, job)
        assert processes.wait(processes.start(file_limit=limit)) == 5, processes.said()
        assert "Traceback" not in processes.said()
        assert emulator.journal.operations["insert"] == 0
        report = processes.finish()
        assert job.check(emulator, report) == []
        assert report["ambiguous"] == 0


# --- any call fails ---------------------------------------------------------------------------------------------------------

FAULTS = ("EIO", "ENOSPC", "EROFS", "short")
CALLS = ("create ", "write ", "sync ", "ftruncate ", "posix_fallocate ", "replace ", "unlink ")
RECOVERY_POINTS = 80
"""A resume of so short a run passes about so many."""
NAMES = ("insert", "insert-hold", "insert-pipe", "update", "add")


def calls_of(nursery: Nursery, folder: Path, name: str, fault: str) -> list[int]:
    """Return the points behind which a load changes its run directory, in a way that can fail so."""
    points = count_points(nursery, folder, KINDS[name])
    calls = ("write ",) if fault == "short" else CALLS
    return [at for at, what in enumerate(points, 1) if what.startswith(calls) and " done " not in what]


def fail(nursery: Nursery, folder: Path, name: str, at: int, fault: str, kill_at: int = 0) -> list[str]:
    """Load with one call that fails, or with all from there on read-only; then let it end on a good disk.

    `kill_at`: the call that fails is one of a resume, behind a process that was killed there.
    """
    with running(plan_of(KINDS[name])) as emulator:
        job = Job(KINDS[name], folder / f"{fault}-{at}", 16, emulator.base_url, QUICK)
        job.prepare(emulator)
        processes = Processes(nursery, job)
        if kill_at and not processes.kill(Kill(kill_at)):
            return []  # it passed fewer points this time: there is nothing to resume
        code = processes.wait(processes.start(fail_at=at, fault=fault))
        wrong = [] if code in (3, 5) else [f"exit {code}: {processes.said()}"]
        if "Traceback" in processes.said():
            wrong.append(processes.said())
        if fault == "short" and code != 3:
            wrong.append("a write that took a part was not gone on with")
        if syncs_behind_a_failure(processes.notes):
            wrong.append("a sync that had failed was tried again")
        report = processes.finish()
        wrong += job.check(emulator, report)
        if report["ambiguous"] and fault in ("ENOSPC", "short") and not kill_at:
            wrong.append(f"{report['ambiguous']} records are ambiguous, though the ballast held room for them")
        return [f"{name}, {fault} behind point {at}: {text}" for text in wrong]


@pytest.mark.parametrize("name", NAMES)
def test_a_call_that_fails_loses_nothing(nursery: Nursery, tmp_path: Path, name: str) -> None:
    draw = random.Random(f"{name}, a call fails")
    fault = FAULTS[NAMES.index(name) % len(FAULTS)]
    calls = calls_of(nursery, tmp_path / "whole", name, fault)
    assert fail(nursery, tmp_path, name, draw.choice(calls), fault) == []


@pytest.mark.parametrize("name", ["insert", pytest.param("insert-pipe", marks=pytest.mark.soak)])
def test_a_disk_that_is_full_before_the_first_record_leaves_none_in_doubt(
    nursery: Nursery, tmp_path: Path, name: str
) -> None:
    """Before a record goes alone the log is told so. Where that fails nothing has left, whatever was taken from the queue."""
    points = count_points(nursery, tmp_path / "whole", KINDS[name])
    first = next(at for at, what in enumerate(points) if what.startswith("send") and what.endswith("/records"))
    writes = [at for at, what in enumerate(points[:first], 1) if what.startswith("write") and what.endswith(".log")]
    assert [text for at in writes[-2:] for text in fail(nursery, tmp_path, name, at, "ENOSPC")] == []


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", FAULTS)
def test_any_call_may_fail(nursery: Nursery, tmp_path: Path, fault: str, name: str) -> None:
    calls = calls_of(nursery, tmp_path / "whole", name, fault)
    assert [text for at in calls for text in fail(nursery, tmp_path, name, at, fault)] == []


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_any_call_of_a_resume_may_fail(nursery: Nursery, tmp_path: Path, name: str) -> None:
    draw = random.Random(f"{name}, a call of a resume fails")
    points = len(count_points(nursery, tmp_path / "whole", KINDS[name]))
    wrong = []
    for at in range(1, RECOVERY_POINTS):
        kill_at = draw.randint(points // 3, points)
        wrong += fail(nursery, tmp_path, name, at, FAULTS[at % 4], kill_at)
    assert wrong == []


def test_a_log_that_is_removed_ends_the_run_for_good(nursery: Nursery, tmp_path: Path) -> None:
    """Nobody knows any more what was sent: to begin anew in that directory would send it again."""
    with running(plan_of(KINDS["insert-hold"])) as emulator:
        job = prepared("insert-hold", tmp_path, emulator)
        processes = Processes(nursery, job)
        pid = processes.start()
        wait_for_requests(emulator, 30)
        (job.run / "checkpoint.log").unlink()
        assert processes.wait(pid) == 5
        assert "removed" in processes.said()
        sent = emulator.journal.operations["insert"]
        assert sent < RECORDS
        assert processes.wait(processes.start()) == 5
        assert "checkpoint.log" in processes.said()
        assert emulator.journal.operations["insert"] == sent


# --- the disk is full -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip("no file system may be mounted here: that takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607 -- as the mount above


@pytest.mark.parametrize("name", ["insert-hold", "add-hold"])
def test_a_file_system_that_fills_up_stops_the_run_and_loses_nothing(
    nursery: Nursery, tmp_path: Path, small_disk: Path, name: str
) -> None:
    with running(plan_of(KINDS[name])) as emulator:
        job = prepared(name, tmp_path, emulator, records=1500)
        job.run.symlink_to(small_disk / "job.run")
        (small_disk / "job.run").mkdir()
        filler = small_disk / "filler"
        filler.write_bytes(bytes(TMPFS_BYTES - 1024 * 1024 - 24 * 1024))
        processes = Processes(nursery, job)
        code = processes.wait(processes.start())
        assert code == 5, f"exit {code}: {processes.said()}"
        held = len(emulator.rows(job.kind.table))
        assert 0 < held < 1500
        filler.unlink()
        os.sync()
        report = processes.finish()
        assert job.check(emulator, report) == []
        assert report["ambiguous"] == 0
