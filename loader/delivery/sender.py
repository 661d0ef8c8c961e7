"""The way to the target: one request after another, each with its token, each answer told to throttle and breaker.

Every request of a run goes through `Sender.send`, probes and look-ups too. The caller holds the concurrency slot (it
is a worker); the rate token is taken last, directly before the first byte leaves. A request that is on its way is
never cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from loader.delivery.breaker import Breaker
from loader.model import NoResponse, Request, Response, new_tuple
from loader.rate.throttle import AutoThrottle, Failed, Signal, Success, Throttle, Throttled, Ticket
from loader.targets.answers import retry_after_seconds
from loader.targets.limit_headers import read_limits
from loader.transport.base import Follow, Transport

_status_of, _seconds_of, _body_of = attrgetter("status"), attrgetter("seconds"), attrgetter("body")

TOO_MANY_REQUESTS = 429
SERVICE_UNAVAILABLE = 503
REQUEST_TIMEOUT = 408
FIRST_SERVER_ERROR = 500


@dataclass(slots=True)
class Traffic:
    """What went over the wire in this execution."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes_sent: int = 0
    in_flight: int = 0

    def leave(self, requests: int, body_bytes: int) -> None:
        """Count requests that leave."""
        self.requests += requests
        self.in_flight += requests
        self.bytes_sent += body_bytes


def is_throttle(response: Response) -> bool:
    """Say whether an answer only means: too fast. A 503 does so where it names a time."""
    return response.status == TOO_MANY_REQUESTS or (
        response.status == SERVICE_UNAVAILABLE and "retry-after" in response.headers
    )


def is_fault(reply: Response | NoResponse) -> bool:
    """Say whether a reply means that the target, or the way to it, is not well."""
    return isinstance(reply, NoResponse) or reply.status >= FIRST_SERVER_ERROR or reply.status == REQUEST_TIMEOUT


class LeftCancelled(asyncio.CancelledError):
    """The task was cancelled after its request had left."""


class InFlight:
    """What a sender has out, one request after another. `ticket` is that of the one whose end nobody was told of yet.

    A sender that may go on with other records is a `world.Follow`, too; it has to say `answered` first, and `go_on` for
    what it returns.
    """

    __slots__ = ("ticket",)

    def __init__(self) -> None:
        self.ticket: Ticket | None = None


class Sender:
    """Sends requests under the throttle. `sending` holds the tasks whose request may have left."""

    def __init__(self, transport: Transport, throttle: Throttle) -> None:
        self.traffic = Traffic()
        self.throttle = throttle
        self.breaker: Breaker | None = None
        self.sending: set[asyncio.Task[object]] = set()
        self._transport = transport
        self._auto = throttle if isinstance(throttle, AutoThrottle) else None

    async def send(
        self,
        request: Request,
        *,
        is_record: bool,
        passage: InFlight | None = None,
        follow: Follow | None = None,
        task: asyncio.Task[object] | None = None,
    ) -> Response | NoResponse:
        """Take a token, send, and tell throttle and breaker. Only a record's own request (`is_record`) moves the breaker.

        Whatever else is asked goes before the records that wait: a target that refuses nearly all of them would refuse it, too.
        And it goes out alone: by the answer to another question a record that is there would be absent, and sent again. A
        record's own answer repeats it, or gives ids.
        `passage`: a record's. With `follow` it may go on with other records; the reply to the last one is returned.
        `task`: the running one, where the caller has it at hand; to ask for it costs as much as a ticket.
        """
        if not is_record:
            request = Request(request.method, request.path, request.body, is_unpooled=True)
        passage = passage or InFlight()
        ticket = self.throttle.admit_now() or await self.throttle.admit(is_first=not is_record)
        task = task or asyncio.current_task()
        assert task is not None  # noqa: S101 -- admit was awaited, so there is a task; this tells mypy
        self.sending.add(task)
        passage.ticket = ticket
        self.traffic.leave(1, len(request.body))
        reply: Response | NoResponse | None = None
        try:
            reply = await self._transport.send(request, follow)
        except asyncio.CancelledError as error:
            raise LeftCancelled from error
        finally:
            self.sending.discard(task)
            if passage.ticket is not None:
                self._end(passage, reply, is_record=is_record)
        return reply

    def answered(self, passages: Sequence[InFlight], responses: Sequence[Response]) -> None:
        """Tell throttle and breaker of answers to records that something may follow at once."""
        tickets = [passage.ticket for passage in passages if passage.ticket is not None]
        is_plain = max(map(_status_of, responses)) < REQUEST_TIMEOUT and len(tickets) == len(passages)
        if not is_plain or (self._auto is not None and any(read_limits(response.headers) for response in responses)):
            for passage, response in zip(passages, responses, strict=True):
                self._end(passage, response, is_record=True)
            return
        for passage in passages:
            passage.ticket = None
        self.traffic.in_flight -= len(tickets)
        self.throttle.succeeded(tickets, list(map(_seconds_of, responses)))
        if self.breaker is not None:
            self.breaker.succeeded()

    def go_on(self, passages: Sequence[InFlight], requests: Sequence[Request]) -> int:
        """Let records' requests follow answers, none of them one that goes alone.

        Returns how many of them leave; the rest have to wait for their tokens.
        """
        tickets = self.throttle.admit_many(len(requests))
        count = len(tickets)
        for passage, ticket in zip(passages, tickets, strict=False):
            passage.ticket = ticket
        self.traffic.leave(count, sum(map(len, map(_body_of, requests[:count]))))
        return count

    def was_answered(self, *, is_useful: bool) -> None:
        """Tell the patience whether the answer to a question said anything. Only its reader knows: a 200 may be a web page."""
        if self.breaker is not None:
            self.breaker.was_asked(is_answered=is_useful)

    def _end(self, passage: InFlight, reply: Response | NoResponse | None, *, is_record: bool) -> None:
        ticket, passage.ticket = passage.ticket, None
        assert ticket is not None  # noqa: S101 -- a request ends once; this tells mypy
        self.traffic.in_flight -= 1
        if self._auto is not None and isinstance(reply, Response) and (said := read_limits(reply.headers)):
            self._auto.told(*said)
        if type(reply) is Response and reply.status < REQUEST_TIMEOUT:  # as nearly always
            self.throttle.answered(ticket, new_tuple(Success, (reply.seconds,)))
            if is_record and self.breaker is not None:
                self.breaker.succeeded()
            return
        self.throttle.answered(ticket, Failed() if reply is None else self._signal(reply))
        if self.breaker is not None and reply is not None:
            if is_record:
                self._tell(self.breaker, reply)
            elif is_fault(reply):
                self.breaker.was_asked(is_answered=False)

    def _signal(self, reply: Response | NoResponse) -> Signal:
        if isinstance(reply, NoResponse):
            return Failed()
        if is_throttle(reply):
            self.traffic.throttled += 1
            return Throttled(retry_after_seconds(reply.headers))
        return Failed() if is_fault(reply) else Success(reply.seconds)

    def _tell(self, breaker: Breaker, reply: Response | NoResponse) -> None:
        if isinstance(reply, Response) and is_throttle(reply):
            breaker.was_throttled()
        elif is_fault(reply):
            breaker.failed()
        else:
            breaker.succeeded()

    def drop_idle(self) -> None:
        """Use no pooled connection again: an answer came that belongs to another request."""
        self._transport.drop_idle()

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.close()
