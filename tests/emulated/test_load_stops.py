"""What ends, slows or steers a run: order, limits, rejects, the word on ambiguous records, patience, outages, throttling.

No test asserts how long something took. Where the target asked for a pause, the journal says whether a request came in it.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from loader import CanbusAdd, OzariInsert, OzariUpdate, Rate, RejectLimit
from loader.emulator import Emulator, EmulatorThread, running
from loader.reconcile import reconciler as reconcile
from tests.emulated.loading import (
    ADD,
    APP,
    INSERT,
    TABLE,
    UNIQUE,
    ambiguous_of,
    audit,
    closes,
    command,
    facts,
    keyed,
    plan_of,
    records_of,
    rejects_of,
    run,
    told,
    write,
)

STAMPED = OzariInsert(TABLE, stamp="fstamp")
COUNT = 100


def source_of(tmp_path: Path, count: int = COUNT, field: str = "fcode") -> Path:
    return write(tmp_path / "source", records_of(count, field))


# --- order --------------------------------------------------------------------------------------------------------------

HINDRANCES: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "latency": [{"kind": "latency", "milliseconds": 2, "sigma": 1.0}],
    "lost before": [{"kind": "close", "when": "before", "every": 11}],
    "lost after": [{"kind": "reset", "when": "after", "every": 11}],
    "throttled": [{"kind": "status", "status": 429, "every": 19, "retry_after": "0"}],
}


@pytest.mark.parametrize("hindrance", HINDRANCES)
async def test_ordered_is_ordered_whatever_comes_between(tmp_path: Path, hindrance: str) -> None:
    count = 40
    faults = [{**fault, "operations": ["insert"]} for fault in HINDRANCES[hindrance]]
    with running(plan_of(*faults)) as emulator:
        report = await run(
            emulator, STAMPED, source_of(tmp_path, count), tmp_path / "run", is_ordered=True, settle_seconds=0.1
        )
        assert closes(report)
        assert [row["fcode"] for row in emulator.rows(TABLE)] == list(keyed(count).values())
        assert audit(emulator, tmp_path / "run", keyed(count)) == []


async def test_ordered_chunks_that_are_halved_keep_their_order(tmp_path: Path) -> None:
    plan = plan_of({"kind": "close", "operations": ["add"], "every": 6}, canbus={**UNIQUE, "max_records": 7})
    target = CanbusAdd("loader", key="Code", is_unique=True)
    with running(plan) as emulator:
        source = source_of(tmp_path, COUNT, "Code")
        report = await run(
            emulator, target, source, tmp_path / "run", is_ordered=True, max_records=20, settle_seconds=0.1
        )
        assert closes(report)
        assert [row["Code"] for row in emulator.rows(APP)] == list(keyed(COUNT).values())


@pytest.mark.parametrize("ambiguous", ["reconcile", "resend"])
@pytest.mark.parametrize("query", ["on", "off_json"])
async def test_ordered_holds_after_an_interruption_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ambiguous: Any, query: str
) -> None:
    """Several records are in doubt at a resume: they are settled, and sent again, before any that follows, in their order."""
    monkeypatch.setattr(reconcile, "EARLY_LOOK_SECONDS", 0.1)
    source, count = source_of(tmp_path, 40), 40
    lost = {"kind": "close", "when": "before", "after": 9, "operations": ["insert"]}
    with running(plan_of(lost, ozari={"query": query})) as emulator:
        await run(emulator, STAMPED, source, tmp_path / "run", max_lines=5)
        report = await run(emulator, STAMPED, source, tmp_path / "run", ambiguous="hold", max_lines=15)
        assert report.ambiguous == 11
        lost_again = {"kind": "close", "when": "before", "every": 3, "operations": ["insert"]}
        emulator.set_faults(*plan_of(lost_again).faults)
        report = await run(
            emulator, STAMPED, source, tmp_path / "run", ambiguous=ambiguous, is_ordered=True, settle_seconds=0.1
        )
        assert closes(report)
        assert report.ambiguous == 0 or ambiguous == "resend"
        rows = [int(row["fcode"][1:]) for row in emulator.rows(TABLE)]
        assert rows == sorted(rows)
        assert len(set(rows)) == count - report.ambiguous


# --- the limit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 10, 64, 100])
async def test_a_limit_stops_and_a_resume_goes_on(tmp_path: Path, limit: int) -> None:
    source = source_of(tmp_path)
    with running() as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run", max_lines=limit)
        assert (report.state, report.reason, report.exit_code) == ("stopped", "limit", 0)
        assert (report.lines, report.created, len(emulator.rows(TABLE))) == (limit, limit, limit)
        assert audit(emulator, tmp_path / "run", keyed(limit)) == []
        report = await run(emulator, INSERT, source, tmp_path / "run", max_lines=30)
        assert report.created == min(limit + 30, COUNT)
        report = await run(emulator, INSERT, source, tmp_path / "run")
        assert closes(report)
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []


async def test_a_limit_counts_lines_and_not_records(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b'\n{"fcode":"K2"}\nbroken\n\n{"fcode":"K5"}\n{"fcode":"K6"}\n')
    with running() as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run", max_lines=5)
        assert (report.lines, report.created, report.rejected, report.skipped_blank) == (5, 2, 1, 2)
        assert (report.state, report.reason, report.exit_code) == ("stopped", "limit", 0)


# --- rejects ------------------------------------------------------------------------------------------------------------

REFUSED = {"kind": "status", "status": 400, "operations": ["insert"], "body": '{"success":false,"error":"no"}'}
REJECT_LIMITS: dict[str, tuple[dict[str, Any], RejectLimit, int, bool]] = {
    # name: which inserts are refused, the limit, of how many lines, and whether it stops
    "the first hundred, all": ({}, RejectLimit(), 300, True),
    "99 at the start": ({"until": 99}, RejectLimit(), 300, False),
    "a thousand in a row, later": ({"after": 50}, RejectLimit(), 1200, True),
    "one of two": ({"every": 2}, RejectLimit(), 400, False),
    "five allowed, five come": ({"until": 5}, RejectLimit(count=5), 100, False),
    "five allowed, six come": ({"until": 6}, RejectLimit(count=5), 100, True),
    "ten percent allowed, twenty come": ({"every": 5}, RejectLimit(percent=10.0), 400, True),
    "ten percent allowed, five come": ({"every": 20}, RejectLimit(percent=10.0), 400, False),
    "off": ({}, RejectLimit(percent=100.0), 300, False),
}


@pytest.mark.parametrize("case", REJECT_LIMITS)
async def test_too_many_rejects_stop_the_run(tmp_path: Path, case: str) -> None:
    when, limit, count, stops = REJECT_LIMITS[case]
    source = source_of(tmp_path, count)
    with running(plan_of({**REFUSED, **when})) as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run", max_rejects=limit, concurrency=4)
        if not stops:
            assert closes(report)
            assert (report.exit_code, report.created + report.rejected) == (3, count)
            return
        assert (report.state, report.reason, report.exit_code) == ("stopped", "rejects", 4)
        assert report.lines > report.created + report.rejected or report.lines < count
        emulator.set_faults()
        before = report.rejected
        report = await run(emulator, INSERT, source, tmp_path / "run", max_rejects=RejectLimit(percent=100.0))
        assert closes(report)
        assert (report.rejected, report.created) == (before, count - before)
        lost = rejects_of(tmp_path / "run")
        assert audit(emulator, tmp_path / "run", {n: k for n, k in keyed(count).items() if n not in lost}) == []


async def test_what_is_refused_here_does_not_count_against_the_target(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"broken\n" * 200 + b'{"fcode":"K201"}\n')
    with running() as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run")
        assert closes(report)
        assert (report.rejected, report.created) == (200, 1)


# --- the word on ambiguous records ----------------------------------------------------------------------------------------

LOST = {"kind": "close", "operations": ["insert"], "every": 10, "until": COUNT}


async def test_hold_asks_nobody(tmp_path: Path) -> None:
    with running(plan_of(LOST)) as emulator:
        report = await run(emulator, STAMPED, source_of(tmp_path), tmp_path / "run", ambiguous="hold")
        assert closes(report)
        assert (report.created, report.ambiguous, report.exit_code) == (90, 10, 3)
        assert facts(emulator, "query", "update") == []
        assert len(ambiguous_of(tmp_path / "run")) == 10
        # The same run, told to reconcile, settles them.
        report = await run(emulator, STAMPED, tmp_path / "source", tmp_path / "run", ambiguous="reconcile")
        assert closes(report)
        assert (report.created, report.ambiguous, report.exit_code) == (COUNT, 0, 0)
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_resend_loses_nothing_and_says_how_many_it_may_have_doubled(tmp_path: Path, when: str) -> None:
    with running(plan_of({**LOST, "when": when})) as emulator:
        report = await run(emulator, INSERT, source_of(tmp_path), tmp_path / "run", ambiguous="resend")
        assert closes(report)
        assert (report.created, report.ambiguous, report.exit_code) == (COUNT, 0, 0)
        assert "at most 10 records" in (report.bound or "")
        rows = [row["fcode"] for row in emulator.rows(TABLE)]
        assert set(rows) == set(keyed(COUNT).values())
        assert len(rows) == COUNT + (10 if when == "after" else 0)


async def test_a_record_that_fails_three_times_while_others_succeed_is_rejected(tmp_path: Path) -> None:
    bad = {"kind": "status", "status": 500, "operations": ["insert"], "body_contains": '"K7"'}
    with running(plan_of(bad)) as emulator:
        report = await run(emulator, STAMPED, source_of(tmp_path), tmp_path / "run", settle_seconds=0.1)
        assert closes(report)
        assert rejects_of(tmp_path / "run") == {7: "500"}
        assert emulator.journal.faults["status"] == 3
        assert audit(emulator, tmp_path / "run", {n: k for n, k in keyed(COUNT).items() if n != 7}) == []


@pytest.mark.parametrize(
    ("status", "times", "rejected"), [(502, 4, {}), (503, 4, {}), (504, 4, {}), (503, None, {7: "503"})]
)
async def test_a_fault_of_the_way_rejects_no_record_that_met_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, times: int | None, rejected: dict[int, str]
) -> None:
    """A load balancer under load hits one record several times by chance; after five times it is no chance any more."""
    monkeypatch.setattr(reconcile, "EARLY_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(reconcile, "ASK_AGAIN_SECONDS", 0.01)
    bad = {"kind": "status", "status": status, "operations": ["insert"], "body_contains": '"K7"', "times": times}
    with running(plan_of({name: value for name, value in bad.items() if value is not None})) as emulator:
        report = await run(emulator, STAMPED, source_of(tmp_path), tmp_path / "run", settle_seconds=0.01)
        assert closes(report)
        assert rejects_of(tmp_path / "run") == rejected
        assert report.created == COUNT - len(rejected)


async def test_a_chunk_that_fails_is_taken_apart_and_the_culprit_held(tmp_path: Path) -> None:
    """Canbus cannot be asked whether the record is there, so nobody may say that it was rejected."""
    bad = {"kind": "status", "status": 500, "operations": ["add"], "body_contains": '"K7"'}
    target = CanbusAdd("loader", key="Code", is_unique=True)
    with running(plan_of(bad, canbus=UNIQUE)) as emulator:
        source = source_of(tmp_path, COUNT, "Code")
        report = await run(emulator, target, source, tmp_path / "run", settle_seconds=0.05, max_records=20)
        assert closes(report)
        assert (ambiguous_of(tmp_path / "run"), report.created) == ([7], COUNT - 1)
        assert audit(emulator, tmp_path / "run", keyed(COUNT), "Code") == []


# --- patience and outages -------------------------------------------------------------------------------------------------


async def test_a_target_that_is_not_there_ends_the_patience(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    with socket.socket() as closed:  # bound and not listening: every connection is refused
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        words = ("ozari", "insert", source, "--table", TABLE, "--run", tmp_path / "run", "--json", "--patience", "1")
        done = await asyncio.to_thread(command, *words, "--base-url", address)
    report = told(done)
    assert (done.returncode, report["state"], report["reason"]) == (4, "stopped", "patience")
    assert (report["lines"], report["ambiguous"]) == (0, 0)


@pytest.mark.parametrize("target", [STAMPED, INSERT], ids=["stamped", "plain"])
async def test_a_target_that_dies_for_good_stops_the_run_and_a_resume_ends_it(
    tmp_path: Path, target: OzariInsert
) -> None:
    source = source_of(tmp_path, 300)
    thread = EmulatorThread(Emulator(plan_of({"kind": "latency", "milliseconds": 5, "operations": ["insert"]})))
    with thread as emulator:
        task = asyncio.create_task(
            run(emulator, target, source, tmp_path / "run", patience_seconds=1.0, concurrency=8, timeout_seconds=2.0)
        )
        await reached(emulator, 100)
        await asyncio.to_thread(thread.pause)
        report = await task
        assert (report.state, report.reason, report.exit_code) == ("stopped", "patience", 4)
        assert report.rejected == 0
        thread.resume()
        report = await run(emulator, target, source, tmp_path / "run")
        assert closes(report)
        assert audit(emulator, tmp_path / "run", keyed(300)) == []
        assert report.ambiguous == 0 if target is STAMPED else report.ambiguous <= 8 + 5


async def reached(emulator: Emulator, rows: int) -> None:
    """Wait until the target holds so many rows."""
    async with asyncio.timeout(60):
        while emulator.journal.committed < rows:
            await asyncio.sleep(0.005)


async def test_an_outage_is_waited_for_with_harmless_calls(tmp_path: Path) -> None:
    """Every answer of a second is a 503. Few records meet it, the rest waits, and the run goes on by itself."""
    source = source_of(tmp_path, 400)
    with running(plan_of({"kind": "latency", "milliseconds": 5, "operations": ["insert"]})) as emulator:
        task = asyncio.create_task(run(emulator, STAMPED, source, tmp_path / "run", concurrency=4))
        await reached(emulator, 100)
        emulator.set_faults(*plan_of({"kind": "status", "status": 503, "api": "ozari"}).faults)
        before = len(emulator.journal)
        await asyncio.sleep(1.2)
        during = emulator.journal.facts()[before:]
        emulator.set_faults()
        report = await task
        assert closes(report)
        assert (report.created, report.exit_code) == (400, 0)
        assert audit(emulator, tmp_path / "run", keyed(400)) == []
        records = [fact for fact in during if fact.operation == "insert" and fact.status == 503]
        # Five in a row open the breaker, and three may be in flight beside the fifth. Each of three good answers that were on
        # their way when the outage began may come after up to four faults, and begin the row anew.
        assert 5 <= len(records) <= 3 * 4 + 5 + 3
        probes = [fact for fact in during if fact.operation in ("auth", "query")]
        assert len(probes) <= 10
        assert all(fact.operation in ("auth", "insert", "query") for fact in during)


async def test_the_first_record_after_an_outage_goes_alone(tmp_path: Path) -> None:
    outage = {"kind": "status", "status": 503, "operations": ["add"], "after": 3, "times": 6}
    target = CanbusAdd("loader", key="Code", is_unique=True)
    with running(plan_of(outage, canbus=UNIQUE)) as emulator:
        source = source_of(tmp_path, 300, "Code")
        report = await run(emulator, target, source, tmp_path / "run", max_records=10, concurrency=2)
        assert closes(report)
        assert (report.created, report.ambiguous) == (300, 0)
        calls = facts(emulator, "add", "metadata")
        asked = [n for n, fact in enumerate(calls) if fact.operation == "metadata" and n > 0]
        assert asked, "nothing was probed"
        after = next(fact for fact in calls[asked[0] :] if fact.operation == "add" and fact.status == 201)
        assert after.records == 1
        assert audit(emulator, tmp_path / "run", keyed(300), "Code") == []


# --- throttling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [INSERT, ADD], ids=["insert", "add"])
async def test_nothing_is_sent_in_the_pause_that_the_target_asks_for(
    tmp_path: Path, target: OzariInsert | CanbusAdd
) -> None:
    slow = {
        "kind": "status",
        "status": 429,
        "retry_after": "1",
        "operations": ["insert", "add"],
        "after": 20,
        "times": 1,
    }
    with running(plan_of(slow)) as emulator:
        report = await run(emulator, target, source_of(tmp_path), tmp_path / "run", max_records=1, concurrency=4)
        assert closes(report)
        assert (report.created, report.throttled, report.ambiguous) == (COUNT, 1, 0)
        calls = facts(emulator, "insert", "add")
        told_at = next(fact.arrived for fact in calls if fact.status == 429)
        within = [fact for fact in calls if told_at < fact.arrived < told_at + 1.0]
        assert len(within) <= 3  # on their way already
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []


async def test_a_throttle_without_a_time_is_waited_for_too(tmp_path: Path) -> None:
    slow = {"kind": "status", "status": 429, "operations": ["insert"], "after": 30, "times": 2}
    with running(plan_of(slow)) as emulator:
        report = await run(emulator, INSERT, source_of(tmp_path), tmp_path / "run", rate=Rate(None, 500.0))
        assert closes(report)
        assert (report.created, report.throttled, report.rejected, report.ambiguous) == (COUNT, 2, 0, 0)
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []


@pytest.mark.parametrize("retry_after", ["rounded_up", "http_date", "none"])
@pytest.mark.parametrize("rate", [Rate(), Rate(200.0)], ids=["auto", "too fast"])
async def test_a_limit_of_the_target_is_lived_with(tmp_path: Path, retry_after: str, rate: Rate) -> None:
    limit = {"kind": "window", "per_second": 60, "retry_after": retry_after}
    with running(plan_of(ozari={"rate_limit": limit})) as emulator:
        report = await run(emulator, INSERT, source_of(tmp_path, 150), tmp_path / "run", rate=rate)
        assert closes(report)
        assert (report.created, report.ambiguous, report.rejected) == (150, 0, 0)
        assert report.throttled == emulator.journal.throttled
        assert report.limited_by != "rate", "it is the target's own that holds"
        assert audit(emulator, tmp_path / "run", keyed(150)) == []


async def test_a_rate_that_the_target_takes_is_what_limits(tmp_path: Path) -> None:
    with running() as emulator:
        report = await run(emulator, INSERT, source_of(tmp_path, 50), tmp_path / "run", rate=Rate(50.0))
    assert (report.created, report.limited_by) == (50, "rate")


# --- what stops at once ---------------------------------------------------------------------------------------------------

HALTS: dict[str, tuple[dict[str, Any], str]] = {
    "a redirect": ({"status": 307, "location": "http://127.0.0.1:9/", "commit": "never"}, "redirect"),
    "credentials that are no longer good": ({"status": 401}, "credentials"),
    "a token that is no longer good": ({"status": 403}, "credentials"),
}


@pytest.mark.parametrize("halt", HALTS)
@pytest.mark.parametrize(
    "target", [INSERT, STAMPED, OzariUpdate(TABLE, match=("fcode",)), ADD], ids=["insert", "stamped", "update", "add"]
)
async def test_what_nothing_can_help_stops_the_run(
    tmp_path: Path, halt: str, target: OzariInsert | OzariUpdate | CanbusAdd
) -> None:
    fault, reason = HALTS[halt]
    operation = {"OzariInsert": "insert", "OzariUpdate": "update", "CanbusAdd": "add"}[type(target).__name__]
    source = source_of(tmp_path)
    with running() as emulator:
        if operation == "update":
            await run(emulator, INSERT, source, tmp_path / "rows.run")
        emulator.set_faults(*plan_of({"kind": "status", "operations": [operation], "after": 5, **fault}).faults)
        report = await run(emulator, target, source, tmp_path / "run", max_records=5, concurrency=2)
        assert (report.state, report.reason, report.exit_code) == ("stopped", reason, 4)
        assert report.rejected == 0
        assert len([fact for fact in facts(emulator, operation) if fact.fault]) <= 2
        emulator.set_faults()
        report = await run(emulator, target, source, tmp_path / "run")
        assert closes(report)
        # A redirect may hide a request that was applied; without anything to ask by it is held.
        assert (report.ambiguous > 0) == (reason == "redirect" and target in (INSERT, ADD))
        if operation != "update":
            assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []
