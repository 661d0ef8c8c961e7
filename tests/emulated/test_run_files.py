"""Whose files a run believes, reads and writes: the real command among files of others, links, copies and swapped run.json."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from loader.emulator import Emulator, running
from tests.emulated.loading import COMMAND, ENVIRONMENT, TABLE, audit, command, facts, keyed, records_of, start, write

INSERT = ("ozari", "insert")
QUICK = ("--table", TABLE, "--settle", "0.3", "--progress", "none")


def insert(emulator: Emulator, source: Path, run: Path, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    return command(*INSERT, source, *QUICK, "--run", run, "--base-url", emulator.base_url, *words)


FOREIGN = {
    "checkpoint.log": b"epoch 1, loss 0.3\nepoch 2, loss 0.2\n",
    "checkpoint.settled": b"some other tool's\n",
    "checkpoint.pt": b"\x80\x02weights",
    "checkpoint.ballast": b"sand",
    "checkpoint.log.new": b"epoch 3\n",
    "run.json": b'{"experiment": 7}\n',
    "run.json.new": b'{"experiment": 8}\n',
    "run.json.bak": b"{}",
    "metrics.ndjson": b'{"loss": 0.3}\n',
    "source.zst": b"\x28\xb5\x2f\xfd",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_with_a_file_of_such_a_name_is_left_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "exp7"
    folder.mkdir()
    folder.chmod(0o755)  # whatever umask another test has left
    (folder / name).write_bytes(FOREIGN[name])
    with running() as emulator:
        for environment in ({}, {"OZARI_TOKEN": "wrong"}):
            done = command(
                *INSERT, write(tmp_path / "s", records_of(3)), *QUICK, "--run", folder, "--base-url", emulator.base_url,
                environment=environment,
            )  # fmt: skip
            assert done.returncode == 2, done.stderr
            assert b"exists and is not a run directory" in done.stderr
        assert len(facts(emulator, "insert")) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: FOREIGN[name]}
    for words in (("resume", folder), ("status", folder), ("reconcile", folder), ("log", "repair", folder)):
        done = command(*words)
        assert done.returncode == 2, done.stderr
        assert b"--run NEW" not in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: FOREIGN[name]}


@pytest.mark.parametrize("name", ["checkpoint.log", "checkpoint.log.new", "run.json.new"])
@pytest.mark.parametrize("data", [b"", b"\0" * 5000, b"{"], ids=["empty", "zeros", "begun"])
def test_what_a_crash_leaves_of_a_beginning_is_begun_with(tmp_path: Path, name: str, data: bytes) -> None:
    folder = tmp_path / "x.run"
    folder.mkdir()
    folder.chmod(0o755)  # whatever umask another test has left
    (folder / name).write_bytes(data)
    with running() as emulator:
        done = insert(emulator, write(tmp_path / "s", records_of(3)), folder)
        assert done.returncode == 0, done.stderr
        assert audit(emulator, folder, keyed(3)) == []


def test_folds_of_another_run_are_kept(tmp_path: Path) -> None:
    source, folder = write(tmp_path / "s", records_of(6)), tmp_path / "x.run"
    with running() as emulator:
        assert insert(emulator, source, folder, "--limit", "3").returncode == 0
        (folder / "checkpoint.settled").write_bytes(b"folds of another run\n")
        assert insert(emulator, source, folder).returncode in {0, 5}
    kept = [path.read_bytes() for path in folder.glob("checkpoint.settled*")]
    assert b"folds of another run\n" in kept


# --- owner, mode, links, kind -----------------------------------------------------------------------------------------

NAMES = ("run.json", "checkpoint.log", "checkpoint.settled", "checkpoint.intended", "metrics.ndjson")


def begun(emulator: Emulator, folder: Path) -> tuple[Path, Path]:
    source, run = write(folder / "s.ndjson", records_of(6)), folder / "x.run"
    assert insert(emulator, source, run, "--limit", "3").returncode == 0
    return source, run


def is_refused(emulator: Emulator, source: Path, run: Path, text: bytes) -> None:
    """See that neither the same command nor `resume` nor `reconcile` sends anything."""
    before = emulator.journal.requests
    told = [insert(emulator, source, run), command("resume", run), command("reconcile", run)]
    assert emulator.journal.requests == before
    for done in told:
        assert done.returncode == 5, done.stderr
        assert text in done.stderr, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_file_with_a_second_name_is_refused(tmp_path: Path, name: str) -> None:
    with running() as emulator:
        source, run = begun(emulator, tmp_path)
        os.link(run / name, tmp_path / "second")
        is_refused(emulator, source, run, b"hard links")


@pytest.mark.parametrize("name", NAMES)
def test_a_link_in_a_files_place_is_refused(tmp_path: Path, name: str) -> None:
    with running() as emulator:
        source, run = begun(emulator, tmp_path)
        (run / name).rename(tmp_path / "elsewhere")
        (run / name).symlink_to(tmp_path / "elsewhere")
        is_refused(emulator, source, run, b"a symbolic link")


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_in_a_files_place_is_refused(tmp_path: Path, name: str) -> None:
    with running() as emulator:
        source, run = begun(emulator, tmp_path)
        (run / name).unlink()
        os.mkfifo(run / name, 0o600)
        is_refused(emulator, source, run, b"a pipe")
        if name == "run.json":
            assert command("status", run).returncode != 0  # and does not wait for a writer


@pytest.mark.parametrize("name", ["", *NAMES])
def test_what_others_may_write_is_refused(tmp_path: Path, name: str) -> None:
    with running() as emulator:
        source, run = begun(emulator, tmp_path)
        path = run / name
        mode = path.stat().st_mode & 0o777
        for extra in (0o020, 0o002):
            path.chmod(mode | extra)
            is_refused(emulator, source, run, b"others may write")
        path.chmod(mode)
        assert insert(emulator, source, run).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of somebody else")
@pytest.mark.parametrize("name", ["", *NAMES])
def test_what_belongs_to_another_user_is_refused(tmp_path: Path, name: str) -> None:
    with running() as emulator:
        source, run = begun(emulator, tmp_path)
        os.chown(run / name, 12345, 12345)
        is_refused(emulator, source, run, b"belongs to another user")


def test_a_directory_that_somebody_else_made_first_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "x.run"
    run.mkdir()
    run.chmod(0o755)
    run.chmod(0o777)
    with running() as emulator:
        done = insert(emulator, write(tmp_path / "s", records_of(3)), run)
        assert done.returncode == 5
        assert emulator.journal.requests == 0
    assert b"others may write" in done.stderr
    assert list(run.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "http://127.0.0.1:9", "options": {"base_url": "http://127.0.0.1:9"}},
        {"options": {"base_url": "http://127.0.0.1:9"}},
        {"options": {"proxy": "http://127.0.0.1:9"}},
        {"options": {"ca_file": "/theirs.pem"}},
        {"settings": {"table": "tother"}},
        {"settings": {"stamp": "fother"}},
    ],
    ids=["address", "base url", "proxy", "certificates", "table", "stamp"],
)
def test_a_run_json_that_the_log_does_not_confirm_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with running() as emulator:
        _, run = begun(emulator, tmp_path)
        values = json.loads((run / "run.json").read_bytes())
        for name, value in change.items():
            values[name] = values[name] | value if isinstance(value, dict) else value
        (run / "run.json").write_text(json.dumps(values, indent=2))
        before = emulator.journal.requests
        done = command("resume", run)
        assert done.returncode == 5, done.stderr
        assert b"run.json was changed" in done.stderr or b"another origin" in done.stderr
        assert emulator.journal.requests == before
        (run / "run.json").unlink()  # as the hint says
        assert command("resume", run).returncode == 0
        assert audit(emulator, run, keyed(6)) == []


# --- what is written ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["itself", "symbolic", "hard"])
@pytest.mark.parametrize("victim", ["source", "token", "checkpoint.log", "run.json"])
def test_a_log_file_is_no_file_that_is_read(tmp_path: Path, victim: str, link: str) -> None:
    token = tmp_path / "token"
    token.write_text(ENVIRONMENT["OZARI_TOKEN"])
    with running() as emulator:
        source, run = begun(emulator, tmp_path)
        path = {"source": source, "token": token}.get(victim, run / victim)
        log_file = path
        if link != "itself":
            log_file = tmp_path / "log"
            log_file.symlink_to(path) if link == "symbolic" else os.link(path, log_file)
        before = path.read_bytes()
        environment = {name: value for name, value in os.environ.items() if name != "OZARI_TOKEN"}
        done = subprocess.run(
            [*COMMAND, *INSERT, source, *QUICK, "--run", run, "--base-url", emulator.base_url, "--log-file", log_file],
            env=environment | {"OZARI_TOKEN_FILE": str(token)}, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode in {2, 5}, done.stderr
        assert b"--log-file" in done.stderr or b"hard links" in done.stderr
        assert path.read_bytes() == before


# --- two copies of one run ---------------------------------------------------------------------------------------------


def test_copies_of_one_run_do_not_go_on_at_once(tmp_path: Path) -> None:
    count = 200
    source, run, copy = write(tmp_path / "s", records_of(count)), tmp_path / "x.run", tmp_path / "y.run"
    with running() as emulator:
        words = (*INSERT, source, *QUICK, "--base-url", emulator.base_url, "--rate", "40", "--stamp", "fstamp")
        child = start(*words, "--run", run)
        deadline = time.monotonic() + 30
        while len(facts(emulator, "insert")) < 20:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.kill()
        child.communicate()
        shutil.copytree(run, copy)
        first = start("resume", run)
        sent = len(facts(emulator, "insert"))
        while len(facts(emulator, "insert")) < sent + 5:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        second = command("resume", copy)
        assert second.returncode == 5, second.stderr
        assert b"are copies of one run" in second.stderr
        _, told = first.communicate(timeout=60)
        assert first.returncode in {0, 3}, told
        assert sorted(row["fcode"] for row in emulator.rows(TABLE)) == sorted(
            {row["fcode"] for row in emulator.rows(TABLE)}
        )
