"""A connection of the lean transport, and what one call of `send` has out on it: a request, and those that follow it.

aiohttp's protocol and parser read the wire (`lean_parts`); they are asked, behind each piece that came, what they have read. A
whole answer is dealt with right there, in the callback: no task is woken for it, and the request that follows leaves in the same
turn of the loop. Whatever comes otherwise (an answer in pieces, a lost connection, an error of the parser) wakes the task that
waits.

Laws, beyond those of `lean`:
- A request follows an answer only where that came whole, the connection says nothing more and is not closed: the same look that a
  connection from the pool gets (`is_quiet`).
- Every request has a parser of its own: what another answer has begun to say is never its beginning.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import aiohttp
from aiohttp.http_writer import StreamWriter

from loader.exchange import NOT_OURS, SLICE_BYTES, Deadlines, is_encoded, read_capped
from loader.lean_parts import Begun, Handler, whole_of
from loader.model import Request, Response
from loader.world import Follow

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.http_parser import RawResponseMessage
    from aiohttp.streams import StreamReader

JOINED_BYTES = 16 * 1024
"""Up to here copying a body behind its head is cheaper than a second write."""
BUFFERED_BYTES = 64 * 1024
"""Up to here a body counts as uploaded when it was handed over; a larger one when the connection has drained."""


class Line:
    """A connection between two exchanges, or in one."""

    __slots__ = ("_poller", "connection", "idle_since", "protocol")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.protocol = cast("Handler", connection.protocol)
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


@dataclass(frozen=True, slots=True)
class Means:
    """What the exchanges of a transport share. `head_of`: all of a request's head but its length; None: it leads elsewhere."""

    loop: asyncio.AbstractEventLoop
    deadlines: Deadlines
    max_answer_bytes: int
    head_of: Callable[[Request], bytes | None]
    heard: list[Exchange] = field(default_factory=list)
    """Exchanges for which something came in this turn of the loop."""

    def look_at_heard(self) -> None:
        """Look at all of them, one behind the other: what reads and what settles each stays in the processor's caches then."""
        for exchange in self.heard:
            exchange.look()
        self.heard.clear()


class Exchange:
    """Requests one after another on one line, and the marks of the one that is out."""

    __slots__ = (
        "_answer",
        "_follow",
        "_means",
        "_sent_at",
        "_upload",
        "due",
        "is_expired",
        "is_sent",
        "is_uploaded",
        "line",
    )

    def __init__(self, means: Means, follow: Follow | None) -> None:
        self.due = 0.0
        self.is_expired = False
        self.is_sent = False
        self.is_uploaded = False
        self.line: Line | None = None
        self._means = means
        self._follow = follow
        self._sent_at = 0.0
        self._upload: asyncio.Task[None] | None = None
        # What wakes the task: an answer that was read here, one of which only the head has come, or what ended the connection.
        self._answer: asyncio.Future[Response | Begun] | None = None

    def expire(self) -> None:
        """Cut the connection: whoever reads from it or writes to it is woken by its loss."""
        self.is_expired = True
        transport = self.line.protocol.transport if self.line is not None else None
        if transport is not None:
            transport.abort()

    async def run(self, line: Line, head: bytes, request: Request) -> Response:
        """Send the request, and whatever follows; return the last answer. Errors: whatever ended the connection."""
        self.line, protocol = line, line.protocol
        self._answer = self._means.loop.create_future()
        self._send(line, head, request)
        protocol.exchange = self
        try:
            answer = await self._answer
            return answer if type(answer) is Response else await self._read(*cast("Begun", answer))
        finally:
            protocol.exchange = None
            if self._upload is not None:
                self._upload.cancel()

    def hear(self) -> None:
        """Have a look at the end of this turn: something has come."""
        heard = self._means.heard
        if not heard:
            self._means.loop.call_soon(self._means.look_at_heard)
        heard.append(self)

    def look(self) -> None:
        """See what has come. A whole answer is dealt with here; anything else is the task's."""
        line, answer = self.line, self._answer
        assert line is not None  # noqa: S101 -- `run` has set it; this tells mypy
        assert answer is not None  # noqa: S101 -- the same
        if answer.done():  # cancelled, or woken already
            return
        try:
            begun = line.protocol.next_answer()
            if begun is None:
                return
            response = self._whole(*begun)
            if response is None or not self._goes_on(line, response):
                line.protocol.exchange = None
                answer.set_result(response or begun)
        except Exception as error:  # noqa: BLE001 -- raised where the answer is waited for
            answer.set_exception(error)

    def _whole(self, message: RawResponseMessage, content: StreamReader) -> Response | None:
        """Make the response of an answer that came at once; None where it has not, or is not to be read whole."""
        if not content.is_eof() or content.exception() is not None:
            return None
        body, headers, means = whole_of(content), message.headers, self._means
        is_complete = len(body) <= means.max_answer_bytes and not is_encoded(headers)
        # Judged now: an answer that came before the whole body was handed over cannot be an answer to it (row 36).
        seconds = means.loop.time() - self._sent_at
        return Response(message.code, headers, body, is_complete, self.is_uploaded, seconds)

    def _goes_on(self, line: Line, response: Response) -> bool:
        """Let the next request leave on the line, where there is one and the line may be used again."""
        if self._follow is None or not response.is_whole or self.is_expired or not line.is_quiet():
            return False
        request = self._follow(response)
        if request is None:
            return False
        self.is_sent = self.is_uploaded = False
        self._means.deadlines.begin(self)
        head = self._means.head_of(request)
        if head is None:
            raise ValueError(NOT_OURS)
        self._send(line, head, request)
        return True

    async def _read(self, message: RawResponseMessage, content: StreamReader) -> Response:
        """Read the rest of an answer that comes in pieces."""
        is_uploaded = self.is_uploaded
        body, is_complete = await read_capped(content, self._means.max_answer_bytes)
        headers = cast("Mapping[str, str]", message.headers)
        is_complete = is_complete and not is_encoded(headers)
        seconds = self._means.loop.time() - self._sent_at
        return Response(message.code, headers, body, is_complete, is_uploaded, seconds)

    def _send(self, line: Line, head: bytes, request: Request) -> None:
        """Hand the request over, a large one beside the reading of its answer. Errors: before the first byte only."""
        protocol, body = line.protocol, request.body
        protocol.expect()
        transport = protocol.transport
        if self.is_expired or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError
        # A GET without a body has no length (RFC 9110 8.6).
        length = b"" if not body and request.method == "GET" else b"Content-Length: %d\r\n" % len(body)
        self.is_sent = True
        self._sent_at = self._means.loop.time()
        if len(body) <= JOINED_BYTES:
            transport.write(b"%b%b\r\n%b" % (head, length, body))
        elif len(body) <= BUFFERED_BYTES:
            transport.writelines((b"%b%b\r\n" % (head, length), body))
        else:
            writer = StreamWriter(protocol, self._means.loop)
            self._upload = self._means.loop.create_task(self._send_slices(writer, b"%b%b\r\n" % (head, length), body))
            return
        self.is_uploaded = True

    async def _send_slices(self, writer: StreamWriter, head: bytes, body: bytes) -> None:
        """Hand a large body over as fast as the connection takes it. What goes wrong is learnt by who reads the answer."""
        view = memoryview(body)
        try:
            await writer.write(head, drain=False)
            for start in range(0, len(view), SLICE_BYTES):
                await writer.write(view[start : start + SLICE_BYTES])
        except (OSError, aiohttp.ClientError):
            return
        self.is_uploaded = True
