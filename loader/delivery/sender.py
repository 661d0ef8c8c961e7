"""Sending one request: take a token, hand the request to the transport, report the answer to throttle and breaker.

Every request of a run goes through `Sender.send`, probes and questions too. The caller holds the concurrency slot (it is a
worker); the rate token is taken last, directly before the first byte leaves. A request that is on its way is never cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from loader.delivery.breaker import Breaker
from loader.model import NoResponse, Request, Response, new_tuple
from loader.rate.overload import Cause, FaultShares
from loader.rate.throttle import AutoThrottle, Failed, Signal, Success, Throttle, Throttled, Ticket
from loader.targets.answers import retry_after_seconds
from loader.targets.busy import BusyAnswers
from loader.targets.limit_headers import read_limits
from loader.transport.base import Follow, Transport

_status_of, _seconds_of, _body_of = attrgetter("status"), attrgetter("seconds"), attrgetter("body")

TOO_MANY_REQUESTS = 429
SERVICE_UNAVAILABLE = 503
REQUEST_TIMEOUT = 408
FIRST_REFUSAL = 400
FORBIDDEN = 403
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


def may_be_overload(reply: Response | NoResponse) -> bool:
    """Say whether a reply may come from a limit that answers in a way of its own: a fault, or a 403 that is a page."""
    if isinstance(reply, NoResponse):
        return reply.is_sent
    return is_fault(reply) or (reply.status == FORBIDDEN and not reply.body.lstrip().startswith(b"{"))


class LeftCancelled(asyncio.CancelledError):
    """The task was cancelled after its request had left."""


class InFlight:
    """One request that is out, and after it the next. `ticket` is None once its end has been reported to the throttle.

    A sender that may go on with other records is a `transport.base.Follow`, too; it calls `answered` first, and
    `admit_following` for what it returns.
    """

    __slots__ = ("ticket",)

    def __init__(self) -> None:
        self.ticket: Ticket | None = None


class Sender:
    """Sends requests under the throttle. `sending` holds the tasks whose request may have left."""

    def __init__(
        self, transport: Transport, throttle: Throttle, breaker: Breaker, busy: BusyAnswers | None = None
    ) -> None:
        self.traffic = Traffic()
        self.shares = FaultShares()
        self._busy = busy or BusyAnswers()
        self.throttle = throttle
        self.breaker = breaker
        self.sending: set[asyncio.Task[object]] = set()
        self._transport = transport
        self._auto = throttle if isinstance(throttle, AutoThrottle) else None

    async def send(
        self,
        request: Request,
        *,
        is_record: bool,
        slot: InFlight | None = None,
        follow: Follow | None = None,
        task: asyncio.Task[object] | None = None,
    ) -> Response | NoResponse:
        """Take a token, send, and report the answer. Only a record's own request (`is_record`) moves the breaker.

        Questions go ahead of records, or a throttled run could never ask. They use a connection of their own: if a stray
        answer to an earlier question were taken for this one, a record that exists would look absent and be sent twice. Record
        requests need no such care: their answers echo the record or carry ids.
        `slot`: of a record's request. With `follow` other records may go after it; the reply to the last one is returned.
        `task`: the running one, if the caller has it at hand; asking for it costs as much as a ticket.
        """
        if not is_record:
            request = Request(request.method, request.path, request.body, is_unpooled=True)
        slot = slot or InFlight()
        ticket = self.throttle.admit_now() or await self.throttle.admit(is_first=not is_record)
        task = task or asyncio.current_task()
        assert task is not None  # noqa: S101 -- admit was awaited, so there is a task; this tells mypy
        self.sending.add(task)
        slot.ticket = ticket
        self.traffic.leave(1, len(request.body))
        reply: Response | NoResponse | None = None
        try:
            reply = await self._transport.send(request, follow)
            if isinstance(reply, Response):
                reply = self._busy.read(reply)
        except asyncio.CancelledError as error:
            raise LeftCancelled from error
        finally:
            self.sending.discard(task)
            if slot.ticket is not None:
                self._end(slot, reply, is_record=is_record)
        return reply

    def answered(self, slots: Sequence[InFlight], responses: Sequence[Response]) -> Sequence[Response]:
        """Report answers to records to throttle and breaker, before other requests follow them. Returns what they mean."""
        tickets = [slot.ticket for slot in slots if slot.ticket is not None]
        is_plain = max(map(_status_of, responses)) < FIRST_REFUSAL and len(tickets) == len(slots)
        if not is_plain or (self._auto is not None and any(read_limits(response.headers) for response in responses)):
            responses = [self._busy.read(response) for response in responses]
            for slot, response in zip(slots, responses, strict=True):
                self._end(slot, response, is_record=True)
            return responses
        for slot in slots:
            slot.ticket = None
        self.traffic.in_flight -= len(tickets)
        self.shares.good(tickets[0].rate, len(tickets))
        self.throttle.succeeded(tickets, list(map(_seconds_of, responses)))
        self.breaker.succeeded()
        return responses

    def admit_following(self, slots: Sequence[InFlight], requests: Sequence[Request]) -> int:
        """Let records' requests follow answers, none of them one that goes alone.

        Returns how many of them leave; the rest have to wait for their tokens.
        """
        tickets = self.throttle.admit_many(len(requests))
        count = len(tickets)
        for slot, ticket in zip(slots, tickets, strict=False):
            slot.ticket = ticket
        self.traffic.leave(count, sum(map(len, map(_body_of, requests[:count]))))
        return count

    def was_answered(self, *, is_useful: bool) -> None:
        """Report whether the answer to a question was of use. Only its reader knows: a 200 may be a web page."""
        self.breaker.was_asked(is_answered=is_useful)

    def _end(self, slot: InFlight, reply: Response | NoResponse | None, *, is_record: bool) -> None:
        ticket, slot.ticket = slot.ticket, None
        assert ticket is not None  # noqa: S101 -- a request ends once; this tells mypy
        self.traffic.in_flight -= 1
        if self._auto is not None and isinstance(reply, Response) and (said := read_limits(reply.headers)):
            self._auto.follow_headers(*said)
        if type(reply) is Response and reply.status < FIRST_REFUSAL:  # as nearly always
            self.shares.good(ticket.rate)
            self.throttle.answered(ticket, new_tuple(Success, (reply.seconds,)))
            if is_record:
                self.breaker.succeeded()
            return
        self.throttle.answered(ticket, Failed() if reply is None else self._signal(ticket, reply))
        if reply is None:
            return
        if is_record:
            self._count(reply)
        elif is_fault(reply):
            self.breaker.was_asked(is_answered=False)

    def _signal(self, ticket: Ticket, reply: Response | NoResponse) -> Signal:
        after = retry_after_seconds(reply.headers) if isinstance(reply, Response) and is_throttle(reply) else None
        if isinstance(reply, Response) and reply.status == TOO_MANY_REQUESTS:
            self.traffic.throttled += 1
            return Throttled(after)
        if may_be_overload(reply):
            return self._judge(ticket, reply, after)
        if isinstance(reply, NoResponse):
            return Failed()
        self.shares.good(ticket.rate)
        return Success(reply.seconds)

    def _judge(self, ticket: Ticket, reply: Response | NoResponse, after: float | None) -> Signal:
        """Take a fault for a 429 where faults come from the rate. Before that is known a Retry-After pauses, and does not cut."""
        if self.shares.fault(ticket.rate):
            self.throttle.forgive(self.shares.suspected_rate)
        is_named = isinstance(reply, Response) and is_throttle(reply)
        self.traffic.throttled += is_named or self.shares.cause is Cause.RATE
        if self.shares.cause is Cause.RATE:
            return Throttled(after)
        if is_named and self.shares.cause is Cause.UNKNOWN:
            return Throttled(after, is_pause=True)
        return Failed()

    def _count(self, reply: Response | NoResponse) -> None:
        if isinstance(reply, Response) and is_throttle(reply) and not self._comes_anyhow(reply):
            self.breaker.was_throttled()
        elif is_fault(reply):
            self.breaker.failed()
        else:
            self.breaker.succeeded()

    def _comes_anyhow(self, reply: Response) -> bool:
        return reply.status != TOO_MANY_REQUESTS and self.shares.cause is Cause.ANYTHING

    def drop_idle(self) -> None:
        """Close the pooled connections: an answer came that belongs to another request."""
        self._transport.drop_idle()

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.close()
