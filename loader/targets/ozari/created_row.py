"""Is a row that the run created still there, and is it the run's? Asked once at a resume, by the row's fid."""

from __future__ import annotations

import orjson

from loader.model import Halt, Request, Response, Retry
from loader.redaction import Redactor
from loader.targets.answers import read_object
from loader.targets.base import Presence
from loader.targets.ozari.api import PRIMARY_KEY, is_same_table
from loader.targets.ozari.insert import read_id
from loader.targets.ozari.lookup import lookup_fault, query_path


class OzariCreatedRow:
    """See `base.CreatedRow`. `stamp_field`: the field that holds a stamp beginning with `prefix`; None: any row will do."""

    def __init__(self, table: str, stamp_field: str | None, prefix: str, redactor: Redactor) -> None:
        self._table = table
        self._stamp_field = stamp_field
        self._prefix = prefix
        self._redactor = redactor

    def encode(self, record_id: int) -> Request:
        """Ask for the row. Source: [D] OZ-query."""
        question = {
            "filters": {"and": [{"field": PRIMARY_KEY, "op": "in", "value": [record_id]}]},
            "select": [PRIMARY_KEY, *([self._stamp_field] if self._stamp_field else [])],
            "sort": [{"field": PRIMARY_KEY, "direction": "asc"}],
            "page": 1,
            "per_page": 1,
        }
        return Request("POST", query_path(self._table), orjson.dumps(question))

    def read(self, record_id: int, response: Response) -> Presence | Retry | Halt:
        """Read the answer."""
        fault = lookup_fault(response, self._table, self._redactor)
        if fault is not None:
            return fault
        body = read_object(response) if response.status == 200 and response.is_complete else None
        rows = body.get("records") if body is not None else None
        if body is None or body.get("success") is not True or not is_same_table(body, self._table):
            return "unknown"
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            return "unknown"
        if not rows:
            return "gone"
        row = next((row for row in rows if read_id(row.get(PRIMARY_KEY)) == record_id), None)
        if row is None:
            return "unknown"
        stamp = row.get(self._stamp_field) if self._stamp_field else None
        if self._stamp_field is None or (isinstance(stamp, str) and stamp.strip().startswith(self._prefix)):
            return "there"
        return "foreign"
