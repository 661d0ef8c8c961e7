"""What the drawn worlds found wrong once, each as the smallest world that shows it; and every crash point of a small load."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from loader.delivery.queue import ChunkQueue, QueuedChunk
from loader.emulator import parse_plan
from loader.model import Chunk, Record
from loader.settings import (
    CanbusAdd,
    CanbusCredentials,
    Options,
    OzariCredentials,
    OzariInsert,
    OzariUpdate,
    Rate,
    RejectLimit,
    Secret,
)
from tests.simulation.cases import APP, SMALL, TABLE, Blow, Case, Trouble
from tests.simulation.network import Outage, Weather
from tests.simulation.worlds import run_case

OPTIONS = Options(
    rate=Rate(200.0),
    concurrency=3,
    max_rejects=RejectLimit(percent=100.0),
    timeout_seconds=5.0,
    settle_seconds=5.0,
    patience_seconds=120.0,
    base_url="http://127.0.0.1:1",
)
TARGETS: dict[str, Any] = {
    "insert": OzariInsert(TABLE, stamp="fstamp"),
    "update": OzariUpdate(TABLE, match=("fcode",)),
    "add": CanbusAdd("loader", stamp="Stamp", is_unique=True),
}
DEATHS: tuple[Blow, ...] = ("process", "power")
CANBUS = {"apps": [{"items": {"Stamp": {"is_unique": True}}}]}


def case_of(kind: Any, count: int = 8, *, faults: list[dict[str, Any]] | None = None, rows: int = 30) -> Case:
    """A fair world: `count` lines, four to a window. Updates go round `rows` rows."""
    canbus = CanbusCredentials("emulator", Secret(APP), Secret("emulator-key"), Secret("emulator-secret"))
    codes = [f"K{1 + (number - 1) % rows}" if kind == "update" else f"K{number}" for number in range(1, count + 1)]
    code, name = ("Code", "Name") if kind == "add" else ("fcode", "fname")
    lines = [json.dumps({code: value, name: f"name {number}"}) for number, value in enumerate(codes, 1)]
    return Case(
        seed=1,
        kind=kind,
        target=TARGETS[kind],
        credentials=canbus if kind == "add" else OzariCredentials(Secret("emulator-token")),
        options=OPTIONS,
        plan=parse_plan(json.dumps({"canbus": CANBUS, "faults": faults or []}).encode(), is_json=True),
        weather=Weather(0.02),
        lines=tuple(line.encode() for line in lines),
        markers={number: f"name {number}" for number in range(1, count + 1)},
        old_rows=tuple({"fcode": f"K{row}", "fname": "old"} for row in range(1, rows + 1)) if kind == "update" else (),
        troubles=(),
        sizes=SMALL,
        window_lines=4,
    )


def trouble(blow: Blow, *, disk: int = 0, request: int = 0, seconds: float = 0.0, moment: float = 0.0) -> Trouble:
    by: Any = "disk" if disk else "request" if request else "time"
    return Trouble(blow, by, disk or request, seconds, moment, pause_seconds=0.0)


def wrong_of(case: Case, *troubles: Trouble) -> list[str]:
    return run_case(replace(case, troubles=troubles)).wrong


@pytest.mark.parametrize("blow", ["process", "power"])
@pytest.mark.parametrize("kind", ["insert", "update", "add"])
def test_a_crash_at_every_operation_of_the_disk(kind: str, blow: Blow) -> None:
    # The first ones: a log without a header, which no run.json stands beside, was never begun.
    case = case_of(kind)
    for at in range(1, 32):
        for moment in (0.1, 0.4, 0.8) if at < 10 else (0.8,):
            assert not wrong_of(case, trouble(blow, disk=at, moment=moment)), (at, moment)


@pytest.mark.parametrize("kind", ["insert", "update", "add"])
def test_a_crash_at_every_request_and_again_in_the_recovery(kind: str) -> None:
    case = case_of(kind)
    for at in range(1, 14):
        for moment in (0.1, 0.9):
            first = trouble("power", request=at, moment=moment)
            assert not wrong_of(case, first, trouble("process", request=3, moment=moment)), (at, moment)


@pytest.mark.parametrize("kind", ["insert", "update", "add"])
def test_a_run_that_is_cancelled_anywhere_is_not_finished(kind: str) -> None:
    # It was written down as finished where the cancellation came before the first record, or behind the last.
    case = case_of(kind)
    for step in range(40):
        assert not wrong_of(case, trouble("cancel", seconds=step * 0.012)), step


def test_a_run_that_is_cancelled_while_it_drains_leaves_no_task_behind() -> None:
    case = replace(case_of("insert", 30), weather=Weather(0.02, outages=(Outage(0.25, 50.0, "silent"),)))
    for step in range(20):
        assert not wrong_of(case, trouble("cancels", seconds=0.3, moment=step * 0.3)), step


def test_a_log_that_is_being_closed_is_closed_whoever_is_cancelled() -> None:
    # Seed 11782: the second cancellation came while a thread wrote a fold, and the file was closed under it.
    case = replace(case_of("insert", 40), options=replace(OPTIONS, rate=Rate(400.0)))
    for seed in (523, 626, 683, 848, 1477):  # a slow disk at the right moment is one world in three hundred
        cancelled = trouble("cancels", seconds=0.1 + seed % 10 * 0.02, moment=0.03 + 0.01 * (seed % 7))
        assert not wrong_of(replace(case, seed=seed), cancelled), seed


def test_updates_of_a_row_keep_their_order_over_a_resume() -> None:
    # A stop left the first in doubt and the second unsent: the second went first.
    case = replace(case_of("update", 12, rows=1), options=replace(OPTIONS, patience_seconds=3.0, settle_seconds=10.0))
    for step in range(30):
        rough = Weather(0.02, outages=(Outage(0.2 + step * 0.02, 6.0, "silent"),))
        assert not wrong_of(replace(case, weather=rough)), step


def test_an_update_that_is_held_holds_its_row_until_no_late_effect_can_come() -> None:
    late = {"kind": "late_commit", "seconds": 3.0, "times": 1, "operations": ["update"]}
    case = case_of("update", 2, faults=[late], rows=1)
    for is_ordered in (False, True):  # seed 48490: in order there are no locks
        options = replace(OPTIONS, ambiguous="hold", is_ordered=is_ordered)
        assert not wrong_of(replace(case, options=options)), is_ordered


def test_an_ambiguous_update_is_not_sent_again_over_a_later_one() -> None:
    unreadable = {"kind": "malformed", "change": "not_json", "body_contains": '"name 1"', "operations": ["update"]}
    case = case_of("update", 6, faults=[unreadable], rows=2)
    result = run_case(case)
    assert not result.wrong
    assert result.counts["ambiguous"] == 1


def test_nothing_leaves_after_the_credentials_were_refused() -> None:
    # Workers that waited for their turn went on while the reader waited for the disk.
    options = replace(OPTIONS, max_records=1, concurrency=8, rate=Rate(20.0))
    for seed in range(40):
        weather = Weather(0.05, outages=(Outage(1.0 + seed * 0.02, 30.0, "401"),))
        assert not wrong_of(replace(case_of("add", 80), weather=weather, options=options, seed=seed)), seed


def test_no_doubt_is_asked_about_after_the_credentials_were_refused() -> None:
    case = replace(case_of("insert", 60), options=replace(OPTIONS, concurrency=16))
    plan = parse_plan(b'{"ozari": {"query": "off_json"}}', is_json=True)
    for step in range(10):
        outages = (Outage(0.3, 0.6, "silent"), Outage(6.0 + step * 0.1, 40.0, "401"))
        assert not wrong_of(replace(case, plan=plan, weather=Weather(0.02, outages=outages))), step


def test_a_question_that_waits_for_its_turn_does_not_leave_after_the_credentials_were_refused() -> None:
    # Seed 17303: a resume asks about new lines first, and the reader who asks was waited for like one who writes to the log.
    options = replace(OPTIONS, rate=Rate(5.0))
    for step in range(0, 20, 3):
        rough = Weather(0.02, outages=(Outage(1.2 + step * 0.03, 60.0, "401"),))
        case = replace(case_of("insert", 40), weather=rough, options=options)
        assert not wrong_of(case, trouble("process", seconds=0.4)), step


def test_an_ambiguous_record_holds_back_what_follows_over_a_resume() -> None:
    # Seed 14786: an unsent line went first and was throttled; the ambiguous one before it then held it back for its settle time,
    # which was longer than the patience. So it went in every resume.
    limit = {"kind": "bucket", "per_second": 5, "burst": 1, "retry_after": "exact"}
    lost = {"kind": "close", "when": "after", "operations": ["insert"], "after": 1, "times": 1}
    plan = {"ozari": {"query": "off_json", "rate_limit": limit}, "faults": [lost]}
    case = replace(
        case_of("insert", 12),
        target=OzariInsert(TABLE, key="fcode"),
        plan=parse_plan(json.dumps(plan).encode(), is_json=True),
        options=replace(OPTIONS, is_ordered=True, patience_seconds=20.0, settle_seconds=30.0),
    )
    for step in range(4):
        result = run_case(
            replace(case, troubles=(trouble("signal", seconds=300.0), trouble("signal", seconds=31.2 + step * 0.25)))
        )
        assert not result.wrong, step


@pytest.mark.parametrize("blow", DEATHS)
def test_a_refusal_that_is_forgotten_does_not_put_its_record_behind_later_ones(blow: Blow) -> None:
    # Seed 11043: a record was refused, later ones were created, and the crash took the refusal: it was sent again, behind them.
    refused = {"kind": "status", "status": 422, "body_contains": '"name 3"', "operations": ["insert"], "times": 1}
    case = replace(
        case_of("insert", 8, faults=[refused | {"commit": "never"}]),
        target=OzariInsert(TABLE, key="fcode"),
        options=replace(OPTIONS, is_ordered=True),
        weather=Weather(0.005),
    )
    for seed in range(9):
        for step in range(3, 10):
            struck = trouble(blow, seconds=0.02 + step * 0.004)
            assert not wrong_of(replace(case, seed=seed), struck), (seed, step)


@pytest.mark.parametrize("kind", ["insert", "update", "add"])
def test_what_a_finished_source_grew_by_is_loaded_after_a_crash_at_the_start(kind: str) -> None:
    # run.json took the longer source's fingerprint while the log still said "finished": the new lines were never read.
    first = trouble("stall", seconds=900.0)
    for at in range(1, 13):
        for blow in DEATHS:
            second = replace(trouble(blow, disk=at, moment=0.1), appended=5)
            assert not wrong_of(case_of(kind, 6), first, second), (at, blow)


def test_a_note_of_unsent_lines_counts_for_none_whose_intent_was_lost() -> None:
    # Seed 29867: the crash took the intent and left the note before it. The next execution carried the note along while the first
    # record left, and the one after that sent it again, unasked, before the target showed it.
    plan = parse_plan(b'{"ozari": {"read_delay_seconds": 1.0}}', is_json=True)
    case = replace(case_of("insert", 4), plan=plan)
    for at in range(12, 18):
        for step in range(12):
            first, second = trouble("process", disk=at, moment=0.9), trouble("process", seconds=0.05 + step * 0.02)
            assert not wrong_of(case, first, second), (at, step)


def test_a_process_that_stands_still_while_it_drains_ends_all_the_same() -> None:
    case = replace(case_of("insert"), weather=Weather(0.02, outages=(Outage(0.2, 9.0, "silent"),)))
    for step in range(10):
        assert not wrong_of(case, trouble("nap", seconds=0.3, moment=step * 0.4)), step


def test_a_death_that_comes_when_its_process_has_ended_strikes_no_later_one() -> None:
    # Seed 16261, a fault of these worlds: the next process lost its network and its lock, lived on, and a second one sent.
    for seed in range(30):
        late = trouble("process", request=2, moment=0.9)
        grown = replace(trouble("stall", seconds=900.0), appended=2, has_rival=True)
        assert not wrong_of(replace(case_of("insert", 1), seed=seed), late, grown), seed


def test_a_rate_hundreds_of_times_too_high_starves_no_question() -> None:
    # Seed 51607: each question was refused beside bursts of records, until the patience was over, in every execution anew.
    limit = {"kind": "bucket", "per_second": 5, "burst": 1, "rejects_count": False}
    case = replace(
        case_of("insert", 60),
        target=OzariInsert(TABLE, key="fcode"),
        options=replace(OPTIONS, rate=Rate(2000.0), concurrency=None, patience_seconds=60.0),
        plan=parse_plan(json.dumps({"ozari": {"rate_limit": limit}}).encode(), is_json=True),
        weather=Weather(0.01, lost_after=0.05),
    )
    result = run_case(case)
    assert not result.wrong
    assert result.counts["executions"] == 2, "the load, and a resume that finds it finished"
    assert result.counts["requests"] < 300


def record(number: int) -> Record:
    return Record(0, number, 0, b"{}")


async def test_an_ordered_chunk_goes_only_as_far_as_its_records_are_next() -> None:
    # [32, 1] waited for 1, which stood behind 32 in the same chunk: for ever.
    work = ChunkQueue(lookahead=10, max_outstanding=100, is_ordered=True)
    work.admit([record(1), record(5), record(32)])
    work.put([QueuedChunk(Chunk((record(32), record(1)))), QueuedChunk(Chunk((record(5),)))])
    taken = []
    for _ in range(3):
        parcel = await asyncio.wait_for(work.take(), 1)
        assert parcel is not None
        taken.append([one.number for one in parcel.chunk.records])
        work.done()
        work.release(parcel.chunk.records)
    assert taken == [[1], [5], [32]]
