"""A connection of the lean transport, and what one call of `send` has out on it: a request, and those that follow it.

aiohttp's protocol and parser read the wire (`lean_protocol`); they are asked, at the end of each turn of the loop, what they have
read. Whole answers are dealt with right there, all of one turn together: no task is woken for them, and the requests that follow
leave in the same turn. Whatever comes otherwise (an answer in pieces, a lost connection, an error of the parser) wakes the task
that waits.

Laws, beyond those of `lean`:
- A request follows an answer only where that came whole, the connection says nothing more and is not closed: the same look that a
  connection from the pool gets (`readable`).
- Every request has a parser of its own: what another answer has begun to say is never its beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

import aiohttp
from aiohttp.http_writer import StreamWriter

from loader.end_of_turn import EndOfTurn
from loader.model import Request, Response
from loader.transport.base import Follow
from loader.transport.encodings import decoded, is_encoded
from loader.transport.http import ECHOED_SHARE, JOINED_BYTES, NOT_OURS, SLICE_BYTES, Deadlines, read_capped
from loader.transport.lean_protocol import Begun, Handler, whole_of
from loader.transport.pool import ROUND, readable
from loader.transport.request_heads import Ends, Heads

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.http_parser import RawResponseMessage
    from aiohttp.streams import StreamReader

BUFFERED_BYTES = 64 * 1024
"""Up to here a body counts as uploaded when it was handed over; a larger one when the connection has drained."""


class LeanConnection:
    """A connection between two exchanges, or in one."""

    __slots__ = ("_pooled", "idle_since", "protocol")

    def __init__(self, pooled: Connection) -> None:
        self._pooled = pooled
        self.protocol = cast("Handler", pooled.protocol)
        self.idle_since = 0.0

    def close(self) -> None:
        self._pooled.close()


class Shared:
    """What the exchanges of a transport share. `heads`: see `Heads`."""

    __slots__ = ("deadlines", "ends", "heads", "heard", "loop", "max_answer_bytes")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines, max_answer_bytes: int, heads: Heads
    ) -> None:
        self.loop = loop
        self.deadlines = deadlines
        self.max_answer_bytes = max_answer_bytes
        self.heads = heads
        self.ends = Ends()
        self.heard = EndOfTurn(loop, self._look_at)
        """Exchanges for which something came in this turn of the loop."""

    def _look_at(self, heard: list[Exchange]) -> None:
        """Look at some of them; hand over the answers that something may follow; then send what follows."""
        some = heard[:ROUND]
        for later in heard[ROUND:]:
            self.heard.add(later)
        now = self.loop.time()
        answered = [answered for exchange in some if (answered := exchange.look(now)) is not None]
        speaking = readable([connection.protocol for _, connection, _, _ in answered])
        quiet: list[Answered] = []
        for one in answered:
            exchange, connection, follow, response = one
            if connection.protocol.descriptor in speaking:
                exchange.wake(response)
                continue
            try:
                follow.take(response)
            except Exception as error:  # noqa: BLE001 -- raised where the answer is waited for
                exchange.fail(error)
            else:
                quiet.append(one)
        self.deadlines.begin(*[exchange for exchange, _, _, _ in quiet])
        for exchange, connection, follow, response in quiet:
            exchange.go_on(connection, follow, response)


Answered: TypeAlias = "tuple[Exchange, LeanConnection, Follow, Response]"
"""A whole answer that something may follow."""


class Exchange:
    """Requests one after another on one connection, and the marks of the one that is out."""

    __slots__ = (
        "_answer",
        "_follow",
        "_max_bytes",
        "_sent_at",
        "_shared",
        "_upload",
        "connection",
        "due",
        "is_expired",
        "is_sent",
        "is_uploaded",
    )

    def __init__(self, shared: Shared, follow: Follow | None) -> None:
        self.due = 0.0
        self.is_expired = False
        self.is_sent = False
        self.is_uploaded = False
        self.connection: LeanConnection | None = None
        self._shared = shared
        self._follow = follow
        self._sent_at = 0.0
        self._max_bytes = shared.max_answer_bytes
        self._upload: asyncio.Task[None] | None = None
        # What wakes the task: an answer that was read here, one of which only the head has come, or what ended the connection.
        self._answer: asyncio.Future[Response | Begun] | None = None

    def expire(self) -> None:
        """Cut the connection: whoever reads from it or writes to it is woken by its loss."""
        self.is_expired = True
        transport = self.connection.protocol.transport if self.connection is not None else None
        if transport is not None:
            transport.abort()

    async def run(self, connection: LeanConnection, head: bytes, request: Request) -> Response:
        """Send the request, and whatever follows; return the last answer. Errors: whatever ended the connection."""
        self.connection, protocol = connection, connection.protocol
        self._answer = self._shared.loop.create_future()
        self._send(connection, head, request)
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
        self._shared.heard.add(self)

    def look(self, now: float | None = None) -> Answered | None:
        """See what has come. Returned is a whole answer that something may follow; anything else wakes the task."""
        answer, connection, follow = self._answer, self.connection, self._follow
        if answer is None or connection is None or answer.done():  # cancelled, or woken already
            return None
        protocol = connection.protocol
        try:
            begun = protocol.next_answer()
            if begun is None:
                return None
            response = self._whole(*begun, now or self._shared.loop.time())
        except Exception as error:  # noqa: BLE001 -- raised where the answer is waited for
            self.fail(error)
            return None
        is_whole = response is not None and response.is_complete and response.is_upload_complete
        if is_whole and follow is not None and response is not None and not self.is_expired and protocol.may_go_on():
            return self, connection, follow, response
        self.wake(response or begun)
        return None

    def go_on(self, connection: LeanConnection, follow: Follow, response: Response) -> None:
        """Let the request leave that follows the answer, where there is one; else wake the task."""
        try:
            request = follow.next()
            if request is None:
                self.wake(response)
                return
            self.is_sent = self.is_uploaded = False
            head = self._shared.heads[request.method, request.path]
            if head is None:
                raise ValueError(NOT_OURS)
            self._send(connection, head, request)
        except Exception as error:  # noqa: BLE001 -- raised where the answer is waited for
            self.fail(error)

    def wake(self, answer: Response | Begun) -> None:
        """Wake the task with an answer; what comes from now on is nobody's."""
        if self.connection is not None:
            self.connection.protocol.exchange = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Wake the task with an error."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _whole(self, message: RawResponseMessage, content: StreamReader, now: float) -> Response | None:
        """Make the response of an answer that came at once; None where it has not, or is not to be read whole."""
        body, headers = whole_of(content), message.headers
        if body is None:
            return None
        is_complete = len(body) <= self._max_bytes
        if is_complete and is_encoded(headers):
            body, is_complete = decoded(headers, body, self._max_bytes)
        # Judged now: an answer that came before the whole body was handed over cannot be an answer to it (row 36).
        return Response(message.code, headers, body, is_complete, self.is_uploaded, now - self._sent_at)

    async def _read(self, message: RawResponseMessage, content: StreamReader) -> Response:
        """Read the rest of an answer that comes in pieces."""
        is_uploaded = self.is_uploaded
        body, is_complete = await read_capped(content, self._max_bytes)
        headers = cast("Mapping[str, str]", message.headers)
        if is_complete and is_encoded(headers):
            body, is_complete = decoded(headers, body, self._max_bytes)
        seconds = self._shared.loop.time() - self._sent_at
        return Response(message.code, headers, body, is_complete, is_uploaded, seconds)

    def _send(self, connection: LeanConnection, head: bytes, request: Request) -> None:
        """Hand the request over, a large one beside the reading of its answer. Errors: before the first byte only."""
        protocol, body = connection.protocol, request.body
        protocol.expect()
        transport = protocol.transport
        if self.is_expired or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError
        size = len(body)
        self._max_bytes = self._shared.max_answer_bytes + ECHOED_SHARE * size
        end = self._shared.ends[size or request.method]
        self.is_sent = True
        self._sent_at = self._shared.loop.time()
        if size <= JOINED_BYTES:
            transport.write(head + end + body)
        elif size <= BUFFERED_BYTES:
            transport.writelines((head + end, body))
        else:
            writer = StreamWriter(protocol, self._shared.loop)
            self._upload = self._shared.loop.create_task(self._send_slices(writer, head + end, body))
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
