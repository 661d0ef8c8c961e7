"""One worker: takes a parcel, sends it once, and acts on the verdict; it never waits for a chunk that waits.

It may be cancelled while its request has not left: then the parcel goes back, certainly not applied. Once it has left, the
request is never cancelled by us; if somebody else does it, the record keeps its intent without an outcome, which means
ambiguous.

Nearly every record goes the short way (`crew`), and has been settled, and followed by others, when its sending returns here.
"""

from __future__ import annotations

import asyncio

from loader.delivery.delivery import Delivery, Parts
from loader.delivery.fast_path import FastPath, WorkerSlot
from loader.delivery.sender import LeftCancelled
from loader.errors import LogStorageFailed
from loader.model import NoResponse, Response, Retry, Split


class Worker:
    """Delivers parcels until the work is closed."""

    def __init__(self, parts: Parts, delivery: Delivery, crew: FastPath) -> None:
        self._parts = parts
        self._delivery = delivery
        self._post = WorkerSlot(crew)
        self._task: asyncio.Task[object] | None = None

    async def run(self) -> None:
        """Deliver parcels until the work is closed."""
        work, post, self._task = self._parts.work, self._post, asyncio.current_task()
        while (parcel := work.take_now() or await work.take()) is not None:
            post.parcel = parcel
            try:
                while post.parcel is not None:
                    await self._deliver()
            finally:
                work.done()

    async def _deliver(self) -> None:
        """Send the parcel, and all that follows it; act on what is left to act on. A parcel that has to wait stays taken."""
        parts, delivery, post = self._parts, self._delivery, self._post
        breaker = parts.channel.breaker
        post.is_out, post.verdict = False, None
        if parts.stop.is_requested:  # since it was taken
            self._put_back_unsent()
            post.parcel = None
            return
        assert post.parcel is not None  # noqa: S101 -- `run` has looked; this tells mypy
        try:
            if breaker is not None and not breaker.is_closed and await breaker.pass_through():
                post.parcel = parts.work.first_alone(post.parcel)
            if delivery.before_alone is not None:
                await delivery.before_alone()
            if parts.settlement.is_order_at_stake:
                await parts.settlement.keep_order()
            request = parts.target.encode(post.parcel.chunk)
            post.is_out = True  # as far as this task can tell: `send` says where it was cancelled before
            reply = await parts.channel.send(request, is_record=True, passage=post, follow=post, task=self._task)
        except LeftCancelled:
            self._put_back_unsent()
            raise
        except (asyncio.CancelledError, LogStorageFailed):  # before it left: nothing behind the sending asks the log
            post.is_out = False
            self._put_back_unsent()
            raise
        await self._act(reply)

    async def _act(self, reply: Response | NoResponse) -> None:
        """Act on the reply to the last request that left, where the crew has not settled it."""
        post = self._post
        if post.error is not None:
            raise post.error
        if not post.is_out or post.parcel is None:  # all that left is settled; another one may wait for its token
            return
        parcel, post.parcel = post.parcel, None
        verdict = post.verdict or self._delivery.settle((parcel,), (reply,))[0]
        if verdict is None:
            return
        try:
            await self._delivery.act(parcel, verdict)
        except asyncio.CancelledError:
            if isinstance(verdict, Retry | Split):
                self._parts.work.put([parcel], is_front=True)
            raise

    def _put_back_unsent(self) -> None:
        post = self._post
        if post.parcel is not None and not post.is_out:
            self._parts.work.put([post.parcel], is_front=True)
