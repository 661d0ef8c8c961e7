"""The parts of aiohttp that the lean transport takes without asking: is what is installed what it was written for?

They are no public interface, so a new version may move them. `has_working_parts` looks at their signatures and has them read
an answer, whole and broken, before a run relies on them. It sends nothing and opens nothing.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from loader.finishing import at_once

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

_RESPONSE_PARAMETERS = ("skip_payload", "read_until_eof", "auto_decompress", "max_line_size", "max_headers")
_PROBE_HEAD = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nX-Probe: a\r\n\r\n{"
_PROBE_REST = b"}"


def whole_of(content: StreamReader) -> bytes:
    """Return a body that has come whole.

    `read_nowait` goes through the parser once more, to resume a reading that was never paused; that costs a tenth of a
    request. So the pieces are taken as they lie, unless the reading is paused.
    """
    protocol, pieces = getattr(content, "_protocol", None), getattr(content, "_buffer", ())
    # An answer that has no body, as a 204, has no protocol either.
    return content.read_nowait(-1) if getattr(protocol, "_reading_paused", True) else b"".join(pieces)


class _Silence(asyncio.Transport):
    """A connection to nobody."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""


def has_working_parts(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether the installed aiohttp has the parts that are used here, and whether they read an answer as they should."""
    try:
        connect = inspect.signature(aiohttp.TCPConnector.connect).parameters
        parameters = inspect.signature(ResponseHandler.set_response_params).parameters
        if not {"req", "traces", "timeout"} <= set(connect) or not set(_RESPONSE_PARAMETERS) <= set(parameters):
            return False
        if "_factory" not in aiohttp.BaseConnector.__init__.__code__.co_names:
            return False  # what `connector` sets to get connections that `lean_line` hears from
        return _reads_an_answer(loop)
    except Exception:  # noqa: BLE001 -- parts that fail in any way are not the parts that are needed
        return False


def _reads_an_answer(loop: asyncio.AbstractEventLoop) -> bool:
    handler: Any = ResponseHandler(loop)
    handler.connection_made(_Silence())
    handler.set_response_params(read_until_eof=True, auto_decompress=False)
    handler.data_received(_PROBE_HEAD)
    message, content = at_once(handler.read())
    was_busy = handler.should_close and not content.is_eof()
    handler.data_received(_PROBE_REST)
    is_right = message.code == 201 and message.headers["x-probe"] == "a" and whole_of(content) == b"{}"
    was_free = content.is_eof() and not handler.should_close
    handler.set_response_params(read_until_eof=True, auto_decompress=False)
    handler.data_received(b"nonsense\r\n\r\n")
    return bool(was_busy and is_right and was_free and handler.should_close)
