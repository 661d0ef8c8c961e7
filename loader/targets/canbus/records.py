"""Calls of Canbus beside adding: delete records by id, show one, list records.

Source: apis.md 2.5 to 2.7. A delete serves to take back the second record that a proof of the unique item may create, and later
to undo a run. Its answer is not in the pages that could be read ([U]): the create call's shape is taken for granted, and anything
else proves nothing. A list is by a saved filter whose order the table's users decide, so rows can be skipped or come twice
while others write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from loader.model import Halt, RecordId, Request, Response, Retry, Unknown
from loader.settings import CanbusCredentials
from loader.targets.answers import read_object
from loader.targets.base import StoredText
from loader.targets.canbus.api import Envelope, read_fault
from loader.targets.values import as_text

PATH = "/api/records"
MAX_NUMBER = 2**63 - 1
"""Ids are texts ([E] apis.md 2.1); a number is tolerated if 64 bits hold it."""


class Deleted(NamedTuple):
    """What a delete said of one id. `code` is the target's, None if it gave none."""

    is_deleted: bool
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `total`: rows of the whole list, None if the answer does not say ([E] `count`)."""

    rows: tuple[dict[str, Any], ...]
    total: int | None


class CanbusRecords:
    """Builds and reads the calls. Holds the credentials in its envelope."""

    def __init__(self, credentials: CanbusCredentials) -> None:
        self._envelope = Envelope(credentials)

    def delete_request(self, ids: Sequence[RecordId], user: str) -> Request:
        """Build the call that deletes records in the name of a user. Source: [D] CB-del."""
        elements = [{"_id": record_id, "System_Delete_User": user} for record_id in ids]
        return self._envelope.request("DELETE", PATH, b"delete", orjson.dumps(elements))

    def read_delete(self, ids: Sequence[RecordId], response: Response) -> tuple[Deleted, ...] | Retry | Unknown | Halt:
        """Read one entry per id. Unknown: some may be deleted; deleting them again does no harm."""
        fault = read_fault(response, self._envelope.redactor)
        if fault is not None:
            return fault if isinstance(fault, Halt) or fault.is_throttled else Unknown(fault.reason, response.status)
        body = read_object(response)
        results = body.get("results") if body else None
        if not isinstance(results, list) or len(results) != len(ids):
            return Unknown("the answer does not have one result per record", response.status)
        codes = [entry.get("result") if isinstance(entry, dict) else None for entry in results]
        return tuple(Deleted(code in ("0", 0) and code is not False, _shown(code, self._envelope)) for code in codes)

    def list_request(self, start: int, number: int, filter_id: str | None = None) -> Request:
        """Build the call for one page of a saved filter, or of the table's default one. Source: [D] CB-list."""
        question: dict[str, Any] = {"start": start, "number": number}
        if filter_id is not None:
            question = {"filter": filter_id, **question}
        return self._envelope.request("GET", PATH, b"record_list", orjson.dumps(question))

    def row_request(self, record_id: RecordId) -> Request:
        """Build the call that shows one record. Source: [D] CB-get."""
        return self._envelope.request("GET", f"{PATH}/detail", b"records", orjson.dumps([record_id]))

    def read_row(self, record_id: RecordId, item: str, response: Response) -> StoredText | None:
        """Read what an item of it holds; None: the answer does not show it, and its codes are not known ([U] apis.md 2.7)."""
        body = read_object(response) if read_fault(response, self._envelope.redactor) is None else None
        results = body.get("results") if body else None
        first = results[0] if isinstance(results, list) and results else None
        rows = first.get("data") if isinstance(first, dict) else None
        row = rows[0] if isinstance(rows, list) and rows else None
        if not isinstance(row, dict) or row.get("_id") != record_id or item not in row:
            return None
        return StoredText(as_text(row[item]))

    def texts_of(self, rows: Sequence[dict[str, Any]], item: str) -> list[tuple[str, int | str]]:
        """Return text and id of the rows that have a text in an item and an id that can be kept."""
        pairs = ((as_text(row.get(item)), self._id_of(row)) for row in rows)
        return [(text, record_id) for text, record_id in pairs if text and record_id]

    def _id_of(self, row: dict[str, Any]) -> RecordId:
        record_id = row.get("_id")
        if isinstance(record_id, str):
            return record_id if self._envelope.redactor.is_clean(record_id) else None
        if not isinstance(record_id, int) or isinstance(record_id, bool):
            return None
        return record_id if 0 < record_id <= MAX_NUMBER else None

    def read_list(self, response: Response) -> Page | Retry | Unknown | Halt:
        """Read one page. Source: [E] CB-qiita."""
        fault = read_fault(response, self._envelope.redactor)
        if fault is not None:
            return fault
        body = read_object(response)
        results = body.get("results") if body else None
        first = results[0] if isinstance(results, list) and results else None
        rows = first.get("records") if isinstance(first, dict) else None
        if not isinstance(first, dict) or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            return Unknown("the list's answer is not as documented", response.status)
        total = first.get("count")
        return Page(tuple(rows), total if isinstance(total, int) and not isinstance(total, bool) else None)


def _shown(code: Any, envelope: Envelope) -> str | None:
    return envelope.redactor(str(code)) if isinstance(code, str | int) else None
