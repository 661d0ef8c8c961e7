"""Answers are lost in every way there is, before and after the commit: nothing lost, nothing doubled, every id at its own line.

A case is a fault plan, a way of reconciling, and what may be left over: nothing where the target can be asked, else ambiguous
lines that are listed, each of which is held at most once.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from loader import CanbusAdd, OzariInsert, OzariUpdate, RejectLimit
from loader.emulator import Plan, running
from loader.reconcile import reconciler as reconcile
from tests.emulated.loading import (
    APP,
    INSERT,
    TABLE,
    UNIQUE,
    ambiguous_of,
    audit,
    closes,
    facts,
    ids_of,
    keyed,
    plan_of,
    records_of,
    run,
    write,
)

COUNT = 120
LOSSES: dict[str, list[dict[str, Any]]] = {
    "close before": [{"kind": "close", "when": "before"}],
    "close after": [{"kind": "close", "when": "after"}],
    "reset at the headers": [{"kind": "reset", "when": "headers"}],
    "reset before": [{"kind": "reset", "when": "before"}],
    "reset after": [{"kind": "reset", "when": "after"}],
    "cut before": [{"kind": "cut", "when": "before"}],
    "cut after": [{"kind": "cut", "when": "after"}],
    "cut in the headers": [{"kind": "cut", "part": "headers", "ending": "reset"}],
    "cut, and looks complete": [{"kind": "cut", "framing": "close"}],
    "500 before": [{"kind": "status", "status": 500}],
    "500 after": [{"kind": "status", "status": 500, "commit": "before"}],
    "503 without Retry-After": [{"kind": "status", "status": 503, "commit": "before", "content": "html"}],
    "late commit, within the settle time": [{"kind": "late_commit", "seconds": 0.15}],
    "answers that break the rules": [
        {"kind": "malformed", "change": change}
        for change in ("status_line", "header", "short_length", "gzip", "not_json")
    ],
}
MIXED: dict[str, list[dict[str, Any]]] = {
    "before": [
        {"kind": "close", "when": "before"},
        {"kind": "reset", "when": "headers"},
        {"kind": "status", "status": 500},
    ],
    "after": [
        {"kind": "close", "when": "after"},
        {"kind": "reset", "when": "after"},
        {"kind": "cut"},
        {"kind": "status", "status": 502, "commit": "before"},
        {"kind": "late_commit", "seconds": 0.1},
    ],
}


def lossy(faults: list[dict[str, Any]], operation: str, share: float = 0.09, **values: Any) -> Plan:
    """Build a plan in which this share of an operation's requests meets one of these faults.

    Every n-th, in turn, and not by chance: three server errors for one record are no accident, and end otherwise.
    """
    step = round(1 / share)
    turns = ({"operations": [operation], "every": step * len(faults), "after": step * n} for n in range(len(faults)))
    return plan_of(*({**fault, **turn} for fault, turn in zip(faults, turns, strict=True)), **values)


async def load_all(tmp_path: Path, plan: Plan, target: OzariInsert | CanbusAdd, field: str, **options: Any) -> None:
    """Load, and see every record created once, under its own id."""
    source = write(tmp_path / "source", records_of(COUNT, field))
    with running(plan) as emulator:
        report = await run(emulator, target, source, tmp_path / "run", **options)
        assert sum(emulator.journal.faults.values()) > 0
        assert closes(report)
        assert (report.created, report.ambiguous, report.rejected, report.exit_code) == (COUNT, 0, 0, 0)
        assert audit(emulator, tmp_path / "run", keyed(COUNT), field) == []
        assert report.duplicates == ()


@pytest.mark.parametrize("loss", LOSSES)
async def test_insert_asked_by_stamp(tmp_path: Path, loss: str) -> None:
    await load_all(tmp_path, lossy(LOSSES[loss], "insert"), OzariInsert(TABLE, stamp="fstamp"), "fcode")
    assert None not in ids_of(tmp_path / "run").values()


@pytest.mark.parametrize("loss", MIXED)
async def test_insert_asked_by_key(tmp_path: Path, loss: str) -> None:
    await load_all(tmp_path, lossy(MIXED[loss], "insert"), OzariInsert(TABLE, key="fcode"), "fcode")
    assert None not in ids_of(tmp_path / "run").values()


@pytest.mark.parametrize("query", ["off_json", "off_html"])
@pytest.mark.parametrize("loss", MIXED)
async def test_insert_probed_by_stamp(tmp_path: Path, loss: str, query: str) -> None:
    plan = lossy(MIXED[loss], "insert", ozari={"query": query})
    await load_all(tmp_path, plan, OzariInsert(TABLE, stamp="fstamp"), "fcode")


@pytest.mark.parametrize("loss", MIXED)
async def test_add_sent_again_against_a_unique_item(tmp_path: Path, loss: str) -> None:
    plan = lossy(MIXED[loss], "add", 0.15, canbus=UNIQUE)
    await load_all(tmp_path, plan, CanbusAdd("loader", stamp="Stamp", is_unique=True), "Name", max_records=2)


@pytest.mark.parametrize("is_atomic", [False, True], ids=["independent", "atomic"])
async def test_add_with_a_key_of_the_users(tmp_path: Path, is_atomic: bool) -> None:
    """Nothing is doubled; what was there already when it was sent again may be ours or not, and is listed."""
    plan = lossy(MIXED["after"], "add", 0.15, canbus={**UNIQUE, "is_atomic": is_atomic})
    source = write(tmp_path / "source", records_of(COUNT, "Code"))
    with running(plan) as emulator:
        target = CanbusAdd("loader", key="Code", is_unique=True)
        report = await run(emulator, target, source, tmp_path / "run", max_records=2)
        assert closes(report)
        assert report.ambiguous > 0
        assert (report.created + report.ambiguous, report.rejected, report.exit_code) == (COUNT, 0, 3)
        assert len(emulator.rows(APP)) == COUNT
        assert audit(emulator, tmp_path / "run", keyed(COUNT), "Code") == []


async def test_a_key_that_was_there_before_is_never_taken_for_ours(tmp_path: Path) -> None:
    """Rows with the keys exist; answers are lost. A refusal says that somebody has the key, not that our data is there."""
    count = 100
    source = write(tmp_path / "source", records_of(count, "Code"))
    older = write(tmp_path / "older", [{"Code": f"K{n}", "Name": "older"} for n in range(11, count + 1)])
    with running(plan_of(canbus=UNIQUE)) as emulator:
        await run(emulator, CanbusAdd("loader"), older, tmp_path / "older-run")
        emulator.set_faults(*plan_of({"kind": "close", "operations": ["add"], "every": 3, "when": "after"}).faults)
        target = CanbusAdd("loader", key="Code", is_unique=True)
        limit = RejectLimit(percent=100.0)
        report = await run(emulator, target, source, tmp_path / "run", max_records=2, max_rejects=limit)
        assert closes(report)
        assert report.created + report.rejected + report.ambiguous == count
        assert report.ambiguous > 0
        names = {row["Code"]: row.get("name") for row in emulator.rows(APP)}
        made = [line for _, line in ids_of(tmp_path / "run")]
        assert {names[f"K{line}"] for line in made} == {f"name of {line}" for line in made}


async def test_a_hanging_answer_ends_with_the_timeout(tmp_path: Path) -> None:
    faults = [{"kind": "hang", "when": when} for when in ("headers", "before", "after")]
    faults += [{"kind": "cut", "ending": "hang"}, {"kind": "trickle", "of": "interim"}]
    plan = plan_of(
        *({**fault, "operations": ["insert"], "times": 1, "after": 9 * n} for n, fault in enumerate(faults, 1))
    )
    await load_all(tmp_path, plan, OzariInsert(TABLE, stamp="fstamp"), "fcode", timeout_seconds=2.0)


async def test_questions_are_lost_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "ASK_AGAIN_SECONDS", 0.2)
    faults = [{**fault, "probability": 0.1} for fault in MIXED["after"][:4]]
    lost = [{**fault, "operations": ["query"], "probability": 0.2, "after": 1} for fault in MIXED["before"]]
    plan = plan_of(*({**fault, "operations": ["insert"]} for fault in faults), *lost)
    await load_all(tmp_path, plan, OzariInsert(TABLE, stamp="fstamp"), "fcode")


# --- nobody can be asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["close before", "close after", "500 before", "500 after", "cut after"])
async def test_without_anything_to_ask_by_the_record_is_held(tmp_path: Path, loss: str) -> None:
    source = write(tmp_path / "source", records_of(COUNT))
    with running(lossy(LOSSES[loss], "insert")) as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run")
        assert closes(report)
        assert (report.ambiguous, report.exit_code) == (sum(emulator.journal.faults.values()), 3)
        assert report.ambiguous > 0
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []
        held = ambiguous_of(tmp_path / "run")
        assert len(held) == report.ambiguous
        rows = {row["fcode"] for row in emulator.rows(TABLE)}
        assert {f"K{number}" in rows for number in held} == {loss.endswith("after")}
        assert len(facts(emulator, "insert")) == COUNT  # each was sent once and never again


async def test_a_chunk_whose_answer_is_lost_is_held_whole(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(COUNT, "Code"))
    plan = plan_of({"kind": "close", "operations": ["add"], "after": 3, "times": 1})
    with running(plan) as emulator:
        report = await run(emulator, CanbusAdd("loader", key="Code"), source, tmp_path / "run", max_records=10)
        assert (report.created, report.ambiguous, report.exit_code) == (COUNT - 10, 10, 3)
        assert len(emulator.rows(APP)) == COUNT
        assert audit(emulator, tmp_path / "run", keyed(COUNT), "Code") == []


async def test_equal_keys_are_told_apart(tmp_path: Path) -> None:
    """Two records with one key are never in flight together, and a row of the log's own is no proof."""
    records = [{"fcode": f"K{number // 3}", "name": f"n{number}"} for number in range(COUNT)]
    source = write(tmp_path / "source", records)
    with running(lossy(MIXED["after"] + MIXED["before"], "insert", 0.15)) as emulator:
        report = await run(emulator, OzariInsert(TABLE, key="fcode"), source, tmp_path / "run")
        assert closes(report)
        assert (report.created, report.ambiguous) == (COUNT, 0)
        names = {n + 1: record["name"] for n, record in enumerate(records)}
        assert audit(emulator, tmp_path / "run", names, "name") == []


async def test_rows_that_were_there_before_are_not_ours(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(COUNT))
    with running(plan_of()) as emulator:
        await run(emulator, INSERT, source, tmp_path / "before")
        emulator.set_faults(*lossy(MIXED["before"], "insert", 0.2).faults)
        report = await run(emulator, OzariInsert(TABLE, key="fcode"), source, tmp_path / "run")
        assert (report.created, report.ambiguous) == (COUNT, 0)
        old, new = set(ids_of(tmp_path / "before").values()), set(ids_of(tmp_path / "run").values())
        assert old.isdisjoint(new)
        assert len(emulator.rows(TABLE)) == 2 * COUNT == len(old | new)


# --- late commits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["on", "off_json"])
async def test_a_commit_beyond_the_settle_time_is_found_and_told(tmp_path: Path, query: str) -> None:
    """Nobody can prevent this duplicate; the second look at the end says which it is."""
    source = write(tmp_path / "source", records_of(COUNT))
    faults = [
        {"kind": "late_commit", "seconds": 1.2, "operations": ["insert"], "after": 5, "times": 1},
        {"kind": "latency", "milliseconds": 2500, "operations": ["insert"], "after": COUNT, "times": 1},
    ]
    with running(plan_of(*faults, ozari={"query": query})) as emulator:
        report = await run(emulator, OzariInsert(TABLE, stamp="fstamp"), source, tmp_path / "run", settle_seconds=0.1)
        assert (report.created, report.state) == (COUNT, "finished")
        rows = emulator.rows(TABLE)
        assert len(rows) == COUNT + 1
        assert "twice" in (report.bound or "")
        if query == "on":
            twin = set(report.duplicates)
            assert len(twin) == 1
            assert {row["fid"] for row in rows} == twin | set(ids_of(tmp_path / "run").values())


# --- updates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", MIXED)
async def test_updates_are_sent_again(tmp_path: Path, loss: str) -> None:
    with running(plan_of()) as emulator:
        await run(emulator, INSERT, write(tmp_path / "rows", records_of(COUNT)), tmp_path / "rows.run")
        emulator.set_faults(*lossy(MIXED[loss], "update").faults)
        lines = [{"fcode": f"K{number}", "name": f"new {number}"} for number in range(1, COUNT + 1)]
        report = await run(
            emulator, OzariUpdate(TABLE, match=("fcode",)), write(tmp_path / "source", lines), tmp_path / "run"
        )
        assert closes(report)
        assert (report.updated, report.ambiguous, report.rejected) == (COUNT, 0, 0)
        assert {row["fcode"]: row["name"] for row in emulator.rows(TABLE)} == {
            line["fcode"]: line["name"] for line in lines
        }


@pytest.mark.parametrize("loss", MIXED)
async def test_an_update_of_its_own_filters_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Sent again, `K1 becomes L1` would be refused where it was applied: 404, and a lie."""
    monkeypatch.setattr(reconcile, "ASK_AGAIN_SECONDS", 0.2)
    with running(plan_of()) as emulator:
        await run(emulator, INSERT, write(tmp_path / "rows", records_of(COUNT)), tmp_path / "rows.run")
        emulator.set_faults(*lossy(MIXED[loss], "update", 0.2).faults)
        lines = [{"filters": {"fcode": f"K{n}"}, "fields": {"fcode": f"L{n}"}} for n in range(1, COUNT + 1)]
        report = await run(emulator, OzariUpdate(TABLE), write(tmp_path / "source", lines), tmp_path / "run")
        assert closes(report)
        assert (report.updated, report.ambiguous, report.rejected) == (COUNT, 0, 0)
        assert {row["fcode"] for row in emulator.rows(TABLE)} == {f"L{n}" for n in range(1, COUNT + 1)}


async def test_without_a_query_an_update_of_its_own_filters_is_held_and_nothing_is_asked_by_writing(
    tmp_path: Path,
) -> None:
    """A PATCH that finds a row by a user's value and sets that value rewrites a row that holds it in another spelling."""
    lost = {"kind": "close", "when": "before", "operations": ["update"], "body_contains": '"K1"', "times": 1}
    with running(plan_of(ozari={"query": "off_json", "folds": ["case"]})) as emulator:
        rows = [{"fcode": "k1", "name": "older"}, {"fcode": "K2", "name": "b"}]
        await run(emulator, INSERT, write(tmp_path / "rows", rows), tmp_path / "rows.run")
        emulator.set_faults(*plan_of(lost).faults)
        lines = [{"filters": {"fcode": f"K{n}"}, "fields": {"fcode": f"L{n}"}} for n in (1, 2)]
        report = await run(emulator, OzariUpdate(TABLE), write(tmp_path / "source", lines), tmp_path / "run")
        assert closes(report)
        assert (report.updated, report.ambiguous, ambiguous_of(tmp_path / "run")) == (1, 1, [1])
        assert {row["fcode"] for row in emulator.rows(TABLE)} == {"k1", "L2"}
        assert len(facts(emulator, "update")) == 2


@pytest.mark.parametrize("is_lossy", [False, True], ids=["latency", "latency and lost answers"])
async def test_equal_filters_go_in_source_order(tmp_path: Path, is_lossy: bool) -> None:
    """The last line of a row wins, whatever happens on the way."""
    rows, rounds = 10, 12
    with running(plan_of()) as emulator:
        await run(emulator, INSERT, write(tmp_path / "rows", records_of(rows)), tmp_path / "rows.run")
        slow = {"kind": "latency", "milliseconds": 5, "sigma": 1.0, "operations": ["update"]}
        losses = lossy(MIXED["after"][:4] + MIXED["before"], "update", 0.06).faults if is_lossy else ()
        emulator.set_faults(*plan_of(slow).faults, *losses)
        # The same filter in several ways of writing it: all of them are one row.
        lines = [
            {"filters": dict(sorted(filters.items(), reverse=bool(turn % 2))), "fields": {"step": turn}}
            for turn, filters in itertools.product(range(rounds), records_of(rows))
        ]
        report = await run(
            emulator, OzariUpdate(TABLE), write(tmp_path / "source", lines), tmp_path / "run", settle_seconds=0.1
        )
        assert closes(report)
        assert (report.updated, report.ambiguous) == (rows * rounds, 0)
        assert {row["step"] for row in emulator.rows(TABLE)} == {rounds - 1}
