"""Connections of the client: TLS rules, and a pool that looks at a connection before it is used again.

aiohttp hands a pooled connection to the next request without looking at its socket. If the server (or a proxy: an idle 408, an
answer sent twice) put bytes on it meanwhile, the next request gets somebody else's answer; if the server closed it, the next
POST is lost with no way to know whether it was read (reliability.md 0.3 and rows 38, 41, 42). So a connection that has been used
is polled directly before it is written to again, and one that has anything to say is closed. How that is known of a connection
(`WatchedProtocol`) rests on private parts of aiohttp's: where they are missing, every connection is used once only, which is
slower and just as safe.

Nothing here knows requests, records or verdicts.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Iterable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

from loader.errors import UsageError

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

KEEPALIVE_SECONDS = 4.0
"""Well below any server's idle limit: with it, 0 of 300 requests fell in the crossing window (reliability.md 2.2)."""

ROUND = 64
"""Connections that are asked together at most whether they say anything: it is to be true when the last of them is written to."""

HAS_REUSE_HOOK = (
    all(hasattr(aiohttp.BaseConnector, name) for name in ("_get", "_release"))
    and "_factory" in aiohttp.BaseConnector.__init__.__code__.co_names
    and all(hasattr(ResponseHandler, name) for name in ("_reading_paused", "_buffer_paused"))
)

IS_UNPOOLED: ContextVar[bool] = ContextVar("loader_request_is_unpooled", default=False)
"""Set while a request that needs a new connection asks for one: aiohttp's own arguments have no room for that."""


class WatchedProtocol(ResponseHandler):
    """aiohttp's protocol, which knows its socket, and whether a request has left on it."""

    descriptor: int | None = None
    """None: there is no socket that could be polled (a simulated network); it counts as quiet."""
    is_used = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the socket."""
        super().connection_made(transport)
        socket = transport.get_extra_info("socket")
        self.descriptor = None if socket is None else socket.fileno()

    def may_be_used(self) -> bool:
        """Say whether it is open and the last exchange left it whole, as far as that is known without polling it."""
        transport = self.transport
        return transport is not None and not transport.is_closing() and not self.should_close

    def is_quiet(self) -> bool:
        """Say whether it is open and has said nothing since its last answer."""
        return self.may_be_used() and not readable((self,))

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 -- aiohttp's interface
        """Read on. Each piece of an answer asks for that, though hardly one has paused the reading."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)


def readable(protocols: Iterable[WatchedProtocol]) -> set[int]:
    """Return the descriptors of those connections, all open, on which something waits to be read: data, or the end."""
    poller = select.poll()
    for protocol in protocols:
        if protocol.descriptor is not None:
            # End of stream also makes a socket readable; errors and hang-ups are reported without being asked for.
            poller.register(protocol.descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poller.poll(0)}


class CheckedConnector(aiohttp.TCPConnector):
    """A pool of connections that know whether they may be used again; whoever writes to one has to ask."""

    def __init__(
        self, *, limit: int, tls: ssl.SSLContext | None, handler: type[WatchedProtocol] = WatchedProtocol
    ) -> None:
        is_pooled = HAS_REUSE_HOOK
        options: dict[str, Any] = {"keepalive_timeout": KEEPALIVE_SECONDS} if is_pooled else {"force_close": True}
        super().__init__(limit=limit, ssl=True if tls is None else tls, **options)
        if is_pooled or handler is not WatchedProtocol:
            self._factory = cast("partial[ResponseHandler]", partial(handler, loop=self._loop))

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        return None if IS_UNPOOLED.get() else await super()._get(key, traces)

    def retire_connections(self) -> None:
        """Let no connection that is open now carry another request: idle ones close, busy ones close after their answer."""
        for protocol in list(getattr(self, "_acquired", ())):
            # What is still connecting stands in this set as a placeholder, without a stream that could be off by one.
            if hasattr(protocol, "force_close"):
                protocol.force_close()
        pools = getattr(self, "_conns", {})
        for pool in list(pools.values()):
            for protocol, _ in pool:
                protocol.close()
        pools.clear()


def make_tls(ca_file: str | None) -> ssl.SSLContext:
    """Build the only TLS rules that there are: certificate and name verified, TLS 1.2 at least.

    `ca_file` replaces the system's certificate authorities. `ssl.create_default_context` is not used because it obeys
    SSLKEYLOGFILE, which would write the session's keys to disk. Errors: UsageError where the file is no PEM certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        message = f"the CA file {ca_file!r} cannot be used: {type(error).__name__}"
        raise UsageError(message, "Give a readable file of PEM certificates.") from None
    return context
