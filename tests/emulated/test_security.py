"""The security checklist of reliability.md 5, over sockets and with the real command: secrets, redirects, memory.

Each secret is a canary that is looked for in everything that was written: standard output and error, the log file, the run
directory. Hostile targets give requests back as error texts, in every form in which a text travels.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loader import CanbusAdd, CanbusCredentials, Options, OzariCredentials, OzariInsert, Rate, Report, Secret, load
from loader.cli.app import main
from tests.emulated.hostile import (
    ENVIRONMENT,
    SECRETS,
    TOKEN,
    Heard,
    Hostile,
    Reply,
    forms_of,
    hostile,
    leaks,
    says,
    welcome,
)

COMMAND = [sys.executable, "-m", "loader"]
OZARI = OzariCredentials(Secret(TOKEN))
CANBUS = CanbusCredentials(
    "emulator", *(Secret(SECRETS[name]) for name in ("CANBUS_APP_ID", "CANBUS_API_KEY", "CANBUS_API_SECRET"))
)
LOADS = {"ozari insert": ["--table", "tcity"], "canbus add": ["--user", "loader", "--max-records", "1"]}
QUICK = ["--rate", "500", "--settle", "0.1", "--patience", "20", "--timeout", "10", "--max-rejects", "100%"]


def source_of(folder: Path, count: int) -> Path:
    path = folder / "source.ndjson"
    path.write_text("".join(f'{{"fcode":"K{number}"}}\n' for number in range(1, count + 1)))
    return path


def run_command(
    *words: str | Path, given: bytes = b"", environment: dict[str, str] | None = None, umask: int = -1
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        env=os.environ | (ENVIRONMENT if environment is None else environment),
        input=given,
        capture_output=True,
        timeout=60,
        check=False,
        umask=umask,
    )


async def run_load(url: str, folder: Path, *, is_canbus: bool = False, count: int = 1, **options: Any) -> Report:
    """Load through the library."""
    chosen = Options(base_url=url, rate=Rate(500.0), settle_seconds=0.1, **options)
    target = CanbusAdd(user="loader") if is_canbus else OzariInsert("tcity")
    return await load(
        source_of(folder, count), target, run=folder / "run", options=chosen, credentials=CANBUS if is_canbus else OZARI
    )


# --- no secret in anything that is written ------------------------------------------------------------------------------


def echoes(heard: Heard, secrets: Iterable[str]) -> Iterator[bytes]:
    """Give a request back in all the places of an answer that somebody might show."""
    for text in forms_of(heard.everything).values():
        yield says({"success": False, "error": text, "authen": "NG"}, "400 Bad Request")
        yield says({"success": False, "error": text})
        yield says({"error": text, "message": text}, "500 Internal Server Error")
    for secret in secrets:
        for text in forms_of(secret).values():
            yield says({"success": False, "error": f"bad request: {text}"}, "422 Unprocessable Entity")
            yield says({"authen": "OK", "results": [{"result": "0", "id": f"id {text}"}]})
            yield says({"authen": "OK", "results": [{"result": text, "id": text}]})
        yield says({"success": True, "table": secret, "insertedId": secret, "fields": {secret: secret}}, "201 Created")
        yield f"HTTP/1.1 400 {secret}\r\nContent-Length: 0\r\nX: {secret}\r\n\r\n".encode()
        yield says({}, "201 Created", f"X: {secret}\0")
        yield says({}, "503 Service Unavailable", f"Retry-After: {secret}", f"Content-Encoding: {secret}")
    yield b"HTTP/1.1 " + heard.head
    yield heard.head + heard.body
    yield says(heard.body, "502 Bad Gateway")


def echoing(heard_before: list[Heard], secrets: tuple[str, ...]) -> Callable[[Heard], Reply]:
    def answer(heard: Heard) -> Reply:
        if heard.is_preflight:
            text = " ".join(["company", *secrets])
            item = {"id": text, "name": text, "type": text}
            return says({"success": True, "company": text, "authen": "OK", "results": [{"items": [item]}]})
        heard_before.append(heard)
        tricks = list(echoes(heard, secrets))
        # Never five faults in a row, or the breaker would wait: every third answer refuses plainly.
        turn = len(heard_before)
        return [tricks[turn // 3 % len(tricks)], b""] if turn % 3 == 0 else says({"error": heard.everything}, "422 No")

    return answer


@pytest.mark.parametrize("operation", LOADS)
def test_an_echoing_target_gets_no_secret_written(tmp_path: Path, operation: str) -> None:
    heard: list[Heard] = []
    secrets = tuple(
        secret for name, secret in SECRETS.items() if name.startswith("CANBUS") == operation.startswith("canbus")
    )
    tricks = len(list(echoes(Heard("", b"", b""), secrets)))
    source, directory = source_of(tmp_path, 4 * tricks), tmp_path / "run"
    with hostile(echoing(heard, secrets)) as server:
        options: list[str | Path] = [
            *LOADS[operation],
            "--run",
            directory,
            "--base-url",
            server.url,
            *QUICK,
            "--concurrency",
            "1",
        ]
        done = run_command(*operation.split(), source, *options, "-v", "--log-file", tmp_path / "log", "--json")
    report = json.loads(done.stdout)
    assert report["state"] == "finished", done.stderr
    assert len(heard) >= 3 * tricks
    assert report["rejected"] > tricks
    assert report["ambiguous"] > 0
    outputs = [run_command(word, directory).stdout for word in ("status", "ids", "rejects", "ambiguous")]
    assert outputs[2].count(b"\n") == report["rejected"]
    assert b"***" in outputs[2]
    assert leaks(done.stdout, done.stderr, *outputs, tmp_path) == []
    assert hashes_in(tmp_path) == []


def hashes_in(folder: Path) -> list[str]:
    """Name the secrets of which a plain hash was written: a token can be guessed from it. The app id is no key by itself."""
    data = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()).lower()
    found = []
    for name in SECRETS.keys() - {"CANBUS_APP_ID"}:
        secret = SECRETS[name].encode()
        digests = [
            hashlib.new(kind, secret).digest() for kind in ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s")
        ]
        digests += [hashlib.blake2b(secret, digest_size=size).digest() for size in (8, 16, 20, 32)]
        digests.append(zlib.crc32(secret).to_bytes(4))
        found += [name for digest in digests if digest.hex()[:16].encode() in data]
    return found


@pytest.mark.parametrize("status", ["401 No", "403 No", "404 No", "400 No", "307 Go"])
@pytest.mark.parametrize("is_preflight", [True, False], ids=["preflight", "record"])
@pytest.mark.parametrize("is_canbus", [False, True], ids=["ozari", "canbus"])
async def test_a_halt_names_no_secret(tmp_path: Path, is_canbus: bool, is_preflight: bool, status: str) -> None:
    from loader.errors import LoaderError

    def answer(heard: Heard) -> Reply:
        if heard.is_preflight and not is_preflight:
            return welcome(heard)
        return says({"error": heard.everything, "authen": "NG"}, status, f"Location: http://127.0.0.1:1/{TOKEN}")

    with hostile(answer) as server:
        try:
            report = await run_load(server.url, tmp_path, is_canbus=is_canbus)
            said = repr(report) + report.to_text()
        except LoaderError as error:
            said = f"{error.message} {error.hint} {error!r}"
    assert leaks(said.encode(), tmp_path) == []


CRASH = """
import sys
from loader.cli import app
from loader.{module} import {owner}

{word} crash(self, *arguments, **named):
    local = {secret!r}
    raise {error}("a bug that holds " + local + " and " + repr(arguments))

{owner}.{method} = crash
sys.exit(app.main(sys.argv[1:]))
"""
CRASHES = [
    ("transport.session", "SessionTransport", "send", "async def", "ValueError"),
    ("transport.lean", "LeanTransport", "send", "async def", "ValueError"),
    ("delivery.sender", "Sender", "send", "async def", "KeyError"),
    ("checkpoint", "CheckpointLog", "settle", "def", "RuntimeError"),
    ("pipeline.execution", "Execution", "report", "def", "TypeError"),
]


@pytest.mark.parametrize("module, owner, method, word, error", CRASHES, ids=str)
def test_a_crash_shows_no_secret(tmp_path: Path, module: str, owner: str, method: str, word: str, error: str) -> None:
    code = CRASH.format(module=module, owner=owner, method=method, word=word, error=error, secret=TOKEN)
    with hostile(welcome) as server:
        words = ["ozari", "insert", source_of(tmp_path, 3), "--table", "tcity", "--run", tmp_path / "run"]
        logged = ["--log-file", str(tmp_path / "log")] if method == "send" else []
        logged += ["--transport", "session"] if owner == "SessionTransport" else []
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words), "--base-url", server.url, "-v", *logged],
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert f"unexpected {error}".encode() in done.stderr
    told = (tmp_path / "log").read_bytes() if logged else done.stderr
    assert b"Traceback" in told
    assert b"***" in told
    assert leaks(done.stdout, done.stderr, tmp_path) == []


def test_no_secret_stands_in_a_process_list_and_no_core_is_dumped(tmp_path: Path) -> None:
    def answer(heard: Heard) -> Reply:
        return welcome(heard) if heard.is_preflight else [b"HTTP/1.1 100 Continue\r\n\r\n", *waiting()]

    def waiting() -> Iterator[bytes]:
        time.sleep(30)
        yield b""

    with hostile(answer) as server:
        words = [
            *COMMAND,
            "canbus",
            "add",
            str(source_of(tmp_path, 3)),
            "--user",
            "loader",
            "--run",
            str(tmp_path / "run"),
        ]
        child = subprocess.Popen(
            [*words, "--base-url", server.url],
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert until(lambda: any(not heard.is_preflight for heard in server.heard))
            process = Path(f"/proc/{child.pid}")
            children = [
                Path("/proc") / number
                for task in process.glob("task/*")
                for number in (task / "children").read_text().split()
            ]
            for one in [process, *children]:
                assert leaks((one / "cmdline").read_bytes()) == []
            limits = (process / "limits").read_text()
            assert re.search(r"Max core file size +0 +0 ", limits)
            # Not dumpable: the memory and the environment belong to root now, whoever runs the command.
            assert (process / "environ").stat().st_uid == 0
        finally:
            child.kill()
            child.wait()
    assert leaks(tmp_path) == []


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_the_memory_is_guarded_before_the_first_request() -> None:
    code = (
        "import ctypes, resource, sys\nfrom loader.cli.running import run\n"
        "async def look():\n    return resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"
        "print(run(look()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert done.stdout.decode().strip() == ("((0, 0), 0)" if sys.platform == "linux" else "((0, 0), -1)")


# --- where requests may go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("at", ["preflight", "record", "query"])
@pytest.mark.parametrize("is_canbus", [False, True], ids=["ozari", "canbus"])
async def test_a_redirect_is_never_followed(tmp_path: Path, is_canbus: bool, at: str, status: int) -> None:
    with hostile(welcome) as stranger:

        def answer(heard: Heard) -> Reply:
            kind = "preflight" if heard.is_preflight else "query" if "/query" in heard.line else "record"
            if kind == at or (kind == "record" and is_canbus):
                return says({}, f"{status} Go", f"Location: {stranger.url}{heard.line.split(' ')[1]}")
            return welcome(heard) if kind == "preflight" else says({}, "404 No such call")

        with hostile(answer) as server:
            target = OzariInsert("tcity", key="fcode") if at == "query" and not is_canbus else None
            report = await redirected(server, tmp_path, target, is_canbus=is_canbus)
    assert (report.state, report.reason, report.exit_code) == ("stopped", "redirect", 4)
    assert stranger.connections == 0
    assert stranger.heard == []
    # What was redirected may have been applied; it is not sent again, and not forgotten.
    sent = [heard for heard in server.heard if heard.line.startswith("POST") and "/query" not in heard.line]
    assert len(sent) == (1 if at == "record" or (is_canbus and at == "query") else 0)


async def redirected(server: Hostile, folder: Path, target: OzariInsert | None, *, is_canbus: bool) -> Report:
    if target is None:
        return await run_load(server.url, folder, is_canbus=is_canbus, count=3, concurrency=1)
    options = Options(base_url=server.url, rate=Rate(500.0), concurrency=1)
    return await load(source_of(folder, 3), target, run=folder / "run", options=options, credentials=OZARI)


HOSTS = """
import asyncio, json, sys
from loader import Options, OzariCredentials, OzariInsert, Rate, Secret, load

heard = set()

def note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.bind"):
        heard.add((event, str(arguments[1])))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.getnameinfo"):
        heard.add((event, str(arguments[0])))
    elif event in ("subprocess.Popen", "os.posix_spawn", "os.system", "os.exec", "os.fork"):
        heard.add((event, ""))

sys.addaudithook(note)
options = Options(base_url=sys.argv[2], rate=Rate(500.0), transport=sys.argv[3])
target = OzariInsert("tcity", stamp="fstamp")

async def main():
    credentials = OzariCredentials(Secret("own"))
    return await load(sys.argv[1] + "/source.ndjson", target, run=sys.argv[1] + "/run", options=options, credentials=credentials)

report = asyncio.run(main())
print(json.dumps([report.state, report.rejected, sorted(heard)]))
"""


@pytest.mark.parametrize("transport", ["session", "lean"])
def test_nobody_is_spoken_to_but_the_target(tmp_path: Path, transport: str) -> None:
    """Python's own audit hook sees every connect, name look-up and child process of the load."""

    def answer(heard: Heard) -> Reply:
        return welcome(heard) if heard.is_preflight else says({"success": False, "error": "no"}, "422 No")

    source_of(tmp_path, 3)
    with hostile(answer) as server:
        done = subprocess.run(
            [sys.executable, "-c", HOSTS, str(tmp_path), server.url, transport],
            env={**os.environ, "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"},
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    state, rejected, heard = json.loads(done.stdout)
    assert (state, rejected) == ("finished", 3)
    host, port = server.url.removeprefix("http://").split(":")
    allowed = {("socket.connect", str((host, int(port)))), ("socket.getaddrinfo", host)}
    assert {tuple(entry) for entry in heard} - allowed == set()
    assert ["socket.connect", str((host, int(port)))] in heard


def test_the_emulators_credentials_never_leave_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """They are in the environment of whoever tried the emulator; a base URL that was forgotten sends them to the vendor."""
    monkeypatch.setenv("OZARI_TOKEN", "emulator-token")
    for base_url in ([], ["--base-url", "https://evil.example"]):
        words = ["ozari", "insert", str(source_of(tmp_path, 1)), "--table", "tcity", "--run", str(tmp_path / "run")]
        assert main([*words, *base_url]) == 2
    assert "the emulator's own credentials would go to" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


HOSTILE_TABLES = (
    "../../admin", "..", ".", "%2e%2e", "a/b", "a?x=1", "a#f", "a b", "", "tcity\n", "tcity\r\nX: y", "tcity\0", "a" * 65,
    "//127.0.0.1:1/", "http://127.0.0.1:1/", "\u05d0", "\uff41", "a\ud800b", "a;b", "'", "a%00", "\u202etcity",
)  # fmt: skip


def test_hostile_table_names_never_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    source = source_of(tmp_path, 1)
    with hostile(welcome) as server:
        for table in HOSTILE_TABLES:
            words = ["ozari", "insert", str(source), "--table", table, "--base-url", server.url]
            assert main([*words, "--run", str(tmp_path / "run")]) == 2, table
        assert server.connections == 0
    assert not (tmp_path / "run").exists()
    told = capfd.readouterr()
    assert told.out == ""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", told.err)


def test_hostile_base_urls_never_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with hostile(welcome) as server:
        host = server.url.removeprefix("http://")
        for url in (
            f"http://user:{TOKEN}@{host}", f"http://{host}/?token=x", f"http://{host}/#x", f"http://{host}/../x", f"ftp://{host}",
            f"http://{host}\r\nX: y", f"http://{host}\\@evil.example", "http://evil.example", "http://127.0.0.1.evil.example",
            "http://0.0.0.0:1", "http://2130706434.evil.example", f"//{host}", f"http://{host}/%2e%2e/x",
        ):  # fmt: skip
            words = ["ozari", "insert", str(source_of(tmp_path, 1)), "--table", "tcity", "--run", str(tmp_path / "run")]
            assert main([*words, "--base-url", url]) == 2, url
        assert server.connections == 0
    assert leaks(capfd.readouterr().err.encode()) == []
