"""The HTTP shell: sockets, parsing, the guards of a loopback server, and carrying out effects.

Owns connections and timers; knows no API and no rule of the fault plan. One `Connection` a socket, on httptools; requests on it
are answered one after another, in order. A request that meets no fault and no wait is parsed, carried out and answered within one
call from the loop, without a task (performance.md section 1 says what that is worth).

Guards: the Host header must name this server (a page in a browser may have its own name point here), a request with an Origin
comes from a browser and is refused, and heads, bodies and waiting times are capped.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Protocol, cast

import httptools

from loader.emulator.effects import Effect, Ending, Stray
from loader.emulator.engine import Engine, Ticket
from loader.emulator.faults import NOTHING, Fault
from loader.emulator.routes import read_target
from loader.emulator.wire import Answer, Call, write_answer

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_BODY_BYTES = 128 * 1024 * 1024
"""Above Canbus' own 100 MB ([D] CB-lim), so that the API's 413 comes before the shell's."""
REQUEST_SECONDS = 60.0
SWEEP_SECONDS = 1.0
RESET_DELAY_SECONDS = 0.02
"""Bytes before a RST need to leave first; a RST overtakes what is still queued."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Service(Protocol):
    """What a connection needs of its server."""

    engine: Engine
    loop: asyncio.AbstractEventLoop
    connections: set[Connection]
    lingering: set[Connection]
    """Those that are lost while their request is still being carried out."""

    def forget(self, connection: Connection) -> None:
        """Take note that a connection has ended."""
        ...

    def is_own_host(self, host: bytes) -> bool:
        """Say whether a Host header names this server."""
        ...

    def later(self, seconds: float, ticket: Ticket) -> None:
        """Commit a ticket later."""
        ...


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._engine = service.engine
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._is_in_head = True
        self._waiting: deque[Call] = deque()
        # The request that is being waited for, and the timer that ends the wait (or writes the next drip).
        self._ticket: Ticket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_busy = False
        # After a fault that ends it, nothing that still comes in is looked at.
        self._is_deaf = False
        self.touched = service.loop.time()
        self.is_mid_request = False

    # --- what the loop says -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._peer = (transport.get_extra_info("peername") or ("",))[0]
        self._service.connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._service.forget(self)
        self._is_deaf = True
        ticket = self._ticket
        if ticket is not None and ticket.answer is None and not self._engine.commits_after_disconnect(ticket.call):
            self._ticket = None
            self._engine.abandon(ticket)
        elif ticket is not None:
            self._service.lingering.add(self)  # its timer goes on and commits
            return
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self.touched = self._service.loop.time()
        if self._is_in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            # Not the client's fault: a bug in here. It is shown, and the client gets what a server would say.
            self._service.loop.call_exception_handler(
                {"message": "the emulator failed", "exception": error.__context__ or error}
            )
            self._refuse(500)
        except httptools.HttpParserUpgrade:
            self._refuse(400)
        except httptools.HttpParserError:
            if not self._is_deaf:
                self._refuse(400)
        # The segment that ends the head may hold a large body as well, so only an unended head is held against the cap.
        if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES and not self._is_deaf:
            self._refuse(431)

    # `eof_received` is the default: a client that closes its side has gone. One that only half-closes and waits looks the same,
    # and is rarer.

    # --- what the parser says ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._body_bytes = b"", {}, [], 0
        self._is_in_head = self.is_mid_request = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value
        if len(self._headers) > MAX_HEADERS and not self._is_deaf:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        self._is_in_head, self._head_bytes = False, 0
        if self._is_deaf:
            return
        headers = self._headers
        if b"origin" in headers or not self._service.is_own_host(headers.get(b"host", b"")):
            self._refuse(403)
        elif (
            not headers.get(b"content-length", b"0").isdigit()
            or int(headers.get(b"content-length", b"0")) > MAX_BODY_BYTES
        ):
            self._refuse(413)
        elif self._engine.has_early_faults and (fault := self._engine.at_headers(self._call().route)) is not None:
            self._strike_early(fault)
        elif headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        if self._is_deaf:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._refuse(413)

    def on_message_complete(self) -> None:
        self._is_in_head, self.is_mid_request = True, False
        if self._is_deaf:
            return
        call = self._call()
        if self._is_busy:
            self._waiting.append(call)
            self._transport.pause_reading()
        else:
            self._begin(call)

    def _call(self) -> Call:
        method, path, query, route = read_target(self._parser.get_method(), self._url)
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return Call(method, path, query, route, self._headers, body, self._peer, not self._parser.should_keep_alive())

    # --- carrying out -----------------------------------------------------------------------------------------------

    def _begin(self, call: Call) -> None:
        ticket = self._engine.admit(call)
        drawn = ticket.drawn
        if drawn is NOTHING:
            self._transport.write(self._engine.answer(ticket))
            if call.is_last:
                self._end("close")
            return
        if not drawn.delay_seconds:
            self._finish(ticket)
            return
        if drawn.is_committed_first:
            self._engine.commit(ticket)
        self._is_busy, self._ticket = True, ticket
        self._timer = self._service.loop.call_later(drawn.delay_seconds, self._finish_late, ticket)

    def _finish_late(self, ticket: Ticket) -> None:
        self._service.lingering.discard(self)
        self._finish(ticket)
        self._next()

    def _finish(self, ticket: Ticket) -> None:
        self._ticket = self._timer = None
        is_gone = self._transport.is_closing()
        effect = self._engine.perform(ticket, is_gone=is_gone)
        if effect.late_seconds is not None:
            self._service.later(effect.late_seconds, ticket)
        if not is_gone:
            self._send(effect)

    def _send(self, effect: Effect) -> None:
        if effect.data:
            self._transport.write(effect.data)
        if effect.drips:
            self._is_busy = True
            self._drip(effect, 0)
            return
        if effect.ending != "keep":
            self._end(effect.ending, RESET_DELAY_SECONDS if effect.data else 0.0)
            return
        if effect.stray is not None:
            self._service.loop.call_later(effect.stray.seconds, self._stray, effect.stray)
        self._is_busy = False

    def _drip(self, effect: Effect, index: int) -> None:
        if self._transport.is_closing():
            return
        if index == len(effect.drips) and not effect.is_endless:
            self._send(Effect(ending=effect.ending))
            self._next()
            return
        self._transport.write(effect.drips[index % len(effect.drips)])
        self._timer = self._service.loop.call_later(effect.drip_seconds, self._drip, effect, index + 1)

    def _stray(self, stray: Stray) -> None:
        if not self._transport.is_closing():
            self._transport.write(stray.data)
            if stray.is_last:
                self._transport.close()

    def _next(self) -> None:
        """Go on with what came in meanwhile."""
        while self._waiting and not self._is_busy and not self._is_deaf:
            call = self._waiting.popleft()
            if not self._waiting:
                self._transport.resume_reading()
            self._begin(call)

    def _strike_early(self, fault: Fault) -> None:
        self._is_deaf = True
        effect = self._engine.perform_early(self._call(), fault)
        if effect.ending == "hang":
            # Not reading is the fault; a client that gives up is noticed when the emulator ends.
            self._transport.pause_reading()
        self._send(effect)

    def _end(self, ending: Ending, seconds: float = 0.0) -> None:
        self._is_deaf = self._is_busy = True
        if ending == "close":
            self._transport.close()
        elif ending == "reset":
            self._service.loop.call_later(seconds, self._reset)

    def _reset(self) -> None:
        """End with a RST: a socket that may not linger sends one when it is closed."""
        link = self._transport.get_extra_info("socket")
        if link is not None and not self._transport.is_closing():
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _refuse(self, status: int) -> None:
        """Answer for the shell itself and end the connection."""
        self._is_deaf = True
        self._transport.write(write_answer(Answer(status, b""), is_last=True))
        self._transport.close()

    # --- what the server says ---------------------------------------------------------------------------------------

    def sweep(self, now: float, keep_alive_seconds: float) -> None:
        """End a connection that idles, or that takes for ever to send a request."""
        if self._is_busy or self._is_deaf:
            return
        if now - self.touched > (REQUEST_SECONDS if self.is_mid_request else keep_alive_seconds):
            self._transport.close()

    def abort(self) -> None:
        """End at once, whatever is going on; what was not committed will not be."""
        ticket, self._ticket = self._ticket, None
        if self._timer is not None:
            self._timer.cancel()
        if ticket is not None:
            self._engine.abandon(ticket)
        self._transport.abort()
