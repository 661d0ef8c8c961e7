"""One worker: takes a chunk, sends it once, and acts on the verdict. A chunk that has to wait goes back to the queue.

A worker may be cancelled before its request has left: then the chunk goes back, certainly not applied. Once the request has
left, the loader never cancels it. If somebody else does, its records keep an intent without an outcome, which means ambiguous.

Nearly every record takes the fast path (`fast_path`): when its sending returns here, it has been settled and others were sent
after it.
"""

from __future__ import annotations

import asyncio

from loader.delivery.delivery import Delivery, Parts
from loader.delivery.fast_path import FastPath, WorkerSlot
from loader.delivery.partners import Guard
from loader.delivery.queue import QueuedChunk
from loader.delivery.sender import LeftCancelled
from loader.errors import LogStorageFailed
from loader.model import Blocked, NoResponse, Response, Retry, Split


class Worker:
    """Delivers chunks until the queue is closed."""

    def __init__(self, parts: Parts, delivery: Delivery, fast_path: FastPath) -> None:
        self._parts = parts
        self._delivery = delivery
        self._slot = WorkerSlot(fast_path)
        self._task: asyncio.Task[object] | None = None

    async def run(self) -> None:
        """Deliver chunks until the queue is closed."""
        queue, slot, self._task = self._parts.queue, self._slot, asyncio.current_task()
        while (queued := queue.take_now() or await queue.take()) is not None:
            slot.queued = queued
            try:
                while slot.queued is not None:
                    await self._deliver()
            finally:
                queue.done()

    async def _deliver(self) -> None:
        """Send the chunk and all that follow it; act on what is left to act on. A chunk that waits for its token stays taken."""
        parts, slot = self._parts, self._slot
        breaker = parts.sender.breaker
        slot.is_out, slot.verdict = False, None
        if parts.stop.is_requested:  # since it was taken
            self._put_back_unsent()
            slot.queued = None
            return
        assert slot.queued is not None  # noqa: S101 -- `run` has looked; this tells mypy
        try:
            if not breaker.is_closed and await breaker.pass_through():
                slot.queued = parts.queue.keep_untried(slot.queued)
            if not parts.claim.is_proved:
                await parts.claim.before_sending()
            if parts.settlement.is_order_at_stake:
                await parts.settlement.keep_order()
            if parts.guard is not None and not await self._is_let_through(parts.guard, slot.queued):
                return
            request = parts.target.encode(slot.queued.chunk)
            slot.is_out = True  # as far as this task can tell: `send` says if it was cancelled before that
            reply = await parts.sender.send(request, is_record=True, slot=slot, follow=slot, task=self._task)
        except LeftCancelled:
            self._put_back_unsent()
            raise
        except (asyncio.CancelledError, LogStorageFailed):  # before it left: nothing behind the sending asks the log
            slot.is_out = False
            self._put_back_unsent()
            raise
        await self._act(reply)

    async def _is_let_through(self, guard: Guard, queued: QueuedChunk) -> bool:
        """Let the guard look at the record; conclude one that it refuses. What was sent before is not refused without asking."""
        parts, slot = self._parts, self._slot
        (record,) = queued.chunk.records
        refusal = await guard.refusal(record)
        if refusal is None and not parts.stop.is_requested:
            return True
        if refusal is None:
            self._put_back_unsent()
        elif queued.chunk.in_doubt:
            parts.reconciler.refused([record], f"sent before, and not again: {refusal.message}")
        else:
            parts.settlement.conclude([record], [refusal])
        slot.queued = None
        return False

    async def _act(self, reply: Response | NoResponse) -> None:
        """Act on the reply to the last request that left, unless the fast path has settled it."""
        slot = self._slot
        if slot.error is not None:
            raise slot.error
        if not slot.is_out or slot.queued is None:  # all that left is settled; another one may wait for its token
            return
        queued, slot.queued = slot.queued, None
        verdict = slot.verdict or self._delivery.read_replies((queued,), (reply,))[0]
        if verdict is None:
            return
        try:
            await self._delivery.act(queued, verdict)
        except asyncio.CancelledError:
            if isinstance(verdict, Retry | Split | Blocked):
                self._parts.queue.put([queued], is_front=True)
            raise

    def _put_back_unsent(self) -> None:
        slot = self._slot
        if slot.queued is not None and not slot.is_out:
            self._parts.queue.put([slot.queued], is_front=True)
