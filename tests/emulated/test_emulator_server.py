"""The HTTP shell over real sockets: framing, guards, life and death, and ids under many connections."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import aiohttp
import pytest

from loader.emulator import Emulator, EmulatorThread, Plan, running
from loader.emulator.faults import Hang
from loader.emulator.server import MAX_BODY_BYTES, MAX_HEAD_BYTES
from loader.emulator.switches import OzariSwitches, RateLimit
from tests.emulated.wire import INSERT, exchange, link, read, read_answer, read_answers, request, until

CLOSE = "Connection: close\r\n"
PROBE = request("/integration/auth/test", b"", method="GET")


# --- framing ----------------------------------------------------------------------------------------------------------


def test_request_in_single_bytes() -> None:
    with running() as emulator, link(emulator) as connection:
        for byte in request():
            connection.sendall(bytes([byte]))
        assert read_answer(connection).json["insertedId"] == 1


def test_pipelined_requests_are_answered_in_order() -> None:
    plan = Plan(ozari=OzariSwitches(rate_limit=RateLimit(kind="leaky", per_second=100)))
    for one in (Plan(), plan):
        with running(one) as emulator, link(emulator) as connection:
            connection.sendall(b"".join(request(body={"fields": {"n": number}}) for number in range(20)))
            answers = [seen.json["fields"]["n"] for seen in read_answers(connection, 20)]
            assert answers == list(range(20))


def test_chunked_request() -> None:
    head = request(body=b"").partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    with running() as emulator:
        seen = exchange(emulator, head + b'8\r\n{"fields\r\n9\r\n":{"a":1}\r\n1\r\n}\r\n0\r\n\r\n', is_kept=True)
        assert seen.json == {"success": True, "table": "tcust", "insertedId": 1, "fields": {"a": 1}}


def test_expect_continue() -> None:
    with running() as emulator, link(emulator) as connection:
        head, _, body = request(headers="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answer(connection).status == 201


def test_connection_close_and_http_1_0() -> None:
    with running() as emulator:
        assert exchange(emulator, request(headers=CLOSE)).ending == "fin"
        assert exchange(emulator, request().replace(b"HTTP/1.1", b"HTTP/1.0")).ending == "fin"
        assert exchange(emulator, request(), is_kept=True).ending == "open"


def test_half_closed_client_gets_its_answer() -> None:
    with running() as emulator, link(emulator) as connection:
        connection.sendall(request())
        connection.shutdown(socket.SHUT_WR)
        assert read(connection).status == 201


def test_absolute_target() -> None:
    with running() as emulator:
        assert exchange(emulator, request(f"http://127.0.0.1:{emulator.port}{INSERT}", headers=CLOSE)).status == 201


def test_get_and_delete_with_a_body() -> None:
    body = {
        "tenant_id": "emulator",
        "app_id": "emulator-app",
        "api_key": "emulator-key",
        "api_secret": "emulator-secret",
    }
    with running() as emulator:
        listed = request("/api/records", {**body, "record_list": {}}, method="GET", headers=CLOSE)
        assert exchange(emulator, listed).json["authen"] == "OK"
        deleted = request("/api/records", {**body, "delete": []}, method="DELETE", headers=CLOSE)
        assert exchange(emulator, deleted).json["results"] == []
        assert exchange(emulator, request("/other", headers=CLOSE)).status == 404


# --- guards -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "localhost:1234", "LOCALHOST", "[::1]:80", "[::1]"])
def test_own_host(host: str) -> None:
    with running() as emulator:
        assert exchange(emulator, request(host=host, headers=CLOSE)).status == 201


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.2", "", "localhost.evil:80", "x:127.0.0.1"]
)
def test_foreign_host(host: str) -> None:
    with running() as emulator:
        seen = exchange(emulator, request(host=host))
        assert (seen.status, seen.ending) == (403, "fin")
        assert emulator.journal.requests == 0


def test_no_host_and_a_browser() -> None:
    with running() as emulator:
        assert exchange(emulator, PROBE.replace(b"Host: 127.0.0.1\r\n", b"")).status == 403
        assert exchange(emulator, request(headers="Origin: http://127.0.0.1\r\n")).status == 403
        assert exchange(emulator, request(headers="oRIGIN: null\r\n")).status == 403
        assert emulator.rows("tcust") == []


def test_caps_on_head_and_body() -> None:
    with running() as emulator:
        assert exchange(emulator, request(headers="X-A: b\r\n" * 10 + CLOSE)).status == 201
        assert exchange(emulator, request(headers="".join(f"X-{n}: b\r\n" for n in range(200)))).status == 431
        assert exchange(emulator, b"GET / HTTP/1.1\r\nX: " + b"a" * (MAX_HEAD_BYTES + 1)).status == 431
        large = request(body=b"").replace(b"Content-Length: 0", b"Content-Length: %d" % (MAX_BODY_BYTES + 1))
        assert exchange(emulator, large).status == 413


@pytest.mark.parametrize(
    "data", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_no_http(data: bytes) -> None:
    with running() as emulator:
        seen = exchange(emulator, data)
        assert (seen.status, seen.ending) == (400, "fin")
        assert exchange(emulator, request(headers=CLOSE)).status == 201


def test_idle_connection_is_closed() -> None:
    with running(Plan(keep_alive_seconds=0.2)) as emulator, link(emulator) as connection:
        connection.sendall(request())
        read_answer(connection)
        assert read(connection) == (b"", "fin")


def test_only_loopback_is_served() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):  # noqa: S104 - refused is what they are to be
        with pytest.raises(ValueError, match="not a loopback address"):
            Emulator(host=host)
    with running() as emulator:
        port = f"{emulator.port:04X}"
        listening = [
            line.split()[1]
            for name in ("tcp", "tcp6")
            for line in Path(f"/proc/{os.getpid()}/net/{name}").read_text(encoding="ascii").splitlines()[1:]
            if line.split()[1].endswith(f":{port}") and line.split()[3] == "0A"
        ]
        assert listening == [f"0100007F:{port}"]


# --- life and death ---------------------------------------------------------------------------------------------------


def test_down_and_up_again_with_port_and_rows() -> None:
    thread = EmulatorThread(Emulator())
    emulator = thread.start()
    port = emulator.port
    with link(emulator) as connection:
        connection.sendall(request())
        read_answer(connection)
        thread.pause()
        assert read(connection).ending in ("fin", "reset")
    with pytest.raises(ConnectionRefusedError), link(emulator):
        pass
    thread.resume()
    assert emulator.port == port
    assert exchange(emulator, request(headers=CLOSE)).json["insertedId"] == 2
    thread.stop()
    assert len(emulator.rows("tcust")) == 2
    assert emulator.journal.committed == 2


def test_a_backup_is_put_back() -> None:
    with running() as emulator:
        exchange(emulator, request(body={"fields": {"n": 1}}))
        backup = emulator.back_up()
        for number in (2, 3):
            exchange(emulator, request(body={"fields": {"n": number}}))
        emulator.go_back(backup)
        assert exchange(emulator, request(body={"fields": {"n": 4}})).json["insertedId"] == 2
        assert [row["n"] for row in emulator.rows("tcust")] == [1, 4]
        backup.close()


def test_stop_ends_hanging_connections() -> None:
    with running(Plan(faults=(Hang(when="before"), Hang(when="headers")))) as emulator:
        links = [socket.create_connection(("127.0.0.1", emulator.port)) for _ in range(5)]
        for one in links:
            one.sendall(request())
        assert until(lambda: emulator.journal.requests == 5)
    for one in links:
        assert read(one).ending in ("fin", "reset")
        one.close()


async def test_in_a_loop_that_is_there_already() -> None:
    async with Emulator() as emulator, aiohttp.ClientSession(emulator.base_url) as session:
        headers = {"Authorization": "Bearer emulator-token"}
        async with session.get("/integration/auth/test", headers=headers) as response:
            assert (await response.json())["company"] == "emulator"


async def test_many_connections_get_their_own_ids() -> None:
    total = 2000
    with running() as emulator:
        connector = aiohttp.TCPConnector(limit=32)
        headers = {"Authorization": "Bearer emulator-token"}
        async with aiohttp.ClientSession(emulator.base_url, connector=connector, headers=headers) as session:

            async def insert(number: int) -> tuple[int, int]:
                async with session.post(INSERT, json={"fields": {"n": f"{number}"}}) as response:
                    answer = await response.json()
                    assert answer["fields"] == {"n": f"{number}"}
                    return answer["insertedId"], number

            ids = dict(await asyncio.gather(*(insert(number) for number in range(total))))
        assert len(ids) == total
        assert {row["fid"]: int(row["n"]) for row in emulator.rows("tcust")} == ids
        assert (emulator.journal.requests, emulator.journal.committed) == (total, total)


def test_command_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    database = tmp_path / "rows.db"
    code = f"""
        import functools
        from loader.emulator import Plan, run_emulator
        run_emulator(Plan(), {str(database)!r}, "127.0.0.1", 0, functools.partial(print, flush=True))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(9)]
        address = lines[0].split()[2].rstrip(",")
        exports = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:8])
        assert lines[8].startswith("users of Canbus: loader, admin;")
        assert exports == {
            "OZARI_BASE_URL": address,
            "OZARI_TOKEN": "emulator-token",
            "CANBUS_BASE_URL": address,
            "CANBUS_TENANT_ID": "emulator",
            "CANBUS_APP_ID": "emulator-app",
            "CANBUS_API_KEY": "emulator-key",
            "CANBUS_API_SECRET": "emulator-secret",
        }
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as connection:
            connection.sendall(request())
            assert read_answer(connection).status == 201
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert rest.startswith("1 requests in ")
    assert "1 rows created, 0 throttled, faults: none" in rest
    with sqlite3.connect(database) as reader:
        assert reader.execute("SELECT fid, a FROM tcust").fetchall() == [(1, "x")]
    reader.close()


def test_bug_of_the_emulator_is_shown_and_answered_with_500(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_self: object, _call: object) -> None:
        raise RuntimeError("planted")

    with running() as emulator:
        monkeypatch.setattr("loader.emulator.ozari.handler.Ozari.handle", fail)
        assert exchange(emulator, request()).status == 500
        monkeypatch.undo()
        assert exchange(emulator, request(headers=CLOSE)).status == 201
    assert "planted" in caplog.text
