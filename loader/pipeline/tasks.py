"""The tasks of one execution, and how they end: by the end of the source, or by a stop.

Draining is the whole art here: at a stop nothing new leaves, what has left is waited for, what has not left goes back.
No task that may have sent something is ever cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from loader.delivery.breaker import Probe
from loader.delivery.delivery import Delivery, Parts
from loader.delivery.fast_path import FastPath
from loader.delivery.worker import Worker
from loader.errors import LoaderError, SourceError
from loader.pipeline.intake import Intake
from loader.reconcile.comparing import Comparing
from loader.reconcile.reconciler import Reconciler
from loader.shielded import run_shielded

Task: TypeAlias = "asyncio.Task[None]"

TICK_SECONDS = 0.25
DRAIN_MARGIN_SECONDS = 5.0
"""Beyond the request's own timeout: after it the transport must have given every request an answer."""


class Tasks:
    """Runs reader, workers and reconciler until the work is done or the run is stopped."""

    def __init__(
        self,
        parts: Parts,
        delivery: Delivery,
        intake: Intake,
        reconciler: Reconciler,
        probe: Probe,
        concurrency: int,
        timeout_seconds: float,
        comparing: Comparing | None = None,
    ) -> None:
        self._parts = parts
        self._reconciler = reconciler
        self._delivery = delivery
        self._intake = intake
        self._concurrency = concurrency
        self._timeout_seconds = timeout_seconds
        self._probe = probe
        self._comparing = comparing
        self._crash: BaseException | None = None
        self._source_error: SourceError | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, tick: Callable[[], None]) -> None:
        """Do the work. `tick` is called a few times a second. Errors: what a task raised that is not the run's own stop."""
        parts = self._parts
        parts.stop.on_request(parts.queue.close)
        fast_path = FastPath(parts, self._delivery)
        workers = [Worker(parts, self._delivery, fast_path).run() for _ in range(self._concurrency)]
        senders = [self._start(worker, f"worker {n}") for n, worker in enumerate(workers)]
        reconciler = self._start(self._reconciler.run(), "reconciler")
        reader = self._start(self._intake.run(), "reader")
        prober = self._start(parts.sender.breaker.run(self._probe), "prober")
        ticker = self._start(self._tick(tick, reader), "ticker")
        comparer = [self._start(self._comparing.run(), "comparer")] if self._comparing is not None else []
        stopped = asyncio.create_task(parts.stop.wait(), name="stopped")
        try:
            await asyncio.wait({reader, stopped}, return_when=asyncio.FIRST_COMPLETED)  # a stop waits for no disk
            await parts.queue.drained()
            if self._source_error is not None:
                parts.stop.fail(self._source_error)
        except asyncio.CancelledError:
            parts.stop.interrupt(0)
            raise
        finally:
            parts.queue.close()
            await run_shielded(self._end(reader, [reconciler, *senders], [ticker, prober, *comparer, stopped]))
        if self._crash is not None:
            raise self._crash

    def _start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if isinstance(error, SourceError):
            self._source_error = error  # what was read before it is good, and is delivered first
            return
        if isinstance(error, LoaderError):
            self._parts.stop.fail(error)
            return
        self._crash = self._crash or error
        self._parts.stop.fail(LoaderError("a task of the run failed", "see the error below"))

    async def _tick(self, tick: Callable[[], None], reader: asyncio.Task[None]) -> None:
        while True:
            await self._parts.runtime.sleep(TICK_SECONDS)
            tick()
            reconciler = self._reconciler
            is_last = reader.done() and self._parts.queue.outstanding == reconciler.pending
            if reconciler.pending and (is_last or self._parts.queue.is_ordered):
                self._parts.claim.give_up()

    async def _end(self, reader: Task, senders: list[Task], watchers: list[Task]) -> None:
        try:
            await self._drain(reader, senders)
        finally:
            for task in watchers:
                task.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def _drain(self, reader: Task, senders: list[Task]) -> None:
        """Let the requests in flight end; cancel only what has not left."""
        sending = self._parts.sender.sending
        if not reader.done() and self._intake.is_waiting and reader not in sending:
            reader.cancel()
        try:
            async with asyncio.timeout(self._timeout_seconds + DRAIN_MARGIN_SECONDS):
                while waiting := [task for task in senders if not task.done()]:
                    for task in waiting:
                        if task not in sending:
                            task.cancel()
                    await asyncio.wait(waiting, timeout=0.05)
        except TimeoutError:  # the process stood still meanwhile; the intents without outcome say what is in doubt
            for task in senders:
                task.cancel()
        await asyncio.gather(reader, *senders, return_exceptions=True)
