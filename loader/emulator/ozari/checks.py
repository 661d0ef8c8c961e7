"""What a call to Ozari must fulfil before anything is done: token, names, body, primary key, table.

Written from apis.md part 1: statuses and error texts are [D]; the order of the checks is [N] and comes from `check_order`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import orjson

from loader.emulator.ozari.query import is_name
from loader.emulator.ozari.rows import KEY
from loader.emulator.switches import Check, OzariSwitches
from loader.emulator.values import dumps, loads_exact
from loader.emulator.wire import Answer, Call

PATCHES = ("update", "bulk")
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Body(NamedTuple):
    """A body of insert or PATCH. `raw_fields` is the text of `fields` as it came; the echo repeats it byte for byte."""

    fields: Any = None
    raw_fields: bytes = b""
    filters: Any = None
    error: str | None = None


class Checks:
    """The checks of one company. `has_table` says whether a table is there."""

    def __init__(self, switches: OzariSwitches, has_table: Callable[[str], bool]) -> None:
        self._switches = switches
        self._has_table = has_table
        self._authorization = f"Bearer {switches.token}".encode()

    def first_refusal(self, call: Call, body: Body, checks: tuple[Check, ...]) -> Answer | None:
        """Make the checks in the order of the switch; the first that fails answers."""
        for check in self._switches.check_order:
            if check in checks:
                answer = self._check(check, call, body)
                if answer is not None:
                    return answer
        return None

    def _check(self, check: Check, call: Call, body: Body) -> Answer | None:
        match check:
            case "auth":
                return self._check_auth(call.headers.get(b"authorization", b""))
            case "table_name":
                return None if is_name(call.route.table) else error(400, "Invalid table name")
            case "table":
                return None if self._has_table(call.route.table) else error(404, "Table not found")
            case "body":
                return self._check_body(call, body)
            case "fields":
                names = [*_names(body.filters), *_names(body.fields)]
                bad = next((name for name in names if not is_name(name)), None)
                return None if bad is None else error(400, f"Invalid field name: {bad}")
            case "primary_key":
                return error(400, f"Cannot set primary key column: {KEY}") if KEY in _names(body.fields) else None

    def _check_auth(self, header: bytes) -> Answer | None:
        if header == self._authorization:
            return None
        word, _, token = header.partition(b" ")
        if word != b"Bearer" or not token.strip():
            return error(401, "Missing or invalid Authorization header")
        return error(403, "Invalid token")

    def _check_body(self, call: Call, body: Body) -> Answer | None:
        if body.error is not None:
            return error(self._switches.malformed_status, body.error)
        if call.route.operation == "query":
            return None
        needed = {"filters": body.filters} if call.route.operation in PATCHES else {}
        for name, value in {**needed, "fields": body.fields}.items():
            if not isinstance(value, dict) or not value:
                return error(400, f'"{name}" is required')
        for name, value in needed.get("filters", {}).items():
            if isinstance(value, list | dict):  # [N]; the rule that the query page gives for its filters
                return error(400, f"Invalid filter value: {name}")
        return None


def read_body(data: bytes) -> Body:
    """Read the body of an insert or a PATCH; what is wrong with it stands in `error`."""
    try:
        members = _MEMBERS.decode(data)
        raw = bytes(members["fields"]) if "fields" in members else b""
        filters = loads_exact(bytes(members["filters"])) if "filters" in members else None
        return Body(loads_exact(raw) if raw else None, raw, filters)
    except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return Body(error="Invalid JSON body")


def _names(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def error(status: int, text: str, **more: int) -> Answer:
    """Answer with `success` false and a text ([D] OZ-err)."""
    return Answer(status, dumps({"success": False, "error": text, **more}))
