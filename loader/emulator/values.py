"""A JSON value as SQLite holds it, and back, without loss.

Text, 64-bit integers, floats and null are stored as they are, so that a user who opens the file reads plain values. A boolean
is stored as 1 or 0, a longer integer as its digits, an array or object as its JSON text; for these the row's `_kinds` column
says which column is what: {"alternates":"j"}. Kinds: b boolean, n integer past 64 bits, j JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

Stored: TypeAlias = str | int | float | None

PLAIN_TYPES = frozenset({str, type(None)})
"""Types that need no look at the value."""

MAX_DEPTH = 200
"""Deeper values are refused as no JSON: the standard library's parser, which reads the exact ones, gives up before 1,000."""

_EXACT_TYPES = PLAIN_TYPES | {bool, int}
_MAX_INTEGER = 2**63 - 1


def loads_exact(data: bytes) -> Any:
    """Parse JSON keeping integers past 64 bits, which orjson turns into floats.

    Errors: orjson.JSONDecodeError.
    """
    value = orjson.loads(data)
    return value if _is_exact(value) else json.loads(data)


def _is_exact(value: Any) -> bool:
    """Say whether no number in a value can have been an integer past 64 bits. Looks no deeper than where there are numbers."""
    waiting = [(value, 1)]
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, float):
            if abs(one) >= _MAX_INTEGER:
                return False
            continue
        if depth > MAX_DEPTH:
            raise orjson.JSONDecodeError("nested too deeply", "", 0)
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        if not _EXACT_TYPES.issuperset(map(type, inner)):
            waiting.extend((part, depth + 1) for part in inner if type(part) not in _EXACT_TYPES)
    return True


def whole(value: Any) -> int | None:
    """Read an integer as JSON means it: 20 and 20.0 are one number. None if it is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def store(value: Any) -> tuple[Stored, str | None]:
    """Turn a value into what is stored, and its kind if it needs one."""
    if isinstance(value, bool):
        return int(value), "b"
    if value is None or isinstance(value, str):
        return value, None
    if isinstance(value, int):
        return (value, None) if -_MAX_INTEGER <= value <= _MAX_INTEGER else (str(value), "n")
    if isinstance(value, float):
        return value, None
    return (json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else repr(value)), "j"


def store_all(fields: Mapping[str, Any]) -> tuple[list[Stored], str | None]:
    """Turn a record's values into what is stored, and the text of its `_kinds` column."""
    stored: list[Stored] = []
    kinds = []
    for name, value in fields.items():
        plain, kind = (value, None) if type(value) in PLAIN_TYPES else store(value)
        stored.append(plain)
        if kind is not None:
            kinds.append((name, kind))
    return stored, _kinds_text(tuple(kinds)) if kinds else None


def restore(stored: Stored, kind: str | None) -> Any:
    """Give back the value that was stored."""
    if kind is None:
        return stored
    if kind == "b":
        return bool(stored)
    return int(str(stored)) if kind == "n" else json.loads(str(stored))


def restore_row(names: Iterable[str], row: Iterable[Stored], kinds: str | None) -> dict[str, Any]:
    """Give back a record; a column it has no value for is None."""
    record: dict[str, Any] = dict(zip(names, row, strict=True))
    if kinds is not None:
        for name, kind in json.loads(kinds).items():
            if name in record:
                record[name] = restore(record[name], kind)
    return record


@lru_cache(maxsize=4096)
def _kinds_text(kinds: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(kinds), ensure_ascii=False, separators=(",", ":"))


def dumps(value: Any) -> bytes:
    """Write JSON; integers past 64 bits and deep nesting too, which orjson refuses."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
