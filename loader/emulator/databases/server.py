"""What the rows need of a database server, and what both kinds have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from loader.emulator.columns import OzariField, OzariTable
from loader.emulator.ozari.store import RowsError

KEY = "fid"
MODIFIED = "flastmodify"


class Server(Protocol):
    """One connection to a server. Errors: RowsError with the server's words."""

    def quote(self, name: str) -> str:
        """Write a name in SQL."""
        ...

    def create(self, name: str, spec: OzariTable) -> None:
        """Create a table, unless it is there."""
        ...

    def add_column(self, table: str, field: OzariField) -> None:
        """Add a column."""
        ...

    def columns(self, table: str) -> list[str]:
        """Name the columns of a table in their order; none if there is no such table."""
        ...

    def insert(self, sql: str, values: Sequence[Any]) -> int:
        """Run an INSERT and return the new row's key."""
        ...

    def change(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows the server counts as changed."""
        ...

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
        """Run a SELECT."""
        ...

    def number_from(self, table: str, key: int) -> None:
        """Let the next row have this key."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


def split_url(url: str) -> dict[str, Any]:
    """Take mariadb://user:password@host:port/database apart. A `unix_socket` in the query takes the place of host and port.

    Errors: RowsError.
    """
    parts = urlsplit(url)
    database = parts.path.strip("/")
    if not database or parts.username is None:
        raise RowsError("a database is named as mariadb://USER:PASSWORD@HOST:PORT/DATABASE or postgresql://…")
    return {
        "user": unquote(parts.username),
        "password": unquote(parts.password or ""),
        "host": parts.hostname or "127.0.0.1",
        "port": parts.port,
        "database": unquote(database),
    }


def column_type(field: OzariField, text_type: str) -> str:
    """Say in SQL what a column is, from what the plan says of it; `sql` has the last word."""
    if field.sql:
        return field.sql
    kinds = {"integer": "INTEGER", "decimal": "DECIMAL(15,2)", "date": "DATE", "any": text_type}
    kind = kinds[field.type]
    if field.type == "any" and field.max_length is not None:
        kind = f"{'VARCHAR' if field.blanks == 'kept' else 'CHAR'}({field.max_length})"
    return kind + (" NOT NULL" if field.is_required else "") + (" UNIQUE" if field.is_unique else "")


def sent(value: Any) -> Any:
    """Turn a JSON value into what a service gives its driver: nested values as JSON text, a fraction as its digits."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Decimal(repr(value)) if isinstance(value, float) else value


def shown(value: Any) -> Any:
    """Turn what a driver read into what a service shows as JSON."""
    match value:
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case date():
            return value.isoformat()
        case bytes():
            return value.decode("utf-8", "replace")
        case None | str() | bool() | int() | float():
            return value
        case _:
            return str(value)


def record_of(names: Sequence[str], row: Sequence[Any]) -> Mapping[str, Any]:
    """Put a row together."""
    return dict(zip(names, map(shown, row), strict=True))
