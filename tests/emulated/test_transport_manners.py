"""What the transport must not follow, keep, unpack or swallow."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loader.errors import UsageError
from loader.model import Request, Response
from loader.transport.base import Transport
from loader.transport.http import ECHOED_SHARE, MAX_ANSWER_BYTES, SLICE_BYTES
from loader.transport.session import SessionTransport
from tests.emulated.raw_server import Line, answer, serve
from tests.emulated.transport_contract import (
    HEADERS,
    MIB,
    SMALL,
    TRANSPORTS,
    opened,
)


@pytest.fixture(params=sorted(TRANSPORTS))
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return TRANSPORTS[request.param]


# --- what must not be followed, kept, or swallowed -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_an_order(status: int, make: Callable[..., Any]) -> None:
    async def elsewhere(line: Line) -> None:
        await line.request()

    async with serve(elsewhere) as target:

        async def script(line: Line) -> None:
            await line.request()
            await line.send(answer(b"", f"{status} Moved", f"Location: {target.url}/x\r\n".encode()))

        async with serve(script) as server, opened(make, server.url) as transport:
            reply = await transport.send(SMALL)
    assert isinstance(reply, Response)
    assert reply.status == status
    assert target.connections == 0


async def test_cookies_proxies_and_passwords_come_from_nowhere(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def script(line: Line) -> None:
        for _ in range(2):
            await line.request()
            await line.send(answer(extra=b"Set-Cookie: session=stolen; Path=/\r\n"))

    # By name: a cookie jar keeps nothing for bare addresses.
    async with serve(script) as server, opened(make, server.url.replace("127.0.0.1", "localhost")) as transport:
        for _ in range(2):
            assert isinstance(await transport.send(SMALL), Response)
    for seen in server.requests:
        assert seen.header("cookie") is None
        assert seen.header("authorization") == HEADERS["Authorization"]


async def test_a_proxy_is_used_when_it_is_named(make: Callable[..., Any]) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer())

    async with serve(script) as proxy, opened(make, "http://127.0.0.1:9", proxy=proxy.url) as transport:
        assert isinstance(await transport.send(SMALL), Response)
    assert proxy.requests[0].line == "POST http://127.0.0.1:9/records HTTP/1.1"


@pytest.mark.parametrize("size", [100, 3 * SLICE_BYTES])
@pytest.mark.parametrize("name, bits", [("gzip", 31), ("X-GZIP", 31), ("deflate", 15), ("deflate", -15)])
async def test_an_answer_that_is_compressed_unasked_is_read(
    name: str, bits: int, size: int, make: Callable[..., Any]
) -> None:
    told = bytes(range(32, 127)) * (size // 95 + 1)
    packer = zlib.compressobj(wbits=bits)
    packed = packer.compress(told) + packer.flush()

    async def script(line: Line) -> None:
        for _ in range(2):
            await line.request()
            await line.send(answer(packed, extra=b"Content-Encoding: %b\r\n" % name.encode()))

    async with serve(script) as server, opened(make, server.url) as transport:
        replies = [await transport.send(SMALL) for _ in range(2)]
    assert [(reply.is_complete, reply.body) for reply in replies if isinstance(reply, Response)] == [(True, told)] * 2


@pytest.mark.parametrize(
    "name, body",
    [
        ("br", b"anything"),
        ("gzip", b"no gzip"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-3]),
        ("gzip, gzip", gzip.compress(b"{}", mtime=0)),
    ],
)
async def test_a_compression_that_cannot_be_undone_is_not_believed(
    name: str, body: bytes, make: Callable[..., Any]
) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer(body, extra=b"Content-Encoding: %b\r\n" % name.encode()))

    async with serve(script) as server, opened(make, server.url) as transport:
        reply = await transport.send(SMALL)
    assert isinstance(reply, Response)
    assert not reply.is_complete


async def test_a_compressed_answer_is_unpacked_no_further_than_the_cap(make: Callable[..., Any]) -> None:
    bomb = gzip.compress(b"0" * (32 * MIB))

    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer(bomb, extra=b"Content-Encoding: gzip\r\n"))

    async with serve(script) as server, opened(make, server.url) as transport:
        reply = await transport.send(SMALL)
    assert isinstance(reply, Response)
    assert not reply.is_complete
    assert len(reply.body) <= MAX_ANSWER_BYTES + 200 + ECHOED_SHARE * len(SMALL.body)
    assert len(server.requests) == 1


@pytest.mark.parametrize("excess", [0, 1])
async def test_an_answer_is_read_up_to_its_cap(excess: int, make: Callable[..., Any]) -> None:
    most = MAX_ANSWER_BYTES + 200 * 10 + ECHOED_SHARE * len(SMALL.body)

    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer(b"x" * (most + excess)))

    async with serve(script) as server, opened(make, server.url, max_records=10) as transport:
        reply = await transport.send(SMALL)
    assert isinstance(reply, Response)
    assert reply.is_complete == (excess == 0)
    assert len(reply.body) <= most + excess
    assert len(server.requests) == 1


async def test_an_answer_may_repeat_what_a_large_request_sent(make: Callable[..., Any]) -> None:
    body = b"x" * (4 * MIB)

    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer(body))

    async with serve(script) as server, opened(make, server.url) as transport:
        reply = await transport.send(Request("POST", "/records", body))
    assert isinstance(reply, Response)
    assert (reply.is_complete, len(reply.body)) == (True, len(body))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.example",
        "https://me:secret@api.example",
        "ftp://api.example",
    ],
)
async def test_addresses_that_would_betray_are_refused_at_the_start(url: str, make: Callable[..., Any]) -> None:
    with pytest.raises(UsageError) as caught:
        make(url, HEADERS, concurrency=1, timeout_seconds=1)
    assert "secret" not in str(caught.value)


async def test_the_interface_is_kept() -> None:
    async with opened(SessionTransport, "http://127.0.0.1:9") as transport:
        checked: Transport = transport
        assert checked is transport
