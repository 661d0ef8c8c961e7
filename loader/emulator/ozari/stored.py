"""What a column makes of a value before it stands in the row. Pure.

The errors are in MySQL's words. A column without a rule is not asked at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, TypeAlias

from loader.emulator.columns import OzariField

Shaper: TypeAlias = Callable[[Any], Any]

_LEADING_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
_DATE = re.compile(r"(\d{4})\D(\d{1,2})\D(\d{1,2})", re.ASCII)


class Unfit(Exception):
    """Carry the database's words on a value that does not fit."""


def shapers(fields: Iterable[OzariField]) -> dict[str, Shaper]:
    """Make what shapes the values of each column that has a rule. A shaper raises Unfit."""
    return {field.name: _shaper(field) for field in fields if _has_rule(field)}


def leading_number(text: str) -> Decimal:
    """Read the number that a text begins with, 0 if it begins with none, as MySQL does."""
    match = _LEADING_NUMBER.match(text)
    return Decimal(match[1]) if match is not None else Decimal(0)


def _has_rule(field: OzariField) -> bool:
    cuts = field.max_length is not None and not field.is_strict
    return cuts or field.type != "any" or field.stored_case != "kept" or field.blanks != "kept"


def _shaper(field: OzariField) -> Shaper:
    def shape(value: Any) -> Any:
        if value is None:
            return None
        if field.type == "date":
            return _date(field, value)
        if field.type != "any":
            return _number(field, value)
        return _text(field, value) if isinstance(value, str) else value

    return shape


def _text(field: OzariField, value: str) -> str:
    if field.stored_case != "kept":
        value = value.upper() if field.stored_case == "upper" else value.lower()
    if field.max_length is not None and not field.is_strict:
        value = value[: field.max_length]
    match field.blanks:
        case "trimmed":
            return value.rstrip(" ")
        case "padded":
            return value.ljust(field.max_length or 0)
        case "kept":
            return value


def _number(field: OzariField, value: Any) -> Any:
    """Make a number of a value: half is rounded away from zero."""
    text = str(int(value)) if isinstance(value, bool) else str(value)
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        if field.is_strict:
            raise Unfit(f"Incorrect {field.type} value: '{text}' for column '{field.name}' at row 1")
        number = leading_number(text)
    if field.type == "integer":
        return int(number.to_integral_value(ROUND_HALF_UP))
    return str(number.quantize(Decimal("0.01"), ROUND_HALF_UP))


def _date(field: OzariField, value: Any) -> str:
    match = _DATE.match(str(value))
    try:
        if match is not None:
            return date(int(match[1]), int(match[2]), int(match[3])).isoformat()
    except ValueError:
        pass
    if field.is_strict:
        raise Unfit(f"Incorrect date value: '{value}' for column '{field.name}' at row 1")
    return "0000-00-00"
