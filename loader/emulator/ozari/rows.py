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

from loader.emulator.columns import OzariTable
from loader.emulator.ozari.comparing import Sql, SqliteComparing
from loader.emulator.ozari.query import Query, equals
from loader.emulator.ozari.stored import Unfit, shapers
from loader.emulator.switches import OzariSwitches
from loader.emulator.tables import Row, Table
from loader.emulator.values import Stored

KEY = "fid"
MODIFIED = "flastmodify"


class Sheet:
    """One table with its rules. `fold`: what a value is compared as."""

    def __init__(self, table: Table, spec: OzariTable, switches: OzariSwitches, fold: Callable[[Any], Any]) -> None:
        self.table = table
        self.spec = spec
        self.comparing = SqliteComparing(switches)
        self._switches = switches
        self._fold = fold
        self._shapers = shapers(spec.fields)
        self._times = [MODIFIED, *(field.name for field in spec.fields if field.on_change == "time")]
        self._counters = [field.name for field in spec.fields if field.on_change == "count"]
        self._declared = {field.name for field in spec.fields} | {KEY, MODIFIED}
        # (when a row was created, its id), oldest first; kept only while a read delay asks for it.
        self._fresh: deque[tuple[float, int]] = deque()
        self._visible = table.last_id
        # (when a row was changed, its id, what it held before), oldest first; kept only while an update delay asks for it.
        self._before: deque[tuple[float, int, dict[str, Any]]] = deque()
        self._uniques: dict[str, set[Any]] = {field.name: set() for field in spec.fields if field.is_unique}
        self._stamp = (0, "")
        self.has_rules = bool(self._shapers) or any(
            field.is_unique or field.is_required or field.max_length for field in spec.fields
        )
        if self._uniques:
            for row in table.select("1", ()):
                self._remember(row.record)

    @property
    def is_open(self) -> bool:
        """Say whether any column may be written."""
        return self._switches.unknown_column == "accept"

    def has_column(self, name: str) -> bool:
        """Say whether a column is there: declared, or written to before."""
        return name in self._declared or name in self.table.columns

    def columns(self) -> list[str]:
        """Name all columns, the primary key first."""
        names = dict.fromkeys([KEY, *(field.name for field in self.spec.fields), *self.table.columns])
        return list(names)

    def refuse(self, fields: Mapping[str, Any], row: Row | None = None) -> str | None:
        """Say why the database would refuse a new row (or these changes of `row`); None if it would not."""
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
        """Create a row."""
        moved: dict[str, Any] = dict.fromkeys(self._counters, 1)
        moved.update(dict.fromkeys(self._times, self._datetime(now)))
        fields = {**self._stored(fields), **{name: value for name, value in moved.items() if name not in fields}}
        row_id = self.table.insert(fields)
        if self._switches.read_delay_seconds:
            self._fresh.append((now, row_id))
        if self._uniques:
            self._remember(fields)
        return row_id

    def update(self, rows: Sequence[Row], fields: Mapping[str, Any], now: float) -> int:
        """Write values into rows and count those that changed, as the engine does ([D] OZ-upd: `updated` can be 0)."""
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

    def find(self, filters: Mapping[str, Any], limit: int = -1) -> list[Row]:
        """Find rows by PATCH's filters: equality, joined with AND ([D] OZ-upd)."""
        parts: list[str] = []
        values: list[Stored] = []
        for name, value in filters.items():
            self.table.index(name)
            sql = equals(self.table.sql_name(name), value, self.comparing, self._switches)
            parts.append(f"({sql.text})")
            values.extend(sql.values)
        return self.table.select(" AND ".join(parts), values, limit=limit)

    def page(self, query: Query, order: str, now: float) -> tuple[int, list[Row]]:
        """Count the rows that a query finds, and read its page of them, as far as the query endpoint sees them already."""
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
        delay = self._switches.read_delay_seconds
        if not delay:
            return sql
        while self._fresh and self._fresh[0][0] <= now - delay:
            self._visible = self._fresh.popleft()[1]
        return Sql(f"({sql.text}) AND {self.table.sql_name(KEY)} <= ?", (*sql.values, self._visible))

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
