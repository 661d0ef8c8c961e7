"""Updates in front of real databases: two names of one row, a filter that its own change moves, spellings that are held equal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from loader import OzariUpdate
from tests.databases.trials import CODE, Database, Figures, column, loaded, lost_answers, note, plan

TABLE = "tcity"
ROWS = 200
PAIRS: list[tuple[str, Any]] = [
    ("1547abc", 1547),
    ("Kfar Saba", "kfar saba "),
    ("ハナコ", "はなこ"),
    ("café", "cafe"),
    ("ABC12", "\uff21\uff22\uff2312"),
    ("ぱぱ", "はは"),
    ("none", 0),
    ("straße", "STRASSE"),
    ("10.0", "10"),
    (" x", "x"),
]
"""What a row holds, and what a line names."""


async def test_two_updates_of_one_row_by_different_filters_keep_their_order(database: Database, tmp_path: Path) -> None:
    latency = {"kind": "latency", "operations": ["update"], "milliseconds": 5.0, "sigma": 1.0}
    before = [{CODE: f"K{number}", "fname": "first"} for number in range(1, ROWS + 1)]
    records = [
        {"filters": filters, "fields": {"fname": text}}
        for number in range(1, ROWS + 1)
        for filters, text in (({"fid": number}, "older"), ({CODE: f"K{number}"}, "newer"))
    ]
    done = await loaded(
        database, tmp_path, plan([column("fname", "VARCHAR(20)")], latency), records, OzariUpdate(TABLE), before=before
    )
    figures = Figures("1.8 two filters, one row", database.kind, "source order, or a word")
    figures.wrong = sum(row["fname"] != "newer" for row in done.rows)
    figures.rejected = len(done.rejects)
    note(figures, done)
    assert done.report.state == "finished"
    assert figures.is_clean


async def test_a_filter_that_the_change_itself_moves(database: Database, tmp_path: Path) -> None:
    moment = "2026-01-01 08:00:00"
    before = [{CODE: f"K{number}", "fname": "old", "flastmodify": moment} for number in range(1, 301)]
    records = [
        {"filters": {CODE: f"K{number}", "flastmodify": moment}, "fields": {"fname": "new"}} for number in range(1, 301)
    ]
    chosen = plan([column("fname", "VARCHAR(20)")], lost_answers(0.05))
    done = await loaded(database, tmp_path, chosen, records, OzariUpdate(TABLE), before=before)
    figures = Figures("1.9 filter moved by the change", database.kind, "applied, or ambiguous")
    applied = {row[CODE] for row in done.rows if row["fname"] == "new"}
    figures.rejected = sum(f"K{line}" in applied for line in done.rejects)
    figures.lost = 300 - len(applied) - len(done.rejects.keys() - {int(code[1:]) for code in applied})
    figures.remarks.append(f"{len(done.ambiguous)} ambiguous")
    note(figures, done)
    assert done.report.state == "finished"
    assert figures.is_clean


async def test_another_spelling_is_warned_of(database: Database, tmp_path: Path) -> None:
    await try_other_spellings(database, tmp_path, "utf8mb4_general_ci" if database.is_mariadb else None)


async def test_another_spelling_by_unicode_is_warned_of(mariadb: Database, tmp_path: Path) -> None:
    await try_other_spellings(mariadb, tmp_path, "utf8mb4_unicode_ci")


async def try_other_spellings(database: Database, tmp_path: Path, collation: str | None) -> None:
    before = [{CODE: f"K{line}", "fk": held, "fname": "old"} for line, (held, _) in enumerate(PAIRS, 1)]
    records = [{"filters": {"fk": named}, "fields": {"fname": "new"}} for _, named in PAIRS]
    chosen = plan(
        [column("fk", "VARCHAR(64)"), column("fname", "VARCHAR(20)")],
        sql_mode="",
        collation=collation,
    )
    done = await loaded(database, tmp_path, chosen, records, OzariUpdate(TABLE), before=before)
    hit = sorted(int(row[CODE][1:]) for row in done.rows if row["fname"] == "new")
    numbers = {int(number) for warning in done.report.warnings for number in re.findall(r"\d+", warning)}
    said = [line for line in hit if line in numbers or line in done.rejects or line in done.ambiguous]
    figures = Figures(f"1.11 other spelling ({collation or 'C.UTF-8'})", database.kind, "a warning with each line")
    figures.wrong = len(hit) - len(said)
    figures.remarks.append(f"{len(hit)} of {len(PAIRS)} rows of another spelling updated, {len(said)} said")
    note(figures, done)
    assert said == hit
