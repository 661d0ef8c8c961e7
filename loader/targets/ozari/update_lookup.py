"""Asking Ozari about ambiguous updates, by its query endpoint and without touching a row.

An update that touches its own filters no longer matches its row once it was applied, so sending it again would be refused, or
worse, would hit another row. Two questions settle it: which rows match the filters as they stand (old), and with the new values
in them (new). Any other update is sent again. If that is refused, the first sending may all the same have been applied: the row's
own change may have moved a column that the filters name. Then the row is sought by the other filters.

There is no such question without the query endpoint: a PATCH that finds a row by a user's value and sets that value would rewrite
a row that holds it in another spelling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from loader.model import Absent, Finding, Found, Halt, Record, Request, Response, Retry, Undecided, Unknown
from loader.reading.parsing import members
from loader.redaction import Redactor
from loader.targets.answers import read_object, words_of
from loader.targets.base import MatchedRows, Side
from loader.targets.ozari import api as ozari
from loader.targets.ozari.lookup import CLOSED, lookup_fault, query_path
from loader.targets.ozari.update import touches_its_filters
from loader.targets.values import is_equal

MISSING = object()
MOST_ROWS = 2
"""Fetched of those that match: one is enough to compare, and two say that it is not the only one."""


def filters_of(record: Record, side: Side = "old") -> dict[bytes, bytes]:
    """Return the filters of one side, raw name (with quotes) to raw value."""
    filters, fields = (record.data[part.value_start : part.value_end] for part in members(record.data))
    new = {m.name.casefold(): fields[m.value_start : m.value_end] for m in members(fields)} if side == "new" else {}
    return {
        filters[m.key_start : m.key_end]: new.get(m.name.casefold(), filters[m.value_start : m.value_end])
        for m in members(filters)
    }


def condition(name: bytes, value: bytes) -> bytes:
    """Build the condition that a column holds a value. Source: [D] OZ-query; nothing equals null there."""
    if value == b"null":
        return b'{"field":%b,"op":"is_null"}' % name
    return b'{"field":%b,"op":"eq","value":%b}' % (name, value)


def read_rows(response: Response, table: str, redactor: Redactor) -> MatchedRows | Undecided | Retry | Unknown | Halt:
    """Read how many rows matched, and those that came."""
    fault = lookup_fault(response, table, redactor)
    if fault is not None:
        return fault
    body = read_object(response)
    if response.status != 200:
        return Undecided(f"{CLOSED}: {words_of(response, redactor)}")
    total, rows = (body.get("total"), body.get("records")) if body else (None, None)
    is_answer = body is not None and body.get("success") is True and ozari.is_same_table(body, table)
    is_count = isinstance(total, int) and not isinstance(total, bool) and total >= 0
    if not is_answer or not is_count or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return Unknown("the query's answer is not as documented", response.status)
    assert isinstance(total, int)  # noqa: S101 -- `is_count` has looked; this tells mypy
    return MatchedRows(total, tuple(rows)) if total >= len(rows) else Unknown("the answer contradicts itself", 200)


def holds(row: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Say whether a row holds values as they were sent."""
    by_name = {name.casefold(): value for name, value in row.items()}
    return all(is_equal(value, by_name.get(name.casefold(), MISSING)) for name, value in values.items())


class OzariUpdateQuery:
    """See `base.UpdateLookup`."""

    is_needed = staticmethod(touches_its_filters)

    def __init__(self, table: str, redactor: Redactor, *, can_ask: bool) -> None:
        self.can_ask = can_ask
        self._table = table
        self._redactor = redactor

    def encode(self, record: Record, side: Side, without: str | None = None) -> Request:
        """Ask for the rows, with all columns that the update names."""
        conditions = b",".join(
            condition(name, value)
            for name, value in filters_of(record, side).items()
            if without is None or orjson.loads(name) != without
        )
        body = orjson.loads(record.data)
        columns = orjson.dumps(list(dict.fromkeys([ozari.PRIMARY_KEY, *body["filters"], *body["fields"]])))
        question = b'{"filters":{"and":[%b]},"select":%b,"page":1,"per_page":%d}' % (conditions, columns, MOST_ROWS)
        return Request("POST", query_path(self._table), question)

    def read(self, record: Record, response: Response) -> MatchedRows | Undecided | Retry | Unknown | Halt:  # noqa: ARG002 - the protocol's
        """Read the rows."""
        return read_rows(response, self._table, self._redactor)

    def conclude(self, record: Record, old: MatchedRows, new: MatchedRows) -> Finding:
        """Say what the rows mean. One row that matches both ways, where spelling does not count, tells by its bytes."""
        if new.total == 1 and old.total == 0:
            return Found((), 1)
        if old.total == 1 and new.total == 0:
            return Absent()
        body = orjson.loads(record.data)
        if old.total == new.total == 1 and old.rows[:1] == new.rows[:1] and old.rows:
            if holds(old.rows[0], body["fields"]):
                return Found((), 1)
            if holds(old.rows[0], body["filters"]):
                return Absent()
        return Undecided(f"{old.total} rows match the update's filters, {new.total} with its new values")

    def is_applied(self, record: Record, found: MatchedRows) -> bool:
        """Say whether one row was found, and holds all new values as they were sent."""
        return found.total == 1 and len(found.rows) == 1 and holds(found.rows[0], orjson.loads(record.data)["fields"])

    def left_out(self, record: Record) -> Sequence[str]:
        """Name the filters without which the row can still be sought."""
        names = list(orjson.loads(record.data)["filters"])
        return names if len(names) > 1 else ()
