"""The rules of Canbus' form items: an element -> what is stored, or the code of the first rule it breaks.

Written from apis.md 2.1, 2.3 and 2.9. Codes are strings ([D] CB-add-old). Which of several broken rules is answered is [N]: here
the first, in the order of the plan's items. An item that the plan does not name has no rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from loader.emulator.switches import CanbusApp, CanbusItem, CanbusSwitches

APP_LINK = "AppLink"
SYSTEM_ITEMS = ("_id", "System_Create_User", "System_Update_User", "System_Delete_User")

BELOW_MINIMUM, ABOVE_MAXIMUM, NOT_A_NUMBER, OUT_OF_RANGE = "7001", "7002", "7003", "7004"
DUPLICATE, MISSING, BAD_CHARACTERS, ABOVE_CEILING = "7012", "7013", "7014", "7018"
BAD_DATETIME, BAD_DATE, BAD_TIME, NOT_AN_ARRAY = "7020", "7021", "7022", "7042"

HAS_DEFAULT = ("Number", "Text", "Date", "DateTime", "Radio", "Pulldown")
"""Types whose default the API applies; for the others it does not ([D] CB-lim)."""

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", re.ASCII)
_DATE = re.compile(r"[0-9]{4}/[0-9]{2}/[0-9]{2}", re.ASCII)


class Items:
    """The items of one app."""

    def __init__(self, app: CanbusApp, switches: CanbusSwitches) -> None:
        self._items = app.items
        self._switches = switches
        self._defaults = {
            name: item.default
            for name, item in app.items.items()
            if item.default is not None and item.type in HAS_DEFAULT
        }
        self.unique = tuple(name for name, item in app.items.items() if item.is_unique)
        self._has_no_rules = not app.items and not switches.extra_codes

    def read(self, element: Mapping[str, Any], *, is_edit: bool = False) -> dict[str, Any] | str:
        """Turn an element into the fields to store, or say the code that refuses it. An edit leaves out what it does not name."""
        for extra in self._switches.extra_codes:
            if re.fullmatch(extra.pattern, str(element.get(extra.item))):
                return extra.code
        fields = dict(element)
        for name in SYSTEM_ITEMS:
            fields.pop(name, None)
        if APP_LINK in fields and APP_LINK not in self._items:
            return NOT_AN_ARRAY
        if self._has_no_rules:
            return fields
        unknown = fields.keys() - self._items.keys()
        if unknown and self._switches.unknown_item != "accept":
            if self._switches.unknown_item == "refuse":
                return self._switches.unknown_item_code
            for name in unknown:
                del fields[name]
        if not is_edit and self._defaults:
            fields = {**self._defaults, **fields}
        return self._break(fields, is_edit=is_edit) or fields

    def _break(self, fields: Mapping[str, Any], *, is_edit: bool) -> str | None:
        """Say the code of the first broken rule."""
        for name, item in self._items.items():
            if is_edit and name not in fields:
                continue
            value = fields.get(name)
            if is_blank(value):
                if item.is_required:
                    return NOT_AN_ARRAY if item.type == "Attachment" else MISSING
                continue
            code = self._check(item, value)
            if code is not None:
                return code
        return None

    def _check(self, item: CanbusItem, value: Any) -> str | None:
        match item.type:
            case "Number":
                return self._check_number(item, value)
            case "Date":
                return None if _is_date(value) else BAD_DATE
            case "DateTime":
                return None if _matches(self._switches.datetime_pattern, value) else BAD_DATETIME
            case "Time":
                return None if _matches(self._switches.time_pattern, value) else BAD_TIME
            case "Checkbox":
                return None if isinstance(value, list) else NOT_AN_ARRAY
            case "Table":
                is_table = isinstance(value, list) and all(isinstance(row, dict) for row in value)
                return None if is_table else NOT_AN_ARRAY
            case _:
                return None if item.pattern is None or _matches(item.pattern, value) else BAD_CHARACTERS

    def _check_number(self, item: CanbusItem, value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return NOT_A_NUMBER
        if not isinstance(value, str) and not self._switches.json_numbers:
            return NOT_A_NUMBER
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            return NOT_A_NUMBER
        number = Decimal(str(value))
        if abs(number) >= Decimal(10) ** self._switches.number_digits:
            return OUT_OF_RANGE
        if item.minimum is not None and number < Decimal(str(item.minimum)):
            return BELOW_MINIMUM
        if item.ceiling is not None and number > Decimal(str(item.ceiling)):
            return ABOVE_CEILING
        return ABOVE_MAXIMUM if item.maximum is not None and number > Decimal(str(item.maximum)) else None


class Uniques:
    """The values that the unique items hold, over all rows; what counts as equal is a matter of the switches."""

    def __init__(self, items: Items, app: CanbusApp, switches: CanbusSwitches) -> None:
        self.items = items.unique
        self._numbers = {name for name in items.unique if app.items[name].type == "Number"}
        self._switches = switches
        self._seen: dict[str, set[Any]] = {name: set() for name in items.unique}

    def collides(self, fields: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> bool:
        """Say whether a row with these fields would double a value. `old` is the row that is being edited."""
        for name in self.items:
            if old is not None and name not in fields:
                continue
            value = self._same(name, fields.get(name))
            if (
                value is not None
                and value in self._seen[name]
                and (old is None or self._same(name, old.get(name)) != value)
            ):
                return True
        return False

    def add(self, fields: Mapping[str, Any]) -> None:
        """Take in the values of a new row."""
        for name in self.items:
            value = self._same(name, fields.get(name))
            if value is not None:
                self._seen[name].add(value)

    def remove(self, fields: Mapping[str, Any]) -> None:
        """Give the values of a row free."""
        for name in self.items:
            self._seen[name].discard(self._same(name, fields.get(name)))

    def _same(self, name: str, value: Any) -> Any:
        """Make a value comparable; None if it collides with nothing."""
        if is_blank(value):
            return "" if self._switches.blanks_collide else None
        if name in self._numbers and self._switches.numbers_compare == "value":
            try:
                return Decimal(str(value))
            except InvalidOperation:
                return str(value)
        return str(value)


def is_blank(value: Any) -> bool:
    """Say whether an item counts as not filled in."""
    return value is None or value in ("", [])


def _matches(pattern: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_date(value: Any) -> bool:
    """YYYY/MM/DD, zero-padded, and a day that exists ([D by a third party] CB-yoom)."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return False
    try:
        datetime.strptime(value, "%Y/%m/%d")  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return False
    return True
