"""Ozari update: one record a request into `PATCH /integration/tables/:table/records/single`.

Source: apis.md 1.4. A line is `{"filters":{...},"fields":{...}}`, or with `--match` flat, and cut in two as raw bytes. A
record's data is the whole body. Exactly one row must match: none is a 404 with `matched`, several are a 409, and both reject
the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from loader.columns import Splice
from loader.model import (
    Chunk,
    Created,
    Halt,
    Record,
    Rejected,
    Request,
    Response,
    Retry,
    Settled,
    Unknown,
    Updated,
    Verdict,
)
from loader.reading.parsing import cut, members
from loader.redaction import Redactor
from loader.settings import OzariCredentials, OzariUpdate
from loader.targets.answers import error_text, read_object
from loader.targets.base import Identity
from loader.targets.echo import compare
from loader.targets.ozari import api as ozari
from loader.targets.row_locks import row_lock
from loader.targets.values import is_equal

BODY = b'{"filters":%b,"fields":%b}'
PARTS = frozenset({"filters", "fields"})
SHAPE = 'an update is {"filters":{...},"fields":{...}}; for flat lines use --match'


class OzariUpdateShaper:
    """See `base.Shaper`."""

    max_records = 1
    splice: Splice | None = None
    body_overhead_bytes = 0

    def __init__(self, settings: OzariUpdate, redactor: Redactor) -> None:
        self.settings = settings
        self._redactor = redactor
        self._match = settings.match
        self._filter_names = ozari.FieldNames()
        self._field_names = ozari.FieldNames(ozari.PRIMARY_KEY)  # [D] OZ-upd: allowed in filters, refused in fields

    def shape(self, fields: dict[str, Any], data: bytes, source: int, number: int, offset: int) -> Record | Rejected:
        """Check both halves of a line; cut a flat one."""
        parts = self._split(fields, data) if self._match else _read_parts(fields, data)
        if isinstance(parts, Rejected):
            return parts
        filters, new, body = parts
        fault = self._fault_of(filters, new)
        if fault is not None:
            return fault
        return Record(source, number, offset, body, lock=row_lock(filters, new))

    def _split(self, fields: dict[str, Any], data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes] | Rejected:
        filters = {name: fields[name] for name in self._match if name in fields}
        if len(filters) < len(self._match):
            missing = ", ".join(name for name in self._match if name not in fields)
            return Rejected("map", "empty", f"the line has no value to match by: {missing}")
        new = {name: value for name, value in fields.items() if name not in filters}
        return filters, new, BODY % cut(data, self._match)

    def _fault_of(self, filters: dict[str, Any], new: dict[str, Any]) -> Rejected | None:
        for part, what in ((filters, "filters"), (new, "fields")):
            if not part:
                return Rejected("map", "empty", f"the update has no {what}")
        bad = self._filter_names.first_bad(filters.keys()) or self._field_names.first_bad(new.keys())
        if bad is not None:
            return ozari.bad_name(bad, self._redactor)
        for name, value in filters.items():
            if isinstance(value, dict | list):
                return Rejected("map", "object", f"the filter {name} is no single value")
        return None


class OzariUpdateTarget:
    """See `base.Target`."""

    def __init__(self, shaper: OzariUpdateShaper, credentials: OzariCredentials) -> None:
        self.shaper = shaper
        self.headers = ozari.build_headers(credentials)
        self.body_overhead_bytes = shaper.body_overhead_bytes
        self._redactor = Redactor(credentials.secrets)
        self._table = shaper.settings.table
        self._path = ozari.records_path(self._table) + "/single"

    def encode(self, chunk: Chunk) -> Request:
        """Build the request for the chunk's one record."""
        (record,) = chunk.records
        return Request("PATCH", self._path, record.data)

    def interpret(self, chunk: Chunk, response: Response) -> Verdict:
        """Read the answer. `matched` tells "no row" from "no table" (apis.md 1.4)."""
        (record,) = chunk.records
        if response.status in (404, 409):
            body = read_object(response)
            has_matched = body is not None and "matched" in body
            if chunk.in_doubt and (has_matched or response.status == 409):
                text = error_text(body, response.status, self._redactor)
                return Unknown(f"sent twice; the second time it was refused: {text}", response.status, is_refusal=True)
            if response.status == 404 and has_matched:
                return Settled((Rejected("target", "404", error_text(body, 404, self._redactor)),))
        if response.status not in (200, 201):
            return ozari.refusal(response, self._table, self._redactor)
        if not response.is_upload_complete:
            return Unknown("the answer came before the request was sent whole", response.status)
        return self._success(record, response)

    def glance(self, chunks: Sequence[Chunk], responses: Sequence[Response]) -> list[Created | None]:
        """Find nothing: no answer here tells of one new record."""
        del responses
        return [None] * len(chunks)

    def preflight(self) -> Request:
        """Ask who the token belongs to."""
        return ozari.preflight()

    def read_preflight(self, response: Response) -> Identity | Retry | Halt:
        """Read the company."""
        return ozari.read_preflight(response, self._redactor)

    def _success(self, record: Record, response: Response) -> Verdict:
        body = ozari.read_success(response, self._table, self._redactor, "the row was probably updated")
        if not isinstance(body, dict):
            return body
        matched, updated, echo = body.get("matched"), body.get("updated"), body.get("fields")
        if isinstance(matched, bool) or matched != 1:
            return Unknown("the answer does not say that one row matched", response.status)
        changed: tuple[str, ...] = ()
        if isinstance(echo, dict):
            found = compare(orjson.loads(record.data)["fields"], echo, None)
            if found.is_mismatch:
                return Unknown("the answer belongs to another record", response.status, is_mismatch=True)
            changed = found.changed
        # [D] OZ-upd: `updated` is 0 if the row had these values already.
        return Settled((Updated(is_unchanged=not isinstance(updated, bool) and updated == 0),), changed)


def _read_parts(fields: dict[str, Any], data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes] | Rejected:
    """Take a nested line apart; its body is rebuilt from raw pieces, so that white space and order do not travel."""
    filters, new = fields.get("filters"), fields.get("fields")
    if fields.keys() != PARTS or not isinstance(filters, dict) or not isinstance(new, dict):
        return Rejected("map", "object", SHAPE)
    raw = {member.name: data[member.value_start : member.value_end] for member in members(data)}
    return filters, new, BODY % (raw["filters"], raw["fields"])


def touches_its_filters(record: Record) -> bool:
    """Say whether an update, once applied, may no longer match its own row: then it may not simply be sent again."""
    body = orjson.loads(record.data)
    return any(
        name.casefold() == filtered.casefold() and not is_equal(value, wanted)
        for name, value in body["fields"].items()
        for filtered, wanted in body["filters"].items()
    )
