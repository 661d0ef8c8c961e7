"""Answers made to exhaust the client: without end, inflated, drop by drop. Each ends by cap or timeout, at bounded memory.

Every bomb is thrown at the preflight, at a record and at a look-up. The client runs in a child process, whose peak memory is
compared with what it needed for a well-behaved target.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.emulated.hostile import Heard, Reply, hostile, says, welcome

MIB = 1024 * 1024
MAX_GROWTH_BYTES = 16 * MIB
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
INFLATED = gzip.compress(bytes(200 * MIB), 9)


def repeated(first: bytes, piece: bytes, pause_seconds: float = 0.0) -> Iterator[bytes]:
    """Say something, then the same for ever: the client must be the one to end it."""
    yield first
    while True:
        time.sleep(pause_seconds)
        yield piece


def numbered() -> Iterator[bytes]:
    yield HEAD
    number = 0
    while True:
        number += 1
        yield b"X-%d: %b\r\n" % (number, b"y" * 4000)


BOMBS: dict[str, Callable[[], Reply]] = {
    "endless body": lambda: repeated(CHUNKED, b"10000\r\n" + b"x" * 0x10000 + b"\r\n"),
    "a body of a terabyte": lambda: repeated(HEAD + b"Content-Length: 1099511627776\r\n\r\n", b"x" * 0x10000),
    "a body until the connection ends": lambda: repeated(HEAD + b"Connection: close\r\n\r\n", b"x" * 0x10000),
    "gzip": lambda: says(INFLATED, "200 OK", "Content-Encoding: gzip"),
    "gzip by chunks": lambda: [
        HEAD
        + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(INFLATED), INFLATED)
    ],
    "endless headers": numbered,
    "one endless header": lambda: repeated(HEAD + b"X: ", b"y" * 0x10000),
    "an endless status line": lambda: repeated(b"HTTP/1.1 201 ", b"y" * 0x10000),
    "1xx without end": lambda: repeated(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1000),
    "1xx with large heads": lambda: repeated(b"", b"HTTP/1.1 103 E\r\nLink: %b\r\n\r\n" % (b"z" * 7000)),
    "an endless chunk size": lambda: repeated(CHUNKED, b"0" * 0x10000),
    "an endless chunk extension": lambda: repeated(CHUNKED + b"1;", b"x" * 0x10000),
    "endless trailers": lambda: repeated(CHUNKED + b"0\r\n", b"X: y\r\n" * 1000),
    "tiny chunks": lambda: repeated(CHUNKED, b"1\r\nx\r\n" * 10_000),
    "a trickled body": lambda: repeated(HEAD + b"Content-Length: 100000\r\n\r\n", b"x", 0.05),
    "a trickled head": lambda: repeated(HEAD + b"X: ", b"y", 0.05),
    "deep JSON": lambda: says(b"[" * 900_000),
    "long numbers": lambda: says(b'{"success":true,"insertedId":' + b"9" * 900_000 + b"}"),
}
PLACES = ("record", "preflight", "query")

CHILD = """
import asyncio, json, resource, sys
from pathlib import Path
from loader import Options, OzariCredentials, OzariInsert, Rate, Secret, load
from loader.errors import LoaderError

async def one(name, url):
    folder = Path(sys.argv[1]) / name.replace(" ", "_")
    folder.mkdir()
    (folder / "source").write_text('{"fcode":"K1"}\\n')
    options = Options(base_url=url + "/" + name.replace(" ", "_"), rate=Rate(100.0), timeout_seconds=0.5, patience_seconds=0.1,
                      settle_seconds=0.0, transport=sys.argv[2 + len(name) % (len(sys.argv) - 2)])
    target = OzariInsert("tcity", key="fcode" if name.startswith("query") else None)
    try:
        credentials = OzariCredentials(Secret("t"))
        report = await load(folder / "source", target, run=folder / "run", options=options, credentials=credentials)
        return [report.state, report.reason, report.created, report.ambiguous, report.rejected]
    except LoaderError as error:
        return [type(error).__name__, error.message]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

for line in sys.stdin:
    name, url = json.loads(line)
    ended = asyncio.run(one(name, url))
    print(json.dumps([name, ended, peak()]), flush=True)
"""


def answer(heard: Heard) -> Reply:
    """Throw the bomb that the path names, at the place that it names."""
    name = heard.line.split(" ")[1].split("/")[1].replace("_", " ")
    place, _, bomb = name.partition(" ")
    at = "preflight" if heard.is_preflight else "query" if "/query HTTP" in heard.line else "record"
    if at == place and bomb in BOMBS:
        return BOMBS[bomb]()
    if at == "preflight":
        return welcome(heard)
    if at == "query":
        return says({"success": True, "table": "tcity", "records": [], "total": 0})
    return says({"success": True, "table": "tcity", "insertedId": 7, "fields": {"fcode": "K1"}}, "201 Created")


def cases(place: str) -> list[str]:
    return [f"{place} {bomb}" for bomb in BOMBS]


TRANSPORTS = ("session", "lean")
"""The sample throws each bomb at one of them, the soak each at both."""


@pytest.mark.parametrize(
    "place, transports",
    [
        pytest.param("record", TRANSPORTS, id="record"),
        *(
            pytest.param(place, (transport,), id=f"{place} {transport}", marks=pytest.mark.soak)
            for place in PLACES
            for transport in TRANSPORTS
        ),
    ],
)
def test_a_bomb_ends_by_cap_or_timeout(tmp_path: Path, place: str, transports: tuple[str, ...]) -> None:
    with hostile(answer) as server:
        names = ["good 1", "good 2", *cases(place)]
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path), *transports],
            input="".join(json.dumps([name, server.url]) + "\n" for name in names),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert child.returncode == 0, child.stderr
    results = [json.loads(line) for line in child.stdout.splitlines()]
    assert [name for name, *_ in results] == names
    assert [ended for _, ended, _ in results[:2]] == [["finished", None, 1, 0, 0]] * 2
    at_first = results[1][2]
    growth = {name: peak - at_first for name, _, peak in results if peak - at_first > MAX_GROWTH_BYTES}
    assert growth == {}
    ends = {name: ended for name, ended, _ in results[2:]}
    if place == "record":
        # The status was a 201 or none was read at all; in either case the record may exist, and nobody can be asked.
        assert {name: ended for name, ended in ends.items() if ended != ["finished", None, 0, 1, 0]} == {}
    else:
        # Harmless questions: asked again until the patience is over, and nothing was sent.
        whole = {
            "query deep JSON",
            "query long numbers",
        }  # a table whose answer is read, and is none, cannot be queried
        expected = {name: ["finished", None, 1] if name in whole else ["stopped", "patience", 0] for name in ends}
        assert {name: ended[:3] for name, ended in ends.items()} == expected
