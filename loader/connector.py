"""Connections of the client: TLS rules, and a pool that looks at a connection before it is used again.

aiohttp hands a pooled connection to the next request without looking at its socket. If the server (or a proxy: an idle 408, an
answer sent twice) put bytes on it meanwhile, the next request gets somebody else's answer; if the server closed it, the next
POST is lost with no way to know whether it was read (reliability.md 0.3 and rows 38, 41, 42). So an idle connection is
polled first, and one that has anything to say is closed. The hook is a private method of the pool: where it is missing, every
connection is used once only, which is slower and just as safe.

Nothing here knows requests, records or verdicts.
"""

from __future__ import annotations

import select
import ssl
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from loader.errors import UsageError

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

KEEPALIVE_SECONDS = 4.0
"""Well below any server's idle limit: with it, 0 of 300 requests fell in the crossing window (reliability.md 2.2)."""

HAS_REUSE_HOOK = all(hasattr(aiohttp.BaseConnector, name) for name in ("_get", "_release"))


IS_ALONE: ContextVar[bool] = ContextVar("loader_request_is_alone", default=False)
"""Set while a request that needs a new connection asks for one: aiohttp's own arguments have no room for that."""


class CheckedConnector(aiohttp.TCPConnector):
    """A pool that never reuses a connection which was closed, or spoke out of turn, while it was idle."""

    def __init__(self, *, limit: int, tls: ssl.SSLContext | None, handler: type[ResponseHandler] | None = None) -> None:
        is_pooled = HAS_REUSE_HOOK
        options: dict[str, Any] = {"keepalive_timeout": KEEPALIVE_SECONDS} if is_pooled else {"force_close": True}
        super().__init__(limit=limit, ssl=True if tls is None else tls, **options)
        if handler is not None:
            self._factory = partial(handler, loop=self._loop)

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        if IS_ALONE.get():
            return None
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and is_quiet(connection.protocol):
                return connection
            connection.close()
        return None

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


def is_quiet(protocol: ResponseHandler) -> bool:
    """Say whether an idle connection has neither been closed nor said anything since its last answer.

    A transport without a socket (a simulated network) cannot be polled and counts as quiet.
    """
    transport = protocol.transport
    if transport is None or transport.is_closing() or protocol.should_close:
        return False
    socket = transport.get_extra_info("socket")
    if socket is None:
        return True
    poller = select.poll()
    # End of stream also makes a socket readable; errors and hang-ups are reported without being asked for.
    poller.register(socket.fileno(), select.POLLIN)
    return not poller.poll(0)


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
