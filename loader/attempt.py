"""One sending of one request through a session: the body, how far it came, what its deadline ends; and the request that marks it.

`is_sent` is False only where `MarkedRequest.send` has not begun: aiohttp writes nothing of a request anywhere else, and it begins
before the first byte is handed to the socket (reliability.md 0.4). What is overridden here is public: a session takes the class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp
from aiohttp import hdrs
from aiohttp.payload import Payload
from multidict import CIMultiDict

from loader.connector import IS_ALONE
from loader.exchange import SLICE_BYTES, head_fields

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.connector import Connection
    from aiohttp.typedefs import LooseHeaders
    from yarl import URL


class Attempt(Payload):
    """One sending of one request: the body on its way out, the marks of how far it came, and what its deadline ends.

    It is aiohttp's payload as well, so that an attempt costs one object. `consumed` stays True: a body that cannot be read
    twice is never sent again.
    """

    _autoclose = True
    _consumed = True
    _no_headers: CIMultiDict[str] = CIMultiDict()

    def __init__(self, body: bytes, loop: asyncio.AbstractEventLoop) -> None:
        # Payload.__init__ is left out: it builds a header map for every request, and all requests have the same (`Marked`).
        self._value = body
        self._size = len(body)
        self._task = asyncio.current_task(loop)
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        self.loop = loop
        self.due = 0.0
        self.is_expired = False
        self.is_sent = False
        self.is_uploaded = False
        self.sent_at = 0.0

    @property
    def headers(self) -> CIMultiDict[str]:
        """Return the headers that the body brings: none, they are those of the request."""
        return self._no_headers

    def mark_sent(self) -> None:
        """Note that from now on bytes may have left. Errors: ClientError where they may have left already."""
        if self.is_sent:
            message = "an attempt may not be sent twice"
            raise aiohttp.ClientError(message)
        self.is_sent = True
        self.sent_at = self.loop.time()

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
    """A request that marks its attempt before it writes anything, and whose head was put together beforehand.

    All requests of a transport have the same header fields but for the length. To put them together anew, and to look whether any
    of them asks for an encoding, costs a session a tenth of a request. `fields` are set by `marked_requests`.
    """

    fields: ClassVar[CIMultiDict[str]]

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Mark, then send."""
        ATTEMPT.get().mark_sent()
        if IS_ALONE.get() and conn.protocol is not None:
            conn.protocol.force_close()
        return await super().send(conn)

    def update_headers(self, headers: LooseHeaders | None) -> None:
        """Take the fields as they are; the session has none of its own."""
        del headers
        self.headers = self.fields.copy()

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add nothing."""

    def update_content_encoding(self, data: Any) -> None:
        """Send the body as it is."""
        del data
        self.compress = None

    def update_transfer_encoding(self) -> None:
        """Send the body whole: its length is known."""

    def update_body_from_data(self, body: Any, _stacklevel: int = 3) -> None:
        """Take an attempt for the body, and name its length."""
        if body is None:
            super().update_body_from_data(body, _stacklevel)
            return
        self._body = body
        self.headers[hdrs.CONTENT_LENGTH] = str(body.size)


def marked_requests(url: URL, headers: Mapping[str, str]) -> type[MarkedRequest]:
    """Make the class of a transport's requests. Errors: UsageError where a header field would end its line."""

    class Marked(MarkedRequest):
        fields: ClassVar[CIMultiDict[str]] = CIMultiDict(head_fields(url, headers))

    return Marked
