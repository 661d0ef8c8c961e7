"""Ozari insert: one record a request into `POST /integration/tables/:table/records`.

Source: apis.md 1.3. The body is `{"fields":` + the line's own bytes + `}`; nothing is encoded again. A stamp goes in front as one
more member. By the answer's echo an answer that belongs to another request is found out (`echo`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import orjson

from loader.columns import Splice
from loader.model import (
    OK_STATUS,
    Chunk,
    Created,
    Halt,
    Record,
    RecordId,
    Rejected,
    Request,
    Response,
    Retry,
    Settled,
    Unknown,
    Verdict,
    new_tuple,
)
from loader.reading.parsing import text_of
from loader.redaction import Redactor
from loader.settings import OzariCredentials, OzariInsert
from loader.targets.base import Identity
from loader.targets.echo import compare
from loader.targets.ozari import api as ozari
from loader.targets.stamp_form import EARLIER_FORM, StampForm
from loader.targets.stamps import Stamps
from loader.targets.values import lock_text

OPENING, CLOSING = b'{"fields":', b"}"
MAX_ID = 2**63 - 1
"""The largest integer of the common databases; more is no auto-increment id."""
MAX_ID_DIGITS = len(str(MAX_ID))


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The documented answer; `fields` stays raw. Decoding into it costs a third of decoding everything."""

    success: bool
    table: str
    inserted_id: Annotated[int, msgspec.Meta(gt=0, le=MAX_ID)] = msgspec.field(name="insertedId")
    fields: msgspec.Raw


DECODER = msgspec.json.Decoder(Answer)


class OzariInsertShaper:
    """See `base.Shaper`."""

    max_records = 1
    body_overhead_bytes = len(OPENING) + len(CLOSING)

    def __init__(self, settings: OzariInsert, run_id: str, redactor: Redactor, form: StampForm = EARLIER_FORM) -> None:
        self.settings = settings
        self._redactor = redactor
        self._key = settings.key
        self._stamps = None if settings.stamp is None else Stamps(settings.stamp, run_id, form)
        # Neither the stamp's field nor the primary key is ever known as good, so the one set operation looks for them too.
        self._names = ozari.FieldNames(ozari.PRIMARY_KEY, *([settings.stamp] if settings.stamp else []))
        self.splice = self._splice() if self._key is None else None

    def shape(self, fields: dict[str, Any], data: bytes, source: int, number: int, offset: int) -> Record | Rejected:
        """Check names; write the stamp in front, or find the key."""
        bad = self._names.first_bad(fields.keys())
        if bad is not None:
            if self._stamps is not None and bad == self._stamps.field:
                return self._stamps.taken()
            return ozari.bad_name(bad, self._redactor)
        if not fields:
            return Rejected("map", "empty", "the record has no fields")
        if self._stamps is not None:
            stamp = self._stamps.text(source, number)
            return Record(source, number, offset, self._stamps.write(stamp, data), stamp)
        if self._key is not None:
            key = text_of(fields, data, self._key) or None
            return Record(source, number, offset, data, key, None if key is None else lock_text(key))
        return new_tuple(Record, (source, number, offset, data, None, None))

    def _splice(self) -> Splice:
        if self._stamps is None:
            return Splice(b"{", (), names_ok=self._names.are_good)
        return Splice(b"{", (), self._stamps.opening, self._stamps.text, self._names.are_good)


class OzariInsertTarget:
    """See `base.Target`."""

    def __init__(self, shaper: OzariInsertShaper, credentials: OzariCredentials) -> None:
        self.shaper = shaper
        self.headers = ozari.build_headers(credentials)
        self.body_overhead_bytes = shaper.body_overhead_bytes
        self._redactor = Redactor(credentials.secrets)
        self._table = shaper.settings.table
        self._path = ozari.records_path(self._table)
        self._identity = shaper.settings.stamp or shaper.settings.key
        """The field by which an answer's echo is known to be the record's."""

    def encode(self, chunk: Chunk) -> Request:
        """Build the request for the chunk's one record."""
        (record,) = chunk.records
        return Request("POST", self._path, OPENING + record.data + CLOSING)

    def interpret(self, chunk: Chunk, response: Response) -> Verdict:
        """Read the answer. Source: reliability.md 2.3; 201 by [D] OZ-err, 200 accepted as well (apis.md part 5.5)."""
        record = chunk.records[0]
        if response.status not in OK_STATUS:
            return ozari.refusal(response, self._table, self._redactor)
        if not response.is_upload_complete:
            return Unknown("the answer came before the request was sent whole", response.status)
        (created,) = self.glance((chunk,), (response,))
        return self._full_look(record, response) if created is None else Settled((created,))

    def glance(self, chunks: Sequence[Chunk], responses: Sequence[Response]) -> list[Created | None]:
        """Find the answers that are what nearly always comes: as documented, with the very bytes that were sent."""
        table, decode = self._table, DECODER.decode
        found: list[Created | None] = []
        for chunk, response in zip(chunks, responses, strict=True):
            created = None
            if response.status in OK_STATUS and response.is_complete and response.is_upload_complete:
                try:
                    answer = decode(response.body)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    pass
                else:
                    if answer.success and answer.table == table and bytes(answer.fields) == chunk.records[0].data:
                        created = new_tuple(Created, (answer.inserted_id,))
            found.append(created)
        return found

    def preflight(self) -> Request:
        """Ask who the token belongs to."""
        return ozari.preflight()

    def read_preflight(self, response: Response) -> Identity | Retry | Halt:
        """Read the company."""
        return ozari.read_preflight(response, self._redactor)

    def _full_look(self, record: Record, response: Response) -> Verdict:
        body = ozari.read_success(response, self._table, self._redactor, "the record was probably created")
        if not isinstance(body, dict):
            return body
        echo = body.get("fields")
        if not isinstance(echo, dict):
            return Settled((Created(read_id(body.get("insertedId"))),))
        found = compare(orjson.loads(record.data), echo, self._identity if record.key is not None else None)
        if found.is_mismatch:
            return Unknown("the answer belongs to another record", response.status, is_mismatch=True)
        return Settled((Created(read_id(body.get("insertedId"))),), found.changed)


def read_id(value: Any) -> RecordId:
    """Read an auto-increment id; None if there is none ([D] OZ-ins: `number | null`, and when it is null is [N])."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_ID_DIGITS:
        value = int(value)
    # Databases say 0 if a table has no auto-increment column; that is no id.
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_ID else None
