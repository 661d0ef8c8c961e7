"""The lean transport: aiohttp's connections and its C parser, without its session. Three times the requests of a core.

What a session does for each request anew (merge headers, build a request and an answer object, start two timers and a
task) is done once here: the head of each path is built beforehand, and a request is that head, its length, and the body.
TLS, DNS, happy eyeballs, the wire parser and all its limits are aiohttp's own.

Laws, the same as the session's (see `transport`):
- `send` never raises, save for cancellation. A status counts only where the parser read it from an answer.
- `is_sent` is a flag of ours, set before the first byte is handed to the connection; nothing is written before.
- Nothing is ever sent twice: there is no code here that could.
- No redirect, no cookie, no password from the environment, no decompression, no unbounded read. It knows no proxy:
  `transport.choose_transport` takes the session for that.
- Every address is compared with the origin fixed at the start.
- A connection is used again only after a whole exchange, only for four idle seconds, and only if it was silent meanwhile.

`ResponseHandler` and `TCPConnector.connect` are no public interface of aiohttp. So its version is bounded, the whole
transport contract runs for this one too, and `lean_parts` tries the parts out before a run relies on them.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.http_writer import StreamWriter
from yarl import URL

from loader.addresses import check_base_url
from loader.connector import KEEPALIVE_SECONDS, CheckedConnector, make_tls
from loader.errors import UsageError
from loader.exchange import (
    MAX_CACHED_PATHS,
    NOT_OURS,
    SLICE_BYTES,
    TIMED_OUT,
    Deadlines,
    build_url,
    is_encoded,
    max_answer_bytes,
    read_capped,
    timeouts_of,
)
from loader.failures import CHECK_URL, describe, fatal_hint
from loader.lean_parts import whole_of
from loader.model import NoResponse, Request, Response

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

JOINED_BYTES = 16 * 1024
"""Up to here copying a body behind its head is cheaper than a second write."""
BUFFERED_BYTES = 64 * 1024
"""Up to here a body counts as uploaded when it was handed over; a larger one when the connection has drained."""
SWITCHING_PROTOCOLS = 101


class Line:
    """A connection between two exchanges, or in one."""

    __slots__ = ("_poller", "connection", "idle_since", "protocol")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.protocol = cast("ResponseHandler", connection.protocol)
        self.idle_since = 0.0
        transport = self.protocol.transport
        socket = None if transport is None else transport.get_extra_info("socket")
        self._poller = None
        if socket is not None:
            self._poller = select.poll()
            # End of stream also makes a socket readable; errors and hang-ups are reported without being asked for.
            self._poller.register(socket.fileno(), select.POLLIN)

    def is_usable(self) -> bool:
        """Say whether the last exchange left it whole and open."""
        transport = self.protocol.transport
        return transport is not None and not transport.is_closing() and not self.protocol.should_close

    def is_quiet(self) -> bool:
        """Say whether it has neither been closed nor said anything since (see `connector`)."""
        return self.is_usable() and (self._poller is None or not self._poller.poll(0))


class Attempt:
    """The marks of one sending."""

    __slots__ = ("due", "is_expired", "is_sent", "is_uploaded", "line", "sent_at")

    def __init__(self) -> None:
        self.due = 0.0
        self.is_expired = False
        self.is_sent = False
        self.is_uploaded = False
        self.line: Line | None = None
        self.sent_at = 0.0

    def expire(self) -> None:
        """Cut the connection: whoever reads from it or writes to it is woken by its loss."""
        self.is_expired = True
        transport = self.line.protocol.transport if self.line is not None else None
        if transport is not None:
            transport.abort()


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
        self._max_answer_bytes = max_answer_bytes(max_records)
        self._loop = asyncio.get_running_loop()
        url = URL(self._base_url, encoded=True)
        self._fields = _encode_fields(url, headers)
        self._heads: dict[tuple[str, str], bytes] = {}
        tls = make_tls(ca_file) if url.scheme == "https" else None
        self._connector = CheckedConnector(limit=concurrency, tls=tls)
        self._door = ClientRequest("POST", url, loop=self._loop)
        self._timeouts = timeouts_of(timeout_seconds)
        self._deadlines = Deadlines(self._loop, timeout_seconds)
        # The one that was busy last goes next: few connections stay warm, the others grow old and are closed.
        self._idle: list[Line] = []

    async def send(self, request: Request) -> Response | NoResponse:
        """Send the request and read its answer. Errors: none but CancelledError."""
        head = self._heads.get((request.method, request.path)) or self._head_of(request)
        if head is None:
            return NoResponse(is_sent=False, error=NOT_OURS, fatal_hint=CHECK_URL)
        attempt = Attempt()
        self._deadlines.begin(attempt)
        is_whole = False
        try:
            attempt.line = self._idle_line(is_alone=request.is_alone) or await self._new_line()
            response = await self._exchange(attempt, attempt.line, head, request)
            is_whole = response.is_complete and response.is_upload_complete and not request.is_alone
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, the flag alone says whether it was sent
            words = TIMED_OUT if attempt.is_expired else describe(error)
            return NoResponse(is_sent=attempt.is_sent, error=words, fatal_hint=fatal_hint(error))
        finally:
            self._deadlines.end(attempt)
            if attempt.line is not None:
                self._put_back(attempt.line, is_whole=is_whole)
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

    def _idle_line(self, *, is_alone: bool = False) -> Line | None:
        if is_alone:
            if self._idle:  # it counts against the limit too, so it makes room for a new one
                self._idle.pop(0).connection.close()
            return None
        oldest = self._loop.time() - KEEPALIVE_SECONDS
        while self._idle:
            line = self._idle.pop()
            if line.idle_since >= oldest and line.is_quiet():
                return line
            line.connection.close()
        return None

    async def _new_line(self) -> Line:
        try:
            return Line(await self._connector.connect(self._door, traces=[], timeout=self._timeouts))
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error

    def _put_back(self, line: Line, *, is_whole: bool) -> None:
        if is_whole and line.is_usable():
            line.idle_since = self._loop.time()
            self._idle.append(line)
        else:
            line.connection.close()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().connection.close()

    # --- one exchange ---------------------------------------------------------------------------------------------------

    async def _exchange(self, attempt: Attempt, line: Line, head: bytes, request: Request) -> Response:
        protocol = line.protocol
        # A new parser for each answer: what another one has begun to say is never its beginning.
        protocol.set_response_params(read_until_eof=True, auto_decompress=False)
        upload = self._send(attempt, protocol, head, request)
        try:
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != SWITCHING_PROTOCOLS:
                message, content = await protocol.read()
            # Judged now: an answer that came before the whole body was handed over cannot be an answer to it (row 36).
            is_uploaded = attempt.is_uploaded
            if content.is_eof() and content.exception() is None:
                body = whole_of(content)  # as nearly always: the whole answer came at once
                is_complete = len(body) <= self._max_answer_bytes
            else:
                body, is_complete = await read_capped(content, self._max_answer_bytes)
        finally:
            if upload is not None:
                upload.cancel()
        headers = cast("Mapping[str, str]", message.headers)
        is_complete = is_complete and not is_encoded(headers)
        return Response(message.code, headers, body, is_complete, is_uploaded, self._loop.time() - attempt.sent_at)

    def _send(
        self, attempt: Attempt, protocol: ResponseHandler, head: bytes, request: Request
    ) -> asyncio.Task[None] | None:
        """Hand the request over, a large one beside the reading of its answer. Errors: before the first byte only."""
        transport, body = protocol.transport, request.body
        if attempt.is_expired or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError
        # A GET without a body has no length (RFC 9110 8.6).
        length = b"" if not body and request.method == "GET" else b"Content-Length: %d\r\n" % len(body)
        head = b"%b%b\r\n" % (head, length)
        attempt.is_sent = True
        attempt.sent_at = self._loop.time()
        if len(body) > BUFFERED_BYTES:
            return self._loop.create_task(_upload(attempt, StreamWriter(protocol, self._loop), head, body))
        if len(body) <= JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        attempt.is_uploaded = True
        return None

    def _head_of(self, request: Request) -> bytes | None:
        """Build all of a head but its length, or return None where the path leads elsewhere."""
        url = build_url(self._base_url, request.path)
        if url is None:
            return None
        head = b"%b %b HTTP/1.1\r\n%b" % (request.method.encode(), url.raw_path_qs.encode("ascii"), self._fields)
        if len(self._heads) < MAX_CACHED_PATHS:
            self._heads[request.method, request.path] = head
        return head


async def _upload(attempt: Attempt, writer: StreamWriter, head: bytes, body: bytes) -> None:
    """Hand a large body over as fast as the connection takes it. What goes wrong is learnt by who reads the answer."""
    view = memoryview(body)
    try:
        await writer.write(head, drain=False)
        for start in range(0, len(view), SLICE_BYTES):
            await writer.write(view[start : start + SLICE_BYTES])
    except (OSError, aiohttp.ClientError):
        return
    attempt.is_uploaded = True


def _encode_fields(url: URL, headers: Mapping[str, str]) -> bytes:
    """Encode the head's fields. Errors: UsageError where one would end its line."""
    fields = {
        "host": ("Host", url.host_port_subcomponent or ""),
        "accept": ("Accept", "*/*"),
        "accept-encoding": ("Accept-Encoding", "identity"),
        "user-agent": ("User-Agent", "loader"),
        "content-type": ("Content-Type", "application/json"),
    }
    fields |= {name.lower(): (name, value) for name, value in headers.items()}
    if not all(text.isprintable() for field in fields.values() for text in field):
        raise UsageError(
            "a header holds a character that is none", "look at the credentials: is there a line end in one?"
        )
    return b"".join([f"{name}: {value}\r\n".encode() for name, value in fields.values()])
