"""What a proof covers, and what is believed without one: fields that cut, fold or pad, reads that lag, twins that others make."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loader import OzariInsert
from loader.emulator import Emulator, running
from loader.runs.rejects import ambiguous
from loader.targets.stamp_form import EARLIER_FORM
from tests.emulated.loading import TABLE, ambiguous_of, audit, facts, keyed, plan_of, records_of, run, write

COUNT = 120
STAMPED, KEYED = OzariInsert(TABLE, stamp="fstamp"), OzariInsert(TABLE, key="fcode")
LOST_BEFORE = {"kind": "close", "when": "before", "operations": ["insert"]}
LOST_AFTER = {"kind": "close", "when": "after", "operations": ["insert"]}


def with_field(name: str, **what: Any) -> dict[str, Any]:
    """Make the switches of a table whose field is as unkind as said."""
    return {"tables": {TABLE: {"fields": [{"name": name, **what}]}}}


def held(emulator: Emulator, field: str) -> Counter[str]:
    return Counter(row[field] for row in emulator.rows(TABLE))


# --- the stamp ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["on", "off_json"])
@pytest.mark.parametrize("room", [13, 14, 19])
async def test_a_field_without_room_for_a_stamp_is_found_out_by_the_first_record(
    tmp_path: Path, room: int, query: str
) -> None:
    ozari = with_field("fstamp", max_length=room, is_strict=False) | {"query": query}
    with running(plan_of({**LOST_BEFORE, "every": 10}, ozari=ozari)) as emulator:
        source = write(tmp_path / "source", records_of(COUNT))
        report = await run(emulator, STAMPED, source, tmp_path / "run")
        assert (report.state, report.reason, report.exit_code) == ("stopped", "answers", 4)
        assert len(emulator.rows(TABLE)) == 1
        if query == "on":
            run_id = json.loads((tmp_path / "run" / "run.json").read_bytes())["run"]
            stamp = f"{run_id}-000000001"
            assert report.message == f"the stamp '{stamp}' is stored as '{stamp[:room]}'"
            assert "room for 20 characters" in (report.hint or "")
            assert report.seconds < 2, "the refutation is waited for"


async def test_a_field_with_room_for_one_stamp_has_room_for_all(tmp_path: Path) -> None:
    ozari = with_field("fstamp", max_length=20, is_strict=False)
    with running(plan_of({**LOST_BEFORE, "every": 10}, {**LOST_AFTER, "every": 7}, ozari=ozari)) as emulator:
        source = write(tmp_path / "source", records_of(COUNT))
        report = await run(emulator, STAMPED, source, tmp_path / "run")
        assert (report.created, report.exit_code) == (COUNT, 0)
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []
        assert f"counted at the end: {COUNT} rows carry the run's stamps, {COUNT} created" in report.grounds
        assert "the stamp is kept as written, up to 20 characters" in report.grounds


@pytest.mark.parametrize(
    "what, stored",
    [
        ({"stored_case": "upper"}, str.upper),
        ({"blanks": "padded", "max_length": 30}, lambda text: text.ljust(30)),
        ({"type": "integer", "is_strict": False}, lambda _: "0"),
    ],
    ids=["upper", "padded", "integer"],
)
@pytest.mark.parametrize("collation", ["exact", "loose"])
async def test_a_stamp_that_is_stored_otherwise_is_refuted_at_once(
    tmp_path: Path, what: dict[str, Any], stored: Any, collation: str
) -> None:
    with running(plan_of(ozari=with_field("fstamp", **what) | {"collation": collation})) as emulator:
        source = write(tmp_path / "source", records_of(COUNT))
        report = await run(emulator, STAMPED, source, tmp_path / "run")
        assert (report.reason, len(emulator.rows(TABLE))) == ("answers", 1)
        run_id = json.loads((tmp_path / "run" / "run.json").read_bytes())["run"]
        assert (report.message or "").endswith(f"is stored as '{stored(f'{run_id}-000000001')}'")
        assert report.seconds < 2


@pytest.mark.parametrize("target", [STAMPED, KEYED], ids=["stamp", "key"])
async def test_the_lag_of_reads_is_the_least_that_an_absence_waits(tmp_path: Path, target: OzariInsert) -> None:
    """The read lags longer than the settle time: believed after that alone, every lost answer would double its record."""
    ozari = {"read_delay_seconds": 1.5}
    with running(plan_of({**LOST_AFTER, "every": 9}, ozari=ozari)) as emulator:
        source = write(tmp_path / "source", records_of(COUNT))
        report = await run(emulator, target, source, tmp_path / "run", settle_seconds=0.3)
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []
        assert set(held(emulator, "fcode").values()) == {1}
        assert (report.created, report.ambiguous, report.doubled) == (COUNT, 0, 0)


async def test_a_longer_lag_than_any_fixed_wait_is_waited_for(tmp_path: Path) -> None:
    with running(plan_of(ozari={"read_delay_seconds": 10.0})) as emulator:
        source = write(tmp_path / "source", records_of(3))
        report = await run(emulator, STAMPED, source, tmp_path / "run")
        assert (report.created, report.exit_code) == (3, 0)
        assert any("cannot be found by its stamp yet" in warning for warning in report.warnings)


# --- the key ------------------------------------------------------------------------------------------------------------


def mails(count: int) -> list[dict[str, str]]:
    return [{"fcode": f"Bea.Cohen{n:04}@Example.ORG", "name": f"name of {n}"} for n in range(1, count + 1)]


@pytest.mark.parametrize(
    "what",
    [{"max_length": 20, "is_strict": False}, {"stored_case": "lower"}],
    ids=["cuts", "lower"],
)
@pytest.mark.parametrize("collation", ["exact", "loose"])
async def test_a_key_that_is_not_kept_doubles_nothing(tmp_path: Path, what: dict[str, Any], collation: str) -> None:
    ozari = with_field("fcode", **what) | {"collation": collation}
    with running(plan_of({**LOST_AFTER, "every": 9}, {**LOST_BEFORE, "every": 11}, ozari=ozari)) as emulator:
        source = write(tmp_path / "source", mails(COUNT))
        report = await run(emulator, KEYED, source, tmp_path / "run")
        assert set(held(emulator, "name").values()) == {1}
        assert report.created + report.ambiguous == COUNT
        assert (report.ambiguous > 0, report.exit_code) == (True, 3)
        assert any("is stored as 'Bea.Cohen0" in text or "is stored as 'bea.cohen0" in text for text in report.warnings)
        reasons = [row.message for row in ambiguous(tmp_path / "run")]
        assert all("is stored as" in reason or "written another way" in reason for reason in reasons), reasons


async def test_a_key_that_is_kept_settles_every_doubt(tmp_path: Path) -> None:
    with running(plan_of({**LOST_AFTER, "every": 9}, {**LOST_BEFORE, "every": 11})) as emulator:
        source = write(tmp_path / "source", mails(COUNT))
        report = await run(emulator, KEYED, source, tmp_path / "run")
        assert (report.created, report.exit_code) == (COUNT, 0)
        assert set(held(emulator, "name").values()) == {1}
        assert "nobody else writes the same keys meanwhile" in report.assumptions


async def test_absence_of_a_key_of_another_kind_is_not_believed(tmp_path: Path) -> None:
    """The last line's key is the only one with Hebrew letters: no created record shows what the table makes of those."""
    records = [*mails(COUNT), {"fcode": "כפר סבא", "name": "the last"}]
    with running(plan_of({**LOST_BEFORE, "after": COUNT, "times": 1})) as emulator:
        source = write(tmp_path / "source", records)
        report = await run(emulator, KEYED, source, tmp_path / "run", concurrency=1)
        assert (report.created, report.ambiguous) == (COUNT, 1)
        assert ambiguous_of(tmp_path / "run") == [COUNT + 1]
        (row,) = ambiguous(tmp_path / "run")
        assert "no created record shows that the target keeps such a key" in row.message
        assert held(emulator, "name")["the last"] == 0


async def test_a_resume_proves_by_what_earlier_executions_created(tmp_path: Path) -> None:
    with running(plan_of({**LOST_BEFORE, "after": COUNT - 1, "times": 1})) as emulator:
        source = write(tmp_path / "source", mails(COUNT))
        first = await run(emulator, KEYED, source, tmp_path / "run", concurrency=1, ambiguous="hold")
        assert (first.created, first.ambiguous) == (COUNT - 1, 1)
        second = await run(emulator, KEYED, source, tmp_path / "run", concurrency=1)
        assert (second.created, second.ambiguous, second.exit_code) == (COUNT, 0, 0)
        assert set(held(emulator, "name").values()) == {1}


@pytest.mark.parametrize("collation", ["exact", "loose"])
async def test_without_the_query_endpoint_no_question_writes_by_a_key(tmp_path: Path, collation: str) -> None:
    ozari = {"query": "off_json", "collation": collation}
    with running(plan_of({**LOST_BEFORE, "every": 9, "after": 1}, ozari=ozari)) as emulator:
        await post(emulator, {"fcode": "k9", "name": "an older row"})
        source = write(tmp_path / "source", records_of(40))
        report = await run(emulator, KEYED, source, tmp_path / "run", concurrency=1)
        assert facts(emulator, "update", "bulk") == []
        assert held(emulator, "fcode")["k9"] == 1
        assert (report.created, report.ambiguous, report.exit_code) == (36, 4, 3)
        assert any("can be asked for by its key" in warning for warning in report.warnings)
        assert "none were made" in (report.bound or "")


# --- runs of earlier versions -------------------------------------------------------------------------------------------


async def test_a_run_with_growing_stamps_is_resumed_and_its_proof_covers_no_longer_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VARCHAR(13) holds the stamps of lines up to 99 and cuts the others: what is not found may be there."""
    ozari = with_field("fstamp", max_length=13, is_strict=False)
    with running(plan_of(ozari=ozari)) as emulator:
        source = write(tmp_path / "source", records_of(COUNT))
        with monkeypatch.context() as earlier:
            earlier.setattr("loader.runs.opening.form_for", lambda _: EARLIER_FORM)
            earlier.setattr("loader.checkpoint.notes.Notes.keep_proved_for", lambda *_: None)
            first = await run(emulator, STAMPED, source, tmp_path / "run", max_lines=60)
        assert first.created == 60
        assert json.loads((tmp_path / "run" / "run.json").read_bytes())["format"] == 1
        emulator.set_faults(*plan_of({**LOST_BEFORE, "every": 10}, {**LOST_AFTER, "every": 7}).faults)
        report = await run(emulator, STAMPED, source, tmp_path / "run", concurrency=1)
        assert max(held(emulator, "fcode").values()) == 1
        assert (report.state, report.exit_code) == ("finished", 3)
        assert [line for line in ambiguous_of(tmp_path / "run") if line < 100] == []
        assert ambiguous_of(tmp_path / "run")


# --- what others double -------------------------------------------------------------------------------------------------


async def test_twins_that_a_gateway_makes_are_counted_at_the_end(tmp_path: Path) -> None:
    with running() as emulator:
        source = write(tmp_path / "source", records_of(COUNT))
        first = await run(emulator, STAMPED, source, tmp_path / "run", max_lines=60)
        assert first.exit_code == 0
        await send_twice(emulator, "K7", "K23")
        report = await run(emulator, STAMPED, source, tmp_path / "run")
        assert (report.created, report.doubled, report.exit_code) == (COUNT, 2, 3)
        assert len(report.duplicates) == 2
        assert "2 records stand in the target twice" in (report.bound or "")
        again = await run(emulator, STAMPED, source, tmp_path / "run")
        assert (again.finished_at is not None, again.exit_code) == (True, 3)


@pytest.mark.parametrize("status", [429, 409, 422])
async def test_a_refusal_after_the_record_was_written_is_not_called_impossible(tmp_path: Path, status: int) -> None:
    fault = {"kind": "status", "status": status, "operations": ["insert"], "commit": "before", "after": 50, "times": 2}
    with running(plan_of(fault)) as emulator:
        source = write(tmp_path / "source", records_of(COUNT))
        report = await run(emulator, STAMPED, source, tmp_path / "run", concurrency=1)
        assert "a refusal (a status 4xx) means that nothing was written" in report.assumptions
        assert report.exit_code == 3
        assert not (report.bound or "").startswith("none")
        assert report.doubled == 2
        named = [text for text in report.warnings if "a row carries its stamp" in text]
        assert [text.split(" was")[0] for text in named] == ([] if status == 429 else ["line 51", "line 52"])


async def test_rows_that_are_gone_are_counted_too(tmp_path: Path) -> None:
    with running() as emulator:
        source = write(tmp_path / "source", records_of(COUNT))
        await run(emulator, STAMPED, source, tmp_path / "run", max_lines=60)
        backup = emulator.back_up()
        await run(emulator, STAMPED, source, tmp_path / "run", max_lines=30)
        emulator.go_back(backup)
        report = await run(emulator, STAMPED, source, tmp_path / "run")
        assert report.exit_code in (3, 4)
        assert not (report.bound or "").startswith("none")


async def post(emulator: Emulator, fields: dict[str, Any]) -> None:
    """Write a row as somebody else does."""
    url = f"{emulator.base_url}/integration/tables/{TABLE}/records"
    headers = {"Authorization": "Bearer emulator-token", "Content-Type": "application/json"}
    question = urllib.request.Request(url, json.dumps({"fields": fields}).encode(), headers)  # noqa: S310 -- loopback
    with await asyncio.to_thread(urllib.request.urlopen, question) as answer:
        assert answer.status in (200, 201)


async def send_twice(emulator: Emulator, *keys: str) -> None:
    """Do what `proxy_next_upstream non_idempotent` does: write some records a second time."""
    for row in [row for row in emulator.rows(TABLE) if row["fcode"] in keys]:
        await post(emulator, {name: row[name] for name in ("fstamp", "fcode", "name")})


async def test_shorter_keys_are_believed_where_longer_ones_are_cut(tmp_path: Path) -> None:
    """VARCHAR(6): 'K1000000' is cut and proves nothing of 'K100'; a created record with a key as short does."""
    records = [{"fcode": f"K{'9' * 7 if n % 3 == 0 else 100 + n}", "name": f"name of {n}"} for n in range(1, 61)]
    ozari = with_field("fcode", max_length=6, is_strict=False)
    with running(plan_of({**LOST_BEFORE, "every": 7}, ozari=ozari)) as emulator:
        source = write(tmp_path / "source", records)
        report = await run(emulator, KEYED, source, tmp_path / "run", concurrency=1, settle_seconds=1.5)
        assert set(held(emulator, "name").values()) == {1}
        assert report.created + report.ambiguous == 60
        assert all(line % 3 == 0 for line in ambiguous_of(tmp_path / "run"))
