"""What becomes of a chunk: one test for each kind of reply and verdict, and what each leaves in log, queue and budget."""

from __future__ import annotations

import asyncio

import pytest

from loader.delivery.retry import RetryBudget
from loader.errors import RunStopped
from loader.model import Created, Halt, NoResponse, Rejected, Response, Retry, Settled, Unknown
from tests.unit.delivery.delivering import Delivering, delivering
from tests.unit.delivery.memory_run import numbers
from tests.unit.virtual_loop import in_virtual_time

PAUSE_SECONDS = 22.5
"""What a draw of 0.5 makes of a spent budget: three quarters of 30 s."""
FAULT = Retry("the target answered 500")
REFUSED = Rejected("target", "7013", "a required item is missing")


def created(number: int, record_id: int) -> Response:
    body = b'{"success":true,"table":"tcity","insertedId":%d,"fields":{"fn":%d}}' % (record_id, number)
    return Response(201, {}, body)


# --- reading replies ----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_created_records_are_concluded_and_nothing_is_left_to_act_on() -> None:
    it = await delivering()
    chunks = [it.taken(number, attempts=0) for number in (1, 2, 3)]
    replies: list[Response | NoResponse] = [
        created(1, 11),
        NoResponse(is_sent=True, error="the connection was lost"),
        created(3, 13),
    ]
    assert it.delivery.read_replies(chunks, replies) == [None, Unknown("the connection was lost"), None]
    assert it.run.outcomes == {1: Created(11), 3: Created(13)}
    assert (it.run.queue.outstanding, it.run.sender.traffic.retries) == (1, 0)
    assert await it.run.logged() == {1: 11, 3: 13}


@in_virtual_time
async def test_a_reply_to_a_second_sending_counts_as_a_retry() -> None:
    it = await delivering()
    it.read(it.taken(1, attempts=1), created(1, 11))
    assert it.run.sender.traffic.retries == 1


@pytest.mark.parametrize(
    "reply, verdict",
    [
        (NoResponse(is_sent=True, error="lost"), Unknown("lost")),
        (NoResponse(is_sent=False, error="refused"), Retry("refused")),
        (NoResponse(is_sent=False, error="expired", fatal_hint="renew"), Halt("patience", "expired", "renew")),
        (NoResponse(is_sent=False, error="a redirect", fatal_hint="see"), Halt("redirect", "a redirect", "see")),
    ],
)
@in_virtual_time
async def test_without_an_answer_only_it_counts_whether_the_request_left(reply: NoResponse, verdict: object) -> None:
    it = await delivering()
    assert it.read(it.taken(1), reply) == verdict
    assert it.run.outcomes == {}


@in_virtual_time
async def test_an_id_that_was_given_before_belongs_to_another_request_and_two_in_a_row_stop_the_run() -> None:
    it = await delivering()
    assert it.read(it.taken(1), created(1, 11)) is None
    for number, is_stopped in ((2, False), (3, True)):
        queued = it.taken(number)
        verdict = it.read(queued, created(number, 11))
        assert isinstance(verdict, Unknown)
        assert verdict.is_mismatch
        await it.delivery.act(queued, verdict)
        assert it.run.stop.is_requested is is_stopped
    assert it.run.replies.dropped == 2
    assert [taken for taken, _, _ in it.doubted.taken] == [[2], [3]]
    assert it.run.outcomes == {1: Created(11)}


@in_virtual_time
async def test_a_good_answer_between_two_strangers_keeps_the_run_going() -> None:
    it = await delivering()
    stranger = Unknown("the answer belongs to another record", 201, is_mismatch=True)
    await it.delivery.act(it.taken(1), stranger)
    it.read(it.taken(2), created(2, 12))
    await it.delivery.act(it.taken(3), stranger)
    await it.delivery.act(it.taken(4), Settled((Created(14),)))
    await it.delivery.act(it.taken(5), stranger)
    assert not it.run.stop.is_requested


# --- the budget of retries ----------------------------------------------------------------------------------------------


async def spend_all(it: Delivering) -> None:
    for _ in range(RetryBudget.SIZE // RetryBudget.FAULT_COST):
        await it.delivery.act(it.taken(1), FAULT)


async def is_paused_after(it: Delivering) -> bool:
    """Say whether one fault more pauses all traffic."""
    await it.delivery.act(it.taken(2), FAULT)
    began = asyncio.get_running_loop().time()
    ticket = await it.run.sender.throttle.admit()
    del ticket
    return asyncio.get_running_loop().time() - began == pytest.approx(PAUSE_SECONDS, abs=0.1)


@pytest.mark.parametrize("successes, is_paused", [(0, True), (3, True), (4, False)])
@in_virtual_time
async def test_each_good_answer_pays_for_a_part_of_a_retry_and_without_them_all_traffic_pauses(
    *, successes: int, is_paused: bool
) -> None:
    it = await delivering()
    await spend_all(it)  # 500 tokens, 14 for each fault: 10 are left
    chunks = [it.taken(number) for number in range(10, 10 + successes)]
    it.delivery.read_replies(
        chunks, [created(queued.chunk.records[0].number, 100 + n) for n, queued in enumerate(chunks)]
    )
    assert await is_paused_after(it) is is_paused


@in_virtual_time
async def test_an_answer_that_was_acted_on_pays_too() -> None:
    it = await delivering()
    await spend_all(it)
    for number in range(10, 14):
        await it.delivery.act(it.taken(number), Settled((REFUSED,)))
    assert not await is_paused_after(it)


@in_virtual_time
async def test_what_was_not_applied_comes_back_after_its_wait() -> None:
    it = await delivering()
    await it.delivery.act(it.taken(1, 2, in_doubt=True, attempts=3), FAULT)
    assert it.run.waiting() == []
    await asyncio.sleep(7.9)  # 4 s, doubled twice, and a draw of one half
    assert it.run.waiting() == []
    await asyncio.sleep(0.2)
    (queued,) = it.run.waiting()
    assert (numbers([queued]), queued.attempts, queued.chunk.in_doubt) == ([[1, 2]], 3, True)


@in_virtual_time
async def test_when_the_patience_is_over_the_run_stops_and_nothing_becomes_an_outcome() -> None:
    it = await delivering()
    breaker = it.run.sender.breaker
    breaker.failed()
    for _ in range(901):
        breaker.bad_seconds()
        await asyncio.sleep(1)
    await it.delivery.act(it.taken(1), FAULT)
    assert isinstance(it.run.stop.error, RunStopped)
    assert it.run.stop.error.reason == "patience"
    assert [record.number for record in it.run.queue.unsent()] == [1]
    assert it.run.outcomes == {}
