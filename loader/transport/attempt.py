"""One sending of one request through a session: the body, how far it came, what its deadline ends; and the request that marks it.

`is_sent` is False only where no byte of the request was handed to a socket: aiohttp writes nothing of a request anywhere but in
`send` (reliability.md 0.4), and that is overridden here. A small request, as nearly all are, goes through the outbox
as one piece, and marks itself there; what is larger or goes through a proxy is aiohttp's to write, and marks itself before.
What is overridden is public: a session takes the class.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import aiohttp
from aiohttp import hdrs
from aiohttp.payload import Payload
from multidict import CIMultiDict, CIMultiDictProxy

from loader.transport.batched_writes import Outbox
from loader.transport.http import JOINED_BYTES, SLICE_BYTES, head_fields
from loader.transport.pool import WatchedProtocol
from loader.transport.request_heads import Ends, Heads

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection
    from aiohttp.typedefs import LooseHeaders
    from yarl import URL

_ANSWER_PARAMETERS = {
    "self",
    "method",
    "url",
    "writer",
    "continue100",
    "timer",
    "request_info",
    "traces",
    "loop",
    "session",
    "stream_writer",
}
CAN_MAKE_ANSWERS = inspect.signature(aiohttp.ClientResponse.__init__).parameters.keys() == _ANSWER_PARAMETERS
"""Whether the installed aiohttp makes its answers of what is known here; if not, it is left to write every request."""

_NO_WRITER = cast("AbstractStreamWriter", SimpleNamespace(output_size=0))
"""What an answer asks how much was written, for nobody here."""


class Attempt(Payload):
    """One sending of one request: the body on its way out, the marks of how far it came, and what its deadline ends.

    It is aiohttp's payload as well, so that an attempt costs one object. `consumed` stays True: a body that cannot be read
    twice is never sent again.
    """

    _autoclose = True
    _consumed = True
    _no_headers: CIMultiDict[str] = CIMultiDict()

    def __init__(self, body: bytes, loop: asyncio.AbstractEventLoop, *, is_alone: bool) -> None:
        # Payload.__init__ is left out: it builds a header map for every request, and all requests have the same (`Marked`).
        self._value = self.body = body
        self._size = len(body)
        self._task = asyncio.current_task(loop)
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        self.loop = loop
        self.protocol: WatchedProtocol | None = None
        """The connection it is made on, once that is known; None also for one that is used once."""
        self.due = 0.0
        self.is_alone = is_alone
        self.is_begun = False
        self.is_expired = False
        self.is_over = False
        self.is_sent = False
        self.is_uploaded = False
        self.sent_at = 0.0

    @property
    def headers(self) -> CIMultiDict[str]:
        """Return the headers that the body brings: none, they are those of the request."""
        return self._no_headers

    def begin(self, protocol: WatchedProtocol | None) -> None:
        """Note that it is being sent. Errors: ClientError where it was before."""
        if self.is_begun:
            message = "an attempt may not be sent twice"
            raise aiohttp.ClientError(message)
        self.is_begun = True
        self.protocol = protocol

    def leave(self) -> None:
        """Note that from now on bytes may have left; the connection goes no further where the request goes alone."""
        self.is_sent = True
        self.sent_at = self.loop.time()
        if self.protocol is not None:
            self.protocol.is_used = True
            if self.is_alone:
                self.protocol.force_close()

    def disown(self) -> None:
        """Close the connection, which brought an answer to something that was not sent."""
        if self.protocol is not None:
            self.protocol.close()

    def was_turned_away(self) -> bool:
        """Say whether a connection that had been used before was not to be used once more: another one may be tried.

        A new one that cannot be used is something else: a server that speaks first on each would be tried for ever.
        """
        is_reusing = self.protocol is not None and self.protocol.is_used
        return is_reusing and not self.is_sent and not self.is_expired

    def expire(self) -> None:
        """Cancel whatever the attempt waits for."""
        self.is_expired = True
        if self._task is not None:
            self._task.cancel()

    def takes_cancel_back(self) -> bool:
        """Take the cancellation of `expire` back; False where somebody else has cancelled the task, too."""
        return self.is_expired and self._task is not None and self._task.uncancel() <= self._cancelling

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text, as aiohttp's interface asks."""
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Hand the body to the connection, and note when all of it was."""
        if len(self._value) <= SLICE_BYTES:
            await writer.write(self._value)
        else:
            view = memoryview(self._value)
            for start in range(0, len(view), SLICE_BYTES):
                await writer.write(view[start : start + SLICE_BYTES])
        self.is_uploaded = True

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002 -- aiohttp's interface
        """Hand over the body, whose length is always the content length."""
        await self.write(writer)


ATTEMPT: ContextVar[Attempt] = ContextVar("attempt")
"""The attempt that the running task makes: aiohttp has no way to hand something of ours to a request without a body."""


class MarkedRequest(aiohttp.ClientRequest):
    """A request that marks its attempt before anything is written, and whose head was put together beforehand.

    All requests of a transport have the same header fields but for the length. To put them together anew, and to look whether any
    of them asks for an encoding, costs a session a tenth of a request. The class variables are set by `marked_requests`.
    """

    fields: ClassVar[CIMultiDict[str]]
    heads: ClassVar[Heads]
    ends: ClassVar[Ends]
    outbox: ClassVar[Outbox]
    about: ClassVar[aiohttp.RequestInfo]
    """What an answer tells of its request: nothing, since aiohttp would tell its fields, and with them the credentials."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Send, unless the connection is not to be used any more. Errors: those of aiohttp, and of `Attempt.begin`."""
        attempt = ATTEMPT.get()
        protocol = conn.protocol if isinstance(conn.protocol, WatchedProtocol) else None
        attempt.begin(protocol)
        if protocol is not None:
            is_small = len(attempt.body) <= JOINED_BYTES and self.proxy is None and CAN_MAKE_ANSWERS
            head = self.heads[self.method, self.url.raw_path_qs] if is_small and not protocol.writing_paused else None
            if head is not None:
                return self._put(attempt, protocol, head)
            if protocol.is_used and not protocol.is_quiet():
                raise aiohttp.ClientConnectionResetError
        attempt.leave()
        return await self._send_as_usual(conn)

    async def _send_as_usual(self, conn: Connection) -> aiohttp.ClientResponse:
        """Let aiohttp write the request, which gets fields of its own for that, with its length."""
        self.headers = self.headers.copy()
        size = 0 if self._body is None else self._body.size or 0
        if size or self.method != hdrs.METH_GET:  # a GET without a body has no length (RFC 9110 8.6)
            self.headers[hdrs.CONTENT_LENGTH] = str(size)
        return await super().send(conn)

    def _put(self, attempt: Attempt, protocol: WatchedProtocol, head: bytes) -> aiohttp.ClientResponse:
        """Let the whole request leave with those of this turn, and return its answer, which has yet to come."""
        body = attempt.body
        self.outbox.put(attempt, protocol, head + self.ends[len(body) or self.method] + body)
        return self.response_class(
            self.method,
            self.original_url,
            writer=None,
            continue100=None,
            timer=self._timer,
            request_info=self.about,
            traces=[],
            loop=self.loop,
            session=self.session,
            stream_writer=_NO_WRITER,
        )

    def update_headers(self, headers: LooseHeaders | None) -> None:
        """Take the fields as they are; the session has none of its own. Whoever adds one makes a copy."""
        del headers
        self.headers = self.fields

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add nothing."""

    def update_proxy(self, proxy: URL | None, *about: Any) -> None:
        """Take the proxy, whose credentials become fields of the request."""
        super().update_proxy(proxy, *about)
        if proxy is not None:
            self.headers = self.fields.copy()

    def update_content_encoding(self, data: Any) -> None:
        """Send the body as it is."""
        del data
        self.compress = None

    def update_transfer_encoding(self) -> None:
        """Send the body whole: its length is known."""

    def update_body_from_data(self, body: Any, _stacklevel: int = 3) -> None:
        """Take an attempt for the body."""
        self._body = body


def marked_requests(url: URL, headers: Mapping[str, str], loop: asyncio.AbstractEventLoop) -> type[MarkedRequest]:
    """Make the class of a transport's requests. Errors: UsageError where a header field would end its line."""
    all_fields = head_fields(url, headers)

    class Marked(MarkedRequest):
        fields: ClassVar[CIMultiDict[str]] = CIMultiDict(all_fields)
        heads: ClassVar[Heads] = Heads(str(url.origin()), all_fields)
        ends: ClassVar[Ends] = Ends()
        outbox: ClassVar[Outbox] = Outbox(loop)
        about: ClassVar[aiohttp.RequestInfo] = aiohttp.RequestInfo(url, "", CIMultiDictProxy(CIMultiDict()), url)

    return Marked
