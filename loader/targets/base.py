"""What a target is: pure functions from records to requests and from answers to verdicts.

A target knows the vendor's wire format and nothing else: no clock, no loop, no I/O, no retry. Every method is total: `shape`,
`interpret` and the `read_*` functions never raise, for any line, any status and any bytes. One record may need more than one
request over its life (a look-up, a re-send, later an upsert's insert): a target encodes one request at a time and keeps no
state between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from loader.columns import Splice
from loader.model import (
    Chunk,
    Created,
    Finding,
    Halt,
    Record,
    Rejected,
    Request,
    Response,
    Retry,
    Undecided,
    Unknown,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a Canbus table, as its metadata tells it. Items without an id are left out."""

    id: str
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the target says we are. `name` is shown (company or tenant); `binding` ties the run to it and holds no secret.

    `items`: the table's items, if the preflight's answer lists them.
    """

    name: str
    binding: str
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class LookupAnswer:
    """What one look-up taught: one finding per record asked for, same order; or why it taught nothing."""

    findings: tuple[Finding, ...]


class Lookup(Protocol):
    """A harmless question about ambiguous records. Contract: it creates nothing and changes no value."""

    max_records: int

    def encode(self, records: Sequence[Record]) -> Request:
        """Ask for 1 to `max_records` records."""
        ...

    def read(self, records: Sequence[Record], response: Response) -> LookupAnswer | Retry | Unknown | Halt:
        """Read the answer. Unknown here means: this answer settles nothing, ask again later."""
        ...


class Capability(Protocol):
    """A harmless question: can the table be queried, and where does it end now?"""

    def encode(self) -> Request:
        """Build the question."""
        ...

    def read(self, response: Response) -> QueryEndpoint | NoQueryEndpoint | Retry | Halt:
        """Read the answer. Everything that says neither is Retry."""
        ...


Presence: TypeAlias = Literal["there", "gone", "foreign", "unknown"]
"""What a question for a row by its id found; `foreign`: the row is not the run's."""


class CreatedRow(Protocol):
    """A harmless question: is a row that the run created still there?"""

    def encode(self, record_id: int) -> Request:
        """Ask for the row."""
        ...

    def read(self, record_id: int, response: Response) -> Presence | Retry | Halt:
        """Read the answer."""
        ...


Side: TypeAlias = Literal["old", "new"]
"""Before and after an update was applied."""


class UpdateLookup(Protocol):
    """A harmless question about an update that touches its own filters: how many rows match before it, and after it."""

    def is_needed(self, record: Record) -> bool:
        """Say whether an update touches its own filters. Any other may simply be sent again."""
        ...

    def conclude(self, old_rows: int, new_rows: int) -> Finding:
        """Say what the numbers of rows mean: Found, it was applied; Absent, it was not."""
        ...

    def encode(self, record: Record, side: Side) -> Request:
        """Ask how many rows match the record's filters: as they stand (old), or with its new values in them (new)."""
        ...

    def read(self, record: Record, side: Side, response: Response) -> int | Undecided | Retry | Unknown | Halt:
        """Read the number of rows. Undecided: the target refuses the question and will again."""
        ...


@dataclass(frozen=True, slots=True)
class QueryEndpoint:
    """The target can be asked by query. `highest_fid`: of the table now, 0 if it is empty, None if it cannot be read."""

    highest_fid: int | None


@dataclass(frozen=True, slots=True)
class NoQueryEndpoint:
    """The target cannot be asked by query; `reason` may be shown."""

    reason: str


class Shaper(Protocol):
    """Makes records of lines. It needs no credentials, so a dry run and a repair can do without."""

    max_records: int
    """Records in one request at most."""
    body_overhead_bytes: int
    """As of `Target`, without the credentials that a body may hold."""
    splice: Splice | None
    """How good lines become records without a look at each; None if `shape` must see every one."""

    def shape(self, fields: dict[str, Any], data: bytes, source: int, number: int, offset: int) -> Record | Rejected:
        """Check a decoded line and make the record that travels.

        `data` is the line's object, stripped of white space; `parsing.parse` made `fields` of it.
        """
        ...


class Target(Protocol):
    """One kind of load: from its shaper's records to requests, and from answers to verdicts."""

    headers: Mapping[str, str]
    """Sent with every request; may hold a secret."""
    body_overhead_bytes: int
    """Bytes of a body around its records' data, for one record; each further record adds one comma."""

    @property
    def shaper(self) -> Shaper:
        """What makes its records."""
        ...

    def encode(self, chunk: Chunk) -> Request:
        """Build the request that applies the chunk."""
        ...

    def interpret(self, chunk: Chunk, response: Response) -> Verdict:
        """Say what an answer means for the chunk."""
        ...

    def glance(self, chunks: Sequence[Chunk], responses: Sequence[Response]) -> Sequence[Created | None]:
        """Say which chunks, each of one record, were created for certain, without a closer look; None: `interpret` it.

        One entry per chunk, same order. It is what most answers of a turn need, all in one go.
        """
        ...

    def preflight(self) -> Request:
        """Build a harmless authenticated request that proves the credentials."""
        ...

    def read_preflight(self, response: Response) -> Identity | Retry | Halt:
        """Read its answer. Everything that is neither proof nor refusal is Retry."""
        ...
