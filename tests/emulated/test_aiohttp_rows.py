"""What a stock aiohttp session says of each way in which an attempt can end: the exceptions of reliability.md 2.2, by class.

No code of the loader runs here. Its transports rest on what these rows say, so an upgrade of aiohttp that changes what an
exception means, when the hook before the first byte fires, or what is sent a second time, fails here first. That the
transports draw the right conclusion from each row is shown in test_transport*.py; CONTRACT in transport_contract.py tells where.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientTimeout

from loader.model import Request
from tests.emulated.raw_server import AUTHORITY, Line, answer, serve, server_tls
from tests.emulated.transport_contract import (
    CUT,
    DELETE,
    OUTLIVES,
    ROWS,
    SHORT,
    SMALL,
    UNSURE,
    Names,
    Row,
    full_backlog,
    goes_on,
    invites_nobody,
    refuses,
    says,
)

# Bodies of 8 MiB are what rows 18, 19, 32 and 36 are about.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")

IS_3_11 = sys.version_info < (3, 12)
NOWHERE = "http://127.0.0.1:9"


@dataclass
class Ended:
    """How one request ended: the exact class that was raised, where, and how often the hook before the first byte fired."""

    error: str = ""
    where: str = "request"
    status: int | None = None
    body: bytes = b""
    hooks: int = 0
    text: str = ""


@asynccontextmanager
async def session_of(url: str, ended: Ended, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a stock session that counts in `ended` how often the hook fires."""

    async def count(*_: object) -> None:
        ended.hooks += 1

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(count)
    connector = options.pop("connector", None) or aiohttp.TCPConnector(ssl=options.pop("ssl", True))
    async with aiohttp.ClientSession(url, trace_configs=[trace], connector=connector, **options) as session:
        yield session


async def ask(
    session: aiohttp.ClientSession, ended: Ended, request: Request = SMALL, method: str = "", **options: Any
) -> Ended:
    """Send one request, under another method where one is named; read its answer, and note how that ended."""
    ended.error, ended.where, ended.status, ended.body = "", "request", None, b""
    data = request.body or None
    try:
        async with session.request(
            method or request.method, request.path, data=data, allow_redirects=False, **options
        ) as given:
            ended.where, ended.status = "read", given.status
            ended.body = await given.read()
            ended.where = ""
    except (aiohttp.ClientError, OSError) as error:
        ended.error, ended.text = type(error).__name__, str(error)
        if isinstance(error, aiohttp.ClientResponseError):
            ended.status = error.status
    return ended


async def once(url: str, request: Request = SMALL, *, timeout: ClientTimeout | None = None, **options: Any) -> Ended:
    """Ask on a session of its own."""
    ended = Ended()
    async with session_of(url, ended, timeout=timeout or ClientTimeout(total=OUTLIVES), **options) as session:
        return await ask(session, ended, request)


# --- rows 16 to 44: one connection, one attempt ----------------------------------------------------------------------------

BREAKS = {
    "16 reset": "ClientOSError",
    "16 close": "ServerDisconnectedError or ClientOSError",  # a reset where the kernel still held bytes of the request
    "17": "ServerDisconnectedError",
    "18 reset": "ClientOSError",
    "18 close": "ClientOSError",
    "19": "TimeoutError",
    "20": "ClientOSError",
    "21": "ServerDisconnectedError",
    "22 23": "TimeoutError",
    "24 line": "ServerDisconnectedError",
    "24 headers": "ServerDisconnectedError",
    "25 reset": "ClientOSError",
    "25 hang": "TimeoutError",
    "26 length": "ClientPayloadError",
    "26 chunk": "ClientPayloadError",
    "26 reset": "ClientPayloadError",
    "27": "TimeoutError",
    "29 trickle": "TimeoutError",
    "29 103": "TimeoutError",
    "30": "ClientPayloadError",
    "35": "TimeoutError",
    "39 40 POST": "ServerDisconnectedError",
    "44": "ClientResponseError",
}
"""The exact class by row; what is not listed raises none. The seven kinds of row 31 stand below."""
FAKE_STATUS = 400


def expected_errors(row: Row) -> list[str]:
    return ["ClientResponseError"] if row.number.startswith("31 ") else BREAKS.get(row.number, "").split(" or ")


STOCK_ROWS = [row for row in (*ROWS, *UNSURE) if row.number[:2].isdigit() and not row.number.startswith("40 ")]


@pytest.mark.parametrize("row", STOCK_ROWS, ids=lambda row: row.number)
async def test_stock_row(row: Row) -> None:
    async with serve(row.script) as server:
        ended = await once(server.url, row.request, timeout=ClientTimeout(total=row.timeout))
        await asyncio.sleep(0.01)
    assert ended.error in expected_errors(row), ended
    assert ended.hooks == 1
    # A status that comes with an exception from the request itself was made up; the server answered 201 or nothing.
    if ended.error == "ClientResponseError":
        assert (ended.where, ended.status) == ("request", FAKE_STATUS)
    elif row.ends != "no response":
        assert ended.status == row.status
        assert (ended.where == "read") == (row.ends == "incomplete")
    assert len(server.requests) == row.committed


@pytest.mark.parametrize(
    "number, data, where",
    [("22", b"", "request"), ("25", b"HTTP/1.1 201 Created\r\nContent-", "request"), ("27", CUT, "read")],
    ids=lambda value: value if isinstance(value, str) and value.isdigit() else "",
)
async def test_a_silence_that_sock_read_ends(number: str, data: bytes, where: str) -> None:
    async with serve(says(data, "hang")) as server:
        ended = await once(server.url, timeout=ClientTimeout(total=OUTLIVES, sock_read=SHORT))
    assert (ended.error, ended.where, ended.hooks, len(server.requests)) == ("SocketTimeoutError", where, 1, 1)


@pytest.mark.parametrize("number", ["19", "29 trickle", "29 103"])
async def test_what_sock_read_does_not_end(number: str) -> None:
    (row,) = (row for row in ROWS if row.number == number)
    async with serve(row.script) as server:
        ended = await once(server.url, row.request, timeout=ClientTimeout(total=2 * SHORT, sock_read=SHORT))
    assert (ended.error, ended.hooks) == ("TimeoutError", 1)


# --- rows 1 to 9: before anything is sent -----------------------------------------------------------------------------------


async def test_stock_row_1() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ValueError, match="http://") as caught:
            await session.post("http://")
    assert type(caught.value) is aiohttp.InvalidUrlClientError


@pytest.mark.parametrize(
    "error, timeout, raised",
    [
        (socket.gaierror(socket.EAI_NONAME, "no"), ClientTimeout(total=OUTLIVES), "ClientConnectorDNSError"),
        (None, ClientTimeout(total=OUTLIVES, connect=SHORT), "ConnectionTimeoutError"),
        (None, ClientTimeout(total=2 * SHORT, sock_connect=SHORT), "TimeoutError"),
    ],
    ids=["2", "3", "4"],
)
async def test_stock_rows_2_3_4(error: OSError | None, timeout: ClientTimeout, raised: str) -> None:
    connector = aiohttp.TCPConnector(resolver=Names(error))
    ended = await once("http://nowhere.invalid", timeout=timeout, connector=connector)
    assert (ended.error, ended.hooks) == (raised, 0)


async def test_stock_row_5() -> None:
    ended = await once(NOWHERE)
    assert (ended.error, ended.hooks) == ("ClientConnectorError", 0)


@pytest.mark.parametrize(
    "timeout, raised",
    [
        ({"connect": SHORT}, "ConnectionTimeoutError"),
        ({"sock_connect": SHORT}, "ConnectionTimeoutError"),
        ({"total": SHORT}, "TimeoutError"),
    ],
    ids=["6 connect", "6 sock_connect", "7"],
)
async def test_stock_rows_6_7(timeout: dict[str, float], raised: str) -> None:
    async with full_backlog() as url:
        ended = await once(url, timeout=ClientTimeout(**{"total": OUTLIVES, **timeout}))
    assert (ended.error, ended.hooks) == (raised, 0)


@pytest.mark.parametrize(
    "timeout, raised",
    [({"connect": SHORT}, "ConnectionTimeoutError"), ({"total": SHORT}, "TimeoutError")],
    ids=["8", "9"],
)
async def test_stock_rows_8_9(timeout: dict[str, float], raised: str) -> None:
    ended = Ended()
    async with (
        serve(says(b"", "hang")) as server,
        session_of(server.url, ended, connector=aiohttp.TCPConnector(limit=1)) as session,
    ):
        first = asyncio.create_task(ask(session, Ended()))
        await asyncio.sleep(SHORT / 6)
        await ask(session, ended, timeout=ClientTimeout(**{"total": OUTLIVES, **timeout}))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert (ended.error, ended.hooks, len(server.requests)) == (raised, 1, 1)  # the hook is the first request's


# --- rows 10 to 15: TLS -----------------------------------------------------------------------------------------------------


def trusting(authority: bool = True) -> ssl.SSLContext:  # noqa: FBT002 -- one switch, by name everywhere
    return ssl.create_default_context(cafile=AUTHORITY if authority else None)


async def well(line: Line) -> None:
    while True:
        await line.request()
        await line.send(answer())


@pytest.mark.parametrize("name, authority", [("server", False), ("elsewhere", True), ("expired", True)])
async def test_stock_row_10(name: str, authority: bool) -> None:
    async with serve(well, server_tls(name)) as server:
        ended = await once(server.url, ssl=trusting(authority=authority))
    assert (ended.error, ended.hooks, server.requests) == ("ClientConnectorCertificateError", 0, [])


async def test_stock_row_11() -> None:
    async with serve(well, server_tls()) as server:
        ended = await once(server.url, ssl=aiohttp.Fingerprint(b"\0" * 32))
    assert (ended.error, ended.hooks, server.requests) == ("ServerFingerprintMismatch", 0, [])
    assert not issubclass(aiohttp.ServerFingerprintMismatch, OSError | aiohttp.ClientConnectorError)


async def plain(line: Line) -> None:
    await line.reader.read(10)
    await line.send(answer())


async def alert(line: Line) -> None:
    """Say `protocol_version`, as an old server does."""
    await line.reader.read(10)
    await line.send(b"\x15\x03\x01\x00\x02\x02\x46")


async def lose(line: Line) -> None:
    await line.reader.read(10)
    line.reset()


async def hang(line: Line) -> None:
    await line.hang()


@pytest.mark.parametrize(
    "script, raised",
    [
        (plain, "ClientConnectorSSLError"),
        (alert, "ClientConnectorSSLError"),
        (lose, "ClientConnectorError"),
        (hang, "ConnectionTimeoutError"),
    ],
    ids=["12 plain", "12 alert", "13", "14"],
)
async def test_stock_rows_12_13_14(script: Any, raised: str) -> None:
    async with serve(script) as server:
        url = server.url.replace("http:", "https:")
        ended = await once(url, ssl=trusting(), timeout=ClientTimeout(total=OUTLIVES, sock_connect=SHORT))
    assert (ended.error, ended.hooks) == (raised, 0)


async def test_stock_row_15() -> None:
    demanding = server_tls()
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_verify_locations(AUTHORITY)
    async with serve(well, demanding) as server:
        ended = await once(server.url, ssl=trusting())
    # The alert behind the handshake is an error of its own on 3.11, and an end like any other from 3.12 on.
    raised = "ClientOSError" if IS_3_11 else "ServerDisconnectedError"
    assert (ended.error, ended.hooks, server.requests) == (raised, 1, [])


async def test_stock_row_21_under_tls() -> None:
    async def cut(line: Line) -> None:
        await line.request()
        line.writer.transport.abort()

    async with serve(cut, server_tls()) as server:
        ended = await once(server.url, ssl=trusting())
    assert (ended.error, ended.hooks, len(server.requests)) == ("ServerDisconnectedError", 1, 1)


# --- rows 33 to 35: 100-continue, which the loader never asks for ---------------------------------------------------------


@pytest.mark.parametrize(
    "script, error, status, committed",
    [(goes_on, "", 201, 1), (refuses, "", 413, 0), (invites_nobody, "TimeoutError", None, 0)],
    ids=["33", "34", "35"],
)
async def test_stock_rows_33_34_35(script: Any, error: str, status: int | None, committed: int) -> None:
    ended = Ended()
    async with serve(script) as server, session_of(server.url, ended) as session:
        timeout = ClientTimeout(total=SHORT if error else OUTLIVES, sock_read=SHORT / 3 if error else None)
        await ask(session, ended, expect100=True, timeout=timeout)
    assert (ended.error, ended.status, ended.hooks, len(server.requests)) == (error, status, 1, committed)


# --- rows 37 to 48: connections that are used again, and the end of a task ------------------------------------------------


async def echo(line: Line) -> None:
    while True:
        seen = await line.request()
        await line.send(answer(seen.body))


@pytest.mark.parametrize("method, times", [("POST", 1), ("PATCH", 1), ("GET", 2), ("PUT", 2), ("DELETE", 2)])
async def test_stock_rows_38_39_what_a_lost_connection_is_sent_again_on(method: str, times: int) -> None:
    async def script(line: Line) -> None:
        if line.server.connections == 1:
            await line.request()
            await line.send(answer())
        await line.request()

    ended = Ended()
    async with serve(script) as server, session_of(server.url, ended) as session:
        await ask(session, ended)
        await ask(session, ended, method=method)
    assert ended.error == "ServerDisconnectedError"
    assert (ended.hooks, len(server.requests)) == (1 + times, 1 + times)


async def test_stock_row_40_even_on_a_fresh_connection() -> None:
    ended = Ended()
    async with serve(says(b"")) as server, session_of(server.url, ended) as session:
        await ask(session, ended, method="PUT")
    assert (ended.error, ended.hooks, len(server.requests)) == ("ServerDisconnectedError", 2, 2)


@pytest.mark.parametrize("is_idle_408", [False, True], ids=["41", "42"])
async def test_stock_rows_41_42_a_foreign_answer_is_handed_over(is_idle_408: bool) -> None:
    """The hazard against which both transports look at a connection before they use it again."""
    ended = Ended()
    async with serve(echo) as server, session_of(server.url, ended) as session:
        await ask(session, ended)
        server.lines[0].send_at_once(answer(b"foreign", "408 Request Timeout" if is_idle_408 else "201 Created"))
        await ask(session, ended)
        await asyncio.sleep(0.02)
    assert (ended.error, ended.body, server.connections) == ("", b"foreign", 1)
    assert len(server.requests) == 2  # and its own answer is given to the next one
    assert ended.status == (408 if is_idle_408 else 201)


async def test_stock_row_37_an_end_that_was_noticed_is_no_loss() -> None:
    ended = Ended()
    async with serve(echo) as server, session_of(server.url, ended) as session:
        await ask(session, ended)
        server.lines[0].end_at_once()
        await asyncio.sleep(0.02)
        await ask(session, ended)
    assert (ended.error, ended.status, server.connections) == ("", 201, 2)


async def test_stock_row_38_an_end_that_is_unread_is() -> None:
    ended = Ended()
    async with serve(echo) as server, session_of(server.url, ended) as session:
        await ask(session, ended)
        server.lines[0].end_at_once()
        await ask(session, ended)
    assert (ended.error, server.connections, len(server.requests)) == ("ServerDisconnectedError", 1, 1)


async def test_stock_row_45_a_late_answer_is_not_mixed_up() -> None:
    async def script(line: Line) -> None:
        seen = await line.request()
        if line.server.connections == 1:
            await asyncio.sleep(2 * SHORT)
        await line.send(answer(seen.body))
        await line.hang()

    ended = Ended()
    async with serve(script) as server, session_of(server.url, ended, timeout=ClientTimeout(total=SHORT)) as session:
        assert (await ask(session, ended)).error == "TimeoutError"
        assert (await ask(session, ended, DELETE)).body == DELETE.body
    assert server.connections == 2


@pytest.mark.parametrize("steps, committed", [(0, 0), (1, 1)], ids=["before its first step", "while it waits"])
async def test_stock_row_46_a_cancelled_task_may_have_committed(steps: int, committed: int) -> None:
    ended = Ended()
    async with serve(says(b"", "hang")) as server, session_of(server.url, ended) as session:
        task = asyncio.create_task(ask(session, ended))
        if steps:
            while not server.requests:
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.02)
    assert (ended.hooks, len(server.requests)) == (committed, committed)


async def test_stock_row_47_an_answer_that_came_is_lost_with_its_task() -> None:
    tasks: list[asyncio.Task[Ended]] = []

    async def script(line: Line) -> None:
        await line.request()
        line.writer.write(answer())
        tasks[0].cancel()  # before the loop has looked at what came

    ended = Ended()
    async with serve(script) as server, session_of(server.url, ended) as session:
        tasks.append(asyncio.create_task(ask(session, ended)))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
    assert (ended.hooks, len(server.requests)) == (1, 1)


async def test_stock_row_48_a_shielded_request_arrives() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await asyncio.sleep(0.05)
        await line.send(answer())

    ended = Ended()
    async with serve(script) as server, session_of(server.url, ended) as session:
        inner = asyncio.create_task(ask(session, ended))
        outer = asyncio.shield(inner)
        await asyncio.sleep(0.02)
        outer.cancel()
        assert (await inner).status == 201
    assert (ended.hooks, len(server.requests)) == (1, 1)
