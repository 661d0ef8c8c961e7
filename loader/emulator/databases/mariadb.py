"""MariaDB or MySQL, by PyMySQL."""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock
from typing import Any

from loader.emulator.columns import OzariDatabase, OzariField, OzariTable
from loader.emulator.databases.server import KEY, MODIFIED, column_type, split_url
from loader.emulator.ozari.store import RowsError

DEFAULT_PORT = 3306


class MariaDb:
    """One connection. Errors of the server come as RowsError with its own words, without its number."""

    def __init__(self, url: str, settings: OzariDatabase, *, counts_matched: bool) -> None:
        import pymysql
        from pymysql.constants import CLIENT

        self._error = pymysql.MySQLError
        self._lock = RLock()
        self._collation = settings.collation
        parts = split_url(url)
        try:
            self._connection = pymysql.connect(
                **{**parts, "port": parts["port"] or DEFAULT_PORT},
                charset="utf8mb4",
                autocommit=True,
                sql_mode=settings.sql_mode,
                client_flag=CLIENT.FOUND_ROWS if counts_matched else 0,
            )
            if settings.collation:
                self.change(f"SET NAMES utf8mb4 COLLATE {settings.collation}")
        except self._error as error:
            raise RowsError(_words(error)) from error

    def quote(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def create(self, name: str, spec: OzariTable) -> None:
        if self.columns(name):
            return
        columns = [f"{self.quote(KEY)} INT NOT NULL AUTO_INCREMENT PRIMARY KEY"]
        columns += [f"{self.quote(field.name)} {column_type(field, 'LONGTEXT')}" for field in spec.fields]
        if all(field.name != MODIFIED for field in spec.fields):
            moves = "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"
            columns.append(f"{self.quote(MODIFIED)} {moves}")
        collation = f" COLLATE {self._collation}" if self._collation else ""
        self.change(f"CREATE TABLE {self.quote(name)} ({', '.join(columns)}) DEFAULT CHARSET utf8mb4{collation}")
        for statement in spec.statements:
            self.change(statement)

    def add_column(self, table: str, field: OzariField) -> None:
        definition = column_type(field, "LONGTEXT")
        self.change(f"ALTER TABLE {self.quote(table)} ADD COLUMN {self.quote(field.name)} {definition}")

    def columns(self, table: str) -> list[str]:
        sql = (
            "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s "
            "ORDER BY ordinal_position"
        )
        return [str(name) for (name,) in self.read(sql, (table,))]

    def insert(self, sql: str, values: Sequence[Any]) -> int:
        return int(self._run(sql, values)[2])

    def change(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._run(sql, values)[1]

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
        return list(self._run(sql, values)[0])

    def number_from(self, table: str, key: int) -> None:
        self.change(f"ALTER TABLE {self.quote(table)} AUTO_INCREMENT = {int(key)}")

    def close(self) -> None:
        self._connection.close()

    def _run(self, sql: str, values: Sequence[Any]) -> tuple[Sequence[Sequence[Any]], int, int]:
        """Run a statement: the rows, how many were changed, the last key."""
        with self._lock, self._connection.cursor() as cursor:
            try:
                count = cursor.execute(sql, tuple(values) or None)  # without values a % is a %
                return cursor.fetchall(), count, cursor.lastrowid or 0
            except self._error as error:
                raise RowsError(_words(error)) from error


def _words(error: Exception) -> str:
    return str(error.args[-1]) if error.args else str(error)
