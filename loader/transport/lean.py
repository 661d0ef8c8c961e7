"""The lean transport: aiohttp's connections and its C parser, without its session. More than twice the requests of a core.

What a session does for each request anew (merge headers, build a request and an answer object, start two timers and a
task) is done once here: the head of each path is built beforehand, and a request is that head, its length, and the body.
TLS, DNS, happy eyeballs, the wire parser and all its limits are aiohttp's own.

Laws, the same as the session's (see `session`):
- `send` never raises, except for cancellation. A status counts only if the parser read it from an answer.
- `is_sent` is a flag of ours, set before the first byte is handed to the connection; nothing is written before.
- Nothing is ever sent twice: there is no code here that could.
- No redirect, no cookie, no password from the environment, no unbounded read. It knows no proxy:
  `choose.choose_transport` takes the session for that.
- Every address is compared with the origin fixed at the start.
- A connection is used again only after a whole exchange, only for four idle seconds, and only if it was silent meanwhile.

`ResponseHandler` and `TCPConnector.connect` are no public interface of aiohttp. So its version is bounded, the whole
transport contract runs for this one too, and `lean_protocol` tries the parts out before a run relies on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from yarl import URL

from loader.model import NoResponse, Request, Response
from loader.transport.base import Follow
from loader.transport.failures import CHECK_URL, describe, fatal_hint, poor_hint
from loader.transport.http import (
    NOT_OURS,
    TIMED_OUT,
    Deadlines,
    head_fields,
    max_answer_bytes,
    timeouts_of,
)
from loader.transport.lean_connection import Exchange, LeanConnection, Shared
from loader.transport.lean_protocol import Handler
from loader.transport.pool import KEEPALIVE_SECONDS, CheckedConnector, make_tls
from loader.transport.request_heads import Heads
from loader.urls import check_base_url


class LeanTransport:
    """The transport on bare connections. To be made inside the running loop. See `SessionTransport` for the arguments."""

    def __init__(
        self,
        origin: str,
        headers: Mapping[str, str],
        *,
        concurrency: int,
        timeout_seconds: float,
        ca_file: str | None = None,
        max_records: int = 1,
    ) -> None:
        self._base_url = check_base_url(origin)
        self._loop = asyncio.get_running_loop()
        url = URL(self._base_url, encoded=True)
        self._heads = Heads(self._base_url, head_fields(url, headers))
        tls = make_tls(ca_file) if url.scheme == "https" else None
        self._connector = CheckedConnector(limit=concurrency, tls=tls, handler=Handler)
        self._door = ClientRequest("POST", url, loop=self._loop)
        self._timeouts = timeouts_of(timeout_seconds)
        self._deadlines = Deadlines(self._loop, timeout_seconds)
        self._shared = Shared(self._loop, self._deadlines, max_answer_bytes(max_records), self._heads)
        # The one that was busy last goes next: few connections stay warm, the others grow old and are closed.
        self._idle: list[LeanConnection] = []

    async def send(self, request: Request, follow: Follow | None = None) -> Response | NoResponse:
        """Send the request and read its answer. Errors: none but CancelledError."""
        head = self._heads[request.method, request.path]
        if head is None:
            return NoResponse(is_sent=False, error=NOT_OURS, fatal_hint=CHECK_URL)
        exchange = Exchange(self._shared, None if request.is_unpooled else follow)
        self._deadlines.begin(exchange)
        connection: LeanConnection | None = None
        is_whole = False
        try:
            connection = self._idle_connection(is_unpooled=request.is_unpooled) or await self._new_connection()
            response = await exchange.run(connection, head, request)
            is_whole = response.is_whole and not request.is_unpooled
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, the flag alone says whether it was sent
            words = TIMED_OUT if exchange.is_expired else describe(error)
            return NoResponse(exchange.is_sent, words, fatal_hint(error), poor_hint=poor_hint(error))
        finally:
            self._deadlines.end(exchange)
            if connection is not None:
                self._put_back(connection, is_whole=is_whole)
        return response

    def drop_idle(self) -> None:
        """Let no connection that is open now carry another request."""
        self._connector.retire_connections()
        self._close_idle()

    async def close(self) -> None:
        """Close every connection."""
        self._deadlines.close()
        self._close_idle()
        await self._connector.close()

    # --- connections ----------------------------------------------------------------------------------------------------

    def _idle_connection(self, *, is_unpooled: bool = False) -> LeanConnection | None:
        if is_unpooled:
            if self._idle:  # it counts against the limit too, so it makes room for a new one
                self._idle.pop(0).close()
            return None
        oldest = self._loop.time() - KEEPALIVE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since >= oldest and connection.protocol.is_quiet():
                return connection
            connection.close()
        return None

    async def _new_connection(self) -> LeanConnection:
        try:
            return LeanConnection(await self._connector.connect(self._door, traces=[], timeout=self._timeouts))
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error

    def _put_back(self, connection: LeanConnection, *, is_whole: bool) -> None:
        if is_whole and connection.protocol.may_be_used():
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
        else:
            connection.close()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()
