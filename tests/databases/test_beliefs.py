"""What a load believes of a target, in front of databases that cut, change, pad, fold and move.

Each trial states what a user expects. Figures are counted before anything is asserted, so that `make databases` shows them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loader import OzariInsert, OzariUpdate
from tests.databases.trials import (
    CODE,
    Database,
    Figures,
    Loaded,
    column,
    count_inserts,
    loaded,
    lost_answers,
    note,
    plan,
)

NON_STRICT = ""
STOP_OR_HELD = "a stop at the first record, or nothing lost"
TABLE = "tcity"


def records_of(count: int, **more: str) -> list[dict[str, Any]]:
    """Make records; `{}` in a further field's text stands for the number."""
    return [
        {CODE: f"K{number}", **{name: text.format(number) for name, text in more.items()}}
        for number in range(1, count + 1)
    ]


def lose(code: str, when: str) -> dict[str, Any]:
    """Lose the answer to one record, once."""
    return lost_answers(1.0, when=when, body_contains=f'"{code}"', times=1)


def assert_stop_or_held(figures: Figures, done: Loaded) -> None:
    assert figures.is_clean, figures
    assert done.report.state == "finished" or done.is_quick_stop, done.told


# --- a stamp's column (1.1, 1.2) ----------------------------------------------------------------------------------------


def cutting(database: Database, name: str, length: int) -> dict[str, Any]:
    """Make a column that cuts in silence: non-strict MariaDB, or a trigger."""
    if database.is_mariadb:
        return {"columns": [column(name, f"VARCHAR({length})")], "sql_mode": NON_STRICT}
    return {"columns": [column(name, "TEXT")], "statements": database.trigger(name, f"left({{}}, {length})")}


async def test_a_column_too_short_for_the_later_stamps(database: Database, tmp_path: Path) -> None:
    given = cutting(database, "fstamp", 13)
    records = records_of(120)
    chosen = plan(given.pop("columns"), lose("K10", "before"), **given)
    done = await loaded(database, tmp_path, chosen, records, OzariInsert(TABLE, stamp="fstamp"))
    figures = count_inserts("1.1 stamp cut at 13", database, STOP_OR_HELD, done, records)
    assert_stop_or_held(figures, done)


async def test_a_column_one_too_short_in_a_long_run(database: Database, tmp_path: Path) -> None:
    given = cutting(database, "fstamp", 14)
    records = records_of(3000)
    chosen = plan(given.pop("columns"), lost_answers(0.05), **given)
    done = await loaded(database, tmp_path, chosen, records, OzariInsert(TABLE, stamp="fstamp"))
    figures = count_inserts("1.1 stamp cut at 14", database, STOP_OR_HELD, done, records)
    assert_stop_or_held(figures, done)


async def test_a_stamp_that_a_trigger_upper_cases(database: Database, tmp_path: Path) -> None:
    chosen = plan([column("fstamp", "VARCHAR(64)")], statements=database.trigger("fstamp", "upper({})"))
    records = records_of(120)
    done = await loaded(database, tmp_path, chosen, records, OzariInsert(TABLE, stamp="fstamp"))
    figures = count_inserts("1.2 stamp upper-cased", database, "a stop at once, with the stored text", done, records)
    assert figures.is_clean
    assert done.is_quick_stop, done.told
    assert done.rows[0]["fstamp"] in done.told


async def test_a_stamp_padded_with_blanks(database: Database, tmp_path: Path) -> None:
    chosen = plan([column("fstamp", "CHAR(64)")])
    records = records_of(120)
    done = await loaded(database, tmp_path, chosen, records, OzariInsert(TABLE, stamp="fstamp"))
    expected = "all created: MariaDB gives no padding back" if database.is_mariadb else STOP_OR_HELD
    figures = count_inserts("1.2 stamp in CHAR(64)", database, expected, done, records)
    assert_stop_or_held(figures, done)
    assert not database.is_mariadb or done.report.created == 120


async def test_a_stamp_in_a_column_of_numbers(database: Database, tmp_path: Path) -> None:
    chosen = plan([column("fstamp", "INTEGER")], sql_mode=NON_STRICT if database.is_mariadb else None)
    records = records_of(120)
    done = await loaded(database, tmp_path, chosen, records, OzariInsert(TABLE, stamp="fstamp"))
    expected = "a stop at once, with the stored 0" if database.is_mariadb else "a stop at once, in the database's words"
    figures = count_inserts("1.2 stamp in INTEGER", database, expected, done, records)
    assert figures.is_clean
    assert done.is_quick_stop, done.told
    assert ("0" if database.is_mariadb else "type integer") in done.told


# --- a key's column (1.3) -----------------------------------------------------------------------------------------------


async def test_a_key_that_is_cut(database: Database, tmp_path: Path) -> None:
    given = cutting(database, "fkey", 20)
    records = records_of(1000, fkey="customer-of-the-north-{}")
    chosen = plan(given.pop("columns"), lost_answers(0.05), **given)
    done = await loaded(database, tmp_path, chosen, records, OzariInsert(TABLE, key="fkey"))
    figures = count_inserts("1.3 key cut at 20", database, "none doubled: the key is not believed", done, records)
    assert figures.is_clean


async def test_an_e_mail_address_that_is_lower_cased(database: Database, tmp_path: Path) -> None:
    chosen = plan(
        [column("femail", "VARCHAR(100)")], lost_answers(0.05), statements=database.trigger("femail", "lower({})")
    )
    records = records_of(1000, femail="Ann.{}@Example.org")
    done = await loaded(database, tmp_path, chosen, records, OzariInsert(TABLE, key="femail"))
    figures = count_inserts("1.3 key lower-cased", database, "none doubled: the key is not believed", done, records)
    assert figures.is_clean


# --- a key that another row holds in another spelling (1.10) ------------------------------------------------------------


async def test_a_look_up_rewrites_no_row_of_another(database: Database, tmp_path: Path) -> None:
    given: dict[str, Any] = {"collation": "utf8mb4_general_ci"}
    kind = "VARCHAR(64)"
    if not database.is_mariadb:
        given, kind = {}, "VARCHAR(64) COLLATE folding"
    chosen = plan(
        [column("fk", kind)], *(lose(f"K{number}", "before") for number in range(1, 8)), query="off_json", **given
    )
    if not database.is_mariadb:
        make_collation(database)
    older = [{CODE: f"O{number}", "fk": f"abc{number}"} for number in range(1, 8)]
    records = records_of(7, fk="ABC{}")
    done = await loaded(database, tmp_path, chosen, records, OzariInsert(TABLE, key="fk"), before=older)
    figures = count_inserts("1.10 key held in another case", database, "held and listed", done, records)
    kept = {row[CODE]: row["fk"] for row in done.rows}
    figures.wrong += sum(kept[row[CODE]] != row["fk"] for row in older)
    assert figures.is_clean


def make_collation(database: Database) -> None:
    """Make a collation that folds case, as PostgreSQL has none by itself."""
    from loader.emulator.databases.postgresql import PostgreSql

    server = PostgreSql(database.url)
    server.change("CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    server.close()


# --- values that do not stay as they were sent (1.12, 1.13) -------------------------------------------------------------


async def test_values_that_are_stored_otherwise_are_warned_of(database: Database, tmp_path: Path) -> None:
    columns = [column("fqty", "INTEGER"), column("fda", "DATE"), column("fnote", "VARCHAR(5)")]
    chosen = plan(columns, sql_mode=NON_STRICT if database.is_mariadb else None)
    records: list[dict[str, Any]] = [
        {CODE: "K1", "fqty": 1234.50},
        {CODE: "K2", "fda": "2026-1-5"},
        {CODE: "K3", "fnote": "longer than five"},
    ]
    done = await loaded(database, tmp_path, chosen, records, OzariInsert(TABLE))
    bad = frozenset() if database.is_mariadb else frozenset({1, 3})
    expected = "a warning for each field" if database.is_mariadb else "two rejects, a warning for the date"
    figures = count_inserts("1.12 stored otherwise (insert)", database, expected, done, records, bad)
    shaped = [
        name
        for name in ("fqty", "fda", "fnote")
        for row in done.rows
        if row[name] not in (None, *values(records, name))
    ]
    silent = [name for name in shaped if name not in done.told]
    figures.remarks.append(f"{len(silent)} of {len(shaped)} changed fields unsaid")
    assert figures.is_clean
    assert silent == []
    assert bad <= done.rejects.keys()


def values(records: list[dict[str, Any]], name: str) -> list[Any]:
    return [record[name] for record in records if name in record]


async def test_updates_that_are_stored_otherwise_are_warned_of(database: Database, tmp_path: Path) -> None:
    columns = [column("fqty", "INTEGER"), column("fda", "DATE"), column("fnote", "VARCHAR(5)")]
    chosen = plan(columns, sql_mode=NON_STRICT if database.is_mariadb else None)
    changes: list[dict[str, Any]] = [{"fqty": 1234.50}, {"fda": "2026-1-5"}, {"fnote": "longer than five"}]
    records = [{"filters": {CODE: f"K{line}"}, "fields": change} for line, change in enumerate(changes, 1)]
    done = await loaded(database, tmp_path, chosen, records, OzariUpdate(TABLE), before=records_of(3))
    expected = "a warning for each field" if database.is_mariadb else "two rejects, a warning for the date"
    figures = Figures("1.12 stored otherwise (update)", database.kind, expected)
    shaped = [name for change in changes for name in change if any(row[name] is not None for row in done.rows)]
    again = await loaded(database, tmp_path / "again", chosen, records, OzariUpdate(TABLE))
    silent = [name for one in (done, again) for name in shaped if name not in one.told]
    unsaid = f"{len(silent)} of {2 * len(shaped)} changed fields unsaid"
    figures.remarks.append(f"{unsaid}; on repeating, {again.report.unchanged} unchanged")
    note(figures, done)
    assert silent == []


@pytest.mark.parametrize("count, bad", [(11, [11]), (300, list(range(5, 301, 5)))], ids=["last", "fifth"])
async def test_a_record_that_does_not_fit_is_rejected(
    database: Database, tmp_path: Path, count: int, bad: list[int]
) -> None:
    chosen = plan([column("fnote", "VARCHAR(5)")])
    records = records_of(count, fnote="x")
    for line in bad:
        records[line - 1]["fnote"] = "too long for it"
    done = await loaded(database, tmp_path, chosen, records, OzariInsert(TABLE, stamp="fname"))
    expected = f"{count - len(bad)} created, {len(bad)} rejected in the database's words"
    trial = f"1.13 too long for strict, {len(bad)} of {count}"
    figures = count_inserts(trial, database, expected, done, records, frozenset(bad))
    figures.remarks.append(f"{done.report.created} created, {done.report.rejected} rejected")
    assert figures.is_clean
    assert done.report.state == "finished", done.told
    assert sorted(done.rejects) == bad
    assert done.words.count("too long") == len(bad)
    assert done.report.created == count - len(bad)
