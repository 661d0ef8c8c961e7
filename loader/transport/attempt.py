"""One sending of one request through a session: how far it came, and the request class that marks it.

`is_sent` is False only where no byte of the request was handed to a socket: aiohttp writes nothing of a request anywhere but in
`send` (reliability.md 0.4), which marks the attempt first. Request class and payload class are public ways into a session.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.payload import Payload

from loader.transport.http import SLICE_BYTES
from loader.transport.pool import WatchedProtocol

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection


class ConnectionUnusableError(aiohttp.ClientError):
    """A connection was used before, and has said something or ended since. Nothing was sent on it."""


class Attempt:
    """One sending of one request."""

    def __init__(self, *, is_unpooled: bool) -> None:
        self.is_unpooled = is_unpooled
        self.is_sent = False
        self.is_uploaded = False
        self.sent_at = 0.0

    def send_on(self, connection: Connection) -> None:
        """Note that from now on bytes may leave. Errors: ClientError where they may not; the attempt stays as it was."""
        if self.is_sent:
            message = "an attempt may not be sent twice"
            raise aiohttp.ClientError(message)
        protocol = connection.protocol
        if isinstance(protocol, WatchedProtocol):
            if protocol.is_used and not protocol.is_quiet():
                raise ConnectionUnusableError
            protocol.is_used = True
            if self.is_unpooled:
                protocol.force_close()
        self.is_sent = True
        self.sent_at = asyncio.get_running_loop().time()


class Body(Payload):
    """A body that notes when all of it was handed over. aiohttp's own for bytes hands 8 MiB over at once."""

    _value: bytes

    def __init__(self, data: bytes, attempt: Attempt) -> None:
        super().__init__(data)
        self._size = len(data)
        self._attempt = attempt

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._value)
        for start in range(0, len(view), SLICE_BYTES):
            await writer.write(view[start : start + SLICE_BYTES])
        self._attempt.is_uploaded = True


ATTEMPT: ContextVar[Attempt] = ContextVar("loader_attempt")
"""The attempt that the running task makes: aiohttp has no way to hand something of ours to a request without a body."""


class MarkedRequest(aiohttp.ClientRequest):
    """A request that marks its attempt before anything is written."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        attempt = ATTEMPT.get()
        attempt.send_on(conn)
        if not self.body:
            attempt.is_uploaded = True
        return await super().send(conn)
