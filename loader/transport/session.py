"""One request out, one answer back, through one stock aiohttp session: the transport for a proxy, or by name.

The interface is `base.Transport`; `choose` says which transport a load gets. Both pass the same contract suite.

Laws:
- `send` never raises, except for cancellation. A status counts only if it was read from a response object.
- `is_sent` is False only if no byte was handed to a connection (`attempt`). No exception class proves anything.
- A connection that spoke or was closed while it was idle is left, and the request is tried on another: nothing of it was sent.
- Nothing is ever sent twice. aiohttp by itself sends GET, PUT and DELETE again after a lost connection (rows 38 to 40). That is
  switched off, and `MarkedRequest` refuses to be sent twice for one attempt should the switch ever move.
- No redirect, no cookie, no proxy or password from the environment, no unbounded read.
- Every URL is compared with the origin fixed at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import aiohttp
from yarl import URL

from loader.model import NoResponse, Request, Response
from loader.transport.attempt import ATTEMPT, Attempt, Body, ConnectionUnusableError, MarkedRequest
from loader.transport.base import Follow
from loader.transport.encodings import decoded, is_encoded
from loader.transport.failures import CHECK_PROXY, CHECK_URL, describe, fatal_hint, poor_hint
from loader.transport.http import (
    ECHOED_SHARE,
    MAX_CACHED_PATHS,
    NOT_OURS,
    build_url,
    head_fields,
    max_answer_bytes,
    read_capped,
    timeouts_of,
)
from loader.transport.pool import IS_UNPOOLED, CheckedConnector, make_tls
from loader.urls import check_base_url, check_proxy


class SessionTransport:
    """The transport on one stock aiohttp session. To be made inside the running loop.

    Units: `timeout_seconds` covers a whole attempt, connect and answer included. `max_records` is the most that one request
    carries; it sets how long an answer may be. Errors: UsageError for an origin, proxy or CA file that cannot be used.
    """

    def __init__(
        self,
        origin: str,
        headers: Mapping[str, str],
        *,
        concurrency: int,
        timeout_seconds: float,
        proxy: str | None = None,
        ca_file: str | None = None,
        max_records: int = 1,
    ) -> None:
        self._base_url = check_base_url(origin)
        self._max_answer_bytes = max_answer_bytes(max_records)
        self._timeout_seconds = timeout_seconds
        self._urls: dict[str, URL] = {}
        checked_proxy = None if proxy is None else check_proxy(proxy)
        self._proxy = "" if checked_proxy is None else URL(checked_proxy).host_port_subcomponent
        fields = head_fields(URL(self._base_url, encoded=True), headers)
        needs_tls = any((url or "").startswith("https:") for url in (self._base_url, checked_proxy))
        self._connector = CheckedConnector(limit=concurrency, tls=make_tls(ca_file) if needs_tls else None)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            headers=fields,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=timeouts_of(timeout_seconds),
            request_class=MarkedRequest,
            trust_env=False,
            auto_decompress=False,
            raise_for_status=False,
            proxy=checked_proxy,
        )
        _forbid_resending(self._session)

    async def send(self, request: Request, follow: Follow | None = None) -> Response | NoResponse:
        """Send the request and read its answer; `follow` is not asked. Errors: none but CancelledError."""
        del follow
        url = self._urls.get(request.path) or self._url_of(request.path)
        if url is None:
            return NoResponse(is_sent=False, error=NOT_OURS, fatal_hint=CHECK_URL)
        IS_UNPOOLED.set(request.is_unpooled)
        while True:  # the pool has only so many connections that cannot be used any more; a new one ends this
            with contextlib.suppress(ConnectionUnusableError):
                return await self._try(request, url)

    async def _try(self, request: Request, url: URL) -> Response | NoResponse:
        """Make an attempt, on whatever connection the pool gives. Errors: ConnectionUnusableError, CancelledError."""
        attempt = Attempt(is_unpooled=request.is_unpooled)
        ATTEMPT.set(attempt)
        answer: aiohttp.ClientResponse | None = None
        data = Body(request.body, attempt) if request.body else None
        body, is_complete, is_uploaded = b"", False, False
        max_bytes = self._max_answer_bytes + ECHOED_SHARE * len(request.body)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._session.request(request.method, url, data=data, allow_redirects=False)
                # Judged now: an answer that came before the whole body was handed over cannot be an answer to it (row 36).
                is_uploaded = attempt.is_uploaded
                body, is_complete = await read_capped(answer.content, max_bytes)
        except ConnectionUnusableError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, the mark alone says whether it was sent
            if answer is None:
                return self._no_response(error, is_sent=attempt.is_sent)
        finally:
            if answer is not None and not (is_complete and is_uploaded):
                answer.close()
        if is_complete and is_encoded(answer.headers):
            body, is_complete = decoded(answer.headers, body, max_bytes)
        seconds = asyncio.get_running_loop().time() - attempt.sent_at
        return Response(answer.status, answer.headers, body, is_complete, is_uploaded, seconds)

    def _no_response(self, error: Exception, *, is_sent: bool) -> NoResponse:
        hint = fatal_hint(error)
        if hint == CHECK_PROXY:
            return NoResponse(is_sent, f"the proxy {self._proxy} wants other credentials (407)", hint, "credentials")
        return NoResponse(is_sent, describe(error), hint, poor_hint=poor_hint(error))

    def drop_idle(self) -> None:
        """Let no connection that is open now carry another request."""
        self._connector.retire_connections()

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    def _url_of(self, path: str) -> URL | None:
        url = build_url(self._base_url, path)
        if url is not None and len(self._urls) < MAX_CACHED_PATHS:
            self._urls[path] = url
        return url


def _forbid_resending(session: aiohttp.ClientSession) -> None:
    """Switch off aiohttp's own second sending of idempotent methods. The switch is private; the mark stands behind it."""
    session._retry_connection = False  # noqa: SLF001 -- there is no public switch
