"""What a user asks for, as frozen values: the target with its table, the options of a load, the credentials.

Nothing here reads the environment, a file or a flag (`cli.config` does), and nothing does I/O. A secret is wrapped so that
neither repr, str, format nor pickle can show it. `reveal` is called where a request is built, and where secrets are taken out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, NoReturn, TypeAlias

MIB = 1024 * 1024

AmbiguousPolicy: TypeAlias = Literal["reconcile", "hold", "resend"]
TransportName: TypeAlias = Literal["auto", "session", "lean"]


class Secret:
    """A string that shows itself to nobody but the caller of `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        message = "a secret cannot be pickled"
        raise TypeError(message)


@dataclass(frozen=True, slots=True)
class OzariCredentials:
    """One token is one tenant (apis.md 1.1, [D] OZ-auth)."""

    token: Secret

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What no output may show."""
        return (self.token,)


@dataclass(frozen=True, slots=True)
class CanbusCredentials:
    """Issued per table; all four travel in the body of every call (apis.md 2.1, [D] CB-ovw)."""

    tenant_id: str
    app_id: Secret
    api_key: Secret
    api_secret: Secret

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What no output may show."""
        return (self.app_id, self.api_key, self.api_secret)


Credentials: TypeAlias = OzariCredentials | CanbusCredentials


class CredentialForm(NamedTuple):
    """How credentials are given: variables of the environment, and what makes credentials of their values, in this order.

    Errors of `build`: UsageError for a value that cannot be one.
    """

    variables: tuple[str, ...]
    build: Callable[..., Credentials]


# Each kind of target answers the same questions about itself, and nobody else asks which kind it is:
#
# is_update     lines change records that exist; nothing is created
# is_askable    ambiguous records can be reconciled: by a question, or by a second sending that does no harm
# needs_proof   reconciling rests on the user's claim about the target (`stamp`, `is_unique`), which must be proved first
# asks_first    a resume can ask whether a line was sent before, without harm; the function `asks_first` adds the policy
#
# tests/unit/test_settings.py holds the whole table. Names that a kind does not have (`key`, `stamp`, `table`) are None.


@dataclass(frozen=True, slots=True)
class OzariInsert:
    """One record a line into `POST .../records`."""

    table: str
    key: str | None = None
    stamp: str | None = None
    is_unique: bool = False

    is_update: ClassVar = False

    @property
    def is_askable(self) -> bool:
        """No claim is needed: if no row has the key, the record is not there."""
        return self.stamp is not None or self.key is not None

    @property
    def needs_proof(self) -> bool:
        """The stamp's field may be one that the table does not store as it is."""
        return self.stamp is not None

    @property
    def asks_first(self) -> bool:
        """A stamp is exact; a row with the key may be older than the run."""
        return self.stamp is not None


@dataclass(frozen=True, slots=True)
class OzariUpdate:
    """One record a line into `PATCH .../records/single`. With `match`, lines are flat and these fields become the filters."""

    table: str
    match: tuple[str, ...] = ()

    key: ClassVar[None] = None
    stamp: ClassVar[None] = None
    is_unique: ClassVar = False
    is_update: ClassVar = True
    is_askable: ClassVar = True
    needs_proof: ClassVar = False
    asks_first: ClassVar = False


@dataclass(frozen=True, slots=True)
class CanbusAdd:
    """Many records a request into `POST /api/records`. `user` fills System_Create_User if a line has none."""

    user: str | None = None
    key: str | None = None
    stamp: str | None = None
    is_unique: bool = False

    table: ClassVar[None] = None
    is_update: ClassVar = False

    @property
    def is_askable(self) -> bool:
        """No call finds a record by an item's value. A second sending does, if the item refuses it."""
        return self.is_unique and (self.stamp is not None or self.key is not None)

    @property
    def needs_proof(self) -> bool:
        """An item that allows duplicates would take the second sending."""
        return self.is_askable

    @property
    def asks_first(self) -> bool:
        """A key's value may stand in a row that is older than the run; a stamp cannot."""
        return self.is_unique and self.stamp is not None


TargetSettings: TypeAlias = OzariInsert | OzariUpdate | CanbusAdd

CHANGEABLE = frozenset({"key", "is_unique"})
"""Settings that a resume may give anew, since no record depends on them."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests admitted a second. `per_second` None: the rate is found, beginning at `start_per_second` if that is given."""

    per_second: float | None = None
    start_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """Stop past this many records rejected by the target. All None: the default rule (the first 100, or 1,000 in a row)."""

    count: int | None = None
    percent: float | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """Everything about a load that does not change what is sent, and the limits of what is sent at once.

    None means the target's own default (concurrency: Ozari 32, Canbus 4; ambiguous: reconcile if it can be asked, else hold).
    """

    rate: Rate = Rate()
    burst: int | None = None
    concurrency: int | None = None
    is_ordered: bool = False
    max_lines: int | None = None
    ambiguous: AmbiguousPolicy | None = None
    max_rejects: RejectLimit = RejectLimit()
    max_records: int = 1000
    max_bytes: int = 8 * MIB
    max_line_bytes: int = 16 * MIB
    timeout_seconds: float = 60.0
    settle_seconds: float = 30.0
    patience_seconds: float = 900.0
    base_url: str | None = None
    proxy: str | None = None
    ca_file: str | None = None
    transport: TransportName = "auto"
    """`auto`: lean, or the session if a proxy is named or the installed aiohttp fails lean's self-check."""
    trusts_log: bool = False
    """Go on although log and target contradict each other: one of them was put back, and the user knows."""
    is_kept: bool = True
    """Keep the lines of standard input in the run directory (`--no-keep` turns it off)."""


def asks_first(target: TargetSettings, options: Options) -> bool:
    """Say whether a resume asks the target about each line after the last one that the log knows, before it sends it.

    Only such a resume is safe if the log has lost its end: then lines may have been sent that it does not know.
    """
    return target.asks_first and options.ambiguous in {None, "reconcile"}
