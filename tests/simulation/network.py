"""A network without sockets: requests travel to the emulator's engine and answers back, in virtual time.

What happens to a message on its way is drawn; what the target does with it is the emulator's own, fault plan included. The
target knows nothing of the process that asks: its waits and late commits go on when that process is dead.

The rules by which a lost or broken answer becomes a `Response` or a `NoResponse` are those that the transports are held to
by their contract suite (reliability.md 2.2).
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from loader.emulator.effects import Effect
from loader.emulator.engine import Engine, Ticket
from loader.emulator.routes import read_target
from loader.emulator.wire import Call
from loader.model import NoResponse, Request, Response
from loader.transport.base import Follow
from tests.simulation.loop import SimulatedLoop


@dataclass(frozen=True, slots=True)
class Outage:
    """A stretch of time, from the service's beginning, in which the target cannot be reached, or is no help."""

    begins: float
    ends: float
    kind: str  # refused | silent | 503 | 401 | 403 | 429


@dataclass(frozen=True, slots=True)
class Weather:
    """How messages fare. Probabilities are per attempt; seconds are of one way."""

    mean_seconds: float = 0.01
    refused: float = 0.0
    lost_before: float = 0.0
    lost_after: float = 0.0
    outages: tuple[Outage, ...] = ()


CLEAR = Weather()
NOT_REUSED = 0.1
"""How often a connection is closed behind a whole answer, so that nothing follows on it."""
Answered: TypeAlias = Callable[[Effect | None], None]


class Service:
    """The target, reachable under any address. It outlives every client."""

    def __init__(
        self, engine: Engine, weather: Weather, loop: SimulatedLoop, draw: Random, trace: Callable[..., None]
    ) -> None:
        self.engine = engine
        self.weather = weather
        self.draw = draw
        self.trace = trace
        self.loop = loop
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self.handled = 0
        self._began = self.loop.time()
        self.lost_answers = 0

    def outage(self) -> Outage | None:
        now = self.loop.time() - self._began
        return next((one for one in self.weather.outages if one.begins <= now < one.ends), None)

    def way(self) -> float:
        return self.draw.expovariate(1 / self.weather.mean_seconds)

    # --- what happens outside the process, whether it runs or stands still --------------------------------------------

    def later(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen out there."""
        self._order += 1
        when = self.loop.time() + seconds
        heapq.heappush(self._events, (when, self._order, event))
        self.loop.call_at(when, self._happen)

    def _happen(self) -> None:
        while self._events and self._events[0][0] <= self.loop.time():
            heapq.heappop(self._events)[2]()

    def stand_still(self, seconds: float) -> None:
        """Let time go by in which the process does nothing, as when it is stopped, and the world goes on."""
        end = self.loop.time() + seconds
        while self._events and self._events[0][0] <= end:
            self.loop.stall_until(self._events[0][0])
            self._happen()
        self.loop.stall_until(end)

    # --- requests ----------------------------------------------------------------------------------------------------

    def arrive(self, call: Call, answered: Answered) -> None:
        """Take a request in. `answered` is called with what is sent back, None where nothing ever is."""
        self.handled += 1
        ticket = self.engine.admit(call)
        if ticket.drawn.is_committed_first:
            self.engine.commit(ticket)
        if ticket.drawn.delay_seconds:
            self.later(ticket.drawn.delay_seconds, lambda: self._finish(ticket, answered))
        else:
            self._finish(ticket, answered)

    def _finish(self, ticket: Ticket, answered: Answered) -> None:
        effect = self.engine.perform(ticket)
        fault = ticket.drawn.fault
        created = ticket.answer.ids if ticket.answer is not None else ()
        self.trace("target", ticket.call.method, ticket.call.path, fault and fault.kind, created)
        if effect.late_seconds is not None:
            self.later(effect.late_seconds, lambda: self._late(ticket))
        answered(None if effect.ending == "hang" and not effect.data else effect)

    def _late(self, ticket: Ticket) -> None:
        self.engine.perform_late(ticket)
        self.trace("late", ticket.call.path, ticket.answer.ids if ticket.answer is not None else ())


class Wire:
    """One process' transport. Takes the arguments of `SessionTransport`."""

    def __init__(
        self,
        service: Service,
        on_request: Callable[[Request], None],
        headers: Mapping[str, str],
        timeout_seconds: float,
    ) -> None:
        self.is_dead = False
        self.requests = 0
        self._service = service
        self._on_request = on_request
        self._headers = {name.lower().encode(): value.encode() for name, value in headers.items()}
        self._timeout_seconds = timeout_seconds
        self._open: dict[asyncio.Future[Response | NoResponse], None] = {}
        self.is_closed = False
        self._heard: list[tuple[Follow, Response, asyncio.Future[Request | None]]] = []
        self.complaints: list[str] = []
        """Manners that were broken."""
        self._refused_at: float | None = None

    async def send(self, request: Request, follow: Follow | None = None) -> Response | NoResponse:
        while True:
            reply = await self._send_one(request)
            if (
                follow is None
                or request.is_unpooled
                or not isinstance(reply, Response)
                or not reply.is_whole
                or self.is_dead
            ):
                return reply
            if self._service.draw.random() < NOT_REUSED:
                return reply
            following = await self._following(follow, reply)
            if following is None:
                return reply
            if following.is_unpooled:
                self.complaints.append("a request that goes alone followed another one")
            request = following

    async def _following(self, follow: Follow, response: Response) -> Request | None:
        """Ask what follows: all answers of a turn are handed over before the first request is asked for."""
        said: asyncio.Future[Request | None] = self._service.loop.create_future()
        if not self._heard:
            self._service.loop.call_soon(self._ask_all)
        self._heard.append((follow, response, said))
        return await said

    def _ask_all(self) -> None:
        heard, self._heard = self._heard, []
        is_alive = not self.is_dead
        for follow, response, _ in heard if is_alive else ():
            follow.take(response)
        for follow, _, said in heard:
            following = follow.next() if is_alive else None
            if not said.done():
                said.set_result(following)

    async def _send_one(self, request: Request) -> Response | NoResponse:
        if self.is_dead:
            return NoResponse(is_sent=False, error="the process is dead")
        if self.is_closed:
            self.complaints.append("a request after the transport was closed")
        service = self._service
        if self._refused_at is not None and service.loop.time() > self._refused_at:
            self.complaints.append("a request after the credentials were refused")
        service.trace("send", request.method, request.path, request.body)
        self.requests += 1
        self._on_request(request)
        if not self._is_alive():  # it was killed by this very request
            return NoResponse(is_sent=False, error="the process is dead")
        outage = service.outage()
        if (outage is not None and outage.kind == "refused") or service.draw.random() < service.weather.refused:
            await asyncio.sleep(service.way())
            return NoResponse(is_sent=False, error="ClientConnectorError: connection refused")
        future: asyncio.Future[Response | NoResponse] = service.loop.create_future()
        self._open[future] = None
        timer = service.loop.call_later(self._timeout_seconds, _settle, future, _no_answer("TimeoutError"))
        try:
            self._leave(request, future, outage)
            reply = await future
        finally:
            timer.cancel()
            self._open.pop(future, None)
        if isinstance(reply, Response) and reply.status in (401, 403) and not request.path.endswith("/query"):
            self._refused_at = self._refused_at or service.loop.time()
        status = reply.status if isinstance(reply, Response) else reply.error
        service.trace("reply", request.path, status, reply.body if isinstance(reply, Response) else b"")
        return reply

    def _is_alive(self) -> bool:
        return not self.is_dead

    def _leave(self, request: Request, future: asyncio.Future[Response | NoResponse], outage: Outage | None) -> None:
        service, draw = self._service, self._service.draw
        sent_at = service.loop.time()

        def answered(effect: Effect | None) -> None:
            if draw.random() < service.weather.lost_after:
                service.lost_answers += 1
                effect = None if draw.random() < 0.3 else Effect(ending="reset")
            if effect is not None:
                service.later(
                    service.way(), lambda: _settle(future, read_effect(effect, service.loop.time() - sent_at))
                )

        if draw.random() < service.weather.lost_before:
            service.lost_answers += 1
            if draw.random() < 0.7:
                service.later(service.way(), lambda: _settle(future, _no_answer("ClientOSError: connection reset")))
            return
        if outage is not None:
            if outage.kind == "silent":
                return
            text = _status_line(int(outage.kind), request)
            service.later(service.way(), lambda: _settle(future, read_effect(Effect(text), 0.01)))
            return
        method, path, query, route = read_target(request.method.encode(), request.path.encode())
        call = Call(method, path, query, route, self._headers, request.body)
        service.later(service.way(), lambda: service.arrive(call, answered))

    def drop_idle(self) -> None:
        """There is no connection to keep."""

    async def close(self) -> None:
        self.is_closed = not self.is_dead

    def kill(self) -> None:
        """The process is dead: nobody waits for answers any more."""
        self.is_dead = True
        for future in list(self._open):
            _settle(future, _no_answer("the process is dead"))


def _settle(future: asyncio.Future[Any], value: Response | NoResponse) -> None:
    if not future.done():
        future.set_result(value)


def _no_answer(error: str) -> NoResponse:
    return NoResponse(is_sent=True, error=error)


def _status_line(status: int, request: Request) -> bytes:
    body = b'{"authen":"NG"}' if request.path.startswith("/api/") else b'{"success":false,"error":"Invalid token"}'
    if status in (429, 503):
        body = b"try again"
    return b"HTTP/1.1 %d Status\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def read_effect(effect: Effect, seconds: float) -> Response | NoResponse:
    """Read what the target sent as a sound transport does: a broken head is no answer, a broken body an incomplete one."""
    head, separator, body = effect.data.partition(b"\r\n\r\n")
    if not separator:
        return _no_answer("ServerDisconnectedError")
    lines = head.split(b"\r\n")
    status = lines[0].split(b" ")[1]
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(b": ")
        if b"\0" in value or (name == b"Content-Length" and "content-length" in headers):
            return _no_answer("ClientResponseError: 400")
        headers[name.decode().lower()] = value.decode()
    if not status.isdigit():
        return _no_answer("ClientResponseError: 400")
    if effect.drips:
        return Response(int(status), headers, body, is_complete=False, seconds=seconds)
    length = headers.get("content-length")
    if length is None:
        is_complete = "transfer-encoding" not in headers
    elif int(length) < len(body):
        return _no_answer("ClientResponseError: 400")  # what is left over is read as another answer
    else:
        is_complete = len(body) == int(length)
    is_plain = headers.get("content-encoding", "identity") == "identity"
    return Response(int(status), headers, body, is_complete=is_complete and is_plain, seconds=seconds)
