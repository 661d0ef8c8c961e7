"""From a request to its effect: count it, hold it against the limit, draw its fault, carry it out, note it.

Owns the order of these steps and nothing of the socket: `server` asks `at_headers` when the headers are there, `admit` when the
request is whole, waits as the ticket says, then asks `perform` for what to send. All in one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from random import Random

from loader.emulator import effects
from loader.emulator.backups import keep_first
from loader.emulator.canbus.handler import Canbus
from loader.emulator.effects import Effect
from loader.emulator.faults import (
    NOTHING,
    Close,
    Cut,
    Drawn,
    Draws,
    Echo,
    ExtraAnswer,
    Fault,
    GoBack,
    Hang,
    LateCommit,
    Malformed,
    NullId,
    Reset,
    Results,
    StatusFault,
    Trickle,
)
from loader.emulator.journal import Fact, Journal
from loader.emulator.limits import Limits, retry_after
from loader.emulator.ozari.handler import Ozari
from loader.emulator.plan import Plan
from loader.emulator.stock_pages import stock_page
from loader.emulator.switches import RateLimit
from loader.emulator.tables import Tables
from loader.emulator.values import dumps
from loader.emulator.wire import Answer, Api, Call, Operation, Route, write_answer

SHUT_OUT = Answer(0, b"")
"""The connection ends; nothing is sent."""


class Ticket:
    """One request on its way through. `answer` is there once it was carried out."""

    __slots__ = ("answer", "arrived", "call", "drawn", "headers", "refusal", "sequence")

    def __init__(self, call: Call, sequence: int, arrived: float, drawn: Drawn, refusal: Answer | None) -> None:
        self.call = call
        self.sequence = sequence
        self.arrived = arrived
        self.drawn = drawn
        self.refusal = refusal
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self.answer: Answer | None = None


class Engine:
    """Both APIs under one plan. `clock` is the time of day, `steady` never goes back; both in seconds."""

    def __init__(
        self,
        plan: Plan,
        tables: Tables,
        journal: Journal,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self._tables = tables
        self._journal = journal
        self._clock = clock
        self._steady = steady
        self._random = Random(plan.seed)  # noqa: S311 - a run has to repeat, not to be unguessable
        self._draws = Draws(plan.faults, self._random)
        self.read_tables()
        self._limits = {"ozari": Limits(plan.ozari.rate_limit), "canbus": Limits(plan.canbus.rate_limit)}
        self._before: dict[tuple[Api, Operation], Answer] = {}

    def read_tables(self) -> None:
        """Begin with the rows as they are, as after a restart of the service."""
        self._ozari = Ozari(self.plan.ozari, self._tables, self._clock)
        self._canbus = Canbus(self.plan.canbus, self._tables, self._clock, self._random)

    def set_faults(self, rules: tuple[Fault, ...]) -> None:
        """Put other rules in place of the plan's, counting from nothing. May be called from any thread."""
        self._draws = Draws(rules, self._random)

    @property
    def has_early_faults(self) -> bool:
        """Say whether `at_headers` has anything to say at all."""
        return self._draws.has_early

    def at_headers(self, route: Route) -> Fault | None:
        """Say which fault strikes before the body is read."""
        return self._draws.at_headers(route.api, route.operation)

    def admit(self, call: Call) -> Ticket:
        """Take in a request that was read whole."""
        now = self._steady()
        self._journal.requests += 1
        refusal, wait = self._limit(call, now)
        drawn = NOTHING
        if refusal is not None and refusal.status == SHUT_OUT.status:
            refusal, drawn = None, Drawn(fault=Close(when="before"))
        elif refusal is None:
            drawn = self._draws.at_request(call.route.api, call.route.operation, call.body)
        if wait:
            drawn = drawn._replace(delay_seconds=drawn.delay_seconds + wait)
        ticket = Ticket(call, self._journal.requests, now, drawn, refusal)
        limits = self._limits.get(call.route.api)
        if limits is not None and limits.limit is not None:
            ticket.headers = limits.headers(self._scope(call, limits.limit), call.peer, now, self._clock())
        return ticket

    def commits_after_disconnect(self, call: Call) -> bool:
        """Say whether a request whose client has gone is carried out all the same."""
        switches = self.plan.canbus if call.route.api == "canbus" else self.plan.ozari
        return switches.commit_after_disconnect

    def commit(self, ticket: Ticket) -> Answer:
        """Carry a request out, once."""
        if ticket.answer is None:
            ticket.answer = ticket.refusal or self._handle(ticket.call)
            if ticket.headers:
                ticket.answer = ticket.answer._replace(headers=ticket.answer.headers + ticket.headers)
        return ticket.answer

    def answer(self, ticket: Ticket) -> bytes:
        """Carry out a request that meets no fault, note it, and say what to send."""
        answer = self.commit(ticket)
        if self._draws.rules:
            self._before[ticket.call.route.api, ticket.call.route.operation] = answer
        self._note(ticket, answer.status, answer, None)
        return write_answer(answer, is_last=ticket.call.is_last)

    def perform(self, ticket: Ticket, *, is_gone: bool = False) -> Effect:
        """Carry a request out as its fault has it, note it, and say what to send. `is_gone`: nobody is there to read."""
        fault = ticket.drawn.fault
        if fault is None and not is_gone:
            return Effect(self.answer(ticket), "close" if ticket.call.is_last else "keep")
        if fault is None:
            self._note(ticket, 0, self.commit(ticket), "disconnected")
            return Effect()
        effect, shown = self._perform_fault(ticket, fault)
        status = shown.status if shown is not None else 0
        self._note(ticket, status, ticket.answer, fault.kind)
        return effect

    def perform_early(self, call: Call, fault: Fault) -> Effect:
        """Carry out a fault at the end of the headers; nothing is committed."""
        self._journal.requests += 1
        ticket = Ticket(call, self._journal.requests, self._steady(), NOTHING, None)
        effect, status = Effect(ending=_ending(fault)), 0
        if isinstance(fault, StatusFault):
            answer = effects.status_answer(fault, 0, (), self._plain(call, fault.status))
            effect, status = Effect(write_answer(answer, is_last=True), "close"), answer.status
        self._note(ticket, status, None, fault.kind)
        return effect

    def perform_late(self, ticket: Ticket) -> None:
        """Write the rows of a request whose connection is long gone."""
        answer = self.commit(ticket)
        self._journal.add_late(self._fact(ticket, 0, answer, "late_commit"))

    def abandon(self, ticket: Ticket) -> None:
        """Note a request that is not carried out (further than it was), since its client has gone."""
        self._note(ticket, 0, ticket.answer, "disconnected")

    def _perform_fault(self, ticket: Ticket, fault: Fault) -> tuple[Effect, Answer | None]:
        call = ticket.call
        if isinstance(fault, GoBack):
            keep_first(self._tables, fault.keep_rows)
            self.read_tables()
        if isinstance(fault, LateCommit):
            return Effect(ending=fault.ending, late_seconds=fault.seconds), None
        if isinstance(fault, Reset | Close | Hang):
            if fault.when == "after":
                self.commit(ticket)
            return Effect(ending=_ending(fault)), None
        if isinstance(fault, Cut):
            answer = self.commit(ticket) if fault.when == "after" else effects.PLAUSIBLE
            return effects.cut_answer(fault, answer), answer
        if isinstance(fault, StatusFault):
            done = self.commit(ticket) if fault.commit == "before" else None
            ids = done.ids if done is not None else ()
            answer = effects.status_answer(fault, 0, ids, self._plain(call, fault.status))
        else:
            answer = self.commit(ticket)
            broken = self._break_wire(fault, answer, call)
            if broken is not None:
                return broken, answer
            answer = self._change(fault, answer, call)
        return Effect(write_answer(answer, is_last=call.is_last), "close" if call.is_last else "keep"), answer

    def _break_wire(self, fault: Fault, answer: Answer, call: Call) -> Effect | None:
        match fault:
            case ExtraAnswer():
                return effects.extra_answer(fault, write_answer(answer, is_last=call.is_last), is_last=call.is_last)
            case Malformed():
                return effects.malformed_answer(fault, answer)
            case Trickle():
                return effects.trickled_answer(fault, answer)
            case _:
                return None

    def _change(self, fault: Fault, answer: Answer, call: Call) -> Answer:
        match fault:
            case Results():
                return effects.change_results(fault, answer, self._random)
            case NullId():
                return effects.null_ids(answer)
            case Echo():
                return effects.foreign_answer(fault, answer, self._before.get((call.route.api, call.route.operation)))
            case _:
                return answer

    def _handle(self, call: Call) -> Answer:
        if call.route.api == "ozari":
            answer = self._ozari.handle(call)
            if self.plan.ozari.echo != "as_sent":
                return effects.change_echo(self.plan.ozari.echo, answer)
            return answer
        if call.route.api == "canbus":
            return self._canbus.handle(call)
        return Answer(404, b'{"error":"Not found"}')

    def _limit(self, call: Call, now: float) -> tuple[Answer | None, float]:
        limits = self._limits.get(call.route.api)
        if limits is None or limits.limit is None:
            return None, 0.0
        admission = limits.take(self._scope(call, limits.limit), call.peer, now)
        if admission.is_admitted:
            return None, admission.seconds
        self._journal.throttled += 1
        header = retry_after(limits.limit, admission.seconds, self._clock())
        headers = [(b"Retry-After", header)] if header else []
        if (
            limits.limit.retry_after == "http_date" and limits.limit.reset == "seconds"
        ):  # a client has no other clock to measure the date by
            headers.append((b"Date", formatdate(self._clock(), usegmt=True).encode()))
        return self._refusal(call, limits.limit)._replace(headers=tuple(headers)), 0.0

    def _refusal(self, call: Call, limit: RateLimit) -> Answer:
        if limit.status == "close":
            return SHUT_OUT
        return self._plain(call, limit.status) if limit.page == "api" else stock_page(limit.page, limit.status)

    def _scope(self, call: Call, limit: RateLimit) -> str:
        if limit.scope != "table":
            return ""
        return call.route.table if call.route.api == "ozari" else self._canbus.scope(call)

    def _plain(self, call: Call, status: int) -> Answer:
        """Answer a status as the API does. Canbus: `authen` NG, and neither with 404 nor with 5xx ([D] CB-add-old)."""
        if call.route.api == "canbus":
            return self._canbus.failure(status) if status == 404 or status >= 500 else self._canbus.refuse(status)
        return Answer(status, dumps({"success": False, "error": "Too many requests" if status == 429 else "Error"}))

    def _note(self, ticket: Ticket, status: int, answer: Answer | None, fault: str | None) -> None:
        self._journal.add(self._fact(ticket, status, answer, fault))

    def _fact(self, ticket: Ticket, status: int, answer: Answer | None, fault: str | None) -> Fact:
        call = ticket.call
        records, ids = (answer.records, answer.ids) if answer is not None else (0, ())
        return Fact(
            ticket.sequence,
            ticket.arrived,
            call.method,
            call.path,
            call.route.api,
            call.route.operation,
            records,
            status,
            ids,
            fault,
        )


def _ending(fault: Fault) -> effects.Ending:
    match fault:
        case Reset():
            return "reset"
        case Close():
            return "close"
        case _:
            return "hang"
