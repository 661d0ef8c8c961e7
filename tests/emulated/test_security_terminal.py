"""What reaches a terminal, a file's mode, and who may talk to the emulator."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loader.cli.app import main
from tests.emulated.hostile import ENVIRONMENT, Heard, Reply, hostile, leaks, says
from tests.emulated.wire import Seen, read, request

COMMAND = [sys.executable, "-m", "loader"]
QUICK = ("--rate", "100", "--patience", "10", "--timeout", "10", "--settle", "0.1")
CONTROLS = "\x1b]0;pwned\x07 \x1b[2J \x9b31m \x90q\x9c \x08\x08 \r\n forged: line \u202etxt.exe \u2066x\u2069 \x7f"
MARKUP = "[bold red]markup[/] [link=http://evil.example]x[/link]"
OBEYED = re.compile("\x1b\\]|\x1b\\[2J|\x9b|\x90|\x9c|\x08|\u202e|\u2066|\u2069|\x7f|\nforged|\n forged|\x07")


def hurtful(heard: Heard) -> Reply:
    """Put control characters wherever text can stand in an answer."""
    if heard.is_preflight:
        item = {"id": CONTROLS, "name": CONTROLS, "type": CONTROLS}
        return says({"success": True, "company": CONTROLS + MARKUP, "authen": "OK", "results": [{"items": [item]}]})
    if b"good" in heard.body:
        echo = {"fname": "changed by the target " + CONTROLS}
        results = [{"result": "0", "id": "17" + CONTROLS}]
        body = {"success": True, "table": "tcity", "insertedId": 3, "fields": echo, "authen": "OK", "results": results}
        return says(body, "201 Created")
    return says({"success": False, "error": CONTROLS + MARKUP, "message": CONTROLS}, "422 No")


def source_of(folder: Path) -> Path:
    """Write lines that are refused here and there, with controls in names and values."""
    lines = [
        {"fname": "good"},
        {CONTROLS: "a name"},
        {"fname": CONTROLS},
        {"fid": CONTROLS},
        {"fname": "x", "System_Create_User": CONTROLS},
    ]
    text = (
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        + f'{{"{MARKUP}":"\x9b31m"}}\n{{"a":1,"a":2}}\n'
    )
    path = folder / "source.ndjson"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def in_terminal(*words: str) -> tuple[int, str]:
    """Run a command whose standard streams are a terminal; return its exit code and all that the terminal got."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, *words],
        env=os.environ | ENVIRONMENT | {"TERM": "xterm-256color"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # the end of the other side reads as an error
        while part := os.read(leader, 65536):
            shown += part
    os.close(leader)
    return child.wait(), shown.decode()


@pytest.mark.parametrize("operation", ["ozari insert", "canbus add"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_control_of_a_server_or_a_source_reaches_the_terminal(tmp_path: Path, operation: str, form: str) -> None:
    table = ["--table", "tcity"] if operation.startswith("ozari") else ["--user", "loader", "--max-records", "1"]
    extra = ["--json", "-v"] if form == "json" else ["-v"]
    with hostile(hurtful) as server:
        words = [*operation.split(), str(source_of(tmp_path)), *table, "--run", str(tmp_path / "run"), *QUICK]
        code, shown = in_terminal(*words, "--base-url", server.url, "--log-file", str(tmp_path / "log"), *extra)
    assert code == 3
    assert "ejected" in shown
    assert OBEYED.findall(shown) == []
    # A log file is looked at with `cat` and `tail`.
    assert OBEYED.findall((tmp_path / "log").read_text()) == []


@pytest.mark.parametrize("operation", ["ozari insert", "canbus add"])
def test_no_secret_reaches_the_terminal(tmp_path: Path, operation: str) -> None:
    """The live display too: a target that gives each request back in its errors, and for Ozari in its name."""

    def answer(heard: Heard) -> Reply:
        text = heard.everything
        if heard.is_preflight:
            return says({"success": True, "company": f"acme {text}", "authen": "OK", "results": [{"items": []}]})
        return says({"success": False, "error": text, "authen": "NG"}, "422 No")

    table = ["--table", "tcity"] if operation.startswith("ozari") else ["--user", "loader", "--max-records", "1"]
    source = tmp_path / "source"
    source.write_text('{"fname":"x"}\n' * 20)
    with hostile(answer) as server:
        words = [*operation.split(), str(source), *table, "--run", str(tmp_path / "run"), *QUICK]
        code, shown = in_terminal(*words, "--base-url", server.url, "-v")
    assert code == 3
    assert "ejected" in shown
    # A terminal folds lines: what is looked for may stand on two of them.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", "", shown)
    assert leaks(shown.encode(), plain.encode(), tmp_path) == []


def test_no_control_of_a_halt_reaches_the_terminal(tmp_path: Path) -> None:
    def answer(heard: Heard) -> Reply:
        return says({"error": CONTROLS + MARKUP}, "403 No")

    with hostile(answer) as server:
        words = [
            "ozari",
            "insert",
            str(source_of(tmp_path)),
            "--table",
            "tcity",
            "--run",
            str(tmp_path / "run"),
            *QUICK,
        ]
        code, shown = in_terminal(*words, "--base-url", server.url)
    assert code == 4
    assert MARKUP.split(maxsplit=1)[0] in shown
    assert OBEYED.findall(shown) == []


@pytest.mark.parametrize("operation", ["ozari insert", "canbus add"])
def test_the_lists_of_a_run_are_plain(
    tmp_path: Path, operation: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    key = "fname" if operation.startswith("ozari") else "Name"
    source = tmp_path / f"source{CONTROLS.replace('/', '')[:20]}"
    source.write_bytes(
        json.dumps({key: "good \x9b31m \u202e \x7f"}, ensure_ascii=False).encode() + b'\n{"x":"\xc2\x9b1m"}\n'
    )
    table = ["--table", "tcity"] if key == "fname" else ["--user", "loader", "--max-records", "1"]
    run = str(tmp_path / "run")
    monkeypatch.setattr("loader.cli.running.guard_memory", lambda: None)  # that is for a process of its own
    with hostile(hurtful) as server:
        words = [*operation.split(), str(source), *table, "--key", key, "--run", run, "--base-url", server.url, *QUICK]
        assert main(words) == 3
    for command in (["status"], ["status", "--json"], ["ids"], ["ids", "--format", "csv"], ["rejects"], ["ambiguous"]):
        assert main([command[0], run, *command[1:]]) == 0
    told = capfdbinary.readouterr()
    assert OBEYED.findall(told.out.decode()) == []
    assert OBEYED.findall(told.err.decode()) == []
    # Escaped as JSON and no more: the value is the source's own.
    keys = [
        json.loads(line)["key"] for line in told.out.splitlines() if line.startswith(b'{"line"') and b'"key"' in line
    ]
    # Ozari's echo contradicts the key, so the record is not counted as created there.
    assert keys == ([] if key == "fname" else ["good \x9b31m \u202e \x7f"])


# --- files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_files_are_the_users_own(tmp_path: Path, umask: int) -> None:
    def answer(heard: Heard) -> Reply:
        return says({"success": True, "company": "acme"}) if heard.is_preflight else says({"error": "no"}, "422 No")

    with hostile(answer) as server:
        words = [
            "ozari",
            "insert",
            "-",
            "--table",
            "tcity",
            "--run",
            tmp_path / "run",
            "--base-url",
            server.url,
            *QUICK,
        ]
        done = subprocess.run(
            [*COMMAND, *map(str, words), "--log-file", str(tmp_path / "log")],
            env=os.environ | ENVIRONMENT,
            input=b'{"fname":"x"}\n' * 3,
            capture_output=True,
            timeout=60,
            check=False,
            umask=umask,
        )
    assert done.returncode == 3, done.stderr
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()}
    assert {"run.json", "checkpoint.log", "metrics.ndjson", "source.zst"} <= modes.keys()
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o600} == {}
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["checkpoint.log", "run.json", "metrics.ndjson"])
def test_nothing_is_written_through_a_planted_link(tmp_path: Path, name: str) -> None:
    """Whoever may write beside the source may plant a name there; it must not lead a run's writing elsewhere."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    (run / name).symlink_to(victim)
    with hostile(hurtful) as server:
        words = [
            "ozari",
            "insert",
            str(source_of(tmp_path)),
            "--table",
            "tcity",
            "--run",
            str(run),
            "--base-url",
            server.url,
            *QUICK,
        ]
        subprocess.run([*COMMAND, *words], env=os.environ | ENVIRONMENT, capture_output=True, timeout=60, check=False)
    assert victim.read_bytes() == b"precious"


# --- the emulator -------------------------------------------------------------------------------------------------------


def sockets_of(pid: int) -> set[str]:
    """Return the local addresses on which a process listens, as /proc/net tells them."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes |= set(re.findall(r"socket:\[(\d+)\]", str(descriptor.readlink())))
    listening = "0A"
    found = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            local, state, inode = row.split()[1], row.split()[3], row.split()[9]
            if inode in inodes and state == listening:
                found.add(local.rpartition(":")[0])
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_the_emulator_listens_on_loopback_alone() -> None:
    child = subprocess.Popen([*COMMAND, "emulator"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        port = int(re.findall(r":(\d+)", child.stdout.readline())[0])
        time.sleep(0.05)
        assert sockets_of(child.pid) == {"0100007F"}
        for headers, host, expected in (
            ("", "127.0.0.1", 201),
            ("", f"127.0.0.1:{port}", 201),
            ("", "evil.example", 403),
            ("", f"evil.example:{port}", 403),
            ("Origin: http://evil.example\r\n", "127.0.0.1", 403),
        ):
            assert asked(port, request(headers=headers + "Connection: close\r\n", host=host)).status == expected
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)


def asked(port: int, data: bytes) -> Seen:
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        return read(connection)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])  # noqa: S104 - refused is what they are to be
def test_the_emulator_serves_nobody_else(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulator", "--host", host]) == 2
    assert "this machine alone" in capsys.readouterr().err
