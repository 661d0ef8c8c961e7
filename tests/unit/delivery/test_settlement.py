"""Outcomes: they reach the log, the sinks and the queue, and too many rejects stop the run."""

from __future__ import annotations

import pytest

from loader.checkpoint.windows import Exceptional
from loader.columns import CreatedIds
from loader.delivery.settlement import RejectGuard
from loader.errors import RunStopped
from loader.model import Ambiguous, Created, Outcome, Rejected, Updated
from loader.reading.parsing import parse
from loader.settings import RejectLimit
from tests.unit.delivery.memory_run import MemoryRun, durable_slots, line
from tests.unit.virtual_loop import in_virtual_time

REFUSED = Rejected("target", "400", "no such city")
UNREADABLE = Rejected("parse", "json", "no object")


@in_virtual_time
async def test_outcomes_reach_the_log_the_sinks_and_the_queue() -> None:
    run = await MemoryRun.begin()
    records = [line(number) for number in range(1, 6)]
    run.queue.admit(records)
    outcomes: list[Outcome] = [Created(7), Updated(), REFUSED, Ambiguous("lost")]
    run.settlement.conclude(records[:4], outcomes)
    assert run.outcomes == dict(enumerate(outcomes, 1))
    assert run.queue.outstanding == 1
    assert run.settlement.successes == 2
    assert await run.logged() == {
        1: 7,
        2: Updated(),
        3: Exceptional(30, REFUSED),
        4: Exceptional(40, Ambiguous("lost")),
    }


@in_virtual_time
async def test_single_records_that_were_created_are_concluded_together_whatever_their_source() -> None:
    run = await MemoryRun.begin(sources=2)
    records = [line(1), line(2, source=1), line(3)]
    run.queue.admit(records)
    run.settlement.conclude_created(records, [Created(7), Created(8), Created(9)])
    assert run.outcomes == {1: Created(7), 2: Created(8), 3: Created(9)}
    assert (run.queue.outstanding, run.settlement.successes) == (0, 3)
    assert await run.logged() == {1: 7, 3: 9}


@in_virtual_time
async def test_lines_that_never_became_work_are_written_and_release_nothing() -> None:
    run = await MemoryRun.begin()
    run.queue.admit([line(1)])
    run.settlement.refuse([line(2)], [UNREADABLE], [line(1)])
    run.settlement.refuse([], [], [])
    run.settlement.conclude([], [])
    assert (run.queue.outstanding, run.settlement.successes) == (1, 0)
    assert run.outcomes == {2: UNREADABLE}
    assert await run.logged() == {2: Exceptional(20, UNREADABLE)}
    assert not run.stop.is_requested


@in_virtual_time
async def test_a_record_that_has_its_outcome_lets_the_next_one_with_its_lock_go() -> None:
    run = await MemoryRun.begin()
    records = [line(1, lock="a"), line(2, lock="a")]
    run.queue.admit(records)
    run.settlement.conclude_created(records[:1], [Created(7)])
    (queued,) = run.waiting()
    assert queued.chunk.records == (records[1],)


# --- order --------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_in_order_a_rejected_record_is_durable_before_the_next_one_leaves() -> None:
    run = await MemoryRun.begin(is_ordered=True)
    records = [line(1), line(2), line(3)]
    run.queue.admit(records)
    run.settlement.conclude(records[:1], [Created(7)])
    assert not run.settlement.is_order_at_stake, "were it forgotten, it would be sent again in its place"
    run.settlement.conclude(records[1:2], [REFUSED])
    assert (run.settlement.is_order_at_stake, durable_slots(run.disk)) == (True, {})
    await run.settlement.keep_order()
    assert durable_slots(run.disk) == {1: 7, 2: Exceptional(20, REFUSED)}
    assert not run.settlement.is_order_at_stake
    syncs = run.disk.operations.count("sync")
    await run.settlement.keep_order()
    assert run.disk.operations.count("sync") == syncs


@in_virtual_time
async def test_out_of_order_nothing_waits_for_the_disk() -> None:
    run = await MemoryRun.begin()
    run.queue.admit([line(1)])
    run.settlement.conclude([line(1)], [REFUSED])
    assert not run.settlement.is_order_at_stake


# --- too many rejects ---------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_one_reject_too_many_stops_the_run_and_is_written_all_the_same() -> None:
    run = await MemoryRun.begin(limit=RejectLimit(count=1))
    records = [line(1), line(2)]
    run.queue.admit(records)
    run.settlement.conclude(records[:1], [REFUSED])
    assert not run.stop.is_requested
    run.settlement.conclude(records[1:], [REFUSED])
    assert isinstance(run.stop.error, RunStopped)
    assert run.stop.error.message == "too many records are rejected: 2 records were rejected, more than 1"
    assert run.queue.take_now() is None
    assert await run.logged() == {1: Exceptional(10, REFUSED), 2: Exceptional(20, REFUSED)}


NO = [REFUSED]
YES: list[Outcome] = [Created(1)]
DEFAULT = RejectLimit()


@pytest.mark.parametrize(
    "limit, outcomes, reason",
    [
        (RejectLimit(count=0), [*YES, *NO], "1 records were rejected, more than 0"),
        (RejectLimit(count=3), 3 * NO, None),
        (RejectLimit(count=3), 4 * NO, "4 records were rejected, more than 3"),
        (RejectLimit(count=0), 500 * [UNREADABLE], None),
        (RejectLimit(percent=10.0), 99 * NO, None),
        (RejectLimit(percent=10.0), 90 * YES + 10 * NO, None),
        (RejectLimit(percent=10.0), 89 * YES + 11 * NO, "11.0 % of the answered records were rejected"),
        (RejectLimit(percent=10.0), 50 * [UNREADABLE] + 49 * NO, None),
        (RejectLimit(percent=100.0), 5000 * NO, None),
        (DEFAULT, 99 * NO, None),
        (DEFAULT, 100 * NO, "the first 100 records that the target answered were all rejected"),
        (DEFAULT, [Ambiguous("lost"), *100 * NO], None),
        (DEFAULT, [*YES, *999 * NO], None),
        (DEFAULT, [*YES, *1000 * NO], "1000 records in a row were rejected"),
        (DEFAULT, [*YES, *999 * NO, Updated(), *999 * NO], None),
        (DEFAULT, [*YES, *500 * NO, UNREADABLE, *500 * NO], "1000 records in a row were rejected"),
    ],
)
def test_when_too_many_are_rejected(limit: RejectLimit, outcomes: list[Outcome], reason: str | None) -> None:
    one_by_one = RejectGuard(limit)
    assert [one_by_one.count([outcome]) for outcome in outcomes][-1] == reason
    if limit != DEFAULT:  # where all that counts is how many there are
        assert RejectGuard(limit).count(outcomes) == reason


def test_created_records_count_however_they_are_reported() -> None:
    guard = RejectGuard(RejectLimit(percent=10.0))
    guard.count(CreatedIds([*range(40)]))
    guard.count_created(49)
    assert guard.count(11 * NO) == "11.0 % of the answered records were rejected"
    assert guard.answered == 100
    guard.count(10 * NO)
    assert guard.in_a_row == 21
    assert guard.count_created(1) == "18.9 % of the answered records were rejected"
    assert guard.in_a_row == 0


# --- what is refused here -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_what_is_refused_here_counts_as_rejected() -> None:
    run = await MemoryRun.begin(limit=RejectLimit(count=1))
    run.queue.admit([line(1)])
    run.settlement.conclude([line(1)], [REFUSED])
    assert not run.stop.is_requested
    run.settlement.refuse([line(2)], [UNREADABLE], [line(3)])
    assert isinstance(run.stop.error, RunStopped)
    assert run.stop.error.reason == "rejects"
    message = f"2 records were rejected, more than 1; line 2: {UNREADABLE.message}"
    assert run.stop.error.message == f"too many records are rejected: {message}"
    assert run.outcomes == {1: REFUSED, 2: UNREADABLE}


@pytest.mark.parametrize(
    "limit, windows, reason",
    [
        (RejectLimit(count=5), [(5, 100)], None),
        (RejectLimit(count=5), [(3, 100), (3, 0)], "6 records were rejected, more than 5"),
        (RejectLimit(percent=10.0), [(99, 0)], None),
        (RejectLimit(percent=10.0), [(120, 880)], "12.0 % of the lines were rejected"),
        (RejectLimit(percent=10.0), [(100, 900)], None),
        (RejectLimit(percent=100.0), [(5000, 0)], None),
        (DEFAULT, [(999, 0)], None),
        (DEFAULT, [(128, 0)] * 8, "1024 lines in a row were refused here, before they were sent"),
        (DEFAULT, [(128, 0)] * 7 + [(127, 1)] + [(128, 0)] * 7, None),
        (DEFAULT, [(900, 100)] * 50, None),
    ],
)
def test_when_too_many_lines_are_refused_here(
    limit: RejectLimit, windows: list[tuple[int, int]], reason: str | None
) -> None:
    guard = RejectGuard(limit)
    assert [guard.count_read(*window) for window in windows][-1] == reason


@in_virtual_time
@pytest.mark.parametrize(
    "good, stops",
    [(b'{"note":"line1\\\\nline2"}', True), (b'{"note":"plain"}', True), (b'{"note":"line1\\nline2"}', False)],
)
async def test_doubled_backslashes_stop_the_run_before_wrong_texts_leave(good: bytes, stops: bool) -> None:
    run = await MemoryRun.begin()
    refusal = parse(b'{"note":"say \\\\"hi\\\\""}')
    assert isinstance(refusal, Rejected)
    assert "backslashes look doubled: export with `psql -At` or `mysql --raw`" in refusal.message
    run.settlement.refuse([line(2)], [refusal], [line(1)._replace(data=good)])
    assert run.stop.is_requested is stops
