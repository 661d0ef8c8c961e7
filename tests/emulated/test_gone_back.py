"""One side is put back to an earlier state: the run directory from a copy, or the target's database. By the real command."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loader.emulator import Emulator, running
from tests.emulated.loading import APP, TABLE, audit, command, facts, plan_of, records_of, start, told, write

SLOW = {"kind": "latency", "milliseconds": 20, "operations": ["insert"]}
COUNT, EARLY = 2000, 300


def words_of(emulator: Emulator, source: Path, directory: Path, *more: str) -> list[str]:
    words = f"ozari insert {source} --table {TABLE} --run {directory} --settle 0.2 --json --max-rejects 100%"
    return [*words.split(), "--base-url", emulator.base_url, *more]


def interrupt_at(emulator: Emulator, words: list[str], rows: int) -> None:
    """Run a command until the target holds so many rows, then interrupt it."""
    child = start(*words, "--rate", "400")
    deadline = time.monotonic() + 60
    while len(emulator.rows(TABLE)) < rows:
        assert time.monotonic() < deadline
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)


def put_back(emulator: Emulator, source: Path, tmp_path: Path, *more: str) -> subprocess.CompletedProcess[bytes]:
    """Interrupt a run, copy its directory, let it end, put the copy back, and repeat the command."""
    words = words_of(emulator, source, tmp_path / "run", *more)
    interrupt_at(emulator, words, EARLY)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    emulator.set_faults()
    command(*words, "--rate", "5000")
    shutil.rmtree(tmp_path / "run")
    shutil.copytree(tmp_path / "copy", tmp_path / "run")
    return command(*words, "--rate", "5000")


def doubled(emulator: Emulator) -> int:
    return sum(count - 1 for count in Counter(row["fcode"] for row in emulator.rows(TABLE)).values())


@pytest.mark.parametrize("by", [("--stamp", "fstamp"), ("--key", "fcode")], ids=["stamp", "key"])
def test_an_older_copy_of_the_log_behind_refused_lines(tmp_path: Path, by: tuple[str, str]) -> None:
    """The refused stretch is longer than an execution may have open, and leaves no row."""
    records = records_of(COUNT)
    for record in records[600:1000]:
        record["bad"] = "x"
    source = write(tmp_path / "source", records)
    rules = {"tables": {TABLE: {"columns": {"bad": {"type": "integer"}}}}}
    with running(plan_of(SLOW, ozari=rules)) as emulator:
        done = put_back(emulator, source, tmp_path, *by)
        report = told(done)
        assert (report["created"], report["rejected"], report["ambiguous"]) == (COUNT - 400, 400, 0)
        assert doubled(emulator) == 0
        expected = {line: f"K{line}" for line in range(1, COUNT + 1) if not 600 < line <= 1000}
        assert audit(emulator, tmp_path / "run", expected) == []


@pytest.mark.parametrize("query", ["on", "off_json"])
def test_an_older_copy_of_the_log_with_nothing_to_ask_by(tmp_path: Path, query: str) -> None:
    """The highest id, or the first new one, lies far above the log's last."""
    source = write(tmp_path / "source", records_of(COUNT))
    with running(plan_of(SLOW, ozari={"query": query})) as emulator:
        done = put_back(emulator, source, tmp_path)
        report = told(done)
        assert (done.returncode, report["reason"]) == (4, "answers")
        assert "--trust-log" in report["hint"]
        assert doubled(emulator) <= (0 if query == "on" else 32)


def test_a_log_that_is_whole_is_gone_on_with(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(COUNT))
    with running(plan_of(SLOW)) as emulator:
        words = words_of(emulator, source, tmp_path / "run")
        interrupt_at(emulator, words, EARLY)
        emulator.set_faults()
        report = told(command(*words, "--rate", "5000"))
        assert (report["state"], report["created"]) == ("finished", COUNT)
        assert doubled(emulator) == 0


@pytest.mark.parametrize("query", ["on", "off_json"])
@pytest.mark.parametrize("left", [0, 100])
@pytest.mark.parametrize("by", [(), ("--key", "fcode"), ("--stamp", "fstamp")], ids=["neither", "key", "stamp"])
def test_the_target_is_put_back(tmp_path: Path, by: tuple[str, ...], left: int, query: str) -> None:
    source = write(tmp_path / "source", records_of(1000))
    with running(plan_of(SLOW, ozari={"query": query})) as emulator:
        words = words_of(emulator, source, tmp_path / "run", *by)
        interrupt_at(emulator, words, EARLY)
        emulator.set_faults()
        set_back(emulator, left)
        done = command(*words, "--rate", "5000")
        report = told(done)
        assert (done.returncode, report["reason"]) == (4, "answers")
        assert "--trust-log" in report["hint"]
        assert len(emulator.rows(TABLE)) <= left + (0 if query == "on" else 32)
        trusted = told(command(*words, "--rate", "5000", "--trust-log"))
        assert trusted["reason"] != "answers"
