"""Sources that are cut, grow, are written anew, or overlap: nothing is doubled or mixed, and the hints say so."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from loader.emulator import Emulator, running
from tests.emulated.loading import TABLE, audit, command, facts, keyed, records_of, start, told, write

QUICK = ("--table", TABLE, "--settle", "0.3", "--progress", "none", "--json")


def wait_for(emulator: Emulator, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(facts(emulator, "insert")) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- a last line that was cut -----------------------------------------------------------------------------------------

DATA = "".join(json.dumps(record) + "\n" for record in records_of(40)).encode()


@pytest.mark.parametrize("cut", [1000, 1001, 1030, DATA.index(b"\n") + 1, 5])
def test_a_pipe_that_broke_off_in_a_line_is_gone_on_with(tmp_path: Path, cut: int) -> None:
    run = tmp_path / "pf.run"
    with running() as emulator:
        words = ("ozari", "insert", "-", *QUICK, "--run", run, "--base-url", emulator.base_url)
        first = command(*words, given=DATA[:cut])
        whole = DATA[:cut].count(b"\n")
        assert told(first)["created"] == whole
        if not DATA[:cut].endswith(b"\n"):
            assert first.returncode == 5
            assert f"line {whole + 1:,}" in told(first)["message"]
        second = command(*words, given=DATA)
        assert second.returncode == 0, second.stdout
        assert audit(emulator, run, keyed(40)) == []
        assert len(facts(emulator, "insert")) == 40


@pytest.mark.parametrize("tail", [b'{"fcode":"K', b'{"fcode":"K\xd7', b'{"fcode":"' + b"x" * 3000])
def test_a_file_that_ends_in_half_a_line_is_completed_later(tmp_path: Path, tail: bytes) -> None:
    source = tmp_path / "s.ndjson"
    source.write_bytes(DATA + tail)
    with running() as emulator:
        words = ("ozari", "insert", source, *QUICK, "--base-url", emulator.base_url, "--max-line-bytes", "2KB")
        for _ in range(2):
            first = command(*words)
            assert (first.returncode, told(first)["created"], told(first)["rejected"]) == (5, 40, 0)
            assert "line 41" in told(first)["message"]
        source.write_bytes(DATA + b'{"fcode":"K41"}\n')
        second = command(*words)
        assert second.returncode == 0 if len(tail) < 100 else second.returncode == 5  # a shorter file is another one
        if second.returncode == 0:
            run = source.with_name("s.ndjson.ozari-tcity.run")
            assert audit(emulator, run, keyed(41)) == []


def test_half_a_line_with_a_line_end_is_rejected(tmp_path: Path) -> None:
    source = tmp_path / "s.ndjson"
    source.write_bytes(DATA + b'{"fcode":"K')
    with running() as emulator:
        words = ("ozari", "insert", source, *QUICK, "--base-url", emulator.base_url)
        assert command(*words).returncode == 5
        with source.open("ab") as file:
            file.write(b"\n")
        done = command(*words)
        assert (done.returncode, told(done)["created"], told(done)["rejected"]) == (3, 40, 1)


# --- hints ------------------------------------------------------------------------------------------------------------


def test_a_hint_at_a_new_run_says_how_many_records_it_sends_again(tmp_path: Path) -> None:
    source, run = write(tmp_path / "s", records_of(30)), tmp_path / "x.run"
    with running() as emulator:
        words = ("ozari", "insert", source, *QUICK, "--run", run, "--base-url", emulator.base_url)
        assert command(*words, "--limit", "27").returncode == 0
        write(source, [{"fcode": "other"}, *records_of(30)])
        done = command(*words)
        assert done.returncode == 5
        assert b"27 records again" in done.stdout + done.stderr
        write(source, records_of(30))
        done = command(*words, "--table", "tother")
        assert done.returncode == 5
        assert b"27 records again" in done.stdout + done.stderr


@pytest.mark.parametrize("is_moved", [False, True], ids=["removed", "moved"])
def test_a_run_directory_that_goes_away_is_not_said_to_go_on(tmp_path: Path, is_moved: bool) -> None:
    source, run = write(tmp_path / "s", records_of(2000)), tmp_path / "v6.run"
    with running() as emulator:
        words = ("ozari", "insert", source, *QUICK, "--run", run, "--base-url", emulator.base_url, "--rate", "100")
        child = start(*words)
        wait_for(emulator, 30)
        run.rename(tmp_path / "elsewhere.run") if is_moved else shutil.rmtree(run)
        out, _ = child.communicate(timeout=60)
        report = json.loads(out)
        assert child.returncode == 5
        assert "removed or moved" in report["hint"]
        assert "goes on where it stopped" not in report["hint"]
        assert "again that have been sent" in report["hint"]
        assert not report["is_resumable"]


# --- a source that is written anew ------------------------------------------------------------------------------------


def test_a_source_written_anew_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    count = 4000
    source, run = tmp_path / "s", tmp_path / "x.run"
    line = '{{"fcode":"{}{:06}","pad":"{}"}}\n'
    source.write_text("".join(line.format("A", n, "p" * 400) for n in range(count)))
    with running() as emulator:
        words = ("ozari", "insert", source, *QUICK, "--run", run, "--base-url", emulator.base_url, "--rate", "1000")
        child = start(*words)
        wait_for(emulator, 100)
        with source.open("r+") as file:  # in place, of the same size
            file.write("".join(line.format("B", n, "p" * 400) for n in range(count)))
        out, err = child.communicate(timeout=60)
        report = json.loads(out)
        assert child.returncode == 5, err
        assert report["state"] == "stopped"
        assert "has changed" in report["message"]


def test_a_source_that_is_touched_or_grows_while_it_is_read_is_whole(tmp_path: Path) -> None:
    source, run = write(tmp_path / "s", records_of(300)), tmp_path / "x.run"
    with running() as emulator:
        words = ("ozari", "insert", source, *QUICK, "--run", run, "--base-url", emulator.base_url, "--rate", "300")
        child = start(*words)
        wait_for(emulator, 20)
        os.utime(source)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert audit(emulator, run, keyed(300)) == []
