"""What no other test would notice if it broke: found by planting bugs (`make mutants`) and seeing them survive.

Each test says in its name which promise it holds; tests/mutants/bugs.py says which bugs it is there for.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loader import CanbusAdd, LoaderError, OzariInsert
from loader.checkpoint import read_run_directory
from loader.checkpoint.notes import Notes
from loader.delivery import breaker
from loader.emulator import Emulator, running
from loader.errors import LogStorageFailed
from loader.reading.spool import Spool
from loader.reading.stdin import StandardInput
from loader.reconcile import keeping
from loader.reconcile import reconciler as reconcile
from loader.runs import opening
from tests.emulated.loading import (
    INSERT,
    TABLE,
    UNIQUE,
    Target,
    audit,
    closes,
    facts,
    keyed,
    plan_of,
    records_of,
    run,
    write,
)

STAMPED = OzariInsert(TABLE, stamp="fstamp")
KEYED = OzariInsert(TABLE, key="fcode")
STAMPED_ADD = CanbusAdd("loader", stamp="Stamp", is_unique=True)
KEYED_ADD = CanbusAdd("loader", key="Code", is_unique=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def cancel(task: asyncio.Task[Any]) -> None:
    """End a load as a notebook does."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


# --- doubt --------------------------------------------------------------------------------------------------------------


async def test_a_late_commit_within_the_settle_time_makes_no_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An early question finds nothing yet, and may not be believed. The last answer is slow, so the commit falls into the run."""
    monkeypatch.setattr(reconcile, "EARLY_LOOK_SECONDS", 0.1)
    count = 20
    faults = [
        {"kind": "late_commit", "seconds": 0.5, "operations": ["insert"], "after": 5, "times": 1},
        {"kind": "latency", "milliseconds": 1500, "operations": ["insert"], "after": count - 1, "times": 1},
    ]
    source = write(tmp_path / "source", records_of(count))
    with running(plan_of(*faults)) as emulator:
        report = await run(emulator, STAMPED, source, tmp_path / "run", settle_seconds=2.0)
        assert closes(report)
        assert len(facts(emulator, "query")) >= 3  # what the endpoint can do, the proof, and about the lost one
        assert audit(emulator, tmp_path / "run", keyed(count)) == []
        assert len(emulator.rows(TABLE)) == count


async def test_a_stamp_that_cannot_be_asked_for_stops_the_run_after_one_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "ASK_SECONDS", (0.01, 0.01))
    source = write(tmp_path / "source", records_of(100))
    with running(plan_of(ozari={"read_delay_seconds": 600.0})) as emulator:
        report = await run(emulator, STAMPED, source, tmp_path / "run", patience_seconds=2.0)
        assert (report.state, report.reason, report.created) == ("stopped", "answers", 1)
        assert len(emulator.rows(TABLE)) == 1


async def test_records_of_two_sources_are_not_sent_again_in_one_chunk(tmp_path: Path) -> None:
    """The log takes the outcomes of a chunk for lines of one source. The word is proved first, by a line of its own."""
    first = write(tmp_path / "a", [{"Code": f"A{n}"} for n in range(1, 7)])
    second = write(tmp_path / "b", [{"Code": f"B{n}"} for n in range(1, 7)])
    lost = {"kind": "close", "operations": ["add"], "after": 2, "when": "before"}
    with running(plan_of(lost, canbus=UNIQUE)) as emulator:
        await run(emulator, KEYED_ADD, [first, second], tmp_path / "run", max_lines=1)
        report = await run(emulator, KEYED_ADD, [first, second], tmp_path / "run", ambiguous="hold")
        assert (report.created, report.ambiguous) == (1, 11)
        emulator.set_faults()
        report = await run(emulator, KEYED_ADD, [first, second], tmp_path / "run", settle_seconds=0.0)
        assert (report.created, report.ambiguous, report.rejected) == (12, 0, 0)
        for source, letter in enumerate("AB"):
            expected = {n: f"{letter}{n}" for n in range(1, 7)}
            assert audit(emulator, tmp_path / "run", expected, "Code", source=source) == []


async def test_two_runs_of_one_source_are_told_apart_by_their_stamps(tmp_path: Path) -> None:
    """The second run asks for records that it lost, and must not find those of the first."""
    count = 30
    source = write(tmp_path / "source", records_of(count))
    with running() as emulator:
        await run(emulator, STAMPED, source, tmp_path / "first")
        lost = {"kind": "close", "when": "before", "operations": ["insert"], "every": 3}
        emulator.set_faults(*plan_of(lost).faults)
        report = await run(emulator, STAMPED, source, tmp_path / "second", settle_seconds=0.1)
        assert (report.created, report.ambiguous) == (count, 0)
        stamps = [row["fstamp"] for row in emulator.rows(TABLE)]
        assert len(set(stamps)) == len(stamps) == 2 * count


async def test_what_was_never_proved_proves_no_absence(tmp_path: Path) -> None:
    """Every record was lost, so none shows that a stamp can be found: what is not found may be there all the same."""
    source = write(tmp_path / "source", records_of(3))
    lost = {"kind": "close", "when": "before", "operations": ["insert"], "times": 3}
    with running(plan_of(lost)) as emulator:
        report = await run(emulator, STAMPED, source, tmp_path / "run", settle_seconds=0.1)
        assert closes(report)
        assert (report.ambiguous, report.created, len(facts(emulator, "insert"))) == (3, 0, 3)


async def test_an_outage_rejects_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that fails three times is at fault where others succeed, and only there. The breaker is kept out of it."""
    monkeypatch.setattr(breaker, "FAULTS_TO_OPEN", 10_000)
    source = write(tmp_path / "source", records_of(10))
    down = {"kind": "status", "status": 500, "operations": ["insert"], "after": 1}
    with running(plan_of(down)) as emulator:
        report = await run(emulator, STAMPED, source, tmp_path / "run", settle_seconds=0.02, patience_seconds=1.5)
        assert (report.state, report.reason, report.created, report.rejected) == ("stopped", "patience", 1, 0)
        assert len(facts(emulator, "insert")) > 3 * 9
        emulator.set_faults()
        report = await run(emulator, STAMPED, source, tmp_path / "run", settle_seconds=0.02)
        assert closes(report)
        assert audit(emulator, tmp_path / "run", keyed(10)) == []


LATENCY_SECONDS = 0.2


@pytest.mark.parametrize("target", [KEYED, KEYED_ADD], ids=["insert", "add"])
async def test_equal_keys_are_never_in_flight_together(tmp_path: Path, target: Target) -> None:
    """Nor in one chunk. What a lax target may hold for equal counts as equal."""
    field, operation = ("fcode", "insert") if target is KEYED else ("Code", "add")
    source = write(tmp_path / "source", [{field: key} for key in ("A", "B", "B", "b ")])
    slow = {"kind": "latency", "milliseconds": 1000 * LATENCY_SECONDS, "operations": [operation]}
    with running(plan_of(slow, canbus=UNIQUE)) as emulator:
        report = await run(emulator, target, source, tmp_path / "run")
        assert closes(report)
        sent = facts(emulator, operation)[-3:]
        assert [fact.records for fact in sent] == [1, 1, 1]
        gaps = [later.arrived - earlier.arrived for earlier, later in itertools.pairwise(sent)]
        assert min(gaps) > 0.9 * LATENCY_SECONDS  # none left before the answer to the one before it


# --- what a resume believes ---------------------------------------------------------------------------------------------


async def test_a_crash_while_unsent_lines_are_sent_doubles_none(tmp_path: Path) -> None:
    """The first run knows what it never sent. The second sends it and dies; the third must not believe the first's note."""
    count, dead = 60, tmp_path / "dead"
    source = write(tmp_path / "source", records_of(count))
    refused = {"kind": "status", "status": 401, "operations": ["insert"], "after": 10}
    with running(plan_of(refused)) as emulator:
        report = await run(emulator, KEYED, source, tmp_path / "run", concurrency=4)
        assert (report.state, report.reason, report.ambiguous) == ("stopped", "credentials", 0)
        with read_run_directory(tmp_path / "run") as reader:
            assert Notes(reader.state.notes).unsent
        hang = {"kind": "hang", "when": "after", "operations": ["insert"]}
        emulator.set_faults(*plan_of(hang).faults)
        task = asyncio.create_task(
            run(emulator, KEYED, source, tmp_path / "run", concurrency=4, timeout_seconds=1.5, ambiguous="hold")
        )
        await until(lambda: emulator.journal.faults["hang"] >= 4)
        shutil.copytree(tmp_path / "run", dead)  # what a kill at this moment would leave
        await cancel(task)
        emulator.set_faults()
        report = await run(emulator, KEYED, source, dead, settle_seconds=0.1)
        assert closes(report)
        assert audit(emulator, dead, keyed(count)) == []


async def test_a_chunk_that_waits_in_doubt_is_in_doubt_after_a_resume_too(tmp_path: Path) -> None:
    """Its records are there; sent again as new ones they would be rejected as duplicates."""
    count = 11
    source = write(tmp_path / "source", records_of(count, "Code"))
    faults = [
        {
            "kind": "close",
            "when": "after",
            "operations": ["add"],
            "after": 2,
            "times": 1,
        },  # after the first and its proof
        {"kind": "status", "status": 429, "retry_after": "30", "operations": ["add"], "after": 2},
    ]
    with running(plan_of(*faults, canbus=UNIQUE)) as emulator:
        task = asyncio.create_task(run(emulator, STAMPED_ADD, source, tmp_path / "run", settle_seconds=0.1))
        await until(lambda: emulator.journal.statuses[429] >= 1)
        await asyncio.sleep(0.1)  # the answer has come, and the chunk waits for its time
        await cancel(task)
        emulator.set_faults()
        report = await run(emulator, STAMPED_ADD, source, tmp_path / "run", settle_seconds=0.1)
        assert closes(report)
        assert (report.created, report.rejected, report.ids_unknown) == (count, 0, count - 1)
        assert audit(emulator, tmp_path / "run", keyed(count), "Code") == []


@pytest.mark.parametrize("target", [STAMPED, STAMPED_ADD], ids=["insert", "add"])
async def test_an_older_copy_of_the_log_is_asked_around(tmp_path: Path, target: Target) -> None:
    """A backup was restored: the log knows 64 lines, the target holds 128."""
    count, directory = 200, tmp_path / "run"
    source = write(tmp_path / "source", records_of(count))
    with running(plan_of(canbus=UNIQUE)) as emulator:
        await run(emulator, target, source, directory, max_lines=64, max_records=10)
        shutil.copytree(directory, tmp_path / "backup")
        await run(emulator, target, source, directory, max_lines=64, max_records=10)
        shutil.rmtree(directory)
        shutil.copytree(tmp_path / "backup", directory)
        report = await run(emulator, target, source, directory, max_records=10, settle_seconds=0.1)
        assert closes(report)
        assert (report.created, report.rejected) == (count, 0)
        assert audit(emulator, directory, keyed(count)) == []


async def test_an_open_line_that_changed_is_not_sent(tmp_path: Path) -> None:
    """Everything about the file is as it was: its size, its time, its first 64 KiB. Only the checksum of the lines tells."""
    source = write(tmp_path / "source", [{"fcode": f"K{n}", "name": "old" * 200} for n in range(300)])
    refused = {"kind": "status", "status": 401, "operations": ["insert"], "after": 200}
    with running(plan_of(refused)) as emulator:
        await run(emulator, INSERT, source, tmp_path / "run", concurrency=4)
        with read_run_directory(tmp_path / "run") as reader:
            line = max(line for live in reader.state.unresolved_windows() for line in live.unresolved_lines())
        status, lines = source.stat(), source.read_bytes().splitlines(keepends=True)
        lines[line - 1] = lines[line - 1].replace(b"old", b"new", 1)
        source.write_bytes(b"".join(lines))
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
        emulator.set_faults()
        try:
            code = (await run(emulator, INSERT, source, tmp_path / "run")).exit_code
        except LoaderError as error:
            code = error.exit_code
        assert code == 5
        assert not [row for row in emulator.rows(TABLE) if row["name"].startswith("new")]


# --- standard input -----------------------------------------------------------------------------------------------------


async def load_pipe(
    emulator: Emulator, directory: Path, data: bytes, monkeypatch: pytest.MonkeyPatch, target: Target
) -> Any:
    """Load what is piped in."""
    ours, theirs = os.pipe()
    os.write(theirs, data)
    os.close(theirs)
    monkeypatch.setattr(opening, "StandardInput", lambda spool: StandardInput(spool, ours))
    try:
        return await run(emulator, target, Path("-"), directory)
    finally:
        os.close(ours)


async def test_lines_that_were_not_kept_are_not_intended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the log would speak of lines that nobody can read again, and the run could never be resumed."""
    data = write(tmp_path / "source", records_of(20)).read_bytes()

    def fail(self: Spool) -> None:
        raise LogStorageFailed("the disk is full", "make room")

    with running() as emulator:
        with monkeypatch.context() as broken:
            broken.setattr(Spool, "sync", fail)
            report = await load_pipe(emulator, tmp_path / "run", data, monkeypatch, INSERT)
        assert (report.state, report.reason, report.lines) == ("stopped", "disk", 0)
        assert emulator.rows(TABLE) == []
        report = await load_pipe(emulator, tmp_path / "run", data, monkeypatch, INSERT)
        assert closes(report)
        assert audit(emulator, tmp_path / "run", keyed(20)) == []
