"""An Ozari table in a real database: statements as a plain service would write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loader.emulator.columns import OzariField, OzariTable
from loader.emulator.databases.server import KEY, Server, record_of, sent
from loader.emulator.lag import Lag
from loader.emulator.ozari.comparing import Sql
from loader.emulator.ozari.query import Query, equals
from loader.emulator.switches import OzariSwitches
from loader.emulator.tables import Row


class PlainComparing:
    """Leave it to the database what equals what."""

    def one_of(self, column: str | None, values: Sequence[Any]) -> Sql:
        if len(values) == 1:
            return Sql(f"{column} = %s", (sent(values[0]),))
        return Sql(f"{column} IN ({_marks(values)})", tuple(map(sent, values)))

    def like(self, column: str | None, pattern: str) -> Sql:
        return Sql(f"{column} LIKE %s", (pattern,))

    def beside(self, column: str | None, sign: str, value: Any) -> Sql:
        return Sql(f"{column} {sign} %s", (sent(value),))


class DatabaseRows:
    """One table. What the plan says of columns made their types; a refusal is the database's own."""

    has_rules = False

    def __init__(self, server: Server, name: str, spec: OzariTable, switches: OzariSwitches) -> None:
        self.name = name
        self.spec = spec
        self.comparing = PlainComparing()
        self._server = server
        self._switches = switches
        self._sql = server.quote(name)
        self._key = server.quote(KEY)
        server.create(name, spec)
        self._columns = server.columns(name)
        self._lag = Lag(switches.read_delay_seconds, self._last_key())

    @property
    def is_open(self) -> bool:
        """Say whether a column that is written to for the first time is made, as text."""
        return self._switches.unknown_column == "accept"

    def has_column(self, name: str) -> bool:
        return name in self._columns

    def was_written(self, fields: Mapping[str, Any]) -> bool:
        return KEY not in fields and all(name in self._columns for name in fields)

    def columns(self) -> list[str]:
        return list(self._columns)

    def sql_name(self, field: str) -> str:
        """Name a column in SQL. If there is none, the database is to say so."""
        if self.is_open:
            self._make_room([field])
        return self._server.quote(field)

    def refuse(self, fields: Mapping[str, Any], row: Row | None = None) -> str | None:  # noqa: ARG002 - the database looks
        """Refuse nothing: the database does."""
        return None

    def insert(self, fields: Mapping[str, Any], now: float) -> int:
        names = self._names(fields)
        sql = f"INSERT INTO {self._sql} ({', '.join(names)}) VALUES ({_marks(names)})"  # noqa: S608 - names are quoted
        key = self._server.insert(sql, [sent(value) for value in fields.values()])
        self._lag.add(now, key)
        return key

    def update(self, rows: Sequence[Row], fields: Mapping[str, Any], now: float) -> int:  # noqa: ARG002 - the database's clock
        """Write values into rows; how many that is, is the database's count."""
        if not rows:
            return 0
        pairs = ", ".join(f"{name} = %s" for name in self._names(fields))
        keys = ", ".join(str(row.id) for row in rows)
        sql = f"UPDATE {self._sql} SET {pairs} WHERE {self._key} IN ({keys})"  # noqa: S608 - names are quoted
        return self._server.change(sql, [sent(value) for value in fields.values()])

    def find(self, filters: Mapping[str, Any]) -> list[Row]:
        parts = [equals(self.sql_name(name), value, self.comparing, self._switches) for name, value in filters.items()]
        text = " AND ".join(f"({part.text})" for part in parts)
        return self._select(Sql(text, tuple(value for part in parts for value in part.values)))

    def page(self, query: Query, now: float) -> tuple[int, list[Row]]:
        where = self._only_visible(query.where, now)
        order = f" ORDER BY {query.order}" if query.order else ""  # else it is the database's own
        tail = f"{order} LIMIT {query.per_page} OFFSET {(query.page - 1) * query.per_page}"
        ((total,),) = self._server.read(
            f"SELECT count(*) FROM {self._sql} WHERE {where.text}",  # noqa: S608 - names are quoted
            where.values,
        )
        return int(total), self._select(where, tail)

    def read_all(self) -> list[dict[str, Any]]:
        """Read the whole table by key."""
        return [{KEY: row.id, **row.record} for row in self._select(Sql("1 = 1"), f" ORDER BY {self._key}")]

    def keep_first(self, rows: int) -> None:
        """Delete all but the first rows; new ones take up the numbering there."""
        keys = [row.id for row in self._select(Sql("1 = 1"), f" ORDER BY {self._key}")]
        last = keys[:rows][-1] if keys[:rows] else 0
        self._server.change(f"DELETE FROM {self._sql} WHERE {self._key} > {last}")  # noqa: S608 - names are quoted
        self._server.number_from(self.name, last + 1)
        self._lag = Lag(self._switches.read_delay_seconds, last)

    def _select(self, where: Sql, tail: str = "") -> list[Row]:
        others = [name for name in self._columns if name != KEY]
        names = "".join(f", {self._server.quote(name)}" for name in others)
        sql = f"SELECT {self._key}{names} FROM {self._sql} WHERE {where.text}{tail}"  # noqa: S608 - names are quoted
        return [Row(int(key), dict(record_of(others, row))) for key, *row in self._server.read(sql, where.values)]

    def _names(self, fields: Mapping[str, Any]) -> list[str]:
        if self.is_open:
            self._make_room(fields)
        return [self._server.quote(name) for name in fields]

    def _make_room(self, fields: Iterable[str]) -> None:
        for name in fields:
            if name not in self._columns:
                self._server.add_column(self.name, OzariField(name=name))
                self._columns.append(name)

    def _only_visible(self, sql: Sql, now: float) -> Sql:
        newest = self._lag.newest(now)
        return sql if newest is None else Sql(f"({sql.text}) AND {self._key} <= {newest}", sql.values)

    def _last_key(self) -> int:
        ((last,),) = self._server.read(f"SELECT coalesce(max({self._key}), 0) FROM {self._sql}")  # noqa: S608 - quoted
        return int(last)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))
