"""Asking Ozari about ambiguous inserts: by the query endpoint in blocks, else, by stamp, by a PATCH that changes nothing.

Source: apis.md 1.6 and part 3. By stamp an answer is exact. By a key of the user's a row counts only above the highest fid
that the table had at the run's start, because an older row may carry the same key. The PATCH asks by stamp alone: by a user's
key it could find a row whose value is only equal to the table, and would write over it. Returned keys are compared byte for
byte: the database's collation may be lax (apis.md 1.6, [N]). Absent means absent now. Whether a request still runs in the
target is a matter of waiting, which is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from loader.model import Absent, Finding, Found, Halt, Record, Request, Response, Retry, Undecided, Unknown
from loader.reading.parsing import raw_value
from loader.redaction import Redactor
from loader.targets.answers import common_reading, error_text, read_object
from loader.targets.base import LookupAnswer, NoQueryEndpoint, QueryEndpoint
from loader.targets.ozari import api as ozari
from loader.targets.ozari.insert import read_id
from loader.targets.values import NUMBER_STARTS, as_text, is_alike, lock_text

MAX_VALUES = 200
"""Values of one `in`, and rows of one page ([D] OZ-query)."""
CLOSED = "the table cannot be queried"


def query_path(table: str) -> str:
    """Return the path of the query endpoint. Source: [D] OZ-query."""
    return f"/integration/tables/{table}/query"


def lookup_fault(response: Response, table: str, redactor: Redactor) -> Retry | Halt | None:
    """Say why an answer to a harmless question is none: try later, or stop. None: it is an answer, or a refusal to answer."""
    common = common_reading(response)
    if common is not None:
        return common
    text = error_text(read_object(response), response.status, redactor)
    # A 403 may also mean a table closed to queries (apis.md part 5.2); only a word about the token ends the run.
    is_token = response.status == 401 or (response.status == 403 and "token" in text.lower())
    is_table = response.status == 404 and ozari.NO_TABLE in text
    return ozari.halt_of(response, table, redactor) if is_token or is_table else None


# --- is there a query endpoint, and where does the table end now? -------------------------------------------------------


class OzariCapability:
    """Asks for the row with the highest primary key. The endpoint is younger than some deployments (apis.md 1.6, [I])."""

    def __init__(self, table: str, redactor: Redactor) -> None:
        self._table = table
        self._redactor = redactor

    def encode(self) -> Request:
        """Build the question."""
        question = {"select": ["fid"], "sort": [{"field": "fid", "direction": "desc"}], "page": 1, "per_page": 1}
        return Request("POST", query_path(self._table), orjson.dumps(question))

    def read(self, response: Response) -> QueryEndpoint | NoQueryEndpoint | Retry | Halt:
        """Read whether the table can be queried. An answer that was cut is asked for again."""
        fault = lookup_fault(response, self._table, self._redactor)
        if fault is not None:
            return fault
        if response.status == 200 and not response.is_complete:
            return Retry("the query's answer was cut")
        body = read_object(response)
        rows = rows_of(body, self._table) if response.status == 200 else None
        if rows is None:
            return NoQueryEndpoint(f"{CLOSED}: {error_text(body, response.status, self._redactor)}")
        highest = read_id(rows[0].get("fid")) if rows else 0
        return QueryEndpoint(highest if isinstance(highest, int) else None)


# --- by query -----------------------------------------------------------------------------------------------------------


class OzariQuery:
    """See `base.Lookup`. By a stamp, which is exact by itself; or by a key, where only rows above `floor_fid` count.

    By a key without a floor (it was named after the run had begun) a row proves nothing, and absence alone counts.
    """

    max_records = MAX_VALUES

    def __init__(
        self, table: str, field: str, redactor: Redactor, floor_fid: int | None = None, *, is_stamp: bool
    ) -> None:
        self._table = table
        self._field = field
        self._redactor = redactor
        self._floor_fid = floor_fid
        self._is_stamp = is_stamp

    def encode(self, records: Sequence[Record]) -> Request:
        """Ask for the rows that hold one of the records' keys. A key travels as its own raw bytes, number or string."""
        field = orjson.dumps(self._field)
        values = b",".join(dict.fromkeys(raw_value(record.data, self._field) for record in records))
        conditions = b'{"field":%b,"op":"in","value":[%b]}' % (field, values)
        if self._floor_fid is not None:
            conditions += b',{"field":"fid","op":"gt","value":%d}' % self._floor_fid
        body = (
            b'{"filters":{"and":[%b]},"select":["fid",%b],"sort":[{"field":"fid","direction":"asc"}],"page":1,"per_page":%d}'
            % (conditions, field, MAX_VALUES)
        )
        return Request("POST", query_path(self._table), body)

    def read(self, records: Sequence[Record], response: Response) -> LookupAnswer | Retry | Unknown | Halt:
        """Find each record among the rows. With rows missing from the page, what was not found stays undecided."""
        fault = lookup_fault(response, self._table, self._redactor)
        if fault is not None:
            return fault
        body = read_object(response)
        if response.status != 200:
            reason = f"{CLOSED}: {error_text(body, response.status, self._redactor)}"
            return LookupAnswer((Undecided(reason),) * len(records))
        rows = rows_of(body, self._table)
        total = body.get("total") if body else None
        if rows is None or isinstance(total, bool) or not isinstance(total, int):
            return Unknown("the query's answer is not as documented", response.status)
        if self._is_stamp and rows and not {record.key for record in records} & self._texts(rows):
            return Unknown("the answer belongs to another query", response.status, is_mismatch=True)
        return LookupAnswer(self._findings(records, rows, is_whole=total <= len(rows)))

    def _texts(self, rows: Sequence[dict[str, Any]]) -> set[str | None]:
        return {as_text(row.get(self._field)) for row in rows}

    def _findings(
        self, records: Sequence[Record], rows: Sequence[dict[str, Any]], *, is_whole: bool
    ) -> tuple[Finding, ...]:
        by_text: dict[str | None, list[dict[str, Any]]] = {}
        for row in rows:
            by_text.setdefault(as_text(row.get(self._field)), []).append(row)
        asked = {record.key for record in records}
        strangers = [text for text in by_text if text not in asked and text is not None]
        return tuple(self._finding(record, by_text.get(record.key, []), strangers, is_whole) for record in records)

    def _finding(
        self,
        record: Record,
        rows: Sequence[dict[str, Any]],
        strangers: Sequence[str],
        is_whole: bool,  # noqa: FBT001 - private, and named at its only call
    ) -> Finding:
        ids = [read_id(row.get("fid")) for row in rows]
        known = tuple(fid for fid in ids if fid is not None and (self._floor_fid is None or int(fid) > self._floor_fid))
        if not self._is_stamp and ids and self._floor_fid is None:
            return Undecided("a row has this key, but it may be older than the run")
        if not self._is_stamp and None in ids:
            return Undecided("a row has this key, but not a readable fid")
        if self._is_stamp and ids:
            return Found(known if len(known) == len(ids) else (), len(ids))
        if known:
            return Found(known, len(known))
        if any(_is_rewritten(record.key, text) for text in strangers):
            return Undecided("a row holds the key written another way")
        return Absent() if is_whole else Undecided("more rows than one page answer to these keys")


def _is_rewritten(key: str | None, text: str) -> bool:
    """Say whether a target may have stored a key as this text: trimmed, or a number in another form. Case is another key."""
    return (
        key is not None and is_alike(key, text) and (key.strip() == text.strip() or lock_text(key)[:1] in NUMBER_STARTS)
    )


def rows_of(body: dict[str, Any] | None, table: str) -> list[dict[str, Any]] | None:
    """Return the rows of a query's answer; None if it is no such answer."""
    if body is None or body.get("success") is not True or not ozari.is_same_table(body, table):
        return None
    rows = body.get("records")
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None


# --- by a PATCH that changes nothing ------------------------------------------------------------------------------------


class OzariProbe:
    """See `base.Lookup`. Sets the stamp to itself in the rows that have it; the answer holds their number and no id.

    A field that the target keeps for the time of the last change may move ([N]), so the query endpoint goes first.
    """

    max_records = 1

    def __init__(self, table: str, field: str, redactor: Redactor) -> None:
        self._table = table
        self._field = field
        self._redactor = redactor

    def encode(self, records: Sequence[Record]) -> Request:
        """Ask for one record."""
        (record,) = records
        pair = b"{%b:%b}" % (orjson.dumps(self._field), raw_value(record.data, self._field))
        return Request(
            "PATCH", ozari.records_path(self._table) + "/single", b'{"filters":%b,"fields":%b}' % (pair, pair)
        )

    def read(self, records: Sequence[Record], response: Response) -> LookupAnswer | Retry | Unknown | Halt:
        """Read how many rows hold the stamp."""
        (record,) = records
        rows = read_matched(response, self._table, self._redactor)
        if isinstance(rows, Undecided):
            return LookupAnswer((rows,))
        if not isinstance(rows, int):
            return rows
        if rows == 0:
            return LookupAnswer((Absent(),))
        body = read_object(response)
        echo = body.get("fields") if body else None
        if isinstance(echo, dict) and as_text(echo.get(self._field)) != record.key:
            return Unknown("the answer belongs to another record", response.status, is_mismatch=True)
        return LookupAnswer((Found((), rows),))


def read_matched(response: Response, table: str, redactor: Redactor) -> int | Undecided | Retry | Unknown | Halt:
    """Read how many rows a PATCH of one row matched. Source: [D] OZ-upd: 200, 404 and 409 all carry `matched`."""
    fault = lookup_fault(response, table, redactor)
    if fault is not None:
        return fault
    body = read_object(response)
    matched = body.get("matched") if body else None
    is_count = isinstance(matched, int) and not isinstance(matched, bool) and matched >= 0
    if response.status not in (200, 404, 409):
        return Undecided(f"the target refuses the question: {error_text(body, response.status, redactor)}")
    if body is None or matched is None or not isinstance(matched, int) or not is_count:
        if response.status == 404:
            return Undecided(f"the target does not know this call: {error_text(body, 404, redactor)}")
        return Unknown("the answer does not say how many rows matched", response.status)
    is_agreed = {
        200: matched == 1 and body.get("success") is True and ozari.is_same_table(body, table),
        404: matched == 0,
        409: matched > 1,
    }[response.status]
    return matched if is_agreed else Unknown("the answer contradicts itself", response.status)
