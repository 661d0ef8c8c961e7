"""One request out, one answer back. Owns the HTTP session, its timeouts and its proof of what left the process.

The interface is `world.Transport`. `SessionTransport` here is the stock one; `lean` has a quicker one, for rates that a session
cannot send. Both pass the same contract suite, and `choose_transport` says which of them a load gets.

Laws:
- `send` never raises, save for cancellation. A status counts only where it was read from a response object.
- `is_sent` is False only where no byte was handed to a connection (`attempt`). No exception class proves anything.
- What came before the request was handed over is no answer to it. A connection that spoke or was closed while it was idle is
  left, and the attempt made once more on another: nothing of it was sent.
- Nothing is ever sent twice. aiohttp by itself sends GET, PUT and DELETE again after a lost connection (rows 38 to 40); that is
  switched off, and `MarkedRequest` refuses to be sent twice for one attempt should the switch ever move.
- No redirect, no cookie, no proxy or password from the environment, no decompression, no unbounded read.
- Every URL is compared with the origin fixed at the start.

Why neither a trace nor aiohttp's own timers (measured, alternating blocks, 64 connections): the trace hook costs a sixth of a
request, the timers for total and reading a fifth. A request class is as public as a trace and costs nothing; one timer
for all attempts (`exchange.Deadlines`) ends each in the same way as aiohttp's does: it cancels the task and takes that back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from yarl import URL

from loader.model import NoResponse, Request, Response
from loader.settings import TransportName
from loader.transport.attempt import ATTEMPT, Attempt, marked_requests
from loader.transport.base import Follow, Transport
from loader.transport.batched_answers import Relay
from loader.transport.failures import CHECK_URL, describe, fatal_hint
from loader.transport.http import (
    MAX_ANSWER_BYTES,
    MAX_CACHED_PATHS,
    NOT_OURS,
    TIMED_OUT,
    Deadlines,
    build_url,
    is_encoded,
    max_answer_bytes,
    read_capped,
    timeouts_of,
)
from loader.transport.pool import IS_ALONE, CheckedConnector, make_tls
from loader.urls import check_base_url, check_proxy

__all__ = ["MAX_ANSWER_BYTES", "SessionTransport", "build_url", "choose_transport"]

SPOKE_FIRST = "the server answered before it was asked"

SESSION_REACH_PER_SECOND = 2_000
"""Requests a second that a session surely sends on one slow core with everything around it; beyond them the lean way."""


def choose_transport(  # noqa: PLR0913 -- a transport's own arguments, and the two that choose it
    name: TransportName,
    origin: str,
    headers: Mapping[str, str],
    *,
    rate_per_second: float | None = None,
    concurrency: int,
    timeout_seconds: float,
    proxy: str | None = None,
    ca_file: str | None = None,
    max_records: int = 1,
) -> Transport:
    """Make the transport that was asked for. `auto`: lean where a fixed rate is beyond the session's reach.

    The session takes its place where there is a proxy, or where the installed aiohttp has not the parts that it is made of.
    """
    wants_lean = name == "lean" or (name == "auto" and (rate_per_second or 0.0) > SESSION_REACH_PER_SECOND)
    if wants_lean and proxy is None:
        from loader.transport.lean import LeanTransport
        from loader.transport.lean_protocol import has_working_parts

        if has_working_parts(asyncio.get_running_loop()):
            return LeanTransport(
                origin,
                headers,
                concurrency=concurrency,
                timeout_seconds=timeout_seconds,
                ca_file=ca_file,
                max_records=max_records,
            )
    return SessionTransport(
        origin,
        headers,
        concurrency=concurrency,
        timeout_seconds=timeout_seconds,
        proxy=proxy,
        ca_file=ca_file,
        max_records=max_records,
    )


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
        self._urls: dict[str, URL] = {}
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop, timeout_seconds)
        checked_proxy = None if proxy is None else check_proxy(proxy)
        needs_tls = any((url or "").startswith("https:") for url in (self._base_url, checked_proxy))
        self._connector = CheckedConnector(limit=concurrency, tls=make_tls(ca_file) if needs_tls else None)
        self._relay = Relay(self._loop)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=timeouts_of(timeout_seconds),
            request_class=marked_requests(URL(self._base_url, encoded=True), headers, self._loop),
            trust_env=False,
            auto_decompress=False,
            raise_for_status=False,
            proxy=checked_proxy,
        )
        _forbid_resending(self._session)

    async def send(self, request: Request, follow: Follow | None = None) -> Response | NoResponse:
        """Send the request, and whatever follows; return the last reply. Errors: none but CancelledError."""
        while True:
            reply = await self._exchange(request)
            if follow is None or request.is_alone or isinstance(reply, NoResponse) or not reply.is_whole:
                return reply
            try:
                following = await self._relay.next(follow, reply)
            except Exception as error:  # noqa: BLE001 -- what was taken may have been counted, so it is sure of nothing
                return NoResponse(is_sent=True, error=describe(error))
            if following is None:
                return reply
            request = following

    async def _exchange(self, request: Request) -> Response | NoResponse:
        url = self._urls.get(request.path) or self._url_of(request.path)
        if url is None:
            return NoResponse(is_sent=False, error=NOT_OURS, fatal_hint=CHECK_URL)
        IS_ALONE.set(request.is_alone)
        while True:
            attempt = Attempt(request.body, self._loop, is_alone=request.is_alone)
            reply = await self._try(request.method, url, attempt)
            if not attempt.was_turned_away():
                return reply

    async def _try(self, method: str, url: URL, attempt: Attempt) -> Response | NoResponse:
        """Make an attempt, on whatever connection the pool gives."""
        ATTEMPT.set(attempt)
        self._deadlines.begin(attempt)
        answer: aiohttp.ClientResponse | None = None
        try:
            # Without the context manager of `request`: a fifth more requests per core (performance.md 2b).
            answer = await self._session._request(  # noqa: SLF001 -- the reason above; aiohttp is pinned
                method, url, data=attempt if attempt.body else None, allow_redirects=False
            )
            # Judged now: an answer that came before the whole body was handed over cannot be an answer to it (row 36).
            attempt.is_uploaded = attempt.is_uploaded or not attempt.body
            body, is_complete = await read_capped(answer.content, self._max_answer_bytes)
        except asyncio.CancelledError:
            if answer is not None:
                answer.close()
            if not attempt.takes_cancel_back():
                raise
            if answer is None:
                return NoResponse(is_sent=attempt.is_sent, error=TIMED_OUT)
            body, is_complete = b"", False
        except Exception as error:  # noqa: BLE001 -- whatever it is, the mark alone says whether it was sent
            return NoResponse(is_sent=attempt.is_sent, error=describe(error), fatal_hint=fatal_hint(error))
        finally:
            attempt.is_over = True
            self._deadlines.end(attempt)
        if not attempt.is_sent:  # so it is no answer of ours
            attempt.disown()
            return NoResponse(is_sent=False, error=SPOKE_FIRST)
        return self._response(attempt, answer, body, is_complete=is_complete)

    def drop_idle(self) -> None:
        """Let no connection that is open now carry another request."""
        self._connector.retire_connections()

    async def close(self) -> None:
        """Close every connection."""
        self._deadlines.close()
        await self._session.close()

    def _response(
        self, attempt: Attempt, answer: aiohttp.ClientResponse, body: bytes, *, is_complete: bool
    ) -> Response:
        if not is_complete:
            answer.close()
        headers = answer.headers
        is_complete = is_complete and not is_encoded(headers)
        seconds = self._loop.time() - attempt.sent_at
        return Response(answer.status, headers, body, is_complete, attempt.is_uploaded, seconds)

    def _url_of(self, path: str) -> URL | None:
        url = build_url(self._base_url, path)
        if url is not None and len(self._urls) < MAX_CACHED_PATHS:
            self._urls[path] = url
        return url


def _forbid_resending(session: aiohttp.ClientSession) -> None:
    """Switch off aiohttp's own second sending of idempotent methods. The switch is private; the mark stands behind it."""
    session._retry_connection = False  # noqa: SLF001 -- there is no public switch
