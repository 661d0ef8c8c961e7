"""Asking Ozari about an ambiguous update that touches its own filters.

Applied once, such an update no longer matches its row, so sending it again would be refused, or worse, would hit another row. Two
questions settle it: how many rows match the filters as they stand (old), and with the new values in them (new). Nothing else is
asked: a target may change how it writes the other values.
"""

from __future__ import annotations

import orjson

from loader.model import Absent, Finding, Found, Halt, Record, Request, Response, Retry, Undecided, Unknown
from loader.reading.parsing import members
from loader.redaction import Redactor
from loader.targets.answers import read_object, words_of
from loader.targets.base import Side
from loader.targets.ozari import api as ozari
from loader.targets.ozari.lookup import CLOSED, lookup_fault, query_path, read_matched
from loader.targets.ozari.update import touches_its_filters


def conclude(old_rows: int, new_rows: int) -> Finding:
    """Say what the numbers of rows mean. See `base.UpdateLookup`."""
    if new_rows == 1 and old_rows == 0:
        return Found((), 1)
    if old_rows == 1 and new_rows == 0:
        return Absent()
    return Undecided(f"{old_rows} rows match the update's filters, {new_rows} with its new values")


def _filters_of(record: Record, side: Side) -> dict[bytes, bytes]:
    """Return the filters of one side, raw name (with quotes) to raw value."""
    filters, fields = (record.data[part.value_start : part.value_end] for part in members(record.data))
    new = {m.name.casefold(): fields[m.value_start : m.value_end] for m in members(fields)} if side == "new" else {}
    return {
        filters[m.key_start : m.key_end]: new.get(m.name.casefold(), filters[m.value_start : m.value_end])
        for m in members(filters)
    }


class OzariUpdateQuery:
    """See `base.UpdateLookup`. Counts rows by query, without touching one."""

    is_needed = staticmethod(touches_its_filters)
    conclude = staticmethod(conclude)

    def __init__(self, table: str, redactor: Redactor) -> None:
        self._table = table
        self._redactor = redactor

    def encode(self, record: Record, side: Side) -> Request:
        """Ask for the number of rows; one row is fetched, since a page has at least one."""
        conditions = b",".join(
            b'{"field":%b,"op":"is_null"}' % name
            if value == b"null"
            else b'{"field":%b,"op":"eq","value":%b}' % (name, value)
            for name, value in _filters_of(record, side).items()
        )
        body = b'{"filters":{"and":[%b]},"select":["fid"],"page":1,"per_page":1}' % conditions
        return Request("POST", query_path(self._table), body)

    def read(self, record: Record, side: Side, response: Response) -> int | Undecided | Retry | Unknown | Halt:  # noqa: ARG002 - the protocol's
        """Read `total`."""
        fault = lookup_fault(response, self._table, self._redactor)
        if fault is not None:
            return fault
        body = read_object(response)
        if response.status != 200:
            return Undecided(f"{CLOSED}: {words_of(response, self._redactor)}")
        total = body.get("total") if body else None
        is_answer = body is not None and body.get("success") is True and ozari.is_same_table(body, self._table)
        if not is_answer or isinstance(total, bool) or not isinstance(total, int) or total < 0:
            words = words_of(response, self._redactor)
            return Unknown(f"the query's answer is not as documented: {words}", response.status)
        return total


class OzariUpdateProbe:
    """See `base.UpdateLookup`. Counts rows by a PATCH that sets one of the filtered fields to the value it is filtered by."""

    is_needed = staticmethod(touches_its_filters)
    conclude = staticmethod(conclude)

    def __init__(self, table: str, redactor: Redactor) -> None:
        self._table = table
        self._redactor = redactor

    def encode(self, record: Record, side: Side) -> Request:
        """Ask with the filters of one side.

        The field that is set is the first that is no primary key; an update that touches its filters always has one.
        """
        filters = _filters_of(record, side)
        pairs = [name + b":" + value for name, value in filters.items()]
        settable = [pair for name, pair in zip(filters, pairs, strict=True) if orjson.loads(name) != ozari.PRIMARY_KEY]
        body = b'{"filters":{%b},"fields":{%b}}' % (b",".join(pairs), settable[0])
        return Request("PATCH", ozari.records_path(self._table) + "/single", body)

    def read(self, record: Record, side: Side, response: Response) -> int | Undecided | Retry | Unknown | Halt:  # noqa: ARG002 - the protocol's
        """Read `matched`."""
        return read_matched(response, self._table, self._redactor)
