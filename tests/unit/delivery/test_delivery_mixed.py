"""Answers that speak of some records of a chunk, and refusals of a whole chunk."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from loader.delivery.delivery import UNCONFIRMED_SECONDS
from loader.model import Ambiguous, Created, Halt, Rejected, Resend, Settled, Split, Unknown
from tests.unit.delivery.delivering import CANBUS, delivering
from tests.unit.delivery.memory_run import numbers
from tests.unit.virtual_loop import in_virtual_time

REFUSED = Rejected("target", "7013", "a required item is missing")
TOO_LARGE = Split("413", "the body is too large", is_too_large=True)
BAD_REQUEST = Split("400", "bad request", must_ask_first=True)


@pytest.mark.parametrize("in_doubt", [False, True])
@in_virtual_time
async def test_a_mixed_answer_is_sorted_out_and_what_is_sent_again_stays_in_doubt(*, in_doubt: bool) -> None:
    it = await delivering(CANBUS)
    again, lost = Resend("0", "no id"), Ambiguous("the code is not listed")
    outcomes = (Created(11), again, REFUSED, lost, again, Ambiguous("another"), lost)
    await it.delivery.act(it.taken(1, 2, 3, 4, 5, 6, 7, in_doubt=in_doubt, attempts=2), Settled(outcomes, ("odd",)))
    assert it.run.outcomes == {1: Created(11), 3: REFUSED}
    assert it.warnings == ["odd"]
    assert it.doubted.taken == [([4, 7], "the code is not listed", None), ([6], "another", None)]
    (queued,) = it.run.waiting()
    assert (numbers([queued]), queued.attempts) == ([[2, 5]], 2)
    assert queued.chunk.in_doubt is in_doubt, "a duplicate is then our own"


@pytest.mark.parametrize("in_doubt", [False, True])
@in_virtual_time
async def test_a_refused_chunk_is_halved_until_one_record_is_left(*, in_doubt: bool) -> None:
    it = await delivering(CANBUS)
    whole = it.taken(1, 2, 3, in_doubt=in_doubt)
    await it.delivery.act(whole, TOO_LARGE)
    first, second = it.run.waiting()
    assert numbers([first, second]) == [[1, 2], [3]]
    assert [queued.chunk.in_doubt for queued in (first, second)] == [in_doubt, in_doubt]
    assert it.run.packer.max_bytes == len(CANBUS.encode(whole.chunk).body) // 2
    await it.delivery.act(second, TOO_LARGE)
    if in_doubt:
        assert it.run.outcomes == {3: Ambiguous("sent twice; the second time it was refused: the body is too large")}
    else:
        assert it.run.outcomes == {3: Rejected("target", "413", "the body is too large")}
    assert it.run.waiting() == []


@in_virtual_time
async def test_a_refusal_that_wrong_credentials_get_too_is_believed_only_once_they_are_known_to_be_good() -> None:
    it = await delivering(CANBUS)
    it.are_credentials_good = False
    queued = it.taken(1)
    await it.delivery.act(queued, BAD_REQUEST)
    assert (it.run.outcomes, it.run.waiting()) == ({}, [])
    await asyncio.sleep(UNCONFIRMED_SECONDS)
    assert it.run.waiting() == [queued]
    it.are_credentials_good = True
    await it.delivery.act(queued, BAD_REQUEST)
    assert it.run.outcomes == {1: Rejected("target", "400", "bad request")}


@pytest.mark.parametrize("may_be_applied", [False, True])
@in_virtual_time
async def test_a_halt_stops_the_run_and_what_was_certainly_not_applied_goes_back(*, may_be_applied: bool) -> None:
    it = await delivering(CANBUS)
    halt = Halt("credentials", "the token is refused", "check it")
    await it.delivery.act(it.taken(1), replace(halt, may_be_applied=may_be_applied))
    assert it.run.stop.is_requested
    assert [record.number for record in it.run.queue.unsent()] == ([] if may_be_applied else [1])
    assert (it.run.outcomes, it.doubted.taken) == ({}, [])


@pytest.mark.parametrize("status, dropped", [(None, 0), (500, 0), (200, 1), (201, 1)])
@in_virtual_time
async def test_what_may_have_been_applied_goes_to_reconciling(status: int | None, dropped: int) -> None:
    it = await delivering(CANBUS)
    await it.delivery.act(it.taken(1, 2), Unknown("the answer cannot be read", status))
    assert it.doubted.taken == [([1, 2], "the answer cannot be read", status)]
    assert it.run.replies.dropped == dropped, "a success that does not fit is perhaps another request's"
    assert not it.run.stop.is_requested
