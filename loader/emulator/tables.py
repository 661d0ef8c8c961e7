"""Rows in SQLite: in memory, or in a file that a user can open beside the running emulator.

A table has a real column for each field, added when the field first comes, with the field's own name (two names that differ in
case only are one to SQLite; the second gets a suffix, noted in `emulator_columns`). `fid` or `_number` is the integer primary
key; `_kinds` says which values are not what they look like (see `values`).

New rows wait in memory and are written many at a time, which costs a third of writing each: before every read, after
MAX_WAITING_ROWS, and when the server's timer says so. Everything may be called from any thread; one lock guards it all.
Nothing here knows an API: what a column means, and who may write it, is the handlers' business.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, NamedTuple
from weakref import finalize

from loader.emulator.values import PLAIN_TYPES, Stored, restore_row, store_all

MAX_WAITING_ROWS = 2000
MAX_COLUMNS = 1900
"""SQLite's own limit is 2,000 columns."""
MAX_SQL_INTEGER = 2**63 - 1
INDEX_AT_ROWS = 500
"""Below this a scan is quicker than keeping an index."""


class TooManyColumns(Exception):
    """Say that a table has no room for a further column."""


class Row(NamedTuple):
    """A row as it was read: the primary key and the values by field."""

    id: int
    record: dict[str, Any]


class Table:
    """One table. `columns`: field -> name of its column; the primary key is not in it."""

    def __init__(self, tables: Tables, name: str, sql: str, key: str) -> None:
        self.name = name
        self.key = key
        self.columns: dict[str, str] = {}
        self.last_id = 0
        self._tables = tables
        self._sql = sql
        self._taken = {key.lower(), "_kinds"}
        self._waiting: dict[tuple[str, ...], list[tuple[Stored, ...]]] = {}
        self._waiting_rows = 0
        self._indexed: set[str] = set()
        self._open()

    def insert(self, fields: Mapping[str, Any]) -> int:
        """Create a row and return its primary key. Errors: TooManyColumns, with nothing written."""
        values: Iterable[Stored]
        if PLAIN_TYPES.issuperset(map(type, fields.values())):
            values, kinds = fields.values(), None
        else:
            values, kinds = store_all(fields)
        shape = tuple(fields)
        with self._tables.lock:
            waiting = self._waiting.get(shape)
            if waiting is None:
                self._add_columns(shape)
                waiting = self._waiting[shape] = []
            self.last_id += 1
            waiting.append((self.last_id, kinds, *values))
            self._waiting_rows += 1
            if self._waiting_rows >= MAX_WAITING_ROWS:
                self.flush()
            return self.last_id

    def update(self, ids: Sequence[int], fields: Mapping[str, Any]) -> None:
        """Give rows new values for some of their fields."""
        with self._tables.lock:
            self._add_columns(fields)
            names = "".join(f"{_quote(column)} = ?, " for column in self.columns.values())
            sql = f"UPDATE {self._sql} SET {names}_kinds = ? WHERE {_quote(self.key)} = ?"  # noqa: S608 - names are quoted
            for where in self._by_id(ids):
                for row in self._read(where, ()):
                    # All fields, so that the row's kinds are written anew as a whole.
                    record = {**row.record, **fields}
                    values, kinds = store_all({name: record[name] for name in self.columns})
                    self._tables.execute(sql, (*values, kinds, row.id))

    def delete(self, ids: Sequence[int]) -> None:
        """Delete rows."""
        with self._tables.lock:
            self.flush()
            for where in self._by_id(ids):
                self._tables.execute(f"DELETE FROM {self._sql} WHERE {where}")  # noqa: S608 - integers and quoted names only

    def select(
        self, where: str, values: Sequence[Stored], *, order: str = "", limit: int = -1, offset: int = 0
    ) -> list[Row]:
        """Read rows. `where` and `order` are SQL built by the handlers from `sql_name`, `values` fill its marks."""
        offset = min(offset, MAX_SQL_INTEGER)
        with self._tables.lock:
            return self._read(where, values, f" ORDER BY {order or _quote(self.key)} LIMIT {limit} OFFSET {offset}")

    def count(self, where: str = "1", values: Sequence[Stored] = ()) -> int:
        """Count rows."""
        with self._tables.lock:
            self.flush()
            sql = f"SELECT count(*) FROM {self._sql} WHERE {where}"  # noqa: S608 - see select
            return int(self._tables.execute(sql, values).fetchone()[0])

    def sql_name(self, field: str) -> str | None:
        """Name the column of a field for SQL; None if the table has no such field."""
        column = self.key if field == self.key else self.columns.get(field)
        return None if column is None else _quote(column)

    def index(self, field: str) -> None:
        """Make looking up by a field quick, once the table is large enough for that to matter."""
        if field in self._indexed or self.last_id < INDEX_AT_ROWS or field not in self.columns:
            return
        with self._tables.lock:
            self.flush()
            name = _quote(f"{self.name} by {self.columns[field]}")
            column = _quote(self.columns[field])
            self._tables.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {self._sql} ({column})")
            self._indexed.add(field)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Take back at its end whatever a block writes. It must add no column."""
        with self._tables.lock:
            self.flush()
            self._tables.execute("BEGIN")
            try:
                yield
            finally:
                self._tables.execute("ROLLBACK")

    def reopen(self) -> None:
        """Take over the table as the database holds it, or create it."""
        with self._tables.lock:
            self.columns.clear()
            self._taken = {self.key.lower(), "_kinds"}
            self._waiting.clear()
            self._waiting_rows = 0
            self._indexed.clear()
            self._open()

    def add_columns(self, fields: Iterable[str]) -> None:
        """Make sure that there is a column for each field. Errors: TooManyColumns."""
        with self._tables.lock:
            self._add_columns(fields)

    def flush(self) -> None:
        """Write the waiting rows."""
        if not self._waiting_rows:
            return
        with self._tables.lock:
            with self._tables.connection:
                self._tables.execute("BEGIN")
                for shape, rows in self._waiting.items():
                    names = "".join(f", {_quote(self.columns[field])}" for field in shape)
                    marks = _marks((0, 0, *shape))
                    sql = f"INSERT INTO {self._sql} ({_quote(self.key)}, _kinds{names}) VALUES ({marks})"  # noqa: S608 - quoted
                    self._tables.connection.executemany(sql, rows)
            self._waiting.clear()
            self._waiting_rows = 0

    def _by_id(self, ids: Sequence[int]) -> Iterator[str]:
        """Say in SQL "one of these rows", in parts that SQLite takes."""
        for start in range(0, len(ids), 1000):
            yield f"{_quote(self.key)} IN ({', '.join(str(int(one)) for one in ids[start : start + 1000])})"

    def _read(self, where: str, values: Sequence[Stored], tail: str = "") -> list[Row]:
        self.flush()
        names = "".join(f", {_quote(column)}" for column in self.columns.values())
        sql = f"SELECT {_quote(self.key)}, _kinds{names} FROM {self._sql} WHERE {where}{tail}"  # noqa: S608 - see select
        fields = tuple(self.columns)
        return [Row(row[0], restore_row(fields, row[2:], row[1])) for row in self._tables.execute(sql, values)]

    def _open(self) -> None:
        """Take over the table as the file holds it, or create it."""
        key, name = _quote(self.key), self._sql
        self._tables.execute(f"CREATE TABLE IF NOT EXISTS {name} ({key} INTEGER PRIMARY KEY, _kinds TEXT)")
        aliases = dict(
            self._tables.execute(
                "SELECT column_name, field FROM emulator_columns WHERE table_name = ?", (self.name,)
            ).fetchall()
        )
        for _, column, *_rest in self._tables.execute(f"PRAGMA table_info({name})").fetchall():
            if column not in (self.key, "_kinds"):
                self.columns[aliases.get(column, column)] = column
                self._taken.add(column.lower())
        self.last_id = self._tables.execute(f"SELECT coalesce(max({key}), 0) FROM {name}").fetchone()[0]  # noqa: S608 - quoted

    def _add_columns(self, fields: Iterable[str]) -> None:
        new = [field for field in fields if field not in self.columns and field != self.key]
        if len(self.columns) + len(new) > MAX_COLUMNS:
            raise TooManyColumns
        for field in new:
            # SQLite takes any name but one with NUL in it; others that cannot be seen help nobody.
            start = field if field.isprintable() and field else "item"
            column, number = start, 2
            while column.lower() in self._taken:
                column, number = f"{start}__{number}", number + 1
            self._tables.execute(f"ALTER TABLE {self._sql} ADD COLUMN {_quote(column)}")
            if column != field:
                self._tables.execute("INSERT INTO emulator_columns VALUES (?, ?, ?)", (self.name, column, field))
            self.columns[field] = column
            self._taken.add(column.lower())


class Tables:
    """All tables of one emulator, over one connection."""

    def __init__(self, database: str = ":memory:") -> None:
        self.lock = RLock()
        # No implicit transactions: `flush` itself begins one.
        self.connection = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
        finalize(self, self.connection.close)  # if nobody called `close`: Python 3.13 warns of an open database
        self._tables: dict[str, Table] = {}
        # A file is for looking into, not for surviving a power cut; WAL lets a user read while the emulator writes.
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = OFF")
        self.execute("CREATE TABLE IF NOT EXISTS emulator_columns (table_name TEXT, column_name TEXT, field TEXT)")

    def execute(self, sql: str, values: Sequence[Stored] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(sql, values)

    def open(self, name: str, key: str) -> Table:
        """Open a table, creating it if there is none."""
        with self.lock:
            table = self._tables.get(name)
            if table is None:
                table = self._tables[name] = Table(self, name, _quote(self._free_name(name)), key)
            return table

    def _free_name(self, name: str) -> str:
        """Find a name for SQLite, where case does not count and some names are its own."""
        taken = {table.name.lower() for table in self._tables.values()} | {"emulator_columns"}
        free = f"table_{name}" if name.lower().startswith("sqlite_") else name
        return f"{free}__{len(taken)}" if free.lower() in taken else free

    def opened(self) -> list[Table]:
        """List the tables that were opened."""
        return list(self._tables.values())

    def names(self) -> list[str]:
        """Name the tables that were opened, sorted."""
        return sorted(self._tables)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Read a whole table in the order of creation: every field, None if a row has none, and `fid` if that is the key."""
        with self.lock:
            table = self._tables[name]
            shown = {} if table.key.startswith("_") else {table.key: 0}
            return [{**dict.fromkeys(shown, row.id), **row.record} for row in table.select("1", ())]

    def add_function(self, name: str, function: Callable[[Any], Any]) -> None:
        """Give SQL a function of one value."""
        self.connection.create_function(name, 1, function, deterministic=True)

    def flush(self) -> None:
        """Write all waiting rows."""
        with self.lock:
            for table in self._tables.values():
                table.flush()

    def close(self) -> None:
        """Write everything and close the file. Nothing may be read afterwards."""
        with self.lock:
            self.flush()
            self.connection.close()

    def __del__(self) -> None:
        # Rows stay readable for as long as somebody holds them; from Python 3.13 on, a connection nobody closed is a warning.
        if hasattr(self, "connection"):
            self.connection.close()


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
