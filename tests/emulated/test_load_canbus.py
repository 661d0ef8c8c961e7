"""What only Canbus does: many records a request, each with a code of its own, and statuses that speak of the whole request."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loader import CanbusAdd, CanbusCredentials, Secret, load
from loader.emulator import running
from tests.emulated.loading import (
    ADD,
    APP,
    CANBUS,
    QUICK,
    UNIQUE,
    ambiguous_of,
    audit,
    closes,
    facts,
    ids_of,
    keyed,
    plan_of,
    records_of,
    rejects_of,
    run,
    write,
)

COUNT = 60
KEYED = CanbusAdd("loader", key="Code", is_unique=True)


def source_of(tmp_path: Path, count: int = COUNT, **more: Any) -> Path:
    return write(tmp_path / "source", [{**record, **more} for record in records_of(count, "Code")])


# --- too large ----------------------------------------------------------------------------------------------------------


async def test_a_body_that_is_too_large_teaches_a_ceiling_that_a_resume_keeps(tmp_path: Path) -> None:
    """300 records of 20 kB make a body of 6 MB; the target takes 1 MB."""
    source = source_of(tmp_path, 300, Text="x" * 20_000)
    with running(plan_of(canbus={"max_megabytes": 1})) as emulator:
        report = await run(emulator, ADD, source, tmp_path / "run", max_records=300, max_lines=150, concurrency=1)
        assert (report.created, report.rejected, report.state, report.reason) == (150, 0, "stopped", "limit")
        refused = emulator.journal.statuses[413]
        assert refused in (2, 3)  # 3 MB, 1.5 MB; 0.75 MB goes through
        report = await run(emulator, ADD, source, tmp_path / "run", max_records=300, concurrency=1)
        assert closes(report)
        assert (report.created, emulator.journal.statuses[413]) == (300, refused)
        assert audit(emulator, tmp_path / "run", keyed(300), "Code") == []


async def test_too_many_records_are_halved(tmp_path: Path) -> None:
    with running(plan_of(canbus={"max_records": 9, "over_max_status": 413})) as emulator:
        report = await run(emulator, ADD, source_of(tmp_path), tmp_path / "run", concurrency=1)
        assert (report.created, report.exit_code) == (COUNT, 0)
        assert max(fact.records for fact in facts(emulator, "add") if fact.status == 201) <= 9
        assert audit(emulator, tmp_path / "run", keyed(COUNT), "Code") == []


async def test_one_record_that_is_too_large_is_rejected(tmp_path: Path) -> None:
    records = records_of(COUNT, "Code")
    records[29]["Text"] = "x" * 1_100_000
    with running(plan_of(canbus={"max_megabytes": 1})) as emulator:
        report = await run(emulator, ADD, write(tmp_path / "source", records), tmp_path / "run")
        assert closes(report)
        assert rejects_of(tmp_path / "run") == {30: "413"}
        expected = {line: value for line, value in keyed(COUNT).items() if line != 30}
        assert audit(emulator, tmp_path / "run", expected, "Code") == []


# --- an unexplained 400 ---------------------------------------------------------------------------------------------------


async def test_a_refused_chunk_is_bisected_to_its_culprits(tmp_path: Path) -> None:
    poison = {"kind": "status", "status": 400, "operations": ["add"], "body_contains": "poison"}
    records = records_of(COUNT, "Code")
    for line in (7, 41, 42):
        records[line - 1]["name"] = "poison"
    with running(plan_of(poison)) as emulator:
        report = await run(emulator, ADD, write(tmp_path / "source", records), tmp_path / "run", max_records=30)
        assert closes(report)
        assert rejects_of(tmp_path / "run") == {7: "400", 41: "400", 42: "400"}
        expected = {line: value for line, value in keyed(COUNT).items() if line not in (7, 41, 42)}
        assert audit(emulator, tmp_path / "run", expected, "Code") == []


async def test_a_wrong_app_id_in_the_middle_stops_the_run_and_rejects_nothing(tmp_path: Path) -> None:
    gone = {"kind": "status", "status": 400, "operations": ["add", "metadata"], "after": 4}
    source = source_of(tmp_path)
    with running(plan_of(gone)) as emulator:
        report = await run(emulator, ADD, source, tmp_path / "run", max_records=10, concurrency=1)
        assert (report.state, report.reason, report.exit_code) == ("stopped", "credentials", 4)
        assert (report.created, report.rejected, report.ambiguous) == (30, 0, 0)
        emulator.set_faults()
        report = await run(emulator, ADD, source, tmp_path / "run", max_records=10)
        assert closes(report)
        assert (report.created, report.exit_code) == (COUNT, 0)
        assert audit(emulator, tmp_path / "run", keyed(COUNT), "Code") == []


@pytest.mark.parametrize("wrong", ["app_id", "api_key", "api_secret"])
async def test_wrong_credentials_are_said_before_the_first_record(tmp_path: Path, wrong: str) -> None:
    credentials: CanbusCredentials = replace(CANBUS, **{wrong: Secret("another")})  # type: ignore[arg-type]  # a field by its name
    with running() as emulator:
        options = replace(QUICK, base_url=emulator.base_url)
        report = await load(source_of(tmp_path), ADD, run=tmp_path / "run", options=options, credentials=credentials)
        assert (report.state, report.reason, report.exit_code) == ("stopped", "credentials", 4)
        assert facts(emulator, "add") == []
        assert "another" not in report.to_json().decode()


# --- codes of single records ----------------------------------------------------------------------------------------------

RULES = {
    "Code": {"is_unique": True},
    "Name": {"is_required": True},
    "Number": {"type": "Number", "maximum": 100, "minimum": 1},
    "Date": {"type": "Date"},
}
THERE = {"Code": "there already", "Name": "n"}
BROKEN: dict[int, dict[str, Any]] = {
    3: {"Name": None}, 20: {"Number": "101"}, 21: {"Number": "0"}, 33: {"Date": "2023-01-01"}, 50: THERE,
}  # fmt: skip
CODES = {3: "7013", 20: "7002", 21: "7001", 33: "7021", 50: "7012"}
TARGETS: dict[str, dict[str, Any]] = {
    "independent": {},
    "atomic": {"is_atomic": True},
    "atomic, neighbours look created": {"is_atomic": True, "neighbour_code": "0"},
    "atomic, failed ids are null": {"is_atomic": True, "failed_id": "null"},
    "failed ids are empty": {"failed_id": "empty"},
    "partial failure is 200": {"partial_failure_status": 200, "total_failure_status": 200},
}


@pytest.mark.parametrize("target", [ADD, KEYED], ids=["add", "unique key"])
@pytest.mark.parametrize("switches", TARGETS)
async def test_each_refused_record_has_its_code_and_its_neighbours_load(
    tmp_path: Path, switches: str, target: CanbusAdd
) -> None:
    records: list[dict[str, Any]] = []
    for line, record in enumerate(records_of(COUNT, "Code"), 1):
        whole = {**record, "Name": "n", "Number": "5", "Date": "2023/01/01", **BROKEN.get(line, {})}
        records.append({name: value for name, value in whole.items() if value is not None})
    canbus = {"apps": [{"items": RULES}], **TARGETS[switches]}
    is_vague = switches == "atomic, neighbours look created" and target is ADD
    with running(plan_of(canbus=canbus)) as emulator:
        await run(emulator, ADD, write(tmp_path / "there", [THERE]), tmp_path / "there.run")
        report = await run(emulator, target, write(tmp_path / "source", records), tmp_path / "run", max_records=20)
        assert closes(report)
        assert rejects_of(tmp_path / "run") == CODES
        assert (report.ambiguous > 0) == is_vague
        expected = {line: value for line, value in keyed(COUNT).items() if line not in CODES}
        assert audit(emulator, tmp_path / "run", expected, "Code") == []


@pytest.mark.parametrize("change", ["short", "long", "empty"])
@pytest.mark.parametrize("target", [ADD, KEYED], ids=["held", "sent again"])
async def test_results_that_do_not_fit_say_nothing_of_any_record(
    tmp_path: Path, change: str, target: CanbusAdd
) -> None:
    fault = {"kind": "results", "change": change, "operations": ["add"], "after": 4, "times": 1}
    with running(plan_of(fault, canbus=UNIQUE)) as emulator:
        report = await run(emulator, target, source_of(tmp_path), tmp_path / "run", max_records=10)
        assert closes(report)
        if target is ADD:
            assert (report.created, report.ambiguous, report.exit_code) == (COUNT - 10, 10, 3)
            assert len(ambiguous_of(tmp_path / "run")) == 10
        else:
            # Refused at the second sending: somebody has the keys. Only a stamp would say who.
            assert (report.created, report.ambiguous, report.rejected) == (COUNT - 10, 10, 0)
        assert len(emulator.rows(APP)) == COUNT
        assert audit(emulator, tmp_path / "run", keyed(COUNT), "Code") == []


async def test_an_unknown_code_rejects_its_record_alone(tmp_path: Path) -> None:
    extra = {"extra_codes": [{"code": "8123", "item": "Code", "pattern": "K1[0-9]"}]}
    with running(plan_of(canbus=extra)) as emulator:
        report = await run(emulator, ADD, source_of(tmp_path), tmp_path / "run", max_records=25)
        assert closes(report)
        assert rejects_of(tmp_path / "run") == dict.fromkeys(range(10, 20), "8123")
        expected = {line: value for line, value in keyed(COUNT).items() if line not in range(10, 20)}
        assert audit(emulator, tmp_path / "run", expected, "Code") == []


async def test_created_without_an_id(tmp_path: Path) -> None:
    fault = {"kind": "null_id", "operations": ["add"], "after": 2, "times": 1}
    with running(plan_of(fault)) as emulator:
        report = await run(emulator, ADD, source_of(tmp_path), tmp_path / "run", max_records=10)
        assert closes(report)
        assert (report.created, report.ids_unknown, report.exit_code) == (COUNT, 10, 0)
        assert list(ids_of(tmp_path / "run").values()).count(None) == 10
        assert audit(emulator, tmp_path / "run", keyed(COUNT), "Code") == []


# --- the user ---------------------------------------------------------------------------------------------------------------


async def test_a_user_that_the_target_does_not_know_stops_the_run(tmp_path: Path) -> None:
    with running() as emulator:
        report = await run(emulator, CanbusAdd("nobody"), source_of(tmp_path), tmp_path / "run", max_records=10)
        assert (report.state, report.reason, report.exit_code) == ("stopped", "credentials", 4)
        assert (report.created, report.rejected, report.ambiguous) == (0, 0, 0)
        assert "--user" in (report.hint or "")
        assert emulator.rows(APP) == []


async def test_an_unknown_user_of_one_line_rejects_that_line(tmp_path: Path) -> None:
    records = records_of(COUNT, "Code")
    records[17]["System_Create_User"] = "nobody"
    with running() as emulator:
        report = await run(emulator, ADD, write(tmp_path / "source", records), tmp_path / "run", max_records=20)
        assert closes(report)
        assert rejects_of(tmp_path / "run") == {18: "32"}
        assert len(emulator.rows(APP)) == COUNT - 1


# --- the word that an item is unique --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [KEYED, CanbusAdd("loader", stamp="Stamp", is_unique=True)], ids=["key", "stamp"])
async def test_a_word_that_is_not_true_is_found_out_and_leaves_no_twin(tmp_path: Path, target: CanbusAdd) -> None:
    source = source_of(tmp_path)
    with running() as emulator:
        report = await run(emulator, target, source, tmp_path / "run", max_records=10)
        assert (report.state, report.reason, report.exit_code) == ("stopped", "answers", 4)
        assert "deleted" in (report.message or "")
        assert audit(emulator, tmp_path / "run", {1: "K1"}, "Code") == []
        assert len(emulator.rows(APP)) == 1


@pytest.mark.parametrize("target", [KEYED, CanbusAdd("loader", stamp="Stamp", is_unique=True)], ids=["key", "stamp"])
async def test_a_true_word_is_proved_on_the_first_record_alone(tmp_path: Path, target: CanbusAdd) -> None:
    source = source_of(tmp_path)
    with running(plan_of(canbus=UNIQUE)) as emulator:
        report = await run(emulator, target, source, tmp_path / "run", max_records=10)
        assert closes(report)
        assert audit(emulator, tmp_path / "run", keyed(COUNT), "Code") == []
        sizes = [(fact.records, len(fact.ids)) for fact in facts(emulator, "add")]
        assert sizes[:2] == [(1, 1), (1, 0)]
        assert sum(size for size, _ in sizes) == COUNT + 1
        if target.stamp:
            run_id = json.loads((tmp_path / "run" / "run.json").read_bytes())["run"]
            stamps = {row["Code"]: row["Stamp"] for row in emulator.rows(APP)}
            assert stamps == {f"K{line}": f"{run_id}-{line:09d}" for line in range(1, COUNT + 1)}


async def test_a_duplicate_of_somebody_elses_is_rejected(tmp_path: Path) -> None:
    with running(plan_of(canbus=UNIQUE)) as emulator:
        await run(emulator, ADD, write(tmp_path / "before", [{"Code": "K5"}, {"Code": "K1"}]), tmp_path / "before.run")
        report = await run(emulator, KEYED, source_of(tmp_path), tmp_path / "run", max_records=10)
        assert closes(report)
        assert rejects_of(tmp_path / "run") == {1: "7012", 5: "7012"}
        assert len(emulator.rows(APP)) == COUNT
