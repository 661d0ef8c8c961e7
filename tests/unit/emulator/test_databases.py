"""Rows in a real database, without one: a server's side played by SQLite. With one: tests/databases."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from loader.cli.app import main
from loader.emulator.columns import OzariField, OzariTable
from loader.emulator.databases.server import column_type, sent, shown, split_url
from loader.emulator.databases.store import DatabaseStore, open_store
from loader.emulator.engine import Engine
from loader.emulator.faults import GoBack
from loader.emulator.ozari.store import RowsError
from loader.emulator.plan import Plan
from loader.emulator.switches import OzariSwitches
from loader.emulator.tables import Tables
from tests.unit.emulator.calls import World, make_call

RECORDS = "/integration/tables/tcust/records"
SINGLE, BULK = f"{RECORDS}/single", f"{RECORDS}/bulk"
QUERY = "/integration/tables/tcust/query"


class SqliteServer:
    """What MariaDB and PostgreSQL do, as far as SQLite can."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.is_closed = False

    def quote(self, name: str) -> str:
        return f'"{name}"'

    def create(self, name: str, spec: OzariTable) -> None:
        columns = "".join(f', "{field.name}" {column_type(field, "TEXT")}' for field in spec.fields)
        self.change(f'CREATE TABLE IF NOT EXISTS "{name}" (fid INTEGER PRIMARY KEY AUTOINCREMENT{columns})')

    def add_column(self, table: str, field: OzariField) -> None:
        self.change(f'ALTER TABLE "{table}" ADD COLUMN "{field.name}" TEXT')

    def columns(self, table: str) -> list[str]:
        return [str(row[1]) for row in self.read(f'PRAGMA table_info("{table}")')]

    def insert(self, sql: str, values: Sequence[Any]) -> int:
        return self._run(sql, values).lastrowid or 0

    def change(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._run(sql, values).rowcount

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
        return list(self._run(sql, values).fetchall())

    def number_from(self, table: str, key: int) -> None:
        self.change("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", (key - 1, table))

    def close(self) -> None:
        self.is_closed = True

    def _run(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        try:
            given = [str(value) if isinstance(value, Decimal) else value for value in values]
            return self.connection.execute(sql.replace("%s", "?"), given)
        except sqlite3.Error as error:
            raise RowsError(str(error)) from error


class DatabaseWorld(World):
    """A world whose Ozari has its rows in a server."""

    def __init__(self, **switches: Any) -> None:
        super().__init__()
        plan = Plan(ozari=OzariSwitches(**switches))
        self.server = SqliteServer()
        self.store = DatabaseStore(self.server, plan.ozari, self.tables)
        clock = lambda: self.now  # noqa: E731 - two clocks of one hand
        self.engine = Engine(plan, self.tables, self.journal, clock, clock, self.store)

    def insert(self, **fields: Any) -> tuple[int, Any]:
        return self.call("POST", RECORDS, {"fields": fields})

    def held(self) -> list[dict[str, Any]]:
        rows = self.store.read_all("tcust")
        assert rows is not None
        return [{name: value for name, value in row.items() if value is not None} for row in rows]


def test_rows_go_through_the_server_and_back() -> None:
    world = DatabaseWorld()
    assert world.insert(fname="a", fnew=[1])[1]["insertedId"] == 1
    assert world.insert(fname="b")[1]["insertedId"] == 2
    answer = world.call("PATCH", SINGLE, {"filters": {"fname": "a"}, "fields": {"fcity": "x"}})
    assert answer == (200, {"success": True, "table": "tcust", "matched": 1, "updated": 1, "fields": {"fcity": "x"}})
    assert world.call("PATCH", SINGLE, {"filters": {"fname": "c"}, "fields": {"fcity": "x"}})[0] == 404
    assert world.call("PATCH", BULK, {"filters": {"fcity": None}, "fields": {"fcity": "y"}})[1]["updated"] == 0
    assert world.held() == [{"fid": 1, "fname": "a", "fcity": "x", "fnew": "[1]"}, {"fid": 2, "fname": "b"}]
    assert world.store.read_all("none") is None
    world.store.close()
    assert world.server.is_closed


@pytest.mark.parametrize(
    "field, op, value, fids",
    [
        ("fname", "eq", "a", [1]),
        ("fname", "in", ["a", "c"], [1, 3]),
        ("fname", "not_in", ["a", "c"], [2]),
        ("fname", "like", "_", [1, 2, 3]),
        ("fname", "not_like", "a%", [2, 3]),
        ("fid", "gte", 2, [2, 3]),
        ("fid", "between", [1, 2], [1, 2]),
        ("never", "eq", "x", []),
    ],
)
def test_conditions(field: str, op: str, value: Any, fids: list[int]) -> None:
    world = DatabaseWorld()
    for name in "abc":
        world.insert(fname=name)
    asked = {"filters": {"and": [{"field": field, "op": op, "value": value}]}, "sort": [{"field": "fid"}]}
    status, answer = world.call("POST", QUERY, {**asked, "per_page": 2})
    assert (status, answer["total"], [row["fid"] for row in answer["records"]]) == (200, len(fids), fids[:2])


@pytest.mark.parametrize("bad_data, status", [("500", 500), ("400", 400), ("200", 200), ("accept", 500)])
def test_the_databases_refusal_is_the_answer(bad_data: str, status: int) -> None:
    spec = OzariTable(fields=(OzariField(name="fname", is_unique=True),))
    world = DatabaseWorld(bad_data=bad_data, tables={"tcust": spec})
    world.insert(fname="a")
    assert world.insert(fname="a") == (status, {"success": False, "error": "UNIQUE constraint failed: tcust.fname"})
    world.insert(fname="b")
    change = world.call("PATCH", SINGLE, {"filters": {"fid": 2}, "fields": {"fname": "a"}})
    assert change[1] == {"success": False, "error": "UNIQUE constraint failed: tcust.fname"}


def test_an_unknown_column_is_the_databases_to_refuse() -> None:
    world = DatabaseWorld(unknown_column="500")
    assert world.insert(fnever="a") == (500, {"success": False, "error": "table tcust has no column named fnever"})
    assert world.insert(fid=7)[0] == 400


def test_read_delay() -> None:
    world = DatabaseWorld(read_delay_seconds=5.0)
    world.insert(fname="a")
    assert world.call("POST", QUERY, {})[1]["total"] == 0
    world.now += 5
    assert world.call("POST", QUERY, {})[1]["total"] == 1


def test_going_back() -> None:
    world = DatabaseWorld()
    for name in "abc":
        world.insert(fname=name)
    world.add({"Code": "K1"})
    world.engine.set_faults((GoBack(keep_rows=1),))
    world.engine.perform(world.engine.admit(make_call("POST", RECORDS, {"fields": {"fname": "d"}})))
    assert world.held() == [{"fid": 1, "fname": "a"}, {"fid": 2, "fname": "d"}]
    assert len(world.tables.rows("emulator-app")) == 1


def test_url_parts() -> None:
    assert split_url("mariadb://u%40x:p%2Fw@db.example:3307/shop") == {
        "user": "u@x",
        "password": "p/w",
        "host": "db.example",
        "port": 3307,
        "database": "shop",
    }
    with pytest.raises(RowsError, match="is named as mariadb://"):
        split_url("postgresql://127.0.0.1")


def test_unknown_kind_of_database(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RowsError, match="oracle:// is no database"):
        open_store("oracle://u@h/d", OzariSwitches(), Tables())
    monkeypatch.setenv("LOADER_EMULATOR_DATABASE", "oracle://u:secret@h/d")
    assert main(["emulator"]) == 2
    told = capsys.readouterr().err
    assert "oracle:// is no database" in told
    assert "secret" not in told


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, url in (("pymysql", "mariadb://u@h/d"), ("pg8000.dbapi", "postgresql://u@h/d")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(RowsError, match=r"pip install 'loader\[databases\]'"):
            open_store(url, OzariSwitches(), Tables())


@pytest.mark.parametrize(
    "rules, sql",
    [
        ({}, "TEXT"),
        ({"max_length": 13}, "VARCHAR(13)"),
        ({"max_length": 13, "blanks": "padded"}, "CHAR(13)"),
        ({"type": "decimal", "is_required": True}, "DECIMAL(15,2) NOT NULL"),
        ({"type": "integer", "is_unique": True}, "INTEGER UNIQUE"),
        ({"sql": "BLOB", "is_unique": True}, "BLOB"),
    ],
)
def test_column_types(rules: dict[str, Any], sql: str) -> None:
    assert column_type(OzariField(name="f", **rules), "TEXT") == sql


@pytest.mark.parametrize(
    "value, given",
    [({"a": [1]}, '{"a":[1]}'), (1.10, Decimal("1.1")), ("x", "x"), (True, True), (None, None), (2**70, 2**70)],
)
def test_values_sent(value: Any, given: Any) -> None:
    assert sent(value) == given


@pytest.mark.parametrize(
    "value, seen",
    [
        (datetime(2026, 1, 5, 8), "2026-01-05 08:00:00"),  # noqa: DTZ001 - a column without a zone
        (date(2026, 1, 5), "2026-01-05"),
        (Decimal("1.10"), "1.10"),
        (b"ab", "ab"),
        (7, 7),
        (None, None),
    ],
)
def test_values_read(value: Any, seen: Any) -> None:
    assert shown(value) == seen
