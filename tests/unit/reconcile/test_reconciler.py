"""When doubtful records are asked about, and what each conclusion makes of them."""

from __future__ import annotations

import asyncio

import pytest

from loader.checkpoint.windows import Exceptional
from loader.model import Absent, Ambiguous, Created, Halt, Undecided
from loader.reconcile.doubt import Duplicate
from loader.reconcile.reconciler import ASK_AGAIN_SECONDS, EARLY_LOOK_SECONDS, UNPROVED
from loader.reconcile.strategies import AskAgain, Known, SendAgain
from tests.unit.delivery.memory_run import line, numbers
from tests.unit.reconcile.asking import SETTLE_SECONDS, NeverProves, Script, reconciling
from tests.unit.virtual_loop import in_virtual_time

FOUND = Known(Created(7))
NO_ANSWER = AskAgain("the target did not answer")


# --- when ---------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_first_question_comes_early_and_what_it_finds_is_final() -> None:
    strategy = Script({1: [FOUND]})
    async with reconciling(strategy) as it:
        it.doubt(1)
        assert it.reconciler.pending == 1
        await asyncio.sleep(EARLY_LOOK_SECONDS + 0.1)
        assert it.outcomes() == {1: Created(7)}
        assert (it.reconciler.pending, it.run.queue.outstanding) == (0, 0)
        assert await it.run.logged() == {1: 7}
        await asyncio.sleep(100)
        assert strategy.asked == [(EARLY_LOOK_SECONDS, [1])]


@in_virtual_time
async def test_absence_is_believed_only_after_the_settle_time() -> None:
    strategy = Script({1: [Absent()]})
    async with reconciling(strategy) as it:
        it.doubt(1)
        await asyncio.sleep(SETTLE_SECONDS - 0.1)
        assert (it.sent_again(), it.outcomes(), it.reconciler.pending) == ([], {}, 1)
        await asyncio.sleep(0.2)
        (queued,) = it.sent_again()
        assert (numbers([queued]), queued.attempts, queued.chunk.in_doubt) == ([[1]], 1, False)
        assert strategy.asked == [(EARLY_LOOK_SECONDS, [1]), (SETTLE_SECONDS, [1])]
        assert it.reconciler.pending == 0


@in_virtual_time
async def test_a_late_effect_is_found_by_the_second_question() -> None:
    async with reconciling(Script({1: [Absent(), FOUND]})) as it:
        it.doubt(1)
        await asyncio.sleep(SETTLE_SECONDS + 0.1)
        assert (it.outcomes(), it.sent_again()) == ({1: Created(7)}, [])


@pytest.mark.parametrize("age, asked_at", [(0.0, 30.0), (10.0, 20.0), (29.5, 0.5), (31.0, 0.0), (3600.0, 0.0)])
@in_virtual_time
async def test_where_an_early_question_is_of_no_use_the_settle_time_counts_from_the_loss(
    age: float, asked_at: float
) -> None:
    strategy = Script({1: [SendAgain(is_in_doubt=True)]}, can_ask_early=False)
    async with reconciling(strategy) as it:
        it.doubt(1, age_seconds=age)
        await asyncio.sleep(SETTLE_SECONDS + 0.1)
        assert strategy.asked == [(asked_at, [1])]
        (queued,) = it.sent_again()
        assert (queued.chunk.in_doubt, queued.attempts) == (True, 1)


@in_virtual_time
async def test_what_is_about_to_settle_gets_no_early_question() -> None:
    strategy = Script({1: [Absent()]})
    async with reconciling(strategy) as it:
        it.doubt(1, age_seconds=SETTLE_SECONDS - EARLY_LOOK_SECONDS / 2)
        await asyncio.sleep(SETTLE_SECONDS + 0.1)
        assert strategy.asked == [(EARLY_LOOK_SECONDS / 2, [1])]


# --- a target that does not answer --------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_question_without_answer_is_asked_again_after_a_while_and_settles_nothing() -> None:
    strategy = Script({1: [NO_ANSWER, NO_ANSWER, NO_ANSWER, FOUND]})
    async with reconciling(strategy) as it:
        it.doubt(1)
        await asyncio.sleep(15.9)
        assert (it.outcomes(), it.reconciler.pending) == ({}, 1)
        await asyncio.sleep(0.2)
        assert it.outcomes() == {1: Created(7)}
        assert [at for at, _ in strategy.asked] == [1.0, 6.0, 11.0, 16.0]


@in_virtual_time
async def test_a_target_that_does_not_answer_one_question_is_not_flooded_with_the_others() -> None:
    strategy = Script({number: [NO_ANSWER] for number in range(1, 41)}, size=4)
    async with reconciling(strategy) as it:
        it.doubt(*range(1, 41))
        await asyncio.sleep(EARLY_LOOK_SECONDS + 10 * ASK_AGAIN_SECONDS - 0.1)
        assert [at for at, _ in strategy.asked] == [1.0 + ASK_AGAIN_SECONDS * n for n in range(10)]
        assert {len(lines) for _, lines in strategy.asked} == {4}
        assert {number for _, lines in strategy.asked for number in lines} == set(range(1, 41)), "each has its turn"
        assert it.reconciler.pending == 40


@in_virtual_time
async def test_a_record_of_which_an_answer_says_nothing_is_not_asked_about_at_once() -> None:
    strategy = Script({1: [NO_ANSWER, FOUND], 2: [FOUND]})
    async with reconciling(strategy) as it:
        it.doubt(1, 2)
        await asyncio.sleep(EARLY_LOOK_SECONDS + ASK_AGAIN_SECONDS + 0.1)
        assert strategy.asked == [(1.0, [1, 2]), (6.0, [1])]


@in_virtual_time
async def test_a_refusal_of_everything_stops_the_run_and_settles_nothing() -> None:
    strategy = Script({}, size=1, halt=Halt("credentials", "the token is refused", "check it"))
    async with reconciling(strategy) as it:
        it.doubt(1, 2)
        await asyncio.sleep(100)
        assert it.run.stop.error is not None
        assert it.run.stop.error.message == "the token is refused"
        assert (len(strategy.asked), it.outcomes(), it.reconciler.pending) == (1, {}, 2)


# --- what cannot be settled ---------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_answer_that_cannot_settle_it_leaves_the_record_ambiguous_but_not_before_the_settle_time() -> None:
    async with reconciling(Script({1: [Undecided("two rows have the key")]})) as it:
        it.doubt(1)
        await asyncio.sleep(SETTLE_SECONDS - 0.1)
        assert it.outcomes() == {}
        await asyncio.sleep(0.2)
        reason = Ambiguous("lost; two rows have the key")
        assert it.outcomes() == {1: reason}
        assert await it.run.logged() == {1: Exceptional(10, reason)}


@in_virtual_time
async def test_where_nothing_can_be_asked_the_record_is_held_with_its_reason() -> None:
    async with reconciling(None) as it:
        it.doubt(1, 2)
        assert it.outcomes() == {1: Ambiguous("lost"), 2: Ambiguous("lost")}
        assert it.run.queue.outstanding == it.reconciler.pending == 0


@pytest.mark.parametrize("is_ordered, lock", [(False, "a"), (True, None)])
@in_virtual_time
async def test_behind_a_lock_or_in_order_it_is_held_only_after_the_settle_time(
    *, is_ordered: bool, lock: str | None
) -> None:
    async with reconciling(None, is_ordered=is_ordered) as it:
        it.doubt(1, lock=lock)
        it.run.packer.release([line(2, lock=lock)])
        await asyncio.sleep(SETTLE_SECONDS - 0.1)
        assert (it.outcomes(), it.sent_again()) == ({}, []), "a late effect would come behind what was sent later"
        await asyncio.sleep(0.2)
        assert it.outcomes() == {1: Ambiguous("lost")}
        assert numbers(it.sent_again()) == [[2]]


@in_virtual_time
async def test_further_rows_of_one_record_are_reported_as_duplicates() -> None:
    async with reconciling(Script({3: [Known(Created(7), (8, 9))]})) as it:
        it.doubt(3)
        await asyncio.sleep(2)
        assert it.outcomes() == {3: Created(7)}
        assert it.reconciler.duplicates.proved == [Duplicate(0, 3, (8, 9))]


# --- before the claim is proved -----------------------------------------------------------------------------------------


@in_virtual_time
async def test_until_the_claim_is_decided_nobody_is_asked() -> None:
    strategy = Script({1: [FOUND]})
    async with reconciling(strategy, prover=NeverProves()) as it:
        it.doubt(1)
        await asyncio.sleep(1000)
        assert (strategy.asked, it.outcomes()) == ([], {})
        it.run.claim.give_up()
        await asyncio.sleep(1)
        assert (strategy.asked, it.outcomes()) == ([(1000.0, [1])], {1: Created(7)})
        assert it.run.claim.is_proved, "a stamp by which a record is found is one that can be asked for"


@in_virtual_time
async def test_without_a_proof_absence_does_not_count() -> None:
    strategy = Script({1: [Absent()], 2: [Absent()]}, size=1)
    async with reconciling(strategy, prover=NeverProves()) as it:
        it.doubt(1, 2)
        it.run.claim.give_up()
        await asyncio.sleep(SETTLE_SECONDS - 1)
        assert it.outcomes() == {}
        await asyncio.sleep(2)
        assert it.outcomes() == {1: Ambiguous(f"lost; {UNPROVED}"), 2: Ambiguous(f"lost; {UNPROVED}")}
        assert it.sent_again() == []


@in_virtual_time
async def test_a_record_that_is_found_makes_the_absence_of_the_others_count() -> None:
    strategy = Script({1: [Absent()], 2: [Absent(), FOUND]}, size=1)
    async with reconciling(strategy, prover=NeverProves()) as it:
        it.doubt(1)
        it.doubt(2, age_seconds=-10.0)
        it.run.claim.give_up()
        await asyncio.sleep(SETTLE_SECONDS + 5)
        assert (it.outcomes(), it.sent_again()) == ({}, []), "line 2 may still be found"
        await asyncio.sleep(10)
        assert it.outcomes() == {2: Created(7)}
        assert numbers(it.sent_again()) == [[1]]
