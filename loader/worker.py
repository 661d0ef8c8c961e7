"""One worker: takes a parcel, sends it once, and acts on the verdict; it never waits for a chunk that waits.

It may be cancelled while its request has not left: then the parcel goes back, certainly not applied. Once it has left, the
request is never cancelled by us; if somebody else does it, the record keeps its intent without an outcome, which means
ambiguous.

`follow` is the short way, which nearly every record goes: a good answer is settled where it comes in, and the next parcel
leaves on the same connection, without a turn of the event loop in between. Whatever is not as usual, it leaves to `run`: a
verdict to act on, a record that goes alone, a token that is not there yet.
"""

from __future__ import annotations

import asyncio

from loader.channel import LeftCancelled, Passage
from loader.delivery import Delivery, Parts
from loader.errors import LogStorageFailed
from loader.model import NoResponse, Request, Response, Retry, Split, Verdict
from loader.work import Parcel


class Worker:
    """Delivers parcels until the work is closed."""

    def __init__(self, parts: Parts, delivery: Delivery) -> None:
        self._parts = parts
        self._delivery = delivery
        self._passage = Passage(self.follow)
        self._task: asyncio.Task[object] | None = None
        self._parcel: Parcel | None = None
        """The one that is taken and has not been dealt with; None between two."""
        self._is_out = False
        """Whether it may have left."""
        self._verdict: Verdict | None = None
        """Of its answer, where `follow` has read that and left it to `run`."""
        self._error: Exception | None = None
        """What `follow` must not raise: whoever asks it has a request out."""

    async def run(self) -> None:
        """Deliver parcels until the work is closed."""
        work, self._task = self._parts.work, asyncio.current_task()
        while (parcel := work.take_now() or await work.take()) is not None:
            self._parcel = parcel
            try:
                while self._parcel is not None:
                    await self._deliver(self._parcel)
            finally:
                work.done()

    def follow(self, response: Response) -> Request | None:
        """Settle a good answer, and say which request is the next on its connection. See `world.Follow`."""
        channel, parcel = self._parts.channel, self._parcel
        assert parcel is not None  # noqa: S101 -- an answer has its request; this tells mypy
        try:
            channel.answered(self._passage, response)
            verdict = self._delivery.judge(parcel, response)
            if not self._delivery.conclude_created(parcel, verdict):
                self._verdict = verdict
                return None
            self._is_out = False
            self._parcel = parcel = self._parts.work.take_next()
            if parcel is None or not self._delivery.is_smooth:
                return None
            request = self._parts.target.encode(parcel.chunk)
            self._is_out = channel.go_on(self._passage, request)
        except Exception as error:  # noqa: BLE001 -- raised by `run`
            self._error = error
            return None
        return request if self._is_out else None

    async def _deliver(self, parcel: Parcel) -> None:
        """Send the parcel, and all that follows it; act on what is left to act on. A parcel that has to wait stays taken."""
        parts, delivery = self._parts, self._delivery
        breaker = parts.channel.breaker
        self._is_out, self._verdict = False, None
        if parts.stop.is_requested:  # since it was taken
            self._put_back_unsent()
            self._parcel = None
            return
        try:
            if breaker is not None and not breaker.is_closed and await breaker.pass_through():
                parcel = self._parcel = parts.work.first_alone(parcel)
            if delivery.before_alone is not None:
                await delivery.before_alone()
            if parts.settlement.is_order_at_stake:
                await parts.settlement.keep_order()
            request = parts.target.encode(parcel.chunk)
            self._is_out = True  # as far as this task can tell: `send` says where it was cancelled before
            reply = await parts.channel.send(request, is_record=True, passage=self._passage, task=self._task)
        except LeftCancelled:
            self._put_back_unsent()
            raise
        except (asyncio.CancelledError, LogStorageFailed):  # before it left: nothing behind the sending asks the log
            self._is_out = False
            self._put_back_unsent()
            raise
        await self._act(reply)

    async def _act(self, reply: Response | NoResponse) -> None:
        """Act on the reply to the last request that left, where `follow` has not settled it."""
        if self._error is not None:
            raise self._error
        if not self._is_out or self._parcel is None:  # all that left is settled; another one may wait for its token
            return
        parcel, self._parcel = self._parcel, None
        verdict = self._verdict or self._delivery.judge(parcel, reply)
        if self._delivery.conclude_created(parcel, verdict):
            return
        try:
            await self._delivery.act(parcel, verdict)
        except asyncio.CancelledError:
            if isinstance(verdict, Retry | Split):
                self._parts.work.put([parcel], is_front=True)
            raise

    def _put_back_unsent(self) -> None:
        if self._parcel is not None and not self._is_out:
            self._parts.work.put([self._parcel], is_front=True)
