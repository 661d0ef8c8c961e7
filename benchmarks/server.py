"""The server that the benchmarks load into: quick enough not to be what is measured, and honest about every request.

    python benchmarks/server.py

One `asyncio.Protocol` on uvloop. Each body is parsed whole by orjson, so a broken record is noticed; ids are counted up,
so that a client can see whether each record was created once. It knows what a benchmark needs: the two preflights, Ozari
insert, Canbus add; and `/bench`, which tells what was created, in how many requests, between which two moments. It prints its
port on the first line, and ends with its standard input. The emulator stands for the APIs; this only stands for a wire.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import cast

import orjson
import uvloop

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"
ANSWER = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
COMPANY = b'{"success":true,"company":"bench","userId":1}'
METADATA = b'{"authen":"OK","results":[{"items":[]}]}'
MAX_HEAD_BYTES = 64 * 1024


class Counter:
    """Ids given so far; the requests that asked for them, the first and the last of them by the monotonic clock."""

    last = requests = 0
    began = ended = 0.0


class Connection(asyncio.Protocol):
    """One client's connection; requests are answered in order."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._buffer = b""
        self._parts: list[bytes] = []
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._missing > len(data):  # a long body comes in pieces that are joined once
            self._parts.append(data)
            self._missing -= len(data)
            return
        if self._parts:
            data = b"".join([*self._parts, data])
            self._parts = []
        elif self._buffer:
            data = self._buffer + data
        self._missing, self._buffer = 0, b""
        answers = []
        while data:
            head_end = data.find(HEAD_END)
            if head_end < 0:
                self._buffer = data
                break
            head = data[:head_end]
            end = head_end + len(HEAD_END) + length_of(head)
            if end > len(data):
                self._parts, self._missing = [data], end - len(data)
                break
            answers.append(answer(head, data[head_end + len(HEAD_END) : end]))
            data = data[end:]
        if answers:
            self._transport.write(b"".join(answers))


def length_of(head: bytes) -> int:
    """Return the length of the body that a head announces."""
    lower = head.lower()
    at = lower.find(LENGTH)
    return int(lower[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def answer(head: bytes, body: bytes) -> bytes:
    """Answer one request."""
    line = head[: head.index(b"\r\n")]
    if b"/integration/auth/test" in line:
        return ANSWER % (b"200 OK", len(COMPANY), COMPANY)
    if b"/metadata" in line:
        return ANSWER % (b"200 OK", len(METADATA), METADATA)
    if line.startswith(b"GET /bench "):
        said = b'{"process":%d,"created":%d,"requests":%d,"began":%.6f,"ended":%.6f}' % (
            *(os.getpid(), Counter.last, Counter.requests),
            *(Counter.began, Counter.ended),
        )
        return ANSWER % (b"200 OK", len(said), said)
    asked = orjson.loads(body)
    Counter.requests += 1
    Counter.ended = time.monotonic()
    Counter.began = Counter.began or Counter.ended
    if b"/integration/tables/" in line:
        Counter.last += 1
        table = line.split(b"/")[3]
        said = b'{"success":true,"table":"%b","insertedId":%d,"fields":%b}' % (table, Counter.last, body[10:-1])
        return ANSWER % (b"201 Created", len(said), said)
    first = Counter.last + 1
    Counter.last += len(asked["add"])
    results = b",".join([b'{"result":"0","id":"%024x"}' % number for number in range(first, Counter.last + 1)])
    said = b'{"authen":"OK","results":[%b]}' % results
    return ANSWER % (b"200 OK", len(said), said)


async def serve() -> None:
    """Listen on a free port of loopback until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
