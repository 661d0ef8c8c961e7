"""The claim: who proves it, what is noted before each record until then, and what its proof sets free."""

from __future__ import annotations

import asyncio

from loader.checkpoint.notes import PROOF, UNSENT
from loader.delivery.claim import Claim
from loader.model import Created, Record
from tests.unit.delivery.memory_run import MemoryRun, line
from tests.unit.virtual_loop import in_virtual_time

CREATED = Created(7)


class OneProves:
    """A prover by one record: any other stops the run."""

    def __init__(self, number: int = 1, *, is_proved_by_finding: bool = True) -> None:
        self.is_proved_by_finding = is_proved_by_finding
        self.asked: list[int] = []
        self._number = number

    async def prove(self, record: Record, created: Created) -> bool:
        assert created == CREATED
        self.asked.append(record.number)
        return record.number == self._number


def is_decided(claim: Claim) -> bool:
    waiting = claim.decided()
    try:
        waiting.send(None)
    except StopIteration:
        return True
    waiting.close()
    return False


@in_virtual_time
async def test_without_a_claim_all_may_go_and_be_asked_about() -> None:
    run = await MemoryRun.begin()
    assert run.claim.is_proved
    assert is_decided(run.claim)
    await run.claim.before_sending()
    await run.claim.created(line(1), CREATED)
    await run.claim.found()
    await run.log.sync()
    assert run.log.state.notes == {}


@in_virtual_time
async def test_the_first_record_that_is_created_proves_it_and_lets_all_go() -> None:
    prover = OneProves()
    run = await MemoryRun.begin(prover=prover)
    run.packer.release([line(1), line(2), line(3)])
    assert (run.claim.is_proved, is_decided(run.claim)) == (False, False)
    assert [queued.chunk.records[0].number for queued in run.waiting()] == [1]
    await run.claim.before_sending()
    assert run.log.state.notes == {UNSENT: [[0, 2, 3]]}
    reader = asyncio.create_task(run.claim.decided())
    await run.claim.created(line(1), CREATED)
    await asyncio.wait_for(reader, 1)
    assert is_decided(run.claim)
    assert run.log.state.notes == {PROOF: True, UNSENT: []}, "any record may leave from now on"
    assert [[record.number for record in queued.chunk.records] for queued in run.waiting()] == [[2, 3]]
    await run.claim.created(line(2), CREATED)
    assert prover.asked == [1], "once is enough"


@in_virtual_time
async def test_what_has_not_left_is_durable_before_each_record_leaves() -> None:
    run = await MemoryRun.begin(prover=OneProves())
    run.packer.release([line(1), line(2)])
    run.waiting()
    syncs = run.disk.operations.count("sync")
    await run.claim.before_sending()
    assert run.disk.operations.count("sync") == syncs + 1


@in_virtual_time
async def test_a_record_that_proves_nothing_leaves_all_as_it_was() -> None:
    run = await MemoryRun.begin(prover=OneProves(number=2))
    run.packer.release([line(1), line(2)])
    await run.claim.created(line(1), CREATED)
    assert (run.claim.is_proved, run.queue.is_solo, is_decided(run.claim)) == (False, True, False)
    await run.claim.created(line(2), CREATED)
    assert (run.claim.is_proved, run.queue.is_solo, is_decided(run.claim)) == (True, False, True)


@in_virtual_time
async def test_a_record_that_was_found_proves_a_stamp_but_not_that_an_item_is_unique() -> None:
    for is_proved_by_finding in (True, False):
        run = await MemoryRun.begin(prover=OneProves(is_proved_by_finding=is_proved_by_finding))
        await run.claim.found()
        assert run.claim.is_proved is is_proved_by_finding
        assert run.queue.is_solo is not is_proved_by_finding


@in_virtual_time
async def test_a_claim_that_is_given_up_is_decided_and_may_still_be_proved() -> None:
    run = await MemoryRun.begin(prover=OneProves())
    run.claim.give_up()
    assert (run.claim.is_given_up, run.claim.is_proved, is_decided(run.claim)) == (True, False, True)
    assert run.queue.is_solo, "one record still goes at a time"
    await run.claim.found()
    assert (run.claim.is_given_up, run.claim.is_proved, run.queue.is_solo) == (False, True, False)


@in_virtual_time
async def test_a_claim_that_is_proved_cannot_be_given_up() -> None:
    run = await MemoryRun.begin()
    run.claim.give_up()
    assert (run.claim.is_given_up, run.claim.is_proved) == (False, True)
