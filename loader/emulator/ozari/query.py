"""Ozari's filter language: a query's body -> SQL, or the vendor's words on what is wrong with it.

Written from OZ-query (apis.md 1.6): keys, operators, limits and the shape of the error texts are [D]; a text the page does not
give is made in the same shape. Values reach SQL as parameters only, names only through the table's own list.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from loader.emulator.ozari.comparing import Comparing, Sql
from loader.emulator.switches import OzariSwitches
from loader.emulator.values import whole

MAX_DEPTH = 5
MAX_CONDITIONS = 50
MAX_IN_VALUES = 200
MAX_PER_PAGE = 200
DEFAULT_PER_PAGE = 50
KEYS = ("filters", "select", "sort", "page", "per_page")

OPERATORS: dict[str, Literal["nothing", "scalar", "string"] | range] = {
    **dict.fromkeys(("eq", "neq", "gt", "gte", "lt", "lte"), "scalar"),
    **dict.fromkeys(("like", "not_like"), "string"),
    **dict.fromkeys(("in", "not_in"), range(1, MAX_IN_VALUES + 1)),
    **dict.fromkeys(("is_null", "is_not_null"), "nothing"),
    "between": range(2, 3),
}
"""What each operator needs as its value; a range is an array of that many scalars."""

_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_COMPARE = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class QueryError(Exception):
    """Carry the error text of a refused query."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class Query(NamedTuple):
    """A query read whole. `select` None is all columns; `order` is SQL, empty if nothing was asked for."""

    where: Sql
    select: tuple[str, ...] | None
    order: str
    page: int
    per_page: int


ALL = Sql("1 = 1")
NONE = Sql("1 = 0")


def is_name(text: object) -> bool:
    """Say whether a table or field may have this name ([D] OZ-err)."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def is_scalar(value: object) -> bool:
    """Say whether a value is a string, number, boolean or null ([D] OZ-query)."""
    return value is None or isinstance(value, str | int | float)


def equals(column: str | None, value: Any, comparing: Comparing, switches: OzariSwitches) -> Sql:
    """Say in SQL that a column equals a value."""
    if value is None:
        return Sql(f"{column} IS NULL" if column else "1 = 1") if switches.null_equals else NONE
    return comparing.one_of(column, [value])


def read_query(
    body: dict[str, Any], column: Callable[[str], str | None], comparing: Comparing, switches: OzariSwitches
) -> Query:
    """Read a query's body.

    Shape: `column` names a field's column for SQL, None if nothing was written to it yet, or raises QueryError.
    Errors: QueryError with the text of the answer.
    """
    for key in body:
        if key not in KEYS:
            raise QueryError(f"Unknown key: {key}")
    reader = _Filters(column, comparing, switches)
    where = reader.group(body["filters"], "filters", 1) if body.get("filters") is not None else ALL
    return Query(
        where,
        _read_select(body.get("select"), column),
        _read_sort(body.get("sort"), column),
        _read_number(body, "page", 1, None, switches.page_under),
        _read_number(body, "per_page", DEFAULT_PER_PAGE, MAX_PER_PAGE, switches.per_page_over),
    )


class _Filters:
    """One walk over a filter tree. Counts the conditions of the whole request."""

    def __init__(self, column: Callable[[str], str | None], comparing: Comparing, switches: OzariSwitches) -> None:
        self._column = column
        self._comparing = comparing
        self._switches = switches
        self._conditions = 0

    def group(self, group: Any, path: str, depth: int) -> Sql:
        if depth > MAX_DEPTH:
            raise QueryError(f"{path}: groups may be nested {MAX_DEPTH} deep at most")
        if not isinstance(group, dict) or len(group) != 1 or not ({"and", "or"} & group.keys()):
            raise QueryError(f'{path}: a group needs exactly one of "and" and "or"')
        word, items = next(iter(group.items()))
        if not isinstance(items, list) or not items:
            raise QueryError(f'{path}: "{word}" needs a non-empty array')
        parts = [self._item(item, f"{path}.{word}[{index}]", depth) for index, item in enumerate(items)]
        text = f" {word.upper()} ".join(f"({part.text})" for part in parts)
        return Sql(text, tuple(value for part in parts for value in part.values))

    def _item(self, item: Any, path: str, depth: int) -> Sql:
        if isinstance(item, dict) and ({"and", "or"} & item.keys()):
            return self.group(item, path, depth + 1)
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise QueryError(f"filters: {MAX_CONDITIONS} conditions at most")
        if not isinstance(item, dict) or item.keys() - {"field", "op", "value"}:
            raise QueryError(f'{path}: a condition has "field", "op" and "value"')
        if not is_name(item.get("field")):
            raise QueryError(f"Invalid field name in {path}: {item.get('field')}")
        return self._condition(self._column(item["field"]), item, path)

    def _condition(self, column: str | None, item: dict[str, Any], path: str) -> Sql:
        op: Any = item.get("op")
        value: Any = item.get("value")
        if not isinstance(op, str) or op not in OPERATORS:
            raise QueryError(f"Unsupported operator in {path}: {op}")
        _check_value(op, item, path)
        match op:
            case "is_null" | "is_not_null":
                return Sql(f"{column or 'NULL'} IS {'NOT ' if op == 'is_not_null' else ''}NULL")
            case "like":
                return self._comparing.like(column, value)
            case "not_like":
                return _negated(self._comparing.like(column, value))
            case "in":
                return self._comparing.one_of(column, value)
            case "not_in":
                return _negated(self._comparing.one_of(column, value))
            case "between":
                low, high = self._scalar(column, "gte", value[0]), self._scalar(column, "lte", value[1])
                return Sql(f"{low.text} AND {high.text}", low.values + high.values)
            case _:
                return self._scalar(column, op, value)

    def _scalar(self, column: str | None, op: str, value: Any) -> Sql:
        if op == "eq":
            return equals(column, value, self._comparing, self._switches)
        if op == "neq":
            if value is None:
                return Sql(f"{column or 'NULL'} IS NOT NULL") if self._switches.null_equals else NONE
            return _negated(equals(column, value, self._comparing, self._switches))
        return self._comparing.beside(column, _COMPARE[op], value)


def _negated(sql: Sql) -> Sql:
    return Sql(f"NOT ({sql.text})", sql.values)


def _check_value(op: str, item: dict[str, Any], path: str) -> None:
    """Hold a condition's value against what its operator needs ([D] OZ-query)."""
    value = item.get("value")
    need = OPERATORS[op]
    if need == "nothing":
        if "value" in item:
            raise QueryError(f'{path}: "{op}" takes no "value"')
    elif need in ("scalar", "string"):
        if "value" not in item or not is_scalar(value) or (need == "string" and not isinstance(value, str)):
            raise QueryError(f'{path}: "{op}" needs a {need} "value"')
    elif not isinstance(value, list) or not all(map(is_scalar, value)) or len(value) not in need:
        count = f"exactly {need[0]}" if len(need) == 1 else f"{need[0]} to {need[-1]}"
        raise QueryError(f'{path}: "{op}" needs a "value" array of {count} scalars')


def _read_select(select: Any, column: Callable[[str], str | None]) -> tuple[str, ...] | None:
    if select is None:
        return None
    if not isinstance(select, list) or not all(isinstance(name, str) for name in select):
        raise QueryError('"select" needs an array of strings')
    for index, name in enumerate(select):
        if not is_name(name):
            raise QueryError(f"Invalid field name in select[{index}]: {name}")
        column(name)
    return tuple(select) or None


def _read_sort(sort: Any, column: Callable[[str], str | None]) -> str:
    if sort is None:
        return ""
    if not isinstance(sort, list):
        raise QueryError('"sort" needs an array')
    parts = []
    for index, item in enumerate(sort):
        if not isinstance(item, dict) or item.keys() - {"field", "direction"}:
            raise QueryError(f'sort[{index}]: needs "field" and "direction"')
        if not is_name(item.get("field")):
            raise QueryError(f"Invalid field name in sort[{index}]: {item.get('field')}")
        direction = item.get("direction", "asc")
        if direction not in ("asc", "desc"):
            raise QueryError(f"Unsupported direction in sort[{index}]: {direction}")
        parts.append(f"{column(item['field']) or 'NULL'} {direction}")
    return ", ".join(parts)


def _read_number(body: dict[str, Any], key: str, default: int, most: int | None, beyond: str) -> int:
    value = whole(body.get(key, default))
    if value is None:
        raise QueryError(f'"{key}" must be an integer')
    limit = value if most is None else most
    if 1 <= value <= limit:
        return value
    if beyond == "refuse":
        raise QueryError(f'"{key}" must be {f"between 1 and {most}" if most else "at least 1"}')
    return max(1, min(value, limit))
