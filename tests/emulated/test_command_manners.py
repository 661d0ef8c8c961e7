"""The command among what surrounds it: streams, names that are bytes, limits, signals, moved files, other words."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from loader.emulator import Emulator, running
from tests.emulated.loading import (
    COMMAND,
    ENVIRONMENT,
    TABLE,
    audit,
    command,
    facts,
    keyed,
    plan_of,
    records_of,
    rows_of,
    start,
    told,
    write,
)

QUICK = ("--table", TABLE, "--settle", "0.3", "--progress", "none")
BASH = "/bin/bash"
LOADER = shlex.join(COMMAND)


def insert(emulator: Emulator, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    return command("ozari", "insert", *words, *QUICK, "--base-url", emulator.base_url)


def shell(text: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line in bash; LOADER is the command."""
    return subprocess.run(
        [BASH, "-c", text.replace("LOADER", LOADER)], cwd=folder, env=os.environ | ENVIRONMENT,
        capture_output=True, timeout=90, check=False,
    )  # fmt: skip


def line_of(emulator: Emulator, words: str) -> str:
    return f"LOADER ozari insert {words} {shlex.join(QUICK)} --base-url {emulator.base_url}"


def wait_for(emulator: Emulator, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(facts(emulator, "insert")) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- the standard streams ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_closed_stream_does_not_matter(tmp_path: Path, closed: str) -> None:
    write(tmp_path / "five.ndjson", records_of(5))
    with running() as emulator:
        done = shell(f"{line_of(emulator, 'five.ndjson --run x.run')} {closed}", tmp_path)
        assert (done.returncode, b"Finished" in done.stdout) == (0, True), done.stderr
        assert audit(emulator, tmp_path / "x.run", keyed(5)) == []


def test_closed_standard_input_is_no_source(tmp_path: Path) -> None:
    with running() as emulator:
        done = shell(f"{line_of(emulator, '- --run x.run')} <&-", tmp_path)
        assert (done.returncode, b"standard input is closed" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "x.run").exists()


@pytest.mark.parametrize("stream", [">/dev/full", ">&-"], ids=["full", "closed"])
def test_standard_output_that_takes_nothing_is_said(tmp_path: Path, stream: str) -> None:
    write(tmp_path / "five.ndjson", records_of(5))
    with running() as emulator:
        done = shell(f"{line_of(emulator, 'five.ndjson --run x.run')} {stream}", tmp_path)
        assert done.returncode == 5
        assert b"standard output cannot be written" in done.stderr
        assert b"a bug" not in done.stderr
        assert audit(emulator, tmp_path / "x.run", keyed(5)) == []
    for words in (
        "ids x.run",
        "ids x.run --format csv",
        "status x.run",
        "status x.run --json",
        "log check x.run",
        "--help",
    ):
        done = shell(f"LOADER {words} {stream}", tmp_path)
        assert done.returncode == 5, words
        assert b"standard output cannot be written" in done.stderr
    assert shell(f"LOADER ids x.run 2>{stream.removeprefix('>')}", tmp_path).returncode == 0


def test_standard_error_that_takes_nothing_ends_no_load(tmp_path: Path) -> None:
    write(tmp_path / "five.ndjson", records_of(5))
    with running() as emulator:
        done = shell(f"{line_of(emulator, 'five.ndjson --run x.run -v')} 2>/dev/full", tmp_path)
        assert done.returncode == 0
        assert audit(emulator, tmp_path / "x.run", keyed(5)) == []


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_the_other_names_of_standard_input(tmp_path: Path, name: str) -> None:
    write(tmp_path / "five.ndjson", records_of(5))
    with running() as emulator:
        assert shell(f"{line_of(emulator, name)} < five.ndjson", tmp_path).returncode == 2  # no --run
        done = shell(f"{line_of(emulator, name)} --run x.run < five.ndjson", tmp_path)
        assert done.returncode == 0, done.stderr
        assert audit(emulator, tmp_path / "x.run", keyed(5)) == []


@pytest.mark.parametrize(
    "words, code",
    [
        ("ozari insert none.ndjson --table tcity --base-url http://127.0.0.1:9 --json", 5),
        ("ozari insert five.ndjson --table tcity --rate fast --json", 2),
        ("ozari insert five.ndjson --json", 2),
        ("resume none.run --json", 2),
        ("status none.run --json", 2),
        ("log check none.run --json", 2),
        ("ozari insert five.ndjson --no-such-option --json", 2),
    ],
)
def test_an_error_before_the_start_is_one_object(tmp_path: Path, words: str, code: int) -> None:
    write(tmp_path / "five.ndjson", records_of(5))
    done = shell(f"LOADER {words}", tmp_path)
    assert done.returncode == code, done.stderr
    report = json.loads(done.stdout)
    assert (report["state"], report["error_code"]) == ("stopped", code)
    assert report["message"] in done.stderr.decode()


# --- names --------------------------------------------------------------------------------------------------------------

NAMES = [b"caf\xe9.ndjson", b"\xff\xfe", "עיר.ndjson".encode(), b"a\nb.ndjson", b"-dash.ndjson", b"sp ace'quote.ndjson"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_bytes(tmp_path: Path, name: bytes) -> None:
    source = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 - bytes
    Path(os.fsdecode(source)).write_bytes(b'{"fcode":"K1"}\n{"fcode":"K2"}\n{"fcode":"K3"}\n')
    with running() as emulator:

        def run(*words: str | bytes) -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                [*COMMAND, *words], env=os.environ | ENVIRONMENT, capture_output=True, timeout=60, check=False
            )

        log_file = str(tmp_path / "log")
        words = ("ozari", "insert", source, *QUICK, "--base-url", emulator.base_url, "--log-file", log_file)
        for more in (("--dry-run",), ("--limit", "1", "--json"), ("--limit", "1"), ("--json",), (), ("--json",)):
            done = run(*words, *more)
            assert done.returncode == 0, done.stderr
            assert not done.stderr.count(b"bug")
            if "--json" in more:
                assert json.loads(done.stdout)["run"]
        directory = source + b".ozari-tcity.run"
        assert audit(emulator, Path(os.fsdecode(directory)), keyed(3)) == []
        for command_words in (("status",), ("status", "--json"), ("ids",), ("rejects",), ("resume", "--json")):
            done = run(command_words[0], directory, *command_words[1:])
            assert done.returncode == 0, done.stderr
        # The commands that a report ends with can be typed.
        text = run(*words).stdout.decode()
        step = next(line for line in text.splitlines() if "loader ids" in line).split("  list")[0].strip()
        assert len(rows_of(shell(step.replace("loader", "LOADER", 1), tmp_path))) == 3
        missing = run("ozari", "insert", source + b"x", *QUICK, "--base-url", emulator.base_url, "--json")
        assert missing.returncode == 5
        assert json.loads(missing.stdout)["message"]


def test_several_files_are_named(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.ndjson", records_of(2)), tmp_path / "b.ndjson"
    second.write_text('{"fcode":"X"}\nbad\n')
    with running() as emulator:
        run = tmp_path / "x.run"
        assert insert(emulator, first, second, "--run", run).returncode == 3
    assert [(row["source"], row["file"]) for row in rows_of(command("ids", run))] == [(0, "a.ndjson")] * 2 + [
        (1, "b.ndjson")
    ]
    assert [(row["source"], row["file"]) for row in rows_of(command("rejects", run))] == [(1, "b.ndjson")]
    table = list(csv.DictReader(io.StringIO(command("ids", run, "--format", "csv").stdout.decode())))
    assert [row["file"] for row in table] == ["a.ndjson", "a.ndjson", "b.ndjson"]
    assert told(command("status", run, "--json"))["files"][1] == {"source": 1, "file": "b.ndjson", "lines": 2}
    assert b"2 lines of b.ndjson" in command("status", run).stdout


def test_a_key_with_a_line_end_is_quoted_in_csv(tmp_path: Path) -> None:
    keys = ["one\ntwo", "tab\there", 'quote"comma,', "cr\r\nlf", "\x1b[31mred"]
    source, run = write(tmp_path / "s", [{"fcode": key} for key in keys]), tmp_path / "x.run"
    with running() as emulator:
        assert insert(emulator, source, "--run", run, "--key", "fcode").returncode == 0
    out = command("ids", run, "--format", "csv").stdout
    assert b"\x1b" not in out
    rows = list(csv.DictReader(io.StringIO(out.decode(), newline="")))
    assert [row["key"] for row in rows] == [*keys[:4], "\\x1b[31mred"]


# --- limits, signals ----------------------------------------------------------------------------------------------------


def test_many_sources_and_few_open_files(tmp_path: Path) -> None:
    for number in range(1, 201):
        (tmp_path / f"p-{number:03}").write_text(json.dumps({"fcode": f"K{number}"}) + "\n")
    with running() as emulator:
        done = shell(f"ulimit -Sn 128; {line_of(emulator, 'p-* --run x.run')}", tmp_path)
        assert done.returncode == 0, done.stderr
        assert sorted(row["fcode"] for row in emulator.rows(TABLE)) == sorted(f"K{number}" for number in range(1, 201))
        done = shell(f"ulimit -n 128; {line_of(emulator, 'p-* --run y.run')}", tmp_path)
        assert done.returncode == 2
        assert b"200 sources and 32 requests in flight need 295 open files, and 128 are allowed" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_signal_that_is_ignored_from_the_start_stays_so(tmp_path: Path, number: signal.Signals) -> None:
    write(tmp_path / "s", records_of(60))
    with running() as emulator:
        text = f"trap '' {number.name.removeprefix('SIG')}; exec {line_of(emulator, 's --run x.run --rate 60')}"
        child = subprocess.Popen(
            [BASH, "-c", text.replace("LOADER", LOADER)], cwd=tmp_path, env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_for(emulator, 10)
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert audit(emulator, tmp_path / "x.run", keyed(60)) == []


def test_too_little_memory_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("".join(json.dumps({"k": "x" * 9_000_000}) + "\n" for _ in range(8)))
    with running() as emulator:
        done = shell(f"ulimit -v 330000; {line_of(emulator, 's --run x.run')}", tmp_path)
    assert b"a bug in loader" not in done.stderr, done.stderr


# --- which run -----------------------------------------------------------------------------------------------------------


def test_a_file_added_in_front_of_a_glob_doubles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    folder.mkdir()
    for number in (2, 3):
        write(folder / f"p-{number}", [{"fcode": f"P{number}"}])
    with running() as emulator:
        assert shell(line_of(emulator, "g/p-?"), tmp_path).returncode == 0
        write(folder / "p-1", [{"fcode": "P1"}])
        done = shell(line_of(emulator, "g/p-?"), tmp_path)
        assert done.returncode == 5, done.stderr
        assert b"p-2.ozari-tcity.run" in done.stderr
        assert b"load p-1 alone" in done.stderr
        assert len(facts(emulator, "insert")) == 2
        assert shell(line_of(emulator, "g/p-1"), tmp_path).returncode == 0
        write(folder / "p-4", [{"fcode": "P4"}])
        done = shell(line_of(emulator, "g/p-2 g/p-3 g/p-4"), tmp_path)
        assert done.returncode == 5
        assert b"load what is new by itself" in done.stderr
        assert shell(line_of(emulator, "g/p-4"), tmp_path).returncode == 0
        (folder / "other-name").hardlink_to(folder / "p-3")
        assert shell(line_of(emulator, "g/other-name"), tmp_path).returncode == 5
        assert sorted(row["fcode"] for row in emulator.rows(TABLE)) == ["P1", "P2", "P3", "P4"]


@pytest.mark.parametrize("link", ["symbolic", "hard"])
def test_one_file_under_two_names_is_named_twice(tmp_path: Path, link: str) -> None:
    source = write(tmp_path / "a", records_of(3))
    other = tmp_path / "b"
    other.symlink_to(source) if link == "symbolic" else other.hardlink_to(source)
    with running() as emulator:
        done = insert(emulator, source, other, "--run", tmp_path / "x.run")
        assert (done.returncode, b"named twice" in done.stderr) == (2, True)


def test_a_run_that_was_meant_is_named(tmp_path: Path) -> None:
    write(tmp_path / "customers.ndjson", records_of(3))
    with running() as emulator:
        assert shell(line_of(emulator, "customers.ndjson"), tmp_path).returncode == 0
        words = [
            f"{command} customers.ndjson"
            for command in ("ids", "rejects", "ambiguous", "resume", "reconcile", "log check")
        ]
        for word in [*words, "status .", "status customers", "status customers.ndjson.run"]:
            done = shell(f"LOADER {word}", tmp_path)
            assert done.returncode == 2, (word, done.stderr)
            assert b"did you mean customers.ndjson.ozari-tcity.run?" in done.stderr, (word, done.stderr)


def test_a_renamed_source_is_gone_on_with(tmp_path: Path) -> None:
    source, run = write(tmp_path / "a", records_of(9)), tmp_path / "x.run"
    with running() as emulator:
        assert insert(emulator, source, "--run", run, "--limit", "4").returncode == 0
        source.rename(tmp_path / "b")
        done = command("resume", run)
        assert done.returncode == 5
        assert b"--source PATH" in done.stderr
        assert command("resume", run, "--source", tmp_path / "b", "--source", tmp_path / "b").returncode == 2
        assert command("resume", run, "--source", write(tmp_path / "c", records_of(3))).returncode == 5
        assert command("resume", run, "--source", tmp_path / "b").returncode == 0
        assert audit(emulator, run, keyed(9)) == []


def test_the_base_urls_path_is_part_of_the_target(tmp_path: Path) -> None:
    source, run = write(tmp_path / "a", records_of(9)), tmp_path / "x.run"
    with running() as emulator:
        assert insert(emulator, source, "--run", run, "--limit", "4").returncode == 0
        requests = emulator.journal.requests
        for words in (("resume", run), ("ozari", "insert", source, "--table", TABLE, "--run", run)):
            done = command(*words, "--base-url", f"{emulator.base_url}/other")
            assert done.returncode == 5
            assert b"base URL" in done.stderr
        assert command("resume", run, "--base-url", "http://127.0.0.1:9").returncode == 5
        assert emulator.journal.requests == requests
        assert command("resume", run, "--base-url", f"{emulator.base_url}/").returncode == 0


# --- what is said of a run ------------------------------------------------------------------------------------------------


def lost(emulator_plan_count: int) -> dict[str, object]:
    return {"kind": "close", "when": "after", "operations": ["insert"], "times": emulator_plan_count}


def test_reject_settles_by_the_users_word(tmp_path: Path) -> None:
    source, run = write(tmp_path / "a", records_of(9)), tmp_path / "x.run"
    with running(plan_of(lost(2))) as emulator:
        done = insert(emulator, source, "--run", run, "--json")
        assert (done.returncode, told(done)["ambiguous"]) == (3, 2)
        assert command("reconcile", run, "--reject", "--accept").returncode == 2
        done = command("reconcile", run, "--reject", "--json")
        assert (told(done)["ambiguous"], told(done)["rejected"], told(done)["state"]) == (0, 2, "finished")
        assert len(facts(emulator, "insert")) == 9
    assert len(rows_of(command("rejects", run))) == 2
    assert rows_of(command("ambiguous", run)) == []


def test_a_reconcile_that_fails_leaves_a_finished_run_finished(tmp_path: Path) -> None:
    source, run = write(tmp_path / "a", records_of(9)), tmp_path / "x.run"
    with running(plan_of(lost(2))) as emulator:
        assert insert(emulator, source, "--run", run).returncode == 3
    # The emulator is gone: an outage.
    done = command("reconcile", run, "--key", "fcode", "--patience", "1", "--json")
    assert done.returncode == 4, done.stderr
    status = told(command("status", run, "--json"))
    assert (status["state"], status["created"], status["ambiguous"]) == ("finished", 7, 2)


def test_the_json_of_a_finished_run_says_so(tmp_path: Path) -> None:
    source, run = write(tmp_path / "a", records_of(9)), tmp_path / "x.run"
    with running() as emulator:
        report = told(insert(emulator, source, "--run", run, "--limit", "3", "--json"))
        assert (report["finished_at"], report["is_resumable"]) == (None, True)
        first = told(insert(emulator, source, "--run", run, "--json"))
        again = told(insert(emulator, source, "--run", run, "--json"))
        assert first["finished_at"]
        assert (again["finished_at"], again["requests"]) == (first["finished_at"], 0)
        assert not first["is_resumable"]
        assert not again["is_resumable"]


def test_warnings_are_counted(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("bad\n" * 1501)
    with running() as emulator:
        done = insert(emulator, tmp_path / "s", "--dry-run")
    assert b"Warnings: 1,501, the first 20 said above" in done.stdout, done.stdout


def test_a_run_that_goes_on_is_said_to(tmp_path: Path) -> None:
    source, run = write(tmp_path / "a", records_of(4000)), tmp_path / "x.run"
    with running() as emulator:
        child = start("ozari", "insert", source, *QUICK, "--run", run, "--base-url", emulator.base_url, "--rate", "40")
        wait_for(emulator, 20)
        status = told(command("status", run, "--json"))
        assert (status["state"], status["pid"], status["died_at"]) == ("running", child.pid, None)
        assert f"running, process {child.pid}".encode() in command("status", run).stdout
        assert rows_of(command("ambiguous", run)) == []
        child.kill()
        child.communicate()
        status = told(command("status", run, "--json"))
        assert (status["state"], status["pid"]) == ("open", None)
        assert b"it died at 20" in command("status", run).stdout
        assert rows_of(command("ambiguous", run)) != []


@pytest.mark.parametrize("text", [".2", "0.2", "1."])
def test_a_time_may_lack_a_digit(tmp_path: Path, text: str) -> None:
    source = write(tmp_path / "a", records_of(3))
    with running() as emulator:
        words = ("--table", TABLE, "--base-url", emulator.base_url, "--settle", text, "--run", tmp_path / "x.run")
        assert command("ozari", "insert", source, *words).returncode == 0
