"""Asking Ozari about rows that the run created: what stands in one, and how many carry the run's stamps. Harmless questions.

Source: apis.md 1.6. What a row holds is what the table made of it; the insert's answer repeats what was sent.
"""

from __future__ import annotations

from typing import Any

import orjson

from loader.model import Absent, Halt, Request, Response, Retry, Undecided, Unknown
from loader.redaction import Redactor
from loader.targets.answers import error_text, read_object
from loader.targets.base import StampedRow, StoredText
from loader.targets.ozari.insert import read_id
from loader.targets.ozari.lookup import CLOSED, lookup_fault, query_path, rows_of
from loader.targets.values import as_text

PAGE_ROWS = 200
"""[D] OZ-query."""


class OzariOwnRows:
    """See `base.OwnRows`."""

    page_rows = PAGE_ROWS

    def __init__(self, table: str, field: str, redactor: Redactor) -> None:
        self._table = table
        self._field = field
        self._redactor = redactor

    def ask_row(self, record_id: int | str) -> Request:
        """Ask what one row holds."""
        return self._query([{"field": "fid", "op": "eq", "value": record_id}], 1, 1)

    def read_row(self, response: Response) -> StoredText | Absent | Undecided | Retry | Unknown | Halt:
        """Read it. Absent: the row cannot be seen now."""
        rows = self._rows(response)
        if not isinstance(rows, list):
            return rows
        if not rows:
            return Absent()
        return StoredText(as_text(rows[0].get(self._field)))

    def ask_stamps(self, prefix: str, page: int, per_page: int) -> Request:
        """Ask for the rows whose text begins like this, by text and id."""
        return self._query([{"field": self._field, "op": "like", "value": f"{prefix}%"}], page, per_page)

    def read_count(self, response: Response) -> int | Undecided | Retry | Unknown | Halt:
        """Read how many rows there are on all pages."""
        rows = self._rows(response)
        if not isinstance(rows, list):
            return rows
        body = read_object(response)
        total = body.get("total") if body else None
        if isinstance(total, bool) or not isinstance(total, int) or total < len(rows):
            return Unknown("the query's answer is not as documented", response.status)
        return total

    def read_stamps(self, response: Response) -> list[StampedRow] | Undecided | Retry | Unknown | Halt:
        """Read the rows of a page."""
        rows = self._rows(response)
        if not isinstance(rows, list):
            return rows
        return [StampedRow(as_text(row.get(self._field)) or "", read_id(row.get("fid"))) for row in rows]

    def _query(self, conditions: list[dict[str, Any]], page: int, per_page: int) -> Request:
        body = {
            "filters": {"and": conditions},
            "select": ["fid", self._field],
            "sort": [{"field": self._field, "direction": "asc"}, {"field": "fid", "direction": "asc"}],
            "page": page,
            "per_page": per_page,
        }
        return Request("POST", query_path(self._table), orjson.dumps(body))

    def _rows(self, response: Response) -> list[dict[str, Any]] | Undecided | Retry | Unknown | Halt:
        fault = lookup_fault(response, self._table, self._redactor)
        if fault is not None:
            return fault
        body = read_object(response)
        if response.status != 200:
            return Undecided(f"{CLOSED}: {error_text(body, response.status, self._redactor)}")
        rows = rows_of(body, self._table)
        return rows if rows is not None else Unknown("the query's answer is not as documented", response.status)
