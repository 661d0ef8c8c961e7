"""What every transport must say about every way in which an attempt can end: the rows of reliability.md 2.2, as data.

A row is a server's script and what the client must make of it. `is_sent` None: there must be a response. The numbers are those of
the table; a letter follows where one row has variants. Rows about DNS, the pool, reuse and TLS need more than one request
and stand in test_transport.py.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from loader.model import Request
from loader.transport import SessionTransport, choose_transport
from tests.emulated.raw_server import Line, Script, answer

OUTLIVES = 30.0
SHORT = 0.3
MIB = 1024 * 1024
SECRET = "canary-7f3a9c"

SMALL = Request("POST", "/records", b'{"api_key":"%s"}' % SECRET.encode())
LARGE = Request("POST", "/records", SECRET.encode() + b"x" * (8 * MIB))
DELETE = Request("DELETE", "/records", b'{"id":1}')
GET = Request("GET", "/records")


@dataclass(frozen=True)
class Row:
    """One way to end. `timeout` is the attempt's; `committed` is how many whole requests the server must have read."""

    number: str
    script: Script
    request: Request = SMALL
    timeout: float = OUTLIVES
    ends: Literal["no response", "response", "incomplete", "not uploaded"] = "no response"
    status: int = 201
    committed: int | None = 1


# --- scripts -------------------------------------------------------------------------------------------------------------


def says(data: bytes, then: Literal["close", "reset", "hang"] = "close") -> Script:
    """Read the whole request, say something, and end."""

    async def script(line: Line) -> None:
        await line.request()
        await line.send(data)
        if then == "hang":
            await line.hang()
        elif then == "reset":
            # The bytes must be on their way before the reset overtakes them.
            await asyncio.sleep(0.02)
            line.reset()

    return script


async def reset_unread(line: Line) -> None:
    line.reset()


async def close_unread(line: Line) -> None:
    line.close()


async def half_close_then_commit(line: Line) -> None:
    line.writer.write_eof()
    await line.request()


async def reset_mid_body(line: Line) -> None:
    await line.head()
    await line.reader.readexactly(1000)
    line.reset()


async def close_mid_body(line: Line) -> None:
    await line.head()
    await line.reader.readexactly(1000)


async def stop_reading(line: Line) -> None:
    await line.head()
    line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket transport reads too
    await line.hang()


async def trickle(line: Line) -> None:
    await line.request()
    await line.send(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        await line.send(b"x")
        await asyncio.sleep(0.02)


async def endless_103(line: Line) -> None:
    await line.request()
    while True:
        await line.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await asyncio.sleep(0.01)


async def early_413(line: Line) -> None:
    await line.head()
    await line.send(answer(b"too large", "413 Content Too Large"))
    # Swallow the rest, or the reset would overtake the answer.
    await line.reader.read()


async def liar(line: Line) -> None:
    await line.head()
    await line.send(answer())
    await line.hang()


async def in_two_pieces(line: Line) -> None:
    await line.request()
    whole = answer(b'{"a":1}')
    await line.send(whole[:-3])
    await asyncio.sleep(0.02)
    await line.send(whole[-3:])
    await line.hang()


async def endless_body(line: Line) -> None:
    await line.request()
    await line.send(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await line.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


async def endless_headers(line: Line) -> None:
    await line.request()
    await line.send(b"HTTP/1.1 201 Created\r\n")
    number = 0
    while True:
        number += 1
        await line.send(b"X-%d: %s\r\n" % (number, b"y" * 1000))


MALFORMED = {
    "31 garbage": b"nonsense\r\n\r\n",
    "31 long header": b"HTTP/1.1 201 Created\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    "31 many headers": b"HTTP/1.1 201 Created\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "31 NUL": b"HTTP/1.1 201 Created\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "31 two lengths": b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "31 bad chunk": b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "31 short length": b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n{}{}",
}
CUT = b'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"success":'
CUT_CHUNK = b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{"success":'
UNTIL_CLOSE = b'HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n{"success":'
GZIP = answer(b"\x1f\x8b not gzip", extra=b"Content-Encoding: gzip\r\n")
CHUNKS = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
HALF_HEAD = b"HTTP/1.1 201 Crea"
HALF_HEADERS = b"HTTP/1.1 201 Created\r\nContent-"

ROWS = (
    Row("16 reset", reset_unread, committed=0),
    Row("16 close", close_unread, committed=0),
    Row("17", half_close_then_commit),
    Row("18 reset", reset_mid_body, LARGE, committed=0),
    Row("18 close", close_mid_body, LARGE, committed=0),
    Row("19", stop_reading, LARGE, SHORT, committed=0),
    Row("20", says(b"", "reset")),
    Row("21", says(b"")),
    Row("22 23", says(b"", "hang"), timeout=SHORT),
    Row("24 line", says(HALF_HEAD)),
    Row("24 headers", says(HALF_HEADERS)),
    Row("25 reset", says(HALF_HEADERS, "reset")),
    Row("25 hang", says(HALF_HEADERS, "hang"), timeout=SHORT),
    Row("26 length", says(CUT), ends="incomplete"),
    Row("26 chunk", says(CUT_CHUNK), ends="incomplete"),
    Row("26 reset", says(CUT, "reset"), ends="incomplete"),
    Row("27", says(CUT, "hang"), timeout=SHORT, ends="incomplete"),
    # What ends with the connection cannot be told from what was cut: the parser of the answer must.
    Row("28", says(UNTIL_CLOSE), ends="response"),
    Row("29 trickle", trickle, timeout=SHORT, ends="incomplete"),
    Row("29 103", endless_103, timeout=SHORT),
    Row("30", says(GZIP), ends="incomplete"),
    *(Row(number, says(data)) for number, data in MALFORMED.items() if "chunk" not in number and "short" not in number),
    Row("32", early_413, LARGE, ends="not uploaded", status=413, committed=0),
    Row("36", liar, LARGE, ends="not uploaded", committed=0),
    Row("39 40 POST", says(b"")),
    Row("40 GET", says(b""), GET),
    Row("40 DELETE", says(b""), DELETE),
    Row("40 DELETE reset", says(b"", "reset"), DELETE),
    Row("43", says(answer(b"1") + answer(b"2"), "hang"), ends="response"),
    Row("body bomb", endless_body, ends="incomplete"),
    Row("header bomb", endless_headers),
    Row("204", says(b"HTTP/1.1 204 No Content\r\n\r\n", "hang"), ends="response", status=204),
    Row("304", says(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "hang"), ends="response", status=304),
    Row("two pieces", in_two_pieces, ends="response"),
    Row("chunks", says(CHUNKS, "hang"), ends="response"),
    Row("500", says(answer(b"no", "500 Internal Server Error"), "hang"), ends="response", status=500),
    Row(
        "redirect 307",
        says(answer(b"", "307 Temporary Redirect", b"Location: http://127.0.0.1:9/\r\n")),
        ends="response",
        status=307,
    ),
)

UNSURE = (
    # The parser may see the fault with the head or after it; either way nothing may be called complete.
    Row("31 bad chunk", says(MALFORMED["31 bad chunk"])),
    Row("31 short length", says(MALFORMED["31 short length"])),
    Row("44", says(answer() + b"junk\r\n\r\n")),
)


@asynccontextmanager
async def full_backlog() -> AsyncIterator[str]:
    """Give a port on which connects hang: its queue of connections is full and nobody accepts (rows 6 and 7)."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for filler in [*fillers, listener]:
            filler.close()


HEADERS = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}

TRANSPORTS: dict[str, Callable[..., Any]] = {
    "session": SessionTransport,
    "lean": partial(choose_transport, "lean"),  # as a load gets it: with a proxy, a session
}
"""Every transport there is; each test of the contract runs for each."""


@asynccontextmanager
async def opened(make: Callable[..., Any], url: str, **options: Any) -> AsyncIterator[Any]:
    """Make a transport, and close it at the end."""
    transport = make(url, HEADERS, **{"concurrency": 4, "timeout_seconds": OUTLIVES, **options})
    try:
        yield transport
    finally:
        await transport.close()
