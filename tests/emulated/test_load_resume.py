"""Interrupted and gone on with, by the real command in a child process: every record once, and nothing sent that may not be."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loader import CanbusAdd, LoaderError, OzariInsert, OzariUpdate
from loader.emulator import Emulator, running
from tests.emulated.loading import (
    ADD,
    APP,
    INSERT,
    TABLE,
    UNIQUE,
    Target,
    audit,
    command,
    facts,
    ids_of,
    keyed,
    plan_of,
    records_of,
    rows_of,
    run,
    start,
    told,
    write,
)

COUNT = 400
SLOW = {"kind": "latency", "milliseconds": 20, "operations": ["insert", "add", "update"]}
TO_BE_INTERRUPTED = ("--rate", "150")
"""Slow enough that the end is far when the signal comes, also on a busy machine."""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with running(plan_of(SLOW, canbus=UNIQUE)) as emulator:
        yield emulator


def words_of(emulator: Emulator, source: Path | str, directory: Path, *more: str) -> list[str]:
    """Say the command of an insert."""
    words = f"ozari insert {source} --table {TABLE} --rate 2000 --concurrency 8 --run {directory} --settle 0.2 --json"
    return [*words.split(), "--base-url", emulator.base_url, *more]


def add_words(emulator: Emulator, source: Path | str, directory: Path, *more: str) -> list[str]:
    """Say the command of an add."""
    words = f"canbus add {source} --user loader --max-records 5 --rate 500 --run {directory} --settle 0.2 --json"
    return [*words.split(), "--base-url", emulator.base_url, *more]


def wait_for(condition: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    """Wait until something is so, or the child has ended."""
    until = time.monotonic() + 60
    while not condition() and child.poll() is None:
        assert time.monotonic() < until, "nothing happened for a minute"
        time.sleep(0.01)


def interrupt(emulator: Emulator, words: list[str], *, after: int, by: int = signal.SIGINT) -> dict[str, Any]:
    """Start a command, interrupt it once the target holds so many rows more, and return its report."""
    before = emulator.journal.committed
    child = start(*words, *(("--rate", "30") if words[0] == "canbus" else TO_BE_INTERRUPTED))
    wait_for(lambda: emulator.journal.committed >= before + after, child)
    child.send_signal(by)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 128 + by, err.decode()
    report: dict[str, Any] = json.loads(out)
    assert (report["state"], report["reason"]) == ("interrupted", "signal")
    assert report["ambiguous"] == 0  # what was in flight was waited for
    return report


# --- gone on with -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "by", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.soak)], ids=str
)
def test_interrupted_and_repeated(emulator: Emulator, tmp_path: Path, by: int) -> None:
    source, directory = write(tmp_path / "source", records_of(COUNT)), tmp_path / "run"
    words = words_of(emulator, source, directory)
    report = interrupt(emulator, words, after=100, by=by)
    assert report["created"] == len(emulator.rows(TABLE)) >= 100
    if by == signal.SIGINT:
        status = json.loads(command("status", directory, "--json").stdout)
        assert (status["created"], status["state"]) == (report["created"], "interrupted")
    done = command(*words)
    assert (done.returncode, told(done)["created"], told(done)["state"]) == (0, COUNT, "finished")
    assert audit(emulator, directory, keyed(COUNT)) == []
    assert len(facts(emulator, "insert")) == COUNT  # no settled record was sent again, no other doubled


def test_interrupted_twice_and_resumed_by_its_directory(emulator: Emulator, tmp_path: Path) -> None:
    source, directory = write(tmp_path / "source", records_of(COUNT)), tmp_path / "run"
    interrupt(emulator, words_of(emulator, source, directory), after=50)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(directory, moved / "run")
    shutil.move(source, moved.parent / "source")  # the source stayed where it was
    interrupt(emulator, ["resume", str(moved / "run"), "--json"], after=50)
    done = command("resume", moved / "run", "--json", "--concurrency", "32", "--rate", "2000")
    assert (done.returncode, told(done)["created"]) == (0, COUNT)
    assert audit(emulator, moved / "run", keyed(COUNT)) == []
    assert len(facts(emulator, "insert")) == COUNT


def test_an_add_interrupted_and_resumed(emulator: Emulator, tmp_path: Path) -> None:
    source, directory = write(tmp_path / "source", records_of(COUNT, "Code")), tmp_path / "run"
    words = add_words(emulator, source, directory, "--stamp", "Stamp", "--unique")
    interrupt(emulator, words, after=100)
    done = command("resume", directory, "--json", "--concurrency", "8")
    assert (done.returncode, told(done)["created"]) == (0, COUNT)
    assert audit(emulator, directory, keyed(COUNT), "Code") == []
    assert len(set(ids_of(directory).values())) == COUNT == len(emulator.rows(APP))


async def test_an_update_interrupted_and_resumed(emulator: Emulator, tmp_path: Path) -> None:
    count = 300
    await run(emulator, INSERT, write(tmp_path / "rows", records_of(count)), tmp_path / "rows.run")
    emulator.set_faults(*plan_of(SLOW).faults)
    lines = [{"filters": {"fcode": f"K{n}"}, "fields": {"fcode": f"L{n}"}} for n in range(1, count + 1)]
    source, directory = write(tmp_path / "source", lines), tmp_path / "run"
    words = ["ozari", "update", str(source), *words_of(emulator, source, directory)[3:]]
    child = start(*words, *TO_BE_INTERRUPTED)
    wait_for(lambda: len(facts(emulator, "update")) >= 80, child)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    done = command(*words)
    assert (done.returncode, told(done)["updated"], told(done)["rejected"]) == (0, count, 0)
    assert {row["fcode"] for row in emulator.rows(TABLE)} == {f"L{n}" for n in range(1, count + 1)}


def test_a_second_signal_ends_at_once_and_a_resume_finds_out(emulator: Emulator, tmp_path: Path) -> None:
    source, directory = write(tmp_path / "source", records_of(COUNT)), tmp_path / "run"
    words = words_of(emulator, source, directory, "--stamp", "fstamp")
    hang = {"kind": "hang", "operations": ["insert"], "after": 100, "times": 8}
    emulator.set_faults(*plan_of(SLOW, hang).faults)
    child = start(*words)
    wait_for(lambda: emulator.journal.faults["hang"] == 8, child)
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)  # it drains now, and would for a minute
    assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err.decode()
    done = command(*words)
    assert (done.returncode, told(done)["created"], told(done)["ambiguous"]) == (0, COUNT, 0)
    assert audit(emulator, directory, keyed(COUNT)) == []


def doubted(log: Path) -> list[int]:
    """Return the lines for whose doubt the last execution has written a reason so far."""
    entries = [json.loads(line) for line in log.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    opened = max(entry["n"] for entry in entries if entry["t"] == "opened")
    lines = [entry["lines"] for entry in entries if entry["t"] == "doubt" and entry["n"] > opened]
    return [line for some in lines for line in some]


def test_why_a_record_is_in_doubt_is_known_after_a_kill(emulator: Emulator, tmp_path: Path) -> None:
    source, directory = write(tmp_path / "source", records_of(40)), tmp_path / "run"
    log = directory / "checkpoint.log"
    lost = {"kind": "close", "when": "before", "operations": ["insert"], "every": 10}
    emulator.set_faults(*plan_of(lost).faults)
    words = words_of(emulator, source, directory, "--key", "fcode", "--settle", "60")
    words[words.index("--concurrency") + 1] = "1"
    listed: list[dict[int, str]] = []
    for execution in (1, 2, 3):  # a later execution does not know better, and says what the first one knew
        child = start(*words)
        wait_for(lambda: log.exists() and log.read_bytes().count(b'"opened"') == execution, child)  # noqa: B023 - at once
        wait_for(lambda: len(doubted(log)) == 4, child)
        child.kill()
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
        rows = rows_of(command("ambiguous", directory))
        listed.append({row["line"]: row["message"] for row in rows if "no outcome was written" not in row["message"]})
    assert set(listed[0]) == {10, 20, 30, 40}
    assert all("Disconnected" in reason for reason in listed[0].values())
    assert listed[1] == listed[2] == listed[0]
    done = command(*words, "--settle", "0.2")
    assert (done.returncode, told(done)["created"], told(done)["ambiguous"]) == (0, 40, 0)
    assert audit(emulator, directory, keyed(40)) == []
    assert rows_of(command("ambiguous", directory)) == []


def test_a_finished_run_that_is_repeated_sends_nothing(emulator: Emulator, tmp_path: Path) -> None:
    source, directory = tmp_path / "source", tmp_path / "run"
    source.write_text('{"fcode":"K1"}\nbroken\n{"fcode":"K3"}\n')
    words = words_of(emulator, source, directory)
    first = command(*words)
    assert (first.returncode, told(first)["created"]) == (3, 2)
    requests = emulator.journal.requests
    again = command("resume", directory, "--json")
    report = told(again)
    assert (again.returncode, report["created"], report["rejected"], report["state"]) == (3, 2, 1, "finished")
    assert report["requests"] == 0
    text = command(*[word for word in words if word != "--json"])
    assert (text.returncode, b"--run NEW" in text.stdout) == (3, True)  # how to load it again
    assert emulator.journal.requests == requests


# --- the source ---------------------------------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a byte in its beginning": lambda data: data.replace(b"K1", b"X1", 1),
    "a byte of a line that was loaded": lambda data: data.replace(b"name of 90", b"name of 09", 1),
    "a line gone": lambda data: data[data.index(b"\n") + 1 :],
    "a line more in front": lambda data: b'{"fcode":"new"}\n' + data,
    "cut": lambda data: data[: len(data) // 20],
    "another file": lambda data: data[::-1],
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_source_that_changed_is_refused(emulator: Emulator, tmp_path: Path, change: str) -> None:
    source = write(tmp_path / "source", records_of(200))
    await run(emulator, INSERT, source, tmp_path / "run", max_lines=100)
    before = emulator.journal.requests
    source.write_bytes(CHANGES[change](source.read_bytes()))
    with pytest.raises(LoaderError) as refused:
        await run(emulator, INSERT, source, tmp_path / "run")
    assert (refused.value.exit_code, emulator.journal.requests) == (5, before)


def test_the_command_says_so_and_exits_5(emulator: Emulator, tmp_path: Path) -> None:
    source, directory = write(tmp_path / "source", records_of(200)), tmp_path / "run"
    assert command(*words_of(emulator, source, directory, "--limit", "100")).returncode == 0
    before = emulator.journal.requests
    source.write_bytes(source.read_bytes().replace(b"K1", b"X1", 1))
    done = command("resume", directory)
    assert (done.returncode, done.stdout, b"hint:" in done.stderr) == (5, b"", True), done.stderr.decode()
    assert emulator.journal.requests == before


@pytest.mark.parametrize("state", ["finished", "stopped"])
@pytest.mark.parametrize("has_newline", [True, False], ids=["whole last line", "no final newline"])
async def test_a_source_that_grew_is_loaded_to_its_new_end(
    emulator: Emulator, tmp_path: Path, state: str, *, has_newline: bool
) -> None:
    source, directory = write(tmp_path / "source", records_of(100)), tmp_path / "run"
    if not has_newline:
        source.write_bytes(source.read_bytes()[:-1])
    report = await run(emulator, INSERT, source, directory, max_lines=40 if state == "stopped" else None)
    assert report.state == state
    more = "".join(json.dumps(record) + "\n" for record in records_of(150)[100:])
    with source.open("a") as file:
        file.write(("" if has_newline else "\n") + more)
    report = await run(emulator, INSERT, source, directory)
    assert (report.exit_code, report.created, report.lines) == (0, 150, 150)
    assert audit(emulator, directory, keyed(150)) == []


def test_a_source_that_grew_is_loaded_although_it_was_asked_about_meanwhile(emulator: Emulator, tmp_path: Path) -> None:
    """`loader reconcile` reads no new lines; it must not hide that there are some."""
    source, directory = write(tmp_path / "source", records_of(20)), tmp_path / "run"
    assert command(*words_of(emulator, source, directory)).returncode == 0
    write(source, records_of(50))
    assert command("reconcile", directory, "--settle", "0.2").returncode == 0
    assert told(command("resume", directory, "--json"))["created"] == 50
    assert audit(emulator, directory, keyed(50)) == []


# --- what a run is bound to -----------------------------------------------------------------------------------------------------


OTHERS: dict[str, Target] = {
    "another table": OzariInsert("tparts", stamp="fstamp"),
    "another stamp": OzariInsert(TABLE, stamp="fnote"),
    "no stamp": OzariInsert(TABLE),
    "an update": OzariUpdate(TABLE, match=("fcode",)),
    "Canbus": CanbusAdd("loader", stamp="fstamp"),
}


async def test_a_log_from_before_the_source_grew_does_not_finish_the_run(emulator: Emulator, tmp_path: Path) -> None:
    """Only the log is put back from a backup: what it says of the end is older than the source that the run has read since."""
    lines = records_of(80)
    source, directory = write(tmp_path / "source", lines[:40]), tmp_path / "run"
    target = OzariInsert(TABLE, stamp="fstamp")
    await run(emulator, target, source, directory)
    backup = (directory / "checkpoint.log").read_bytes()
    write(source, lines)
    await run(emulator, target, source, directory)
    (directory / "checkpoint.log").write_bytes(backup)
    (directory / "checkpoint.intended").unlink(missing_ok=True)
    (directory / "checkpoint.settled").unlink(missing_ok=True)
    report = await run(emulator, target, source, directory)
    assert (report.state, report.lines, report.created, report.ambiguous) == ("finished", 80, 80, 0)
    assert len(emulator.rows(TABLE)) == 80


async def test_a_run_is_bound_to_what_it_loads_into(emulator: Emulator, tmp_path: Path) -> None:
    source, directory = write(tmp_path / "source", records_of(100)), tmp_path / "run"
    target = OzariInsert(TABLE, stamp="fstamp")
    await run(emulator, target, source, directory, max_lines=50)
    before = emulator.journal.requests
    other = write(tmp_path / "other", records_of(101)[1:])
    attempts: list[tuple[Target, list[Path], str]] = [
        *((another, [source], emulator.base_url) for another in OTHERS.values()),
        (target, [other], emulator.base_url),
        (target, [source, other], emulator.base_url),
        (target, [source], emulator.base_url.replace("127.0.0.1", "localhost")),
    ]
    for another, sources, address in attempts:
        with pytest.raises(LoaderError) as refused:
            await run(emulator, another, sources, directory, base_url=address)
        assert refused.value.exit_code == 5, refused.value
    assert emulator.journal.requests == before
    done = await asyncio.to_thread(command, *words_of(emulator, source, directory, "--stamp", "fnote"))
    assert (done.returncode, told(done)["error_code"], b"hint:" in done.stderr) == (5, 5, True), done.stderr.decode()
    assert (await run(emulator, target, source, directory)).created == 100


async def test_the_credentials_of_another_client_send_nothing(tmp_path: Path) -> None:
    """The run is bound to the company or the app that its credentials belong to, not to the credentials."""
    source = write(tmp_path / "source", records_of(100, "Code"))
    apps = [{"app_id": "emulator-app"}, {"app_id": "another-app", "api_key": "k2", "api_secret": "s2"}]
    directory = tmp_path / "run"
    with running(plan_of(canbus={"apps": apps})) as emulator:
        await run(emulator, ADD, source, directory, max_lines=50)
        another = {"CANBUS_APP_ID": "another-app", "CANBUS_API_KEY": "k2", "CANBUS_API_SECRET": "s2"}
        done = await asyncio.to_thread(command, "resume", directory, environment=another)
        assert (done.returncode, b"somebody else" in done.stderr) == (5, True), done.stderr.decode()
        assert emulator.rows("another-app") == []
        assert len(emulator.rows(APP)) == 50
        assert b"another-app" not in b"".join(file.read_bytes() for file in directory.iterdir())
        assert (await run(emulator, ADD, source, directory)).created == 100
    with running() as first:
        await run(first, INSERT, source, tmp_path / "run2", max_lines=50)
    with running(plan_of(ozari={"company": "another", "token": "t2"}), port=first.port) as second:
        done = await asyncio.to_thread(command, "resume", tmp_path / "run2", environment={"OZARI_TOKEN": "t2"})
        assert (done.returncode, b"somebody else" in done.stderr) == (5, True), done.stderr.decode()
        assert (second.rows(TABLE), facts(second, "insert")) == ([], [])


def test_one_process_holds_a_run(emulator: Emulator, tmp_path: Path) -> None:
    source, directory = write(tmp_path / "source", records_of(COUNT)), tmp_path / "run"
    words = words_of(emulator, source, directory)
    child = start(*words, "--rate", "1", "--burst", "20")
    wait_for(lambda: emulator.journal.committed >= 10, child)
    for attempt in (words, ["reconcile", str(directory)]):
        second = command(*attempt)
        assert second.returncode == 5, second.stderr.decode()
        assert [json.loads(line)["error_code"] for line in second.stdout.splitlines()] == [5] * ("--json" in attempt)
    reading = json.loads(command("status", directory, "--json").stdout)  # looking is always allowed
    assert 0 < reading["created"] < COUNT
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130


# --- standard input -------------------------------------------------------------------------------------------------------------


def feed(emulator: Emulator, words: list[str], lines: list[bytes], *, interrupted_at: int | None) -> int:
    """Write lines into a command, slowly enough for its reading; interrupt it once the target holds so many."""
    child = start(*words, *(TO_BE_INTERRUPTED if interrupted_at else ()))
    assert child.stdin is not None
    before = emulator.journal.committed
    half = len(lines) // 2
    child.stdin.write(b"".join(lines[:half]))
    child.stdin.flush()
    if interrupted_at is not None:
        wait_for(lambda: emulator.journal.committed >= before + interrupted_at, child)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        return child.returncode
    child.communicate(b"".join(lines[half:]), timeout=60)
    return child.returncode


LINES = [json.dumps(record).encode() + b"\n" for record in records_of(300)]


def test_a_pipe_is_loaded(emulator: Emulator, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    assert feed(emulator, words_of(emulator, "-", directory), LINES, interrupted_at=None) == 0
    assert audit(emulator, directory, keyed(300)) == []


def test_a_pipe_is_resumed_with_what_was_kept(emulator: Emulator, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    assert feed(emulator, words_of(emulator, "-", directory, "--key", "fcode"), LINES, interrupted_at=30) == 130
    done = command("resume", directory, "--json")
    report = told(done)
    assert report["created"] == len(emulator.rows(TABLE)) > 0
    assert audit(emulator, directory, keyed(report["created"])) == []
    assert len(facts(emulator, "insert")) == report["created"]


def test_a_pipe_is_resumed_by_piping_again(emulator: Emulator, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    words = words_of(emulator, "-", directory)
    assert feed(emulator, words, LINES, interrupted_at=30) == 130
    done = command(*words, given=b"".join(LINES))
    assert (done.returncode, told(done)["created"]) == (0, 300), done.stderr.decode()
    assert audit(emulator, directory, keyed(300)) == []
    assert len(facts(emulator, "insert")) == 300


def test_a_pipe_that_is_another_one_is_refused(emulator: Emulator, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    words = words_of(emulator, "-", directory)
    assert feed(emulator, words, LINES, interrupted_at=30) == 130
    sent = len(facts(emulator, "insert"))
    done = command(*words, given=b"".join(reversed(LINES)))
    assert done.returncode == 5, done.stdout.decode() + done.stderr.decode()
    assert {row["fcode"] for row in emulator.rows(TABLE)} <= {f"K{n}" for n in range(1, 151)}
    assert len(facts(emulator, "insert")) <= max(sent, 150)  # what was kept of the first pipe may still go


def test_a_pipe_that_is_not_kept_cannot_be_resumed(emulator: Emulator, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    words = words_of(emulator, "-", directory, "--no-keep")
    child = start(*words, *TO_BE_INTERRUPTED)
    assert child.stdin is not None
    child.stdin.write(b"".join(LINES[:150]))
    child.stdin.flush()
    wait_for(lambda: emulator.journal.committed >= 30, child)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err.decode()
    assert (b"cannot be resumed" in err, json.loads(out)["is_resumable"]) == (True, False)
    assert not any(b"name of 1" in file.read_bytes() for file in directory.iterdir())
    sent = emulator.journal.requests
    done = command("resume", directory)
    assert (done.returncode, b"--no-keep" in done.stderr) == (2, True), done.stderr.decode()
    assert emulator.journal.requests == sent


def test_a_pipe_needs_a_name_for_its_run(emulator: Emulator) -> None:
    done = command("ozari", "insert", "-", "--table", TABLE, "--base-url", emulator.base_url)
    assert (done.returncode, b"--run" in done.stderr) == (2, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_run_directory_that_cannot_be_written(emulator: Emulator, tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(3))
    (tmp_path / "closed").mkdir(mode=0o500)
    done = command(*words_of(emulator, source, tmp_path / "closed" / "run"))
    assert done.returncode == 5
    assert emulator.journal.requests == 0
