"""The parts of aiohttp that the lean transport takes without asking: is what is installed what it was written for?

They are no public interface, so a new version may move them. `has_working_parts` looks at their signatures and has them read
answers, whole, in pieces and broken, before a run relies on them. It sends nothing and opens nothing.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Protocol, TypeAlias

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import DEFAULT_CHUNK_SIZE, EMPTY_BODY_STATUS_CODES
from aiohttp.http import HttpResponseParser
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD

from loader.transport.pool import WatchedProtocol

if TYPE_CHECKING:
    from aiohttp.http_parser import RawResponseMessage
    from aiohttp.streams import StreamReader

_RESPONSE_PARAMETERS = ("skip_payload", "read_until_eof", "auto_decompress", "max_line_size", "max_headers")
_SWITCHING_PROTOCOLS = 101
_ASKED = {
    "bool",
    "is_eof",
    "_should_close",
    "_payload",
    "_upgraded",
    "_exception",
    "_payload_parser",
    "_buffer",
    "_tail",
}

Begun: TypeAlias = "tuple[RawResponseMessage, StreamReader]"
"""An answer whose head has been read."""


class Listener(Protocol):
    """Who is told of what comes."""

    def hear(self) -> None:
        """Something has come."""
        ...

    def look(self) -> object:
        """Nothing more will come."""
        ...


class Handler(WatchedProtocol):
    """A protocol that also says that something has come, or that the connection was lost.

    What comes while an answer is expected goes a shorter way to the parser than aiohttp's own, which is made for web sockets and
    timers, too, and costs half as much again as the parser (measured). All else is left to it.
    """

    exchange: Listener | None = None

    def expect(self) -> None:
        """Expect an answer, with a new parser: what another answer has begun to say is never its beginning."""
        if self._tail:
            self.set_response_params(read_until_eof=True, auto_decompress=False)
            return
        self._parser = HttpResponseParser(
            self,
            self._loop,
            DEFAULT_CHUNK_SIZE,
            payload_exception=aiohttp.ClientPayloadError,
            read_until_eof=True,
            auto_decompress=False,
        )

    def data_received(self, data: bytes) -> None:
        """Read, and say so."""
        parser = self._parser
        if parser is None or self._upgraded or not data:
            super().data_received(data)
        else:
            try:
                messages, self._upgraded, tail = parser.feed_data(data)
            except Exception as error:  # noqa: BLE001 -- as aiohttp does: whatever it is, the connection is of no more use
                self._give_up(error)
            else:
                for message, payload in messages:
                    self._should_close = self._should_close or message.should_close
                    self._payload = payload
                    content = EMPTY_PAYLOAD if message.code in EMPTY_BODY_STATUS_CODES else payload
                    self._buffer.append(((message, content), 0))
                if self._upgraded and tail:
                    super().data_received(tail)
        if self.exchange is not None:
            self.exchange.hear()

    def may_go_on(self) -> bool:
        """Say whether another request may follow an answer whose body has come whole.

        The same as `should_close` asks, which asks the body, too, and is what is looked at in any other case.
        """
        transport = self.transport
        return not (
            self._should_close
            or self._buffer
            or self._tail
            or self._upgraded
            or self._exception is not None
            or self._payload_parser is not None  # type: ignore[redundant-expr]  # its annotation knows no web socket
            or transport is None
            or transport.is_closing()
        )

    def _give_up(self, error: Exception) -> None:
        """Take no more from a server that does not speak HTTP."""
        if self.transport is not None:
            self.transport.close()
        told = HttpProcessingError()
        if isinstance(error, HttpProcessingError):
            told = HttpProcessingError(code=error.code, message=error.message, headers=error.headers)
        self.set_exception(told, error)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Be lost, and say so."""
        super().connection_lost(exc)
        if self.exchange is not None:
            self.exchange.look()

    def next_answer(self) -> Begun | None:
        """Return the next answer whose head has been read, but for interim ones. Errors: whatever ended the connection."""
        while self._buffer:
            begun, _ = self._buffer.popleft()
            if not 100 <= begun[0].code < 200 or begun[0].code == _SWITCHING_PROTOCOLS:
                return begun
        if self._eof:
            raise self._exception or aiohttp.ServerDisconnectedError
        return None


def whole_of(content: StreamReader) -> bytes | None:
    """Return a body that has come whole; None where it has not, or not well.

    `read_nowait` goes through the parser once more, to resume a reading that was never paused; that costs a tenth of a
    request. So the pieces are taken as they lie, unless the reading is paused.
    """
    try:
        if not content._eof or content._exception is not None:  # noqa: SLF001 -- two calls less for each answer
            return None
        if not content._protocol._reading_paused:  # noqa: SLF001 -- see above
            return b"".join(content._buffer)  # noqa: SLF001 -- see above
    except AttributeError:  # an answer that has no body, as a 204, has none of these
        if not content.is_eof() or content.exception() is not None:
            return None
    return content.read_nowait(-1)


_PROBE_HEAD = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nX-Probe: a\r\n\r\n{"
_PROBE_REST = b"}"
_PROBE_LAST = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class _Silence(asyncio.Transport):
    """A connection to nobody."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""


def has_working_parts(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether the installed aiohttp has the parts that are used here, and whether they read answers as they should."""
    try:
        connect = inspect.signature(aiohttp.TCPConnector.connect).parameters
        parameters = inspect.signature(ResponseHandler.set_response_params).parameters
        if not {"req", "traces", "timeout"} <= set(connect) or not set(_RESPONSE_PARAMETERS) <= set(parameters):
            return False
        if "_factory" not in aiohttp.BaseConnector.__init__.__code__.co_names:
            return False  # what `pool` sets to get connections that say what has come
        if not set(vars(ResponseHandler)["should_close"].fget.__code__.co_names) <= _ASKED:
            return False  # there is more to ask than `may_go_on` does
        return _reads_answers(loop)
    except Exception:  # noqa: BLE001 -- parts that fail in any way are not the parts that are needed
        return False


def _reads_answers(loop: asyncio.AbstractEventLoop) -> bool:
    return all(check(_handler_of(loop)) for check in (_reads_pieces, _sees_an_early_word, _sees_an_end, _sees_nonsense))


def _handler_of(loop: asyncio.AbstractEventLoop) -> Handler:
    handler = Handler(loop)
    handler.connection_made(_Silence())
    return handler


def _reads_pieces(handler: Handler) -> bool:
    for _ in range(2):
        handler.expect()
        handler.data_received(_PROBE_HEAD)
        begun = handler.next_answer()
        if begun is None or not handler.should_close or begun[1].is_eof():
            return False
        handler.data_received(_PROBE_REST)
        message, content = begun
        if (message.code, message.headers["x-probe"], whole_of(content)) != (201, "a", b"{}"):
            return False
        if not content.is_eof() or handler.should_close:
            return False
    return True


def _sees_an_early_word(handler: Handler) -> bool:
    handler.data_received(_PROBE_HEAD)
    is_held = handler.should_close
    handler.expect()
    return is_held and handler.next_answer() is not None


def _sees_an_end(handler: Handler) -> bool:
    handler.expect()
    handler.data_received(_PROBE_LAST)
    begun = handler.next_answer()
    return begun is not None and whole_of(begun[1]) == b"{}" and handler.should_close


def _sees_nonsense(handler: Handler) -> bool:
    handler.expect()
    handler.data_received(b"nonsense\r\n\r\n")
    try:
        handler.next_answer()
    except HttpProcessingError:
        return handler.should_close
    return False
