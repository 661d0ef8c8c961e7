"""The transport over raw sockets: what was sent and what was not, attempt by attempt (rows 1 to 9, 16 to 44)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from loader.model import NoResponse, Request, Response
from loader.transport.http import build_url
from loader.transport.lean import LeanTransport
from tests.emulated.raw_server import Line, answer, serve
from tests.emulated.transport_contract import (
    DELETE,
    GET,
    HEADERS,
    LARGE,
    ROWS,
    SECRET,
    SHORT,
    SMALL,
    TRANSPORTS,
    UNSURE,
    Names,
    Row,
    full_backlog,
    opened,
)


@pytest.fixture(params=sorted(TRANSPORTS))
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return TRANSPORTS[request.param]


def assert_safe(reply: NoResponse) -> None:
    assert SECRET not in repr(reply)
    assert "Bearer" not in repr(reply)
    assert reply.error
    assert reply.error.isprintable()


# --- one attempt, one ending ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
async def test_row(row: Row, make: Callable[..., Any], tls: ssl.SSLContext | None) -> None:
    async with serve(row.script, tls) as server, opened(make, server.url, timeout_seconds=row.timeout) as transport:
        reply = await transport.send(row.request)
        await asyncio.sleep(0.01)
    if row.ends == "no response":
        assert isinstance(reply, NoResponse), reply
        assert reply.is_sent or row.may_be_unsent
        assert reply.fatal_hint is None
        assert_safe(reply)
    else:
        assert isinstance(reply, Response), reply
        assert reply.status == row.status
        assert reply.is_complete == (row.ends != "incomplete")
        assert reply.is_upload_complete == (row.ends != "not uploaded")
    assert len(server.requests) == row.committed


@pytest.mark.parametrize("row", UNSURE, ids=lambda row: row.number)
async def test_broken_answers_are_never_complete_ones(
    row: Row, make: Callable[..., Any], tls: ssl.SSLContext | None
) -> None:
    async with serve(row.script, tls) as server, opened(make, server.url) as transport:
        reply = await transport.send(row.request)
    if isinstance(reply, NoResponse):
        assert reply.is_sent
        assert_safe(reply)
    else:
        assert reply.status == 201
        assert not reply.is_complete
    assert len(server.requests) == 1


async def test_a_whole_exchange(make: Callable[..., Any]) -> None:
    async def script(line: Line) -> None:
        for _ in range(3):
            await line.request()
            await line.send(answer(b'{"insertedId":7}', extra=b"X-Server: a\r\nRetry-After: 3\r\n"))

    async with serve(script) as server, opened(make, server.url + "/api/") as transport:
        replies = [await transport.send(request) for request in (SMALL, GET, DELETE)]
    for reply in replies:
        assert isinstance(reply, Response)
        assert (reply.status, reply.body, reply.is_complete, reply.is_upload_complete) == (
            201,
            b'{"insertedId":7}',
            True,
            True,
        )
        assert reply.headers["retry-after"] == "3"
        assert 0 <= reply.seconds < 5  # uvloop's clock stands still within a turn
    post, get, delete = server.requests
    assert server.connections == 1
    assert post.line == "POST /api/records HTTP/1.1"
    assert post.body == SMALL.body
    assert post.header("authorization") == HEADERS["Authorization"]
    assert post.header("content-type") == "application/json"
    assert post.header("accept-encoding") == "identity"
    assert post.header("expect") is None
    assert (get.line, get.body) == ("GET /api/records HTTP/1.1", b"")
    assert (delete.line, delete.body) == ("DELETE /api/records HTTP/1.1", DELETE.body)


async def test_an_address_may_be_of_ipv6(make: Callable[..., Any]) -> None:
    async def script(line: Line) -> None:
        for _ in range(2):
            seen = await line.request()
            await line.send(answer(seen.body))

    async with serve(script, host="::1") as server, opened(make, server.url) as transport:
        replies = [await transport.send(request) for request in (SMALL, DELETE)]
    assert [isinstance(reply, Response) and reply.body for reply in replies] == [SMALL.body, DELETE.body]
    assert {seen.header("host") for seen in server.requests} == {server.url.removeprefix("http://")}
    assert server.connections == 1


@pytest.mark.parametrize("is_first", [True, False], ids=["new", "used"])
async def test_a_slow_upload_loses_nothing(
    is_first: bool, make: Callable[..., Any], tls: ssl.SSLContext | None
) -> None:
    async def script(line: Line) -> None:
        if not is_first:
            await line.request()
            await line.send(answer())
        head = await line.head()
        for _ in range(3):  # the client's buffer is full meanwhile
            line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket transport reads too
            await asyncio.sleep(0.05)
            line.writer.transport.resume_reading()  # type: ignore[attr-defined]  # see above
            await asyncio.sleep(0.005)
        await line.request(head)
        await line.send(answer())

    async with serve(script, tls) as server, opened(make, server.url) as transport:
        if not is_first:
            assert isinstance(await transport.send(SMALL), Response)
        reply = await transport.send(LARGE)
    assert isinstance(reply, Response)
    assert reply.is_whole
    assert server.requests[-1].body == LARGE.body
    assert server.connections == 1


async def test_eight_mebibytes_arrive_as_they_were(make: Callable[..., Any]) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer())

    async with serve(script) as server, opened(make, server.url) as transport:
        reply = await transport.send(LARGE)
    assert isinstance(reply, Response)
    assert reply.is_upload_complete
    assert server.requests[0].body == LARGE.body


# --- not sent ------------------------------------------------------------------------------------------------------------


def assert_not_sent(reply: Response | NoResponse) -> NoResponse:
    assert isinstance(reply, NoResponse), reply
    assert not reply.is_sent
    assert_safe(reply)
    return reply


@pytest.mark.parametrize(
    "path", ["records", "/../admin", "/a/%2e%2E/b", "/a#b", "/a b", "/a\r\nX: y", "/\ud800", "//a/./b", "/a\\b"]
)
async def test_row_1_addresses_that_could_climb_are_not_sent(path: str, make: Callable[..., Any]) -> None:
    async with opened(make, "http://127.0.0.1:9/api") as transport:
        reply = assert_not_sent(await transport.send(Request("GET", path)))
    assert reply.fatal_hint


@pytest.mark.parametrize("path", ["@evil.example/", ":80@evil.example/", ".evil.example/"])
def test_no_path_changes_the_origin(path: str) -> None:
    assert build_url("https://api.example", path) is None
    assert build_url("https://api.example", "/" + path) is not None
    assert str(build_url("https://api.example/x", "//evil.example/?a=b")) == "https://api.example/x//evil.example/?a=b"


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, SECRET), None], ids=["2", "3 4"])
async def test_names_that_are_not_found_are_not_sent(error: OSError | None, make: Callable[..., Any]) -> None:
    async with opened(make, "https://nowhere.invalid", timeout_seconds=SHORT) as transport:
        await transport._connector._resolver.close()
        transport._connector._resolver = Names(error)
        reply = assert_not_sent(await transport.send(SMALL))
    assert reply.fatal_hint is None
    assert error is None or reply.error == "ClientConnectorDNSError: EAI_NONAME"


async def test_row_5_a_refused_connection_is_not_sent(make: Callable[..., Any]) -> None:
    async with opened(make, "http://127.0.0.1:9") as transport:
        reply = assert_not_sent(await transport.send(SMALL))
    assert reply.error == "ClientConnectorError: Connection refused"


async def test_rows_6_7_a_connect_that_hangs_is_not_sent(make: Callable[..., Any]) -> None:
    async with full_backlog() as url, opened(make, url, timeout_seconds=SHORT) as transport:
        assert_not_sent(await transport.send(SMALL))


async def test_rows_8_9_waiting_for_a_connection_is_not_sent(make: Callable[..., Any]) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.hang()

    async with serve(script) as server, opened(make, server.url, concurrency=1) as transport:
        first = asyncio.create_task(transport.send(SMALL))
        await asyncio.sleep(0.05)
        timeout = aiohttp.ClientTimeout(connect=SHORT)
        if isinstance(transport, LeanTransport):
            transport._timeouts = timeout
        else:
            transport._session._timeout = timeout
        assert_not_sent(await transport.send(SMALL))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert len(server.requests) == 1
