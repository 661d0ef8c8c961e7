"""A worker: what a good answer is followed by, and that no parcel is lost or taken for another one's where that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from loader.delivery.breaker import Breaker
from loader.delivery.delivery import Delivery, Parts
from loader.delivery.fast_path import FastPath
from loader.delivery.queue import ChunkQueue, QueuedChunk
from loader.delivery.retry import RetryPolicy
from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.delivery.worker import Worker
from loader.model import Chunk, NoResponse, Record, Request, Response
from loader.rate.throttle import FixedThrottle
from loader.runtime import Runtime
from loader.settings import OzariCredentials, OzariInsert, Secret
from loader.targets.registry import build_target
from loader.transport.base import Follow
from tests.unit.virtual_loop import loop_runtime

Reply = Response | NoResponse


class Line:
    """A transport that answers by a script and asks what follows each good answer."""

    def __init__(self, reply_to: Callable[[int], Reply | Awaitable[Reply]]) -> None:
        self.reply_to = reply_to
        self.sent: list[bytes] = []
        self.calls = 0

    async def send(self, request: Request, follow: Follow | None = None) -> Reply:
        self.calls += 1
        while True:
            self.sent.append(request.body)
            reply = self.reply_to(len(self.sent))
            if not isinstance(reply, Response | NoResponse):
                reply = await reply
            if follow is None or not isinstance(reply, Response) or not reply.is_whole:
                return reply
            follow.take(reply)
            following = follow.next()
            if following is None:
                return reply
            request = following

    def drop_idle(self) -> None:
        """There is none."""

    async def close(self) -> None:
        """Nothing is open."""


class Told:
    """A settlement and a reconciler that take notes."""

    def __init__(self, queue: ChunkQueue) -> None:
        self.created: list[tuple[int, Any]] = []
        self.doubted: list[int] = []
        self._queue = queue
        self.fails_at = 0
        self.is_order_at_stake = False

    def conclude_created(self, records: Any, outcomes: Any) -> None:
        for record, outcome in zip(records, outcomes, strict=True):
            if record.number == self.fails_at:
                raise RuntimeError("the log is gone")
            self.created.append((record.number, outcome.id))
            self._queue.release([record])

    conclude = conclude_created

    def doubt(self, records: Any, reason: str, status: int | None = None) -> None:
        self.doubted += [record.number for record in records]


class ToldClaim:
    """A claim that takes notes. The first record that is created proves it."""

    is_proved = True

    def __init__(self) -> None:
        self.by: list[int] = []

    async def before_sending(self) -> None:
        """Nothing is noted."""

    async def created(self, record: Record, _: Any) -> None:
        self.by.append(record.number)
        self.is_proved = True


class Bench:
    """One worker with everything around it."""

    def __init__(self, count: int, reply_to: Callable[[int], Reply | Awaitable[Reply]], rate: float = 1e6) -> None:
        self.queue = ChunkQueue(lookahead=100, max_outstanding=1000)
        self.stop = Stop()
        self.stop.on_request(self.queue.close)
        self.line = Line(reply_to)
        self.told = Told(self.queue)
        sender = Sender(
            self.line, FixedThrottle(loop_runtime(), rate, burst=1 if rate < 1e6 else None), Breaker(Runtime())
        )
        target = build_target(OzariInsert("tcity"), OzariCredentials(Secret("token")), "run")
        told = cast("Any", self.told)
        self.claim = ToldClaim()
        claim, packer = cast("Any", self.claim), cast("Any", None)
        self.parts = Parts(Runtime(), target, sender, self.queue, packer, told, told, claim, self.stop, lambda _: None)

        async def is_well() -> bool:
            return True

        self.delivery = Delivery(self.parts, RetryPolicy(60.0), confirm_credentials=is_well)
        records = [Record(0, number, 0, b'{"fn":%d}' % number) for number in range(1, count + 1)]
        self.queue.put([QueuedChunk(Chunk((record,))) for record in self.queue.admit(records)])

    def start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.worker().run())

    def worker(self) -> Worker:
        return Worker(self.parts, self.delivery, FastPath(self.parts, self.delivery))

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not is_so():
                await asyncio.sleep(0)

    def waiting(self) -> list[int]:
        return [record.number for record in self.queue.unsent()]


def body_of(number: int) -> bytes:
    return b'{"fields":{"fn":%d}}' % number


def created(number: int, record_id: int | None = None) -> Response:
    return Response(
        201,
        {},
        b'{"success":true,"table":"tcity","insertedId":%d,"fields":{"fn":%d}}' % (record_id or 100 + number, number),
    )


async def test_a_good_answer_is_followed_by_the_next_record_without_a_new_call() -> None:
    bench = Bench(50, created)
    task = bench.start()
    await bench.until(lambda: not bench.queue.outstanding)
    assert bench.line.calls == 1
    assert bench.line.sent == [body_of(number) for number in range(1, 51)]
    assert bench.told.created == [(number, 100 + number) for number in range(1, 51)]
    await bench.until(lambda: not bench.queue.in_flight)
    assert bench.parts.sender.traffic.requests == 50
    assert bench.parts.sender.traffic.in_flight == bench.parts.sender.throttle.in_flight == 0
    assert not bench.parts.sender.sending
    bench.queue.close()
    await task


async def test_a_record_whose_token_is_not_there_waits_for_it_and_is_sent_once() -> None:
    bench = Bench(5, created, rate=200.0)
    task = bench.start()
    await bench.until(lambda: not bench.queue.outstanding)
    assert bench.line.sent == [body_of(number) for number in range(1, 6)]
    assert bench.told.created == [(number, 100 + number) for number in range(1, 6)]
    bench.queue.close()
    await task


async def test_a_record_that_waits_for_its_token_goes_back_when_the_worker_is_cancelled() -> None:
    bench = Bench(3, created, rate=0.5)
    task = bench.start()
    await bench.until(lambda: len(bench.told.created) == 1)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.line.sent == [body_of(1)]
    assert bench.waiting() == [2, 3]
    assert bench.queue.in_flight == 0


async def test_a_record_that_was_taken_but_did_not_leave_goes_back_though_its_task_was_sending() -> None:
    # The answer was settled and the next one taken; the cancellation came before the task had its turn.
    answered = asyncio.Event()

    async def slow(response: Response) -> Response:
        await answered.wait()
        return response

    class Late(Line):
        async def send(self, request: Request, follow: Follow | None = None) -> Reply:
            reply = await super().send(request, follow)
            tasks[0].cancel()
            await asyncio.sleep(0)
            return reply

    bench = Bench(3, lambda number: slow(created(number)), rate=0.5)
    bench.line.__class__ = Late
    tasks = [bench.start()]
    await bench.until(lambda: len(bench.line.sent) == 1)
    answered.set()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert bench.told.created == [(1, 101)]
    assert bench.waiting() == [2, 3]


async def test_a_record_that_is_out_does_not_go_back_when_its_worker_is_cancelled() -> None:
    never = asyncio.Event()

    async def hang() -> Response:
        await never.wait()
        return created(2)

    bench = Bench(3, lambda number: created(number) if number == 1 else hang())
    task = bench.start()
    await bench.until(lambda: len(bench.line.sent) == 2)
    assert task in bench.parts.sender.sending
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.waiting() == [3]
    assert bench.told.created == [(1, 101)]


async def test_what_goes_wrong_in_settling_is_raised_and_the_record_is_not_taken_for_unsent() -> None:
    bench = Bench(3, created)
    bench.told.fails_at = 2
    with pytest.raises(RuntimeError, match="the log is gone"):
        await bench.start()
    assert bench.told.created == [(1, 101)]
    assert bench.waiting() == [3]


async def test_nothing_leaves_once_the_run_is_stopped() -> None:
    def stops(number: int) -> Response:
        if number == 2:
            bench.stop.interrupt(2)
        return created(number)

    bench = Bench(5, stops)
    await bench.start()
    assert bench.line.sent == [body_of(1), body_of(2)]
    assert bench.told.created == [(1, 101), (2, 102)]
    assert bench.waiting() == [3, 4, 5]


async def test_a_record_that_was_taken_before_a_stop_and_waits_goes_back() -> None:
    bench = Bench(3, created, rate=0.5)
    worker = bench.worker()
    send = bench.line.send

    async def stopped(request: Request, follow: Follow | None = None) -> Reply:
        reply = await send(request, follow)
        bench.stop.interrupt(2)  # behind the answer, before the worker goes on
        return reply

    bench.line.send = stopped  # type: ignore[method-assign]  # this one call is to be followed by a stop
    await worker.run()
    assert bench.line.sent == [body_of(1)]
    assert bench.waiting() == [2, 3]


async def test_an_answer_that_settles_nothing_is_judged_once_and_stands_at_its_own_record() -> None:
    # The third answer repeats the id of the first: it belongs to another request.
    bench = Bench(4, lambda number: created(number, 101 if number == 3 else None))
    task = bench.start()
    await bench.until(lambda: len(bench.told.created) == 3)
    assert bench.told.doubted == [3]
    assert [number for number, _ in bench.told.created] == [1, 2, 4]
    assert bench.line.calls == 2
    bench.queue.close()
    await task


async def test_a_lost_answer_is_the_last_ones_own() -> None:
    lost = NoResponse(is_sent=True, error="ServerDisconnectedError")
    bench = Bench(4, lambda number: lost if number == 3 else created(number))
    task = bench.start()
    await bench.until(lambda: len(bench.told.created) == 3)
    assert bench.told.doubted == [3]
    assert [number for number, _ in bench.told.created] == [1, 2, 4]
    bench.queue.close()
    await task


async def test_while_a_record_is_to_be_proved_none_follows() -> None:
    bench = Bench(3, created)
    bench.claim.is_proved = False
    task = bench.start()
    await bench.until(lambda: len(bench.told.created) == 3)
    assert bench.claim.by == [1]
    assert bench.line.calls == 2
    bench.queue.close()
    await task
