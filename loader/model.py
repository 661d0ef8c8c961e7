"""The nouns: what travels from the source to the log, and the two closed sets.

This file knows nothing of HTTP libraries, disks or clocks. What is made once per record is a NamedTuple, which costs a
third of a frozen dataclass; what every request makes is a frozen Struct, which costs a tenth (a request may carry a single
record); what is rarer is a frozen dataclass.

A line is identified everywhere by its source's index (from 0) and its physical number in that source (from 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from loader.errors import StopReason
from loader.row_lock import Lock

OK_STATUS = (200, 201)

new_tuple = tuple.__new__
"""The constructor of a NamedTuple is a Python function; tuple's own makes the same at half of the cost."""


class Record(NamedTuple):
    """A line decoded, checked and shaped for its target.

    `data` is what travels: raw bytes cut out of the line, never re-encoded. Ozari insert and Canbus add: the JSON object
    of fields, with stamp and user written in. Ozari update: the whole body `{"filters":{...},"fields":{...}}`.
    `key` is the text of the key or stamp by which the target can be asked. `lock` is shared by records that may not be in
    flight together (equal keys, equal filters); None where that cannot happen.
    """

    source: int
    number: int
    offset: int
    data: bytes
    key: str | None = None
    lock: Lock | None = None


class Chunk(Struct, frozen=True, gc=False):
    """The records of one request. `in_doubt`: an earlier request may have applied them."""

    records: Sequence[Record]
    in_doubt: bool = False


class Request(Struct, frozen=True, gc=False):
    """One HTTP request, without the headers that all requests of the target share. The body may hold secrets.

    `is_unpooled`: it gets a connection of its own. No answer to an earlier request can be taken for its own there, nor its
    own for that to a later one.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    body: bytes = b""
    is_unpooled: bool = False

    def __repr__(self) -> str:
        return f"Request(method={self.method!r}, path={self.path!r})"


class Response(Struct, frozen=True, gc=False):
    """An answer whose status was read from a response object.

    `headers` finds a value by its name in lower case. `body` is complete only where `is_complete`; it is cut at a cap, by a lost
    connection or by a bad encoding. `is_upload_complete` is False where the answer came before the request's body was written
    whole.
    `seconds` is the time from the first byte sent to the last byte read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_complete: bool = True
    is_upload_complete: bool = True
    seconds: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Say whether both sides said all that they had to say."""
        return self.is_complete and self.is_upload_complete


@dataclass(frozen=True, slots=True)
class NoResponse:
    """An attempt that brought no response object. `is_sent` is False only where no byte of it left the process.

    `error` is safe to show. `fatal_hint` is set where no later attempt can do better (a certificate that does not verify), and
    `fatal_reason` is the stop's reason then. `poor_hint`: a later attempt hardly does better (nobody listens, no such host).
    """

    is_sent: bool
    error: str
    fatal_hint: str | None = None
    fatal_reason: StopReason = "patience"
    poor_hint: str | None = None


Stage: TypeAlias = Literal["parse", "map", "target"]
RecordId: TypeAlias = int | str | None


# --- outcomes: how a record ended (durable, in the log) -----------------------------------------------------------------


class Created(NamedTuple):
    """The record exists in the target. `id` is None where the target did not say it or the answer was lost."""

    id: RecordId


class Updated(NamedTuple):
    """One row matched and has the new values. `is_unchanged`: the target says that it had them before."""

    is_unchanged: bool = False


class Rejected(NamedTuple):
    """The record was refused for good. `code` is a word, an HTTP status or the target's record code, always as text."""

    stage: Stage
    code: str
    message: str


class Ambiguous(NamedTuple):
    """The record may exist or not, and nobody could be asked, or the answer settled nothing.

    `is_final`, as a part of a verdict: nothing that can be asked or sent would tell more.
    """

    reason: str
    is_final: bool = False


Outcome: TypeAlias = Created | Updated | Rejected | Ambiguous


# --- verdicts: what an answer means for the chunk (transient) -----------------------------------------------------------


class Resend(NamedTuple):
    """One record of an answered chunk that was certainly not applied, because another of the chunk was refused."""

    code: str
    message: str


class Settled(Struct, frozen=True, gc=False):
    """One entry per record, same order, same length. Ambiguous and Resend entries go on to reconciling and re-sending."""

    outcomes: Sequence[Outcome | Resend]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retry:
    """Certainly not applied; send again later. `after_seconds` is what Retry-After asked for, already clamped to >= 0.

    `is_foreign`: the answer is not the API's, so that asking once more hardly brings another one.
    """

    reason: str
    after_seconds: float | None = None
    is_throttled: bool = False
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """Certainly not applied, and the chunk as a whole is at fault: halve it.

    A chunk of one becomes Rejected("target", code, message). `is_too_large` (413) teaches a ceiling. `must_ask_first`: the
    same answer is also given to wrong credentials, so the preflight must answer well before anything is concluded.
    """

    code: str
    message: str
    is_too_large: bool = False
    must_ask_first: bool = False


@dataclass(frozen=True, slots=True)
class Blocked:
    """Refused, but not in the API's own form: somebody on the way did it (a firewall, a login page), and the API was not asked.

    Whether the record, the credentials or the way is at fault, the preflight has to tell.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """May have been applied; go to reconcile. `status` is the HTTP status where one was read.

    `is_mismatch`: the answer belongs to another request; the connection must not be used again and two in a row stop the run.
    `is_refusal`: a second sending was refused, perhaps because the first one was applied.
    `is_unreadable`: it is not the API's own; a row of such is a fault of the way, not of a record.
    """

    reason: str
    status: int | None = None
    is_mismatch: bool = False
    is_refusal: bool = False
    is_unreadable: bool = False


@dataclass(frozen=True, slots=True)
class Halt:
    """Nothing will succeed; stop the run. `may_be_applied`: this very request may have been applied (a redirect).

    `is_foreign`: the answer is not in the API's form, so that somebody on the way may have given it, for a while.
    """

    reason: StopReason
    message: str
    hint: str
    may_be_applied: bool = False
    is_foreign: bool = False


Verdict: TypeAlias = Settled | Retry | Split | Blocked | Unknown | Halt


# --- findings: what a look-up says of one ambiguous record --------------------------------------------------------------


class Found(NamedTuple):
    """The target holds `rows` rows that answer to the record; `ids` where it told them (then len(ids) == rows)."""

    ids: tuple[int | str, ...]
    rows: int


class Absent(NamedTuple):
    """The target holds no such row now."""


class Undecided(NamedTuple):
    """The look-up cannot tell."""

    reason: str


Finding: TypeAlias = Found | Absent | Undecided


# --- counts: the tally of a run -----------------------------------------------------------------------------------------


class Counts(Struct, omit_defaults=True):
    """How many lines ended how, over all executions of a run; a fold has its own in the log, by these names.

    `lines` counts physical lines that were reached. `unchanged` is part of `updated`, `ids_unknown` part of `created`.
    """

    lines: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    ambiguous: int = 0
    skipped_blank: int = 0
    ids_unknown: int = 0

    @property
    def settled(self) -> int:
        """Count the lines whose fate is written down; in a finished run it equals `lines`."""
        return self.created + self.updated + self.rejected + self.ambiguous + self.skipped_blank

    def merge(self, other: Counts) -> None:
        """Add all of another's."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Window(NamedTuple):
    """A range of physical lines [first, end) of one source, and its bytes [offset, end_offset).

    `crc` is the crc32 of those raw bytes. `records`: how many are to be sent; the others are rejected here or blank.
    """

    source: int
    first: int
    end: int
    offset: int
    end_offset: int
    crc: int
    records: int = 0
    blanks: tuple[int, ...] = ()
