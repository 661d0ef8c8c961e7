"""Nothing waits in silence: for what and until when stands in a pipe, on a terminal, in the log file, in the report."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from loader.emulator import running
from tests.emulated.loading import COMMAND, ENVIRONMENT, TABLE, plan_of, records_of, write

SOON_SECONDS = 30.0
"""A machine with other work takes seconds to start a command."""
UNTIL = r"until (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d UTC"
INSERT = ["ozari", "insert"]
PAGE = {"kind": "status", "status": 200, "content": "html", "body": "<h1>It works!</h1>", "operations": ["auth"]}
PAUSE = {"kind": "status", "status": 429, "retry_after": "99999", "operations": ["insert"], "after": 20}
OUTAGE = {"kind": "status", "status": 503, "body": "<h1>maintenance</h1>", "content": "html", "after": 20}
LOST = {"kind": "close", "when": "before", "after": 20, "times": 3, "operations": ["insert"]}
UNREADABLE = {"kind": "form", "as": "other", "operations": ["query"], "after": 1}

CASES: dict[str, tuple[dict[str, Any] | None, list[str], str]] = {
    "nobody listens": (None, [], r"cannot reach 127\.0\.0\.1:\d+: connection refused"),
    "a web page": (PAGE, [], "text/html: It works!"),
    "a long pause": (PAUSE, ["--rate", "100"], "the target asks for a pause"),
    "an outage": (OUTAGE, ["--rate", "100"], r"the target does not answer well \(.*503: text/html: maintenance\)"),
    "records in doubt": (LOST, ["--rate", "100", "--limit", "25", "--stamp", "fstamp"], "ambiguous record"),
    "a proof": (UNREADABLE, ["--rate", "100", "--stamp", "fstamp"], "the proof of the stamp: "),
}


def start(port_or_url: str, tmp_path: Path, options: list[str], **streams: Any) -> subprocess.Popen[bytes]:
    source = write(tmp_path / "source", records_of(200))
    words = [*COMMAND, *INSERT, source, "--table", TABLE, "--run", tmp_path / "run", "--base-url", port_or_url]
    words += ["--log-file", tmp_path / "log", "--settle", "300", *options]
    return subprocess.Popen(list(map(str, words)), env=os.environ | ENVIRONMENT | {"TERM": "xterm"}, **streams)


def seen_in(descriptor: int, pattern: str) -> str:
    """Read until a pattern stands there; return what was read."""
    text, ends = "", time.monotonic() + SOON_SECONDS
    while time.monotonic() < ends:
        if select.select([descriptor], [], [], 0.2)[0]:
            try:
                text += os.read(descriptor, 65536).decode("utf-8", "replace")
            except OSError:
                break
            if re.search(pattern, text):
                return text
    raise AssertionError(text)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("is_terminal", [False, True])
def test_who_waits_for_what_and_until_when(tmp_path: Path, case: str, *, is_terminal: bool) -> None:
    fault, options, words = CASES[case]
    pattern = f"waiting: .*{words}.*{UNTIL}"
    with running(plan_of(*[fault] if fault else [])) as emulator:
        url = emulator.base_url if fault else f"http://127.0.0.1:{free_port()}"
        ours, theirs = pty.openpty() if is_terminal else os.pipe()
        if is_terminal:
            os.set_blocking(ours, True)
        child = start(url, tmp_path, options, stderr=theirs, stdout=subprocess.PIPE)
        os.close(theirs)
        try:
            seen_in(ours, pattern if not is_terminal else f"(?s)waiting: .*{words}")
            child.send_signal(signal.SIGINT)
            out, _ = child.communicate(timeout=SOON_SECONDS)
        finally:
            child.kill()
            child.communicate()
            os.close(ours)
    assert re.search(f"it waited for: .*{words}.*{UNTIL}", out.decode())
    samples = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert any(re.search(words, one.get("waiting_reason") or "") for one in samples)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_a_proxy_that_wants_other_credentials_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = f"127.0.0.1:{server.getsockname()[1]}"
        child = start(
            "https://127.0.0.1:9",
            tmp_path,
            ["--proxy", f"http://{proxy}", "--json"],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        server.settimeout(SOON_SECONDS)
        line, _ = server.accept()
        with line:
            line.recv(65536)
            line.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        out, _ = child.communicate(timeout=SOON_SECONDS)
    report = json.loads(out)
    assert (child.returncode, report["state"], report["reason"]) == (4, "stopped", "credentials")
    assert f"the proxy {proxy}" in report["message"]
