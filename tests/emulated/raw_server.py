"""A server of raw sockets on loopback: each connection runs a script, so every byte, close and reset is where the test puts it.

It shares no code with the client and no HTTP library: a request is read by finding the end of its head and counting its body.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

CERTIFICATES = Path(__file__).parent / "certificates"
AUTHORITY = str(CERTIFICATES / "authority.pem")


@dataclass(frozen=True)
class Seen:
    """One request as it came over the wire."""

    line: str
    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n"):
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None


class Line:
    """One connection, as a script sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: RawServer) -> None:
        self.reader, self.writer, self.server = reader, writer, server

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self, head: bytes = b"") -> Seen:
        """Read one whole request, or what follows a head that was read, and count it as committed."""
        head = head or await self.head()
        seen = Seen(head.split(b"\r\n", 1)[0].decode(), head, b"")
        body = await self.reader.readexactly(int(seen.header("content-length") or 0))
        seen = Seen(seen.line, head, body)
        self.server.requests.append(seen)
        return seen

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        # TLS takes what is written to a lost connection without a word or a pause: an endless script would have the loop.
        await asyncio.sleep(0)
        if self.writer.transport.is_closing():
            raise ConnectionResetError

    async def hang(self) -> None:
        await asyncio.sleep(60)

    def reset(self) -> None:
        """Close with a reset instead of an end of stream."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()

    def half_close(self) -> None:
        """End our side of the stream below any TLS, which knows no such thing, and go on reading."""
        self._shut_down(socket.SHUT_WR)

    def send_at_once(self, data: bytes) -> None:
        """Put bytes into the peer's kernel without giving its event loop a turn."""
        if self.writer.get_extra_info("ssl_object") is not None:
            self.writer.write(data)  # encrypted and written at once, as nothing waits before it
            return
        os.write(self.writer.get_extra_info("socket").fileno(), data)

    def end_at_once(self) -> None:
        """End the stream likewise."""
        self._shut_down(socket.SHUT_RDWR)

    def _shut_down(self, how: int) -> None:
        # What a loop gives out for its socket may be one that cannot do this.
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as raw:
            raw.shutdown(how)


Script: TypeAlias = Callable[[Line], Awaitable[None]]


@dataclass
class RawServer:
    """What a test looks at afterwards."""

    url: str = ""
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    lines: list[Line] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@contextlib.asynccontextmanager
async def serve(script: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[RawServer]:
    """Run the script for every connection."""
    state = RawServer()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        line = Line(reader, writer, state)
        state.lines.append(line)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await script(line)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError, asyncio.CancelledError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(run(reader, writer))
        state.tasks.add(task)
        task.add_done_callback(state.tasks.discard)

    server = await asyncio.start_server(accept, host, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    state.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        yield state
    finally:
        server.close()
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        await server.wait_closed()


def server_tls(name: str = "server") -> ssl.SSLContext:
    """Make the server's side of TLS, with one of the stored certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{name}.pem")
    return context


def answer(body: bytes = b'{"success":true}', status: str = "201 Created", extra: bytes = b"") -> bytes:
    """Build a plain answer."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status.encode(), len(body), extra, body)
