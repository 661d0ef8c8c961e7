"""What Ozari needs of the place where its rows are: a table in SQLite with the switches' rules, or one in a real database.

The handler knows these protocols only. A refusal of the database comes as text from `refuse`, or as RowsError from any call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from loader.emulator.columns import OzariTable
from loader.emulator.ozari.comparing import Comparing
from loader.emulator.ozari.query import Query
from loader.emulator.tables import Row


class RowsError(Exception):
    """Carry a database's words on why it did not do what was asked."""


class Rows(Protocol):
    """One table."""

    name: str
    spec: OzariTable

    @property
    def comparing(self) -> Comparing:
        """How conditions on these rows are written in SQL."""
        ...

    @property
    def is_open(self) -> bool:
        """Say whether any column may be written."""
        ...

    @property
    def has_rules(self) -> bool:
        """Say whether `refuse` must be asked though any column may be written."""
        ...

    def has_column(self, name: str) -> bool:
        """Say whether a column is there: declared, or written to before."""
        ...

    def was_written(self, fields: Mapping[str, Any]) -> bool:
        """Say whether all of these columns, none of them the primary key, were written to before."""
        ...

    def columns(self) -> list[str]:
        """Name all columns, the primary key first."""
        ...

    def sql_name(self, field: str) -> str | None:
        """Name the column of a field for a condition in SQL; None if nothing was written to it yet."""
        ...

    def refuse(self, fields: Mapping[str, Any], row: Row | None = None) -> str | None:
        """Say why the database would refuse a new row (or these changes of `row`); None if it would not."""
        ...

    def insert(self, fields: Mapping[str, Any], now: float) -> int:
        """Create a row."""
        ...

    def update(self, rows: Sequence[Row], fields: Mapping[str, Any], now: float) -> int:
        """Write values into rows and count those that changed, as the engine does ([D] OZ-upd: `updated` can be 0)."""
        ...

    def find(self, filters: Mapping[str, Any]) -> list[Row]:
        """Find rows by PATCH's filters: equality, joined with AND ([D] OZ-upd)."""
        ...

    def page(self, query: Query, now: float) -> tuple[int, list[Row]]:
        """Count the rows that a query finds, and read its page of them, as far as the query endpoint sees them already."""
        ...


class Store(Protocol):
    """All tables of one company."""

    def open(self, name: str, spec: OzariTable) -> Rows:
        """Open a table, creating it if there is none."""
        ...

    def read_all(self, name: str) -> list[dict[str, Any]] | None:
        """Read a whole table by key; None if there is none of that name here."""
        ...

    def keep_first(self, rows: int) -> None:
        """Delete all but the first rows of each table, those of Canbus too; the numbering goes back with them."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...
