"""What the reconciler sends again: by the user's word, as the question itself, or because a record is absent; the second look."""

from __future__ import annotations

import asyncio

import pytest

from loader.model import Absent, Ambiguous, Created, Outcome, Rejected, Undecided, Updated
from loader.reconcile.doubt import Duplicate
from loader.reconcile.reconciler import EARLY_LOOK_SECONDS, UNREADABLE_SECONDS
from loader.reconcile.strategies import SendAgain
from tests.unit.delivery.memory_run import line, numbers
from tests.unit.reconcile.asking import SETTLE_SECONDS, NeverProves, Reconciling, Script, Table, looking_up, reconciling
from tests.unit.virtual_loop import in_virtual_time

SEND_AGAIN = SendAgain(is_in_doubt=True)


# --- by the user's word -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [Created(None), Updated()])
@in_virtual_time
async def test_what_nothing_settles_may_be_accepted(accepted: Outcome) -> None:
    async with reconciling(Script({1: [Undecided("refused")]}), decision="accept", accepted=accepted) as it:
        it.doubt(1)
        await asyncio.sleep(SETTLE_SECONDS + 1)
        assert (it.outcomes(), it.sent_again()) == ({1: accepted}, [])
        assert it.reconciler.duplicates.blind == 0


@in_virtual_time
async def test_what_nothing_settles_may_be_sent_again_but_only_once() -> None:
    async with reconciling(Script({1: [Undecided("refused")]}), decision="resend") as it:
        it.doubt(1)
        await asyncio.sleep(SETTLE_SECONDS + 1)
        (queued,) = it.sent_again()
        assert (numbers([queued]), queued.attempts) == ([[1]], 1)
        assert (it.outcomes(), it.reconciler.pending, it.reconciler.duplicates.blind) == ({}, 0, 1)
        it.doubt(1, is_new=False)
        await asyncio.sleep(SETTLE_SECONDS + 1)
        assert (it.outcomes(), it.sent_again()) == ({1: Ambiguous("lost; refused")}, [])
        assert it.reconciler.duplicates.blind == 1


@in_virtual_time
async def test_a_record_without_any_question_obeys_the_decision_at_once() -> None:
    async with reconciling(None, decision="accept") as it:
        it.doubt(1)
        assert it.outcomes() == {1: Created(None)}


@in_virtual_time
async def test_blind_sending_asks_nobody_waits_a_moment_and_is_counted() -> None:
    async with reconciling(None, sends_blindly=True) as it:
        it.doubt(1, 2)
        assert (it.outcomes(), it.sent_again()) == ({}, [])
        await asyncio.sleep(EARLY_LOOK_SECONDS + 0.1)
        waiting = it.sent_again()
        assert sorted(numbers(waiting)) == [[1], [2]]
        assert [queued.attempts for queued in waiting] == [1, 1]
        assert (it.reconciler.duplicates.blind, it.reconciler.pending) == (2, 0)


# --- whose fault a server error is --------------------------------------------------------------------------------------


async def fail(it: Reconciling, statuses: list[int], *, others_succeed: bool) -> None:
    """Let line 1 meet server errors, be asked about after each, and be sent again; line 2 succeeds, or does not."""
    for attempt, status in enumerate(statuses):
        it.doubt(1, status=status, is_new=not attempt)
        if others_succeed and not attempt:
            it.run.queue.admit([line(2)])
            it.run.settlement.conclude([line(2)], [Created(2)])
        await asyncio.sleep(SETTLE_SECONDS + 1)
        if attempt < len(statuses) - 1:
            assert numbers(it.sent_again()) == [[1]]


@pytest.mark.parametrize(
    "statuses, is_rejected",
    [([500] * 2, False), ([500] * 3, True), ([503] * 4, False), ([503] * 5, True), ([500, 500, 503, 503], True)],
)
@in_virtual_time
async def test_a_record_that_the_target_fails_on_while_others_succeed_is_rejected(
    *, statuses: list[int], is_rejected: bool
) -> None:
    async with reconciling(Script({})) as it:
        await fail(it, statuses[:-1], others_succeed=True)
        it.sent_again()
        it.doubt(1, status=statuses[-1], is_new=False)
        await asyncio.sleep(SETTLE_SECONDS + 1)
        message = f"the target answered {statuses[-1]} {len(statuses)} times, and did not create the record"
        rejected = Rejected("target", str(statuses[-1]), message)
        assert it.outcomes() == {2: Created(2)} | ({1: rejected} if is_rejected else {})
        assert numbers(it.sent_again()) == ([] if is_rejected else [[1]])


@pytest.mark.parametrize("conclusion", [Absent(), SEND_AGAIN])
@in_virtual_time
async def test_while_nobody_succeeds_no_record_is_at_fault(conclusion: Absent | SendAgain) -> None:
    async with reconciling(Script({1: [conclusion]})) as it:
        await fail(it, [500] * 10, others_succeed=False)
        assert (it.outcomes(), numbers(it.sent_again())) == ({}, [[1]])


TOO_LONG = "the target answered 500: Data too long"


async def fail_alone(it: Reconciling, reasons: list[str], status: int = 500, others: int = 0) -> None:
    it.run.queue.admit([line(number) for number in range(100, 100 + others)])
    for attempt, reason in enumerate(reasons):
        it.doubt(1, status=status, is_new=not attempt, reason=reason)
        await asyncio.sleep(30)
        if it.outcomes():
            return
        it.sent_again()


@in_virtual_time
async def test_the_last_row_is_rejected_with_the_words_that_it_met_each_time() -> None:
    async with reconciling(Script({})) as it:
        await fail_alone(it, [TOO_LONG] * 10)
        message = "the target answered 500 5 times, and did not create the record; the last: 500: Data too long"
        assert it.outcomes() == {1: Rejected("target", "500", message)}


@pytest.mark.parametrize(
    "reasons, status, others",
    [
        ([TOO_LONG] * 10, 500, 50),  # not the last
        (["the target answered 500"] * 10, 500, 0),  # nobody says what is wrong with it
        (["the target answered 503: busy"] * 10, 503, 0),
        ([TOO_LONG, "the target answered 500: deadlock"] * 5, 500, 0),
    ],
)
@in_virtual_time
async def test_a_last_row_is_not_rejected_for_what_may_be_the_targets(
    reasons: list[str], status: int, others: int
) -> None:
    async with reconciling(Script({})) as it:
        await fail_alone(it, reasons, status, others)
        assert it.outcomes() == {}


@in_virtual_time
async def test_a_record_that_is_absent_after_an_answer_that_cannot_be_read_waits_before_it_is_sent_again() -> None:
    async with reconciling(Script({})) as it:
        it.doubt(1, status=200)
        await asyncio.sleep(SETTLE_SECONDS + 1)
        assert it.sent_again() == []
        await asyncio.sleep(UNREADABLE_SECONDS)
        assert numbers(it.sent_again()) == [[1]]


@in_virtual_time
async def test_a_lost_connection_is_nobodys_fault() -> None:
    async with reconciling(Script({})) as it:
        for attempt in range(10):
            it.doubt(1, is_new=not attempt)
            it.run.queue.admit([line(20 + attempt)])
            it.run.settlement.conclude([line(20 + attempt)], [Created(attempt)])
            await asyncio.sleep(SETTLE_SECONDS + 1)
            assert numbers(it.sent_again()) == [[1]]


@in_virtual_time
async def test_a_record_at_fault_that_may_exist_is_left_ambiguous() -> None:
    async with reconciling(Script({1: [SEND_AGAIN]}, can_ask_early=False)) as it:
        await fail(it, [500] * 3, others_succeed=True)
        assert it.sent_again() == []
        assert it.outcomes()[1] == Ambiguous("the target answered 500 each time, while other records succeeded")


@in_virtual_time
async def test_records_are_settled_in_smaller_groups_after_an_error() -> None:
    strategy = Script({}, can_ask_early=False, size=4)
    async with reconciling(strategy) as it:
        it.doubt(1, status=500)
        it.doubt(2, 3, 4, 5)
        await asyncio.sleep(SETTLE_SECONDS + 1)
        assert [lines for _, lines in strategy.asked] == [[1, 2], [3, 4, 5]]


# --- sending as the question --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_records_that_are_sent_to_be_refused_go_together_and_in_doubt() -> None:
    async with reconciling(Script({n: [SEND_AGAIN] for n in (1, 2, 3)}, can_ask_early=False)) as it:
        it.doubt(1, 2, 3)
        await asyncio.sleep(SETTLE_SECONDS + 1)
        (queued,) = it.sent_again()
        assert (numbers([queued]), queued.chunk.in_doubt, it.reconciler.pending) == ([[1, 2, 3]], True, 0)


@in_virtual_time
async def test_without_a_proof_none_is_sent_to_be_refused() -> None:
    async with reconciling(Script({1: [SEND_AGAIN]}), prover=NeverProves()) as it:
        it.doubt(1)
        it.run.claim.give_up()
        await asyncio.sleep(SETTLE_SECONDS + 1)
        assert isinstance(it.outcomes()[1], Ambiguous)
        assert it.sent_again() == []


# --- the second look ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late, duplicates", [([], []), ([8], [Duplicate(0, 1, (8,))])])
@in_virtual_time
async def test_a_twin_that_came_after_all_is_found_at_the_end(late: list[int], duplicates: list[Duplicate]) -> None:
    table = Table()
    async with looking_up(table) as it:
        it.doubt(1)
        await asyncio.sleep(SETTLE_SECONDS + 1)
        assert numbers(it.sent_again()) == [[1]]
        table.rows["k1"] = [7, *late]
        it.run.settlement.conclude([line(1, key="k1")], [Created(7)])
        questions = len(it.run.replies.sent)
        await it.reconciler.second_look()
        assert len(it.run.replies.sent) == questions + 1
        assert it.reconciler.duplicates.proved == duplicates
        await it.reconciler.second_look()
        assert len(it.run.replies.sent) == questions + 1, "each is looked at once"


@in_virtual_time
async def test_a_record_that_was_found_is_not_looked_at_again() -> None:
    async with looking_up(Table({"k1": [7]})) as it:
        it.doubt(1)
        await asyncio.sleep(SETTLE_SECONDS + 1)
        assert it.outcomes() == {1: Created(7)}
        questions = len(it.run.replies.sent)
        await it.reconciler.second_look()
        assert len(it.run.replies.sent) == questions


@in_virtual_time
async def test_where_too_many_wait_for_their_second_look_the_oldest_get_it_sooner() -> None:
    async with looking_up(Table(max_records=2)) as it:
        it.doubt(1, 2, 3, 4, 5)
        await asyncio.sleep(SETTLE_SECONDS + 1)
        questions = len(it.run.replies.sent)
        await it.reconciler.second_look(keep=2)
        assert [body for _, body in it.run.replies.sent[questions:]] == [b"k1 k2", b"k3 k4"]
