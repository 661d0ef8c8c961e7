"""An Ozari table's rows: what may be written, what equals what, and which rows a query may see already.

Written from apis.md part 1. What the vendor does not say is read from the switches. Errors that a database would raise come back
as text, in the words MySQL uses ([I] apis.md 1.1: data faults surface as the database's error).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from loader.emulator.backups import keep_first
from loader.emulator.columns import OzariTable
from loader.emulator.lag import Lag
from loader.emulator.ozari.comparing import Sql, SqliteComparing
from loader.emulator.ozari.folds import folding
from loader.emulator.ozari.query import Query, equals
from loader.emulator.ozari.stored import Unfit, shapers
from loader.emulator.switches import OzariSwitches
from loader.emulator.tables import Row, Table, Tables
from loader.emulator.values import Stored

KEY = "fid"
MODIFIED = "flastmodify"


class SqliteStore:
    """All tables of one company, in SQLite."""

    def __init__(self, tables: Tables, switches: OzariSwitches) -> None:
        self._tables = tables
        self._switches = switches
        self._fold = folding(switches.compared_without)
        tables.execute("PRAGMA case_sensitive_like = ON")
        tables.add_function("folded", self._fold)
        tables.add_function("folded_pattern", folding([fold for fold in switches.compared_without if fold != "blanks"]))

    def open(self, name: str, spec: OzariTable) -> Sheet:
        return Sheet(self._tables.open(name, KEY), spec, self._switches, self._fold)

    def read_all(self, name: str) -> list[dict[str, Any]] | None:
        return self._tables.rows(name)

    def keep_first(self, rows: int) -> None:
        keep_first(self._tables, rows)

    def close(self) -> None:
        self._tables.close()


class Sheet:
    """One table with its rules. `fold`: what a value is compared as."""

    def __init__(self, table: Table, spec: OzariTable, switches: OzariSwitches, fold: Callable[[Any], Any]) -> None:
        self.table = table
        self.name = table.name
        self.spec = spec
        self.comparing = SqliteComparing(switches)
        self._switches = switches
        self._fold = fold
        self._shapers = shapers(spec.fields)
        self._times = [MODIFIED, *(field.name for field in spec.fields if field.on_change == "time")]
        self._counters = [field.name for field in spec.fields if field.on_change == "count"]
        self._declared = {field.name for field in spec.fields} | {KEY, MODIFIED}
        self._lag = Lag(switches.read_delay_seconds, table.last_id)
        # (when a row was changed, its id, what it held before), oldest first; kept only while an update delay asks for it.
        self._before: deque[tuple[float, int, dict[str, Any]]] = deque()
        self._uniques: dict[str, set[Any]] = {field.name: set() for field in spec.fields if field.is_unique}
        self._stamp = (0, "")
        self._first: tuple[int, dict[str, Any]] = (0, {})
        self.has_rules = bool(self._shapers) or any(
            field.is_unique or field.is_required or field.max_length for field in spec.fields
        )
        if self._uniques:
            for row in table.select("1", ()):
                self._remember(row.record)

    @property
    def is_open(self) -> bool:
        return self._switches.unknown_column == "accept"

    def has_column(self, name: str) -> bool:
        return name in self._declared or name in self.table.columns

    def was_written(self, fields: Mapping[str, Any]) -> bool:
        return self.table.columns.keys() >= fields.keys()

    def sql_name(self, field: str) -> str | None:
        self.table.index(field)
        return self.table.sql_name(field)

    def columns(self) -> list[str]:
        names = dict.fromkeys([KEY, *(field.name for field in self.spec.fields), *self.table.columns])
        return list(names)

    def refuse(self, fields: Mapping[str, Any], row: Row | None = None) -> str | None:
        if not self.is_open:
            for name in fields:
                if not self.has_column(name):
                    return f"Unknown column '{name}' in 'field list'"
        return self._refuse_by_rules(fields, row) if self.has_rules and self._switches.bad_data != "accept" else None

    def _refuse_by_rules(self, fields: Mapping[str, Any], row: Row | None) -> str | None:
        try:
            stored = self._stored(fields)
        except Unfit as unfit:
            return str(unfit)
        for field in self.spec.fields:
            value = stored.get(field.name)
            is_given = field.name in fields
            if field.is_required and value is None and (is_given or row is None):
                return f"Field '{field.name}' doesn't have a default value"
            if field.max_length is not None and isinstance(value, str) and len(value) > field.max_length:
                return f"Data too long for column '{field.name}' at row 1"
            if field.is_unique and value is not None and self._is_taken(field.name, value, row):
                return f"Duplicate entry '{value}' for key '{field.name}'"
        return None

    def _is_taken(self, name: str, value: Any, row: Row | None) -> bool:
        """Say whether another row holds a value of a unique column."""
        same = self._same(value)
        return same in self._uniques[name] and (row is None or self._same(row.record.get(name)) != same)

    def insert(self, fields: Mapping[str, Any], now: float) -> int:
        stored, moved = self._stored(fields), self._moved_at_first(now)
        if not moved.keys().isdisjoint(stored):
            moved = {name: value for name, value in moved.items() if name not in stored}
        fields = {**stored, **moved}
        row_id = self.table.insert(fields)
        self._lag.add(now, row_id)
        if self._uniques:
            self._remember(fields)
        return row_id

    def update(self, rows: Sequence[Row], fields: Mapping[str, Any], now: float) -> int:
        fields = self._stored(fields)
        changed = [
            row
            for row in rows
            if self._switches.touch_unchanged or any(row.record.get(name) != value for name, value in fields.items())
        ]
        self._write(changed, {**dict.fromkeys(self._times, self._datetime(now)), **fields})
        for row in changed:
            if self._switches.update_delay_seconds:
                self._before.append((now, row.id, row.record))
            if self._uniques:
                self._forget(row.record, fields)
                self._remember(fields)
        return len(rows if self._switches.updated_count == "matched" else changed)

    def _moved_at_first(self, now: float) -> dict[str, Any]:
        """Say what the columns that each change moves hold in a new row."""
        second = int(now)
        if self._first[0] != second:
            moved = {**dict.fromkeys(self._counters, 1), **dict.fromkeys(self._times, self._datetime(now))}
            self._first = (second, moved)
        return self._first[1]

    def _write(self, rows: Sequence[Row], fields: Mapping[str, Any]) -> None:
        if not self._counters:
            self.table.update([row.id for row in rows], fields)
            return
        for row in rows:
            counts = {name: int(row.record.get(name) or 0) + 1 for name in self._counters}
            self.table.update([row.id], {**counts, **fields})

    def _stored(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say what the columns make of values. Errors: Unfit, which `refuse` has turned into the database's words before."""
        if not self._shapers or self._switches.bad_data == "accept":
            return fields
        return {name: self._shapers[name](value) if name in self._shapers else value for name, value in fields.items()}

    def find(self, filters: Mapping[str, Any]) -> list[Row]:
        parts: list[str] = []
        values: list[Stored] = []
        for name, value in filters.items():
            sql = equals(self.sql_name(name), value, self.comparing, self._switches)
            parts.append(f"({sql.text})")
            values.extend(sql.values)
        return self.table.select(" AND ".join(parts), values)

    def page(self, query: Query, now: float) -> tuple[int, list[Row]]:
        # A walk without `sort` is in the database's order ([D]); the multiplier only has to scatter neighbours.
        unsorted = {"id": KEY, "reversed": f"{KEY} DESC", "random": f"({KEY} * 2654435761) % 1000003"}
        order = query.order or unsorted[self._switches.unsorted_order]
        where = self._only_visible(query.where, now)
        with self._as_seen(now):
            offset = (query.page - 1) * query.per_page
            rows = self.table.select(where.text, where.values, order=order, limit=query.per_page, offset=offset)
            return self.table.count(where.text, where.values), rows

    @contextmanager
    def _as_seen(self, now: float) -> Iterator[None]:
        """Put back what rows held before the updates that are too new for the query endpoint, for the length of a block."""
        while self._before and self._before[0][0] <= now - self._switches.update_delay_seconds:
            self._before.popleft()
        if not self._before:
            yield
            return
        with self.table.undone():
            for _, row_id, record in reversed(self._before):  # the oldest last: what was there before all of them
                self.table.update([row_id], {**dict.fromkeys(self.table.columns), **record})
            yield

    def _only_visible(self, sql: Sql, now: float) -> Sql:
        """Leave out the rows that are too new for the query endpoint."""
        newest = self._lag.newest(now)
        if newest is None:
            return sql
        return Sql(f"({sql.text}) AND {self.table.sql_name(KEY)} <= ?", (*sql.values, newest))

    def _same(self, value: Any) -> Any:
        value = self._fold(value)
        return value if isinstance(value, str | int | float) or value is None else str(value)

    def _remember(self, fields: Mapping[str, Any]) -> None:
        for name, seen in self._uniques.items():
            if fields.get(name) is not None:
                seen.add(self._same(fields[name]))

    def _forget(self, old: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        for name, seen in self._uniques.items():
            if name in fields:
                seen.discard(self._same(old.get(name)))

    def _datetime(self, now: float) -> str:
        """Write a time as in the vendor's example, "2026-09-01 08:00:00" ([E] OZ-query); no zone is shown, UTC it is here."""
        second = int(now)
        if self._stamp[0] != second:
            self._stamp = (second, time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(second)))
        return self._stamp[1]
