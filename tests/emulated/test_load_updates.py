"""Updates: both shapes of a line, and what is told of rows that are missing, several, or unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loader import OzariInsert, OzariUpdate
from loader.emulator import Emulator, running
from tests.emulated.loading import (
    INSERT,
    TABLE,
    closes,
    command,
    facts,
    plan_of,
    records_of,
    rejects_of,
    rows_of,
    run,
    write,
)

ROWS = 20


async def fill(emulator: Emulator, tmp_path: Path, records: list[dict[str, Any]] | None = None) -> None:
    await run(emulator, INSERT, write(tmp_path / "rows", records or records_of(ROWS)), tmp_path / "rows.run")


SHAPES = {
    "nested": (OzariUpdate(TABLE), {"filters": {"fcode": "K3"}, "fields": {"name": "new", "n": 1.50}}),
    "flat": (OzariUpdate(TABLE, match=("fcode",)), {"name": "new", "fcode": "K3", "n": 1.50}),
    "flat, two fields": (
        OzariUpdate(TABLE, match=("fcode", "fid")),
        {"fcode": "K3", "fid": 3, "name": "new", "n": 1.50},
    ),
    "by primary key": (OzariUpdate(TABLE), {"filters": {"fid": "3"}, "fields": {"name": "new", "n": 1.50}}),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_both_shapes_change_their_row_and_no_other(tmp_path: Path, shape: str) -> None:
    target, line = SHAPES[shape]
    with running() as emulator:
        await fill(emulator, tmp_path)
        before = {row["fcode"]: row for row in emulator.rows(TABLE)}
        report = await run(emulator, target, write(tmp_path / "source", [line]), tmp_path / "run")
        assert closes(report)
        assert (report.updated, report.unchanged, report.created, report.exit_code) == (1, 0, 0, 0)
        after = {row["fcode"]: row for row in emulator.rows(TABLE)}
        assert (after["K3"]["name"], after["K3"]["n"], after["K3"]["fid"]) == ("new", 1.5, before["K3"]["fid"])
        assert {code: row["name"] for code, row in after.items() if code != "K3"} == {
            code: row["name"] for code, row in before.items() if code != "K3"
        }


async def test_no_row_and_several_rows_are_rejected_and_nothing_is_written(tmp_path: Path) -> None:
    records = [*records_of(ROWS), {"fcode": "K1", "name": "a twin"}]
    lines = [{"fcode": code, "name": "new"} for code in ("K2", "K1", "nobody", "K3")]
    with running() as emulator:
        await fill(emulator, tmp_path, records)
        report = await run(
            emulator, OzariUpdate(TABLE, match=("fcode",)), write(tmp_path / "s", lines), tmp_path / "run"
        )
        assert closes(report)
        assert (report.updated, report.rejected, report.exit_code) == (2, 2, 3)
        assert rejects_of(tmp_path / "run") == {2: "409", 3: "404"}
        assert {row["fcode"] for row in emulator.rows(TABLE) if row["name"] == "new"} == {"K2", "K3"}
        assert len(emulator.rows(TABLE)) == ROWS + 1
    (first, second) = rows_of(command("rejects", tmp_path / "run"))
    assert (first["line"], first["stage"], "Multiple records" in first["message"]) == (2, "target", True)
    assert (second["record"], "No records" in second["message"]) == ('{"fcode": "nobody", "name": "new"}', True)


async def test_rows_that_have_the_values_already_are_counted(tmp_path: Path) -> None:
    lines = [
        {"fcode": f"K{number}", "name": f"name of {number}" if number % 2 else "new"} for number in range(1, ROWS + 1)
    ]
    with running() as emulator:
        await fill(emulator, tmp_path)
        report = await run(
            emulator, OzariUpdate(TABLE, match=("fcode",)), write(tmp_path / "s", lines), tmp_path / "run"
        )
        assert closes(report)
        assert (report.updated, report.unchanged, report.exit_code) == (ROWS, ROWS // 2, 0)


@pytest.mark.parametrize(
    "target", [OzariInsert("tnone"), OzariUpdate("tnone", match=("fcode",))], ids=["insert", "update"]
)
async def test_a_table_that_does_not_exist_stops_the_run(tmp_path: Path, target: OzariInsert | OzariUpdate) -> None:
    with running() as emulator:
        report = await run(emulator, target, write(tmp_path / "s", records_of(100)), tmp_path / "run")
        assert (report.state, report.reason, report.exit_code) == ("stopped", "table", 4)
        assert (report.rejected, report.ambiguous) == (0, 0)
        assert len(facts(emulator, "insert", "update")) <= 32  # those in flight when the first answer came


async def test_values_travel_as_they_were_written(tmp_path: Path) -> None:
    """No number is rounded, and no text escaped otherwise: the body is cut from the line."""
    line = b'{"n":12345678901234567890123,"fcode":"K3" ,"name":"\\u00e9\\/"}'
    (tmp_path / "source").write_bytes(line)
    raw = '"fields":{"n":12345678901234567890123,"name":"\\u00e9\\/"}'
    watched = {"kind": "latency", "milliseconds": 1, "body_contains": raw, "operations": ["update"]}
    refused = {"kind": "status", "status": 400, "operations": ["update"], "body_contains": raw}
    with running(plan_of(watched, refused)) as emulator:
        await fill(emulator, tmp_path)
        report = await run(emulator, OzariUpdate(TABLE, match=("fcode",)), tmp_path / "source", tmp_path / "run")
        assert (report.rejected, emulator.journal.faults["status"]) == (1, 1)
