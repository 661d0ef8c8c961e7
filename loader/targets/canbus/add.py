"""Canbus add: up to 1,000 records a request into `POST /api/records`.

Source: apis.md part 2. Credentials travel in the body of every call ([D] CB-ovw), so they are encoded once, and no body is
ever shown. The body is that envelope + `"add":[` + the lines' own bytes with commas + `]}`; the user and the stamp go in
front of a line as members.

An answer is read by position, one entry per record, and only if the lengths agree ([I] apis.md 2.3). Whether a request is
atomic is [N], so an answer of either kind must be read rightly: entries of a refused chunk that are not at fault themselves (no
id anywhere, or a code that no page lists) are sent again or asked for, never counted as created or refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
import orjson

from loader.columns import CreatedIds, RecordBlock, Splice
from loader.errors import UsageError
from loader.model import (
    Blocked,
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
    Split,
    Unknown,
    Verdict,
)
from loader.reading.parsing import text_of
from loader.redaction import SHOWN_CHARACTERS
from loader.settings import CanbusAdd, CanbusCredentials
from loader.targets.answers import common_verdict, first_words, has_simple_strings, read_object, words_of
from loader.targets.base import Identity, StoredText
from loader.targets.canbus.api import Envelope, halt_of, is_authentic, is_own, read_metadata
from loader.targets.canbus.records import CanbusRecords
from loader.targets.canbus.results import DUPLICATE, read_results
from loader.targets.stamp_form import EARLIER_FORM, StampForm
from loader.targets.stamps import Stamps
from loader.targets.values import lock_text

USER = "System_Create_User"
MISSING = object()
_data_of, _id_of = attrgetter("data"), attrgetter("id")
MAX_RECORDS = 1000
"""[D] CB-lim."""
PATH = "/api/records"
SPLITTING_STATUSES = frozenset({400, 411, 415, 422})
"""Statuses that refuse a whole request, be it for one record or for the credentials ([D] CB-add-old for 400)."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry of the answer that nearly always comes: a record was created, and has an id that is a string."""

    result: Literal["0"]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=SHOWN_CHARACTERS)]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The answer that nearly always comes."""

    authen: str
    results: list[Entry]


DECODER = msgspec.json.Decoder(Answer)


class CanbusAddShaper:
    """See `base.Shaper`."""

    max_records = MAX_RECORDS
    body_overhead_bytes = len(b'{"add":[]}')

    def __init__(self, settings: CanbusAdd, run_id: str, form: StampForm = EARLIER_FORM) -> None:
        self.settings = settings
        self._key = settings.key
        self._stamps = None if settings.stamp is None else Stamps(settings.stamp, run_id, form)
        self._is_unique = settings.is_unique
        self._user = b"" if settings.user is None else b"{%b:%b," % (orjson.dumps(USER), orjson.dumps(settings.user))
        self.splice = self._splice() if self._user and self._key is None else None

    def shape(self, fields: dict[str, Any], data: bytes, source: int, number: int, offset: int) -> Record | Rejected:
        """Check the user, or fill it in; write the stamp in front, or find the key."""
        user = fields.get(USER, MISSING)
        if user is MISSING:
            if not self._user:
                return Rejected("map", "user", f"the line has no {USER}; --user fills it in")
            data = self._user + data[1:]
        elif not isinstance(user, str) or not user:
            return Rejected("map", "user", f"{USER} is not a login id")
        if self._stamps is not None:
            if self._stamps.field in fields:
                return self._stamps.taken()
            stamp = self._stamps.text(source, number)
            return Record(source, number, offset, self._stamps.write(stamp, data), stamp)
        if self._key is None:
            return Record(source, number, offset, data)
        key = text_of(fields, data, self._key) or None
        # Without --unique nothing is ever asked by the key, so equal ones need not wait for each other.
        lock = lock_text(key) if key is not None and self._is_unique else None
        return Record(source, number, offset, data, key, lock)

    def _splice(self) -> Splice:
        if self._stamps is None:
            return Splice(self._user, (USER,))
        return Splice(self._user, (USER, self._stamps.field), self._stamps.opening, self._stamps.text)


class CanbusAddTarget:
    """See `base.Target`. Holds the credentials in its envelope."""

    duplicate_code = DUPLICATE

    def __init__(self, shaper: CanbusAddShaper, credentials: CanbusCredentials) -> None:
        self.shaper = shaper
        self.headers: Mapping[str, str] = {"Content-Type": "application/json", "Accept": "application/json"}
        self._envelope = Envelope(credentials)
        self._records = CanbusRecords(credentials)
        self._opening, self._closing = self._envelope.around(b"add", b"[", b"]")
        self.body_overhead_bytes = len(self._opening) + len(self._closing)
        self._login = shaper.settings.user
        self._stamp = shaper.settings.stamp

    def encode(self, chunk: Chunk) -> Request:
        """Build the request that adds the chunk's records.

        A chunk in doubt uses a connection of its own. Its answer has no ids, so a stray copy of it could pass for the answer to
        another chunk, and refuse that one's records.
        """
        records = chunk.records
        data = records.data() if isinstance(records, RecordBlock) else b",".join(map(_data_of, records))
        body = b"".join((self._opening, data, self._closing))
        return Request("POST", PATH, body, is_unpooled=chunk.in_doubt)

    def interpret(self, chunk: Chunk, response: Response) -> Verdict:
        """Read the answer. Source: reliability.md 2.3; any 2xx counts, the statuses of failures being [N] (apis.md 2.3)."""
        status = response.status
        if not 200 <= status < 300:
            return self._refusal(response)
        if not response.is_upload_complete:
            return Unknown("the answer came before the request was sent whole", status)
        return self._quick_look(chunk, response) or self._full_look(chunk, response)

    def glance(self, chunks: Sequence[Chunk], responses: Sequence[Response]) -> list[Created | None]:
        """Find nothing: no answer here tells of one new record."""
        del responses
        return [None] * len(chunks)

    def preflight(self) -> Request:
        """Ask for the table's metadata. Source: [D] CB-meta."""
        return self._envelope.metadata_request()

    def read_preflight(self, response: Response) -> Identity | Retry | Halt:
        """Read who we are, and the table's items."""
        return read_metadata(response, self._envelope)

    def delete_request(self, record_id: RecordId, record: Record) -> Request:
        """Build the call that takes a created record back, in the name of the user who created it."""
        return self._records.delete_request([record_id], str(orjson.loads(record.data).get(USER)))

    def stored_request(self, record_id: RecordId) -> Request | None:
        """Build the call that shows what a created record holds; None if it has no stamp."""
        return None if self._stamp is None else self._records.row_request(record_id)

    def stored_text(self, record_id: RecordId, response: Response) -> StoredText | None:
        """Read its stamp; None: the answer does not show it."""
        return None if self._stamp is None else self._records.read_row(record_id, self._stamp, response)

    def is_deleted(self, response: Response) -> bool:
        """Say whether the one record of a delete is gone for certain."""
        answer = self._records.read_delete([None], response)
        return isinstance(answer, tuple) and answer[0].is_deleted

    def _quick_look(self, chunk: Chunk, response: Response) -> Settled | None:
        try:
            answer = DECODER.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        ids = list(map(_id_of, answer.results))
        if answer.authen != "OK" or len(ids) != len(chunk.records) or not response.is_complete:
            return None
        if len(ids) != len(set(ids)):
            return None
        redactor = self._envelope.redactor
        is_clean = redactor.are_free(ids) if has_simple_strings(response.body) else redactor.are_clean(ids)
        return Settled(CreatedIds(ids)) if is_clean else None

    def _full_look(self, chunk: Chunk, response: Response) -> Verdict:
        body = read_object(response)
        if body is None:
            words = first_words(response, self._envelope.redactor) or "it is empty"
            reason = f"the records were probably added, but the answer cannot be read: {words}"
            return Unknown(reason, response.status, is_unreadable=True)
        if not is_authentic(body):
            words = first_words(response, self._envelope.redactor)
            reason = f"the answer does not say that the credentials were accepted: {words}"
            return Unknown(reason, response.status, is_unreadable=not is_own(body))
        results = body.get("results")
        if not isinstance(results, list) or len(results) != len(chunk.records):
            return Unknown("the answer does not have one result per record", response.status)
        return read_results(
            chunk, results, self._has_one_user, self._envelope.redactor, is_stamped=self._stamp is not None
        )

    def _has_one_user(self, chunk: Chunk) -> bool:
        """Say whether a fault of the user is one of the configuration: one user for all, and no single line's own."""
        users = {orjson.loads(record.data).get(USER) for record in chunk.records}
        return len(users) == 1 and (len(chunk.records) > 1 or users == {self._login})

    def _refusal(self, response: Response) -> Verdict:
        common = common_verdict(response, self._envelope.redactor)
        if common is not None:
            return common
        text = words_of(response, self._envelope.redactor)
        if response.status in SPLITTING_STATUSES:
            return Split(str(response.status), text, must_ask_first=True)
        halt = halt_of(response, text)
        if halt is not None and not is_own(read_object(response)):
            return Blocked(str(response.status), text)
        return halt or Unknown(
            f"the target answered {response.status}, which is not documented: {text}", response.status
        )


def check_text(option: str, text: str | None) -> None:
    """See that what an option gives is some text on one line; None: it was not given. Errors: UsageError."""
    if text is not None and (not text.strip() or not text.isprintable()):
        raise UsageError(
            f"{option} {text!r} is empty or holds a control character", "give the name as the target shows it"
        )


def check_item(option: str, item: str | None) -> None:
    """See that an item's id that an option gives can be one. Errors: UsageError."""
    check_text(option, item)
    if item == USER:
        raise UsageError(f"{option} does not name an item", "give the id of an item of the table")
