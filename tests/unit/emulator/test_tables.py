"""Rows in SQLite: what goes in comes out, under the fields' own names, and a user who opens the file sees it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.emulator.backups import Backup, keep_first
from loader.emulator.tables import MAX_WAITING_ROWS, Tables, TooManyColumns

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def same(one: Any, other: Any) -> bool:
    return one == other and type(one) is type(other)


@given(st.lists(st.dictionaries(names, values, max_size=5), max_size=6))
def test_any_fields_come_back(records: list[dict[str, Any]]) -> None:
    tables = Tables()
    table = tables.open("t", "fid")
    records = [{name: value for name, value in record.items() if name != "fid"} for record in records]
    ids = [table.insert(record) for record in records]
    rows = tables.rows("t")
    tables.close()
    assert [row["fid"] for row in rows] == ids == list(range(1, len(records) + 1))
    for record, row in zip(records, rows, strict=True):
        assert all(same(row[name], value) for name, value in record.items())
        assert all(value is None for name, value in row.items() if name not in record and name != "fid")


@given(st.dictionaries(names, values, max_size=4), st.dictionaries(names, values, max_size=4))
def test_update_changes_what_it_names(old: dict[str, Any], new: dict[str, Any]) -> None:
    tables = Tables()
    table = tables.open("t", "_number")
    first, second = table.insert(old), table.insert(old)
    table.update([first], new)
    rows = tables.rows("t")
    tables.close()
    assert second == 2
    assert all(same(rows[0][name], value) for name, value in {**old, **new}.items())
    assert all(same(rows[1][name], value) for name, value in old.items())


def test_names_that_differ_in_case_stay_apart() -> None:
    tables = Tables()
    tables.open("t", "fid").insert({"Name": "a", "name": "b", "FID": "c", "_kinds": "d", "_KINDS": "e"})
    assert tables.rows("t") == [{"fid": 1, "Name": "a", "name": "b", "FID": "c", "_kinds": "d", "_KINDS": "e"}]
    tables.open("T", "fid").insert({"x": "other"})
    assert (len(tables.rows("t")), len(tables.rows("T"))) == (1, 1)


def test_file_can_be_read_beside_and_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    tables = Tables(str(path))
    table = tables.open("tcust", "fid")
    table.insert({"fname": "Acme", "FNAME": "x", "is_new": True, "tags": ["a"]})
    tables.flush()
    with sqlite3.connect(path) as reader:
        assert reader.execute("SELECT fid, fname, is_new, tags FROM tcust").fetchall() == [(1, "Acme", 1, '["a"]')]
    reader.close()
    before = tables.rows("tcust")
    tables.close()
    again = Tables(str(path))
    table = again.open("tcust", "fid")
    assert again.rows("tcust") == before
    assert table.insert({"fname": "Next"}) == 2
    again.close()


def test_rows_wait_and_are_written_together() -> None:
    tables = Tables()
    table = tables.open("t", "fid")
    for number in range(MAX_WAITING_ROWS - 1):
        table.insert({"n": number})
    assert tables.execute("SELECT count(*) FROM t").fetchone() == (0,)
    table.insert({"n": -1})
    assert tables.execute("SELECT count(*) FROM t").fetchone() == (MAX_WAITING_ROWS,)
    table.insert({"n": -2})
    assert table.count() == MAX_WAITING_ROWS + 1


def test_delete_and_update_of_many() -> None:
    tables = Tables()
    table = tables.open("t", "fid")
    ids = [table.insert({"n": number}) for number in range(2500)]
    table.update(ids, {"m": "x"})
    assert {row["m"] for row in tables.rows("t")} == {"x"}
    table.delete(ids[:2400])
    assert [row["fid"] for row in tables.rows("t")] == ids[2400:]
    assert table.insert({}) == 2501


def test_no_room_for_more_columns() -> None:
    tables = Tables()
    table = tables.open("t", "fid")
    table.insert({f"c{number}": number for number in range(1900)})
    with pytest.raises(TooManyColumns):
        table.insert({"more": 1})
    assert len(tables.rows("t")) == 1
    assert table.insert({"c1": 5}) == 2


def test_reading_from_another_thread_while_writing() -> None:
    tables = Tables()
    table = tables.open("t", "fid")
    counts: list[int] = []

    def read() -> None:
        counts.extend(len(tables.rows("t")) for _ in range(20))

    reader = Thread(target=read)
    reader.start()
    for number in range(5000):
        table.insert({"n": number})
    reader.join()
    assert counts == sorted(counts)
    assert len(tables.rows("t")) == 5000


def test_unknown_table_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Tables().rows("none")


def test_a_backup_brings_back_rows_columns_and_numbering() -> None:
    tables = Tables()
    table = tables.open("t", "fid")
    table.insert({"a": 1})
    backup = Backup(tables)
    table.insert({"a": 2, "b": 3})
    table.update([1], {"a": 9})
    tables.open("later", "fid").insert({"x": 1})
    backup.put_back(tables)
    backup.close()
    assert tables.rows("t") == [{"fid": 1, "a": 1}]
    assert tables.rows("later") == []
    assert table.insert({"a": 4, "b": 5}) == 2
    assert tables.rows("t")[1] == {"fid": 2, "a": 4, "b": 5}


def test_keep_first() -> None:
    tables = Tables()
    table = tables.open("t", "fid")
    for number in range(2500):
        table.insert({"n": number})
    keep_first(tables, 1200)
    assert (table.count(), table.insert({"n": 0})) == (1200, 1201)
    keep_first(tables, 0)
    assert (table.count(), table.insert({"n": 0})) == (0, 1)
