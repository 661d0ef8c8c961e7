"""What a user asks for, as frozen values: the target with its table, the options of a load, the credentials.

Nothing here reads the environment, a file or a flag (`config` does) and nothing does I/O. A secret is wrapped so that neither
repr, str, format nor pickle can show it; `reveal` is called only where a request is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

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


@dataclass(frozen=True, slots=True)
class CanbusCredentials:
    """Issued per table; all four travel in the body of every call (apis.md 2.1, [D] CB-ovw)."""

    tenant_id: str
    app_id: Secret
    api_key: Secret
    api_secret: Secret


Credentials: TypeAlias = OzariCredentials | CanbusCredentials


@dataclass(frozen=True, slots=True)
class OzariInsert:
    """One record a line into `POST .../records`."""

    table: str
    key: str | None = None
    stamp: str | None = None
    is_unique: bool = False


@dataclass(frozen=True, slots=True)
class OzariUpdate:
    """One record a line into `PATCH .../records/single`. With `match`, lines are flat and these fields become the filters."""

    table: str
    match: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CanbusAdd:
    """Many records a request into `POST /api/records`. `user` fills System_Create_User where a line has none."""

    user: str | None = None
    key: str | None = None
    stamp: str | None = None
    is_unique: bool = False


TargetSettings: TypeAlias = OzariInsert | OzariUpdate | CanbusAdd


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second admitted. `per_second` None: found by itself, beginning at `start_per_second` where given."""

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

    None means the target's own default (concurrency: Ozari 32, Canbus 4; ambiguous: reconcile where it can be asked, else hold).
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
    """`auto`: lean where the fixed rate asked for is beyond what the session can send."""
    is_kept: bool = True
    """Keep the lines of standard input in the run directory (`--no-keep` turns it off)."""
