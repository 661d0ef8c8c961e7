"""What equals what: the conditions of a filter as SQL, over rows in SQLite, as the switches have it.

Values reach SQL as parameters only. `folded` and `folded_pattern` are SQL functions that the handler makes from `folds`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from loader.emulator.switches import OzariSwitches
from loader.emulator.values import Stored

KEY_COLUMN = '"fid"'
"""An integer primary key: SQLite turns text into a number by itself before it compares."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)


class Sql(NamedTuple):
    """A condition: text with marks, and the values for them."""

    text: str
    values: tuple[Stored, ...] = ()


class Comparing(Protocol):
    """How one kind of database is asked. A column is its name in SQL, None if nothing was written to it yet."""

    def one_of(self, column: str | None, values: Sequence[Any]) -> Sql:
        """Say that a column equals one of the values.

        In SQL null is in no list, and nothing is known not to be in one with null.
        """
        ...

    def like(self, column: str | None, pattern: str) -> Sql:
        """Say that a column is like a pattern, as MySQL has it: % and _, escaped by a backslash."""
        ...

    def beside(self, column: str | None, sign: str, value: Any) -> Sql:
        """Say on which side of a value a column is. `sign`: > >= < <=."""
        ...


class SqliteComparing:
    """Ids come as number or text in the examples ([E]), so both forms match."""

    def __init__(self, switches: OzariSwitches) -> None:
        self._is_leading = switches.number_compare == "leading"
        self._function = "folded" if switches.compared_without else ""

    def one_of(self, column: str | None, values: Sequence[Any]) -> Sql:
        column = column or "NULL"
        if self._is_leading:
            parts = [self._leading(column, value) for value in values]
            return Sql(
                " OR ".join(part.text for part in parts), tuple(value for part in parts for value in part.values)
            )
        forms = tuple(form for value in values for form in _forms(value))
        marks = ", ".join([self._folded("?")] * len(forms))
        return Sql(f"{self._folded(column)} IN ({marks})", forms)

    def like(self, column: str | None, pattern: str) -> Sql:
        left, right = _text(column), "?"
        if self._function:
            left, right = f"folded_pattern({left})", "folded_pattern(?)"
        return Sql(f"{left} LIKE {right} ESCAPE '\\'", (pattern,))  # SQLite itself escapes with nothing

    def beside(self, column: str | None, sign: str, value: Any) -> Sql:
        if column == KEY_COLUMN:
            return Sql(f"{column} {sign} ?", (_number(value),))
        if isinstance(value, str):
            return Sql(f"{self._folded(_text(column))} {sign} {self._folded('?')}", (value,))
        return Sql(f"CAST({column or 'NULL'} AS REAL) {sign} ?", (_number(value),))

    def _leading(self, column: str, value: Any) -> Sql:
        """Compare a number with text by the number that the text begins with: what SQLite's CAST reads, too."""
        if isinstance(value, str):
            as_text = f"{self._folded(column)} = {self._folded('?')}"
            return Sql(
                f"CASE typeof({column}) WHEN 'text' THEN {as_text} ELSE {column} = CAST(? AS REAL) END", (value, value)
            )
        return Sql(f"CAST({column} AS REAL) = CAST(? AS REAL)", (_number(value),))

    def _folded(self, text: str) -> str:
        return f"{self._function}({text})" if self._function else text


def _forms(value: Any) -> list[Stored]:
    """List how a value may stand in the table: "12" also as 12, 12 also as "12", true as 1."""
    if isinstance(value, str):
        return [value, int(value)] if _INTEGER.fullmatch(value) else [value]
    if value is None or isinstance(value, bool):
        return [value if value is None else int(value)]
    return [str(value)] if isinstance(value, int) and abs(value) >= 2**63 else [value, str(value)]


def _number(value: Any) -> Stored:
    """Make an integer past 64 bits the float that is nearest to it: SQL holds no such integer."""
    is_past = isinstance(value, int) and not -(2**63) <= value < 2**63
    number: Stored = float(value) if is_past else value
    return number


def _text(column: str | None) -> str:
    return f"CAST({column or 'NULL'} AS TEXT)"
