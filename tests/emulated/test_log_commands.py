"""`loader log check` and `loader log repair`, as a user meets them: a killed load, a damaged log, a repair, a resume.

After that everything is there exactly once, or it is listed as ambiguous where nobody can be asked.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loader.checkpoint import read_state
from loader.cli.app import main
from loader.emulator import Emulator, running
from loader.errors import LogDamaged
from tests.emulated.crash_jobs import CREDENTIALS, KINDS, Job, plan_of
from tests.emulated.loading import INSERT, records_of, run, write
from tests.emulated.loading import plan_of as plan

RECORDS = 400
KILL_AT_BYTES = 3_000
SECTOR = 512
HANG_SECONDS = 100.0
NAMES = ["insert", "insert-key", "insert-pipe", "insert-hold", "update", "update-filters", "add"]


def interrupted(name: str, folder: Path, emulator: Emulator) -> Job:
    """Load until the log has some entries known to be durable, then kill the process."""
    job = Job(KINDS[name], folder, RECORDS, emulator.base_url, ("--settle", "0.2", "--rate", "1000"))
    job.prepare(emulator)
    log = job.run / "checkpoint.log"
    with start(job) as process:
        deadline = time.monotonic() + HANG_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if log.exists() and acknowledged_bytes(log) > KILL_AT_BYTES:
                break
            time.sleep(0.005)
        process.kill()
    assert acknowledged_bytes(log) > KILL_AT_BYTES
    return job


def acknowledged_bytes(log: Path) -> int:
    """Return how far entries were known to be durable: damage behind that is what a power loss leaves, and harmless."""
    *lines, _torn = log.read_bytes().splitlines(keepends=True) or [b""]
    entries = [json.loads(line) for line in lines]
    durable = entries[-1]["s"] if entries else -1
    return sum(len(line) for line, entry in zip(lines, entries, strict=True) if entry["n"] <= durable)


def start(job: Job) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "loader", *job.words]
    with (job.folder / "output.txt").open("ab") as output, job.source.open("rb") as source:
        return subprocess.Popen(command, env=os.environ | CREDENTIALS, stdin=source, stdout=output, stderr=output)


def finish(job: Job) -> dict[str, Any]:
    with job.source.open("rb") as source:
        command = [sys.executable, "-m", "loader", *job.words]
        done = subprocess.run(
            command, env=os.environ | CREDENTIALS, stdin=source, capture_output=True, timeout=HANG_SECONDS, check=False
        )
    assert done.stdout, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def lose_sector(path: Path, draw: random.Random) -> None:
    """Lose a sector in the middle of what was acknowledged, as a disk does."""
    data = bytearray(path.read_bytes())
    durable = acknowledged_bytes(path)
    at = draw.randrange(durable // 4, durable * 3 // 4) // SECTOR * SECTOR
    data[at : at + SECTOR] = bytes(SECTOR)
    path.write_bytes(data)


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Carry out a `log` command; return its exit code and its JSON."""
    capsys.readouterr()
    code = main(["log", *words, "--json"])
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, values


@pytest.mark.parametrize("name", NAMES)
def test_what_a_damaged_log_has_forgotten_is_neither_lost_nor_doubled(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(name)
    with running(plan_of(KINDS[name])) as emulator:
        job = interrupted(name, tmp_path / "job", emulator)
        where = str(job.run)
        assert ask(capsys, "check", where)[0] == 0
        lose_sector(job.run / "checkpoint.log", draw)
        damaged = (job.run / "checkpoint.log").read_bytes()

        code, found = ask(capsys, "check", where)
        assert (code, found["verdict"]) == (5, "damaged")
        code, planned = ask(capsys, "repair", where, "--dry-run")
        assert (code, planned["copies"]) == (0, [])
        assert (job.run / "checkpoint.log").read_bytes() == damaged
        code, done = ask(capsys, "repair", where)
        assert (code, done["marked"], done["doubtful"]) == (0, planned["marked"], planned["doubtful"])
        assert done["copies"] == ["checkpoint.log.damaged"]
        assert (job.run / "checkpoint.log.damaged").read_bytes() == damaged
        code, found = ask(capsys, "check", where)
        assert (code, found["verdict"], found["findings"]) == (0, "sound", [])

        assert main(["ambiguous", where]) == 0
        listed = [json.loads(line)["line"] for line in capsys.readouterr().out.splitlines()]
        marked = {line for row in done["doubtful"] for line in range(row["lines"][0], row["lines"][1] + 1)}
        assert marked <= {*listed}
        job = job.as_the_log_knows()
        report = finish(job)
        if name == "update":  # what a later update of its row has overtaken is not sent again: it stays listed
            assert report["updated"] + report["ambiguous"] == RECORDS
            assert job._check_updated(emulator.rows("tcity"), report | {"updated": RECORDS}) == []
        else:
            assert job.check(emulator, report) == []


@pytest.fixture
async def stopped(tmp_path: Path) -> Path:
    """Leave a run that was stopped in the middle, without a stamp, and without the folds that would know all its lines."""
    with running(plan()) as emulator:
        source = write(tmp_path / "source.ndjson", records_of(300))
        await run(emulator, INSERT, source, tmp_path / "a.run", max_lines=200)
    (tmp_path / "a.run" / "checkpoint.settled").unlink()
    return tmp_path / "a.run"


def test_one_screen_says_what_is_wrong(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "check", str(stopped)]) == 0
    assert "sound" in capsys.readouterr().out
    log = stopped / "checkpoint.log"
    data = log.read_bytes()
    at = data.index(b'"ids":[') + 8
    log.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert main(["log", "check", str(stopped)]) == 5
    shown = capsys.readouterr().out
    assert f"{stopped}: damaged" in shown
    assert f"byte {data.rindex(b'{', 0, at):,}, entry" in shown
    assert "In doubt: " in shown
    assert f"loader log repair {stopped}" in shown
    assert len(shown.splitlines()) < 24
    assert main(["status", str(stopped)]) == 5
    assert "loader log repair RUN" in capsys.readouterr().err


def test_a_torn_end_is_harmless(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (stopped / "checkpoint.log").open("ab") as log:
        log.write(b'{"t":"outcomes","n":')
    assert main(["log", "check", str(stopped)]) == 0
    assert "torn" in capsys.readouterr().out
    code, done = ask(capsys, "repair", str(stopped))
    assert (code, done["copies"], done["is_repaired"]) == (0, [], False)


def test_a_lost_header_is_made_of_run_json(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = stopped / "checkpoint.log"
    before = read_state(stopped)
    log.write_bytes(b"\0" * 100 + log.read_bytes()[100:])
    code, done = ask(capsys, "repair", str(stopped))
    assert (code, done["marked"]) == (0, 0)
    after = read_state(stopped)
    assert (after.counts, after.notes, after.bound["run"]) == (before.counts, before.notes, after.run_id)


def test_the_log_of_another_run_is_refused(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_file = stopped / "run.json"
    values = json.loads(run_file.read_bytes())
    run_file.write_text(json.dumps(values | {"run": "zzzzzzzzzz"}))
    data = (stopped / "checkpoint.log").read_bytes()
    for command in ("check", "repair"):
        assert main(["log", command, str(stopped)]) == 5
        assert "is not of this run" in capsys.readouterr().err
    assert (stopped / "checkpoint.log").read_bytes() == data


def test_forgotten_lines_are_not_guessed_where_the_source_is_gone(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, source = stopped / "checkpoint.log", stopped.parent / "source.ndjson"
    lines = log.read_bytes().splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if line.startswith(b'{"t":"intent"'))
    log.write_bytes(b"".join([*lines[:at], *lines[at + 1 :]]))
    data, text = log.read_bytes(), source.read_text()
    source.write_text("another")
    assert main(["log", "check", str(stopped)]) == 5
    assert main(["log", "repair", str(stopped)]) == 5
    assert "must be read again" in capsys.readouterr().err
    assert log.read_bytes() == data
    source.write_text(text)
    assert main(["log", "repair", str(stopped)]) == 0


def test_what_is_no_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("check", "repair"):
        assert main(["log", command, str(tmp_path / "no.run")]) == 2
        assert "no such run" in capsys.readouterr().err


@pytest.mark.parametrize("is_stamped", [False, True])
async def test_a_log_from_a_backup_without_its_folds(
    is_stamped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a resume that asks about every line first may go on with it as it is; else a repair says what may have been sent."""
    target = replace(INSERT, stamp="fstamp" if is_stamped else None)
    source, where = write(tmp_path / "source.ndjson", records_of(300)), tmp_path / "a.run"
    with running(plan()) as emulator:
        await run(emulator, target, source, where, max_lines=100)
        early = (where / "checkpoint.log").read_bytes()
        await run(emulator, target, source, where, max_lines=100)
        (where / "checkpoint.log").write_bytes(early)
        code, found = ask(capsys, "check", str(where))
        assert (code, found["verdict"]) == (5, "shortened")
        with pytest.raises(LogDamaged, match="shorter"):
            await run(emulator, target, source, where, ambiguous="hold")
        if not is_stamped:
            code, done = ask(capsys, "repair", str(where))
            assert (code, done["marked"], done["counts"]["created"]) == (0, 100, 200)
        report = await run(emulator, target, source, where)
        assert report.created + report.ambiguous == 300
        assert (report.created == 300) is is_stamped
        assert len({row["fcode"] for row in emulator.rows("tcity")}) == len(emulator.rows("tcity"))
