"""Answers that are not the API's: login pages, firewalls, warnings in front of JSON, compression that nobody asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from loader import OzariInsert, OzariUpdate, Rate
from loader.delivery import strangers
from loader.emulator import Emulator
from loader.reconcile import last_rows
from loader.runs import rejects
from tests.emulated.loading import (
    ADD,
    INSERT,
    TABLE,
    audit,
    facts,
    keyed,
    plan_of,
    records_of,
    rejects_of,
    run,
    write,
)

KEYED = OzariInsert(TABLE, key="fcode")
STAMPED = OzariInsert(TABLE, stamp="fstamp")
LOGIN = {"kind": "status", "status": 200, "content": "html", "body": "<body>Please log in</body>"}
BLOCKED = {"kind": "status", "status": 403, "content": "html", "body": "<h1>Request blocked</h1>, ray id 4711"}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here asserts a time."""
    monkeypatch.setattr(strangers, "BLOCK_SECONDS", 0.05)
    monkeypatch.setattr("loader.delivery.delivery.BLOCK_SECONDS", 0.05)
    monkeypatch.setattr("loader.delivery.breaker.FIRST_PROBE_SECONDS", 0.05)


@pytest.mark.parametrize("target", [INSERT, KEYED, STAMPED])
async def test_a_login_page_in_place_of_every_answer_stops_the_run_and_is_shown(
    tmp_path: Path, target: OzariInsert
) -> None:
    source = write(tmp_path / "source", records_of(1500))
    async with Emulator(plan_of({**LOGIN, "operations": ["insert"]})) as emulator:
        report = await run(emulator, target, source, tmp_path / "run", rate=Rate(500.0))
        sent = len(facts(emulator, "insert"))
    assert (report.state, report.reason, report.exit_code) == ("stopped", "answers", 4)
    assert report.message is not None
    assert "200" in report.message
    assert "text/html: Please log in" in report.message
    assert sent < 100


async def test_the_same_for_chunks(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(3000, "Code"))
    async with Emulator(plan_of({**LOGIN, "operations": ["add"]})) as emulator:
        report = await run(emulator, ADD, source, tmp_path / "run", max_records=10)
        sent = len(facts(emulator, "add"))
    assert (report.state, report.reason) == ("stopped", "answers")
    assert "Please log in" in (report.message or "")
    assert sent < 100


async def test_a_warning_in_front_of_every_answer_stops_the_run(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(500))
    async with Emulator(plan_of({"kind": "form", "as": "warning", "operations": ["insert"]})) as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run", rate=Rate(500.0))
        held = len(emulator.rows(TABLE))
    assert (report.state, report.reason) == ("stopped", "answers")
    assert "Undefined array key 3" in (report.message or "")
    assert held < 100
    assert all("Undefined array key" in row.message for row in rejects.ambiguous(tmp_path / "run"))


@pytest.mark.parametrize("status", [401, 403, 404, 405])
@pytest.mark.parametrize("target", [INSERT, KEYED])
async def test_a_page_to_one_record_alone_refuses_it_and_the_rest_loads(
    tmp_path: Path, status: int, target: OzariInsert
) -> None:
    records = records_of(40)
    records[6]["name"] = "x'; DROP TABLE y"
    source = write(tmp_path / "source", records)
    plan = plan_of({**BLOCKED, "status": status, "body_contains": "DROP TABLE"})
    async with Emulator(plan) as emulator:
        report = await run(emulator, target, source, tmp_path / "run")
        assert report.state == "finished"
        (rejected,) = rejects.rejected(tmp_path / "run")
        assert (rejected.number, rejected.code) == (7, str(status))
        assert rejected.message == "text/html: Request blocked , ray id 4711"
        expected = {line: key for line, key in keyed(40).items() if line != 7}
        assert not audit(emulator, tmp_path / "run", expected)


async def test_a_page_to_one_record_of_a_chunk_refuses_that_one(tmp_path: Path) -> None:
    records = records_of(40, "Code")
    records[6]["name"] = "x'; DROP TABLE y"
    source = write(tmp_path / "source", records)
    async with Emulator(plan_of({**BLOCKED, "body_contains": "DROP TABLE"})) as emulator:
        report = await run(emulator, ADD, source, tmp_path / "run", max_records=10)
        assert (report.state, report.created, report.rejected) == ("finished", 39, 1)
    assert rejects_of(tmp_path / "run") == {7: "403"}


async def test_some_refusals_in_a_row_by_a_firewall_cost_no_record(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(300))
    async with Emulator(plan_of({**BLOCKED, "after": 100, "times": 5, "operations": ["insert"]})) as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run")
        assert (report.state, report.created) == ("finished", 300)
        assert not audit(emulator, tmp_path / "run", keyed(report.created))


async def test_a_firewall_that_refuses_all_records_stops_the_run_and_rejects_none(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(300))
    async with Emulator(plan_of({**BLOCKED, "after": 100, "operations": ["insert"]})) as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run")
        sent = len(facts(emulator, "insert"))
        assert (report.state, report.reason, report.rejected) == ("stopped", "answers", 0)
        assert "Request blocked" in (report.message or "")
        assert sent < 200
        emulator.set_faults()
        report = await run(emulator, INSERT, source, tmp_path / "run")
        assert (report.state, report.created) == ("finished", 300)


@pytest.mark.parametrize("form", ["gzip", "deflate", "raw_deflate", "bom"])
@pytest.mark.parametrize("transport", ["session", "lean"])
async def test_answers_in_a_form_that_can_be_read_are_read(tmp_path: Path, form: str, transport: str) -> None:
    source = write(tmp_path / "source", records_of(50))
    async with Emulator(plan_of({"kind": "form", "as": form})) as emulator:
        report = await run(emulator, STAMPED, source, tmp_path / "run", transport=transport)
        assert (report.state, report.created, report.ambiguous) == ("finished", 50, 0)
        assert not audit(emulator, tmp_path / "run", keyed(report.created))


@pytest.mark.parametrize("form", ["gzip", "deflate"])
async def test_the_same_for_canbus(tmp_path: Path, form: str) -> None:
    source = write(tmp_path / "source", records_of(50, "Code"))
    async with Emulator(plan_of({"kind": "form", "as": form})) as emulator:
        report = await run(emulator, ADD, source, tmp_path / "run", max_records=7)
    assert (report.state, report.created, report.ambiguous) == ("finished", 50, 0)


@pytest.mark.parametrize("mebibytes", [1.1, 3])
async def test_lines_that_are_repeated_in_the_answer_are_read_whole(tmp_path: Path, mebibytes: float) -> None:
    records: list[dict[str, Any]] = [{**one, "name": "é" * int(mebibytes * 2**19)} for one in records_of(4)]
    source = write(tmp_path / "source", records)
    async with Emulator() as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run")
    assert (report.state, report.created, report.ambiguous) == ("finished", 4, 0)


@pytest.mark.parametrize("target", [INSERT, OzariUpdate(TABLE, match=("fcode",))])
async def test_the_targets_words_stand_with_an_ambiguous_record(
    tmp_path: Path, target: OzariInsert | OzariUpdate
) -> None:
    source = write(tmp_path / "source", records_of(1))
    said = '{"success":false,"error":"Data too long for column fname, Bearer emulator-token"}'
    plan = plan_of({"kind": "status", "status": 500, "body": said, "operations": ["insert", "update"]})
    async with Emulator(plan) as emulator:
        report = await run(emulator, target, source, tmp_path / "run", ambiguous="hold")
    assert report.ambiguous == 1
    (held,) = rejects.ambiguous(tmp_path / "run")
    assert "the target answered 500: Data too long for column fname" in held.message
    assert "emulator-token" not in held.message


# --- faults of records, in the target's own words -----------------------------------------------------------------------


BAD = {"kind": "status", "status": 500, "body_contains": "too long", "operations": ["insert"]}
BAD |= {"body": '{"success":false,"error":"Data too long for column fname"}'}


def with_bad(count: int, bad: Iterable[int]) -> list[dict[str, Any]]:
    wrong = set(bad)
    return [{**one, "name": "too long"} if at in wrong else one for at, one in enumerate(records_of(count), 1)]


@pytest.mark.parametrize("bad", [[11], [2, 10, 11]])
async def test_the_last_rows_are_rejected_with_the_targets_words(
    tmp_path: Path, bad: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_rows, "LEAST_SECONDS", 1.0)
    source = write(tmp_path / "source", with_bad(11, bad))
    async with Emulator(plan_of(BAD)) as emulator:
        report = await run(emulator, STAMPED, source, tmp_path / "run", concurrency=1, settle_seconds=0.05)
        assert (report.state, report.created, report.rejected) == ("finished", 11 - len(bad), len(bad))
    for row in rejects.rejected(tmp_path / "run"):
        assert (row.number in bad, row.code) == (True, "500")
        assert "Data too long for column fname" in row.message


async def test_a_fifth_of_bad_rows_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_rows, "LEAST_SECONDS", 1.0)
    source = write(tmp_path / "source", with_bad(300, range(3, 300, 5)))
    async with Emulator(plan_of(BAD)) as emulator:
        report = await run(emulator, STAMPED, source, tmp_path / "run", settle_seconds=0.05)
    assert (report.state, report.created, report.rejected) == ("finished", 240, 60)


async def test_records_that_all_end_alike_stop_the_run_after_a_handful(tmp_path: Path) -> None:
    source = write(tmp_path / "source", with_bad(50, range(1, 51)))
    async with Emulator(plan_of(BAD)) as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run", concurrency=4)
    assert (report.state, report.reason, report.exit_code) == ("stopped", "answers", 4)
    assert "Data too long for column fname" in (report.message or "")
    assert report.ambiguous < 20
