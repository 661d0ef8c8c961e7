"""What all of Ozari's calls share: names, headers, the preflight, and what a refusal means.

Source: apis.md part 1. Names are checked here because the server checks them too ([D] OZ-err, OZ-ins), and because a table's
name becomes part of a path. Errors carry free text and no machine code ([D] OZ-err), so statuses decide, and the text only if
one status has two meanings: 404 is "no match" with `matched` and "no table" without it ([D] OZ-upd, OZ-err; apis.md part
5.3).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from loader.errors import UsageError
from loader.model import Blocked, Halt, Rejected, Request, Response, Retry, Settled, Unknown, Verdict
from loader.redaction import Redactor
from loader.settings import OzariCredentials
from loader.targets.answers import common_reading, common_verdict, error_text, first_words, read_object, words_of
from loader.targets.base import Identity

PRIMARY_KEY = "fid"
NAME = re.compile(r"[A-Za-z0-9_]+")
"""[D] OZ-err, OZ-ins. Used with fullmatch: `$` would let a trailing line feed pass."""
MAX_NAME_CHARACTERS = 64
"""The longest identifier of the common databases; also keeps a path short."""
MAX_KNOWN_NAMES = 4096
"""Field names remembered as good. A table has some hundreds at most; a source with endless names must not fill the memory."""
NO_TABLE = "Table not found"
STATUSES_OF_ANYBODY = frozenset({401, 403, 404, 405})
"""Statuses that the vendor gives ([D] OZ-err), and that firewalls, proxies and login pages give as well."""
REFUSING_STATUSES = frozenset({400, 409, 411, 415, 422})
"""Statuses that say: this record, as it is, was looked at and refused (reliability.md 2.3)."""


class HiddenHeaders(dict[str, str]):
    """Headers that show their names alone."""

    def __repr__(self) -> str:
        return f"HiddenHeaders({', '.join(self)})"


class FieldNames:
    """Checks field names. Good ones are remembered, so that a record of known fields costs one set operation."""

    __slots__ = ("_forbidden", "_known")

    def __init__(self, *forbidden: str) -> None:
        self._forbidden = frozenset(forbidden)
        self._known: set[str] = set()

    def are_good(self, names: Collection[str]) -> bool:
        """Say whether none of them is forbidden or malformed."""
        return self.first_bad(names) is None

    def first_bad(self, names: Collection[str]) -> str | None:
        """Return the first name that is forbidden or malformed, or None."""
        if self._known.issuperset(names):
            return None
        for name in names:
            if name in self._forbidden or not NAME.fullmatch(name):
                return name
        if len(self._known) + len(names) <= MAX_KNOWN_NAMES:
            self._known.update(names)
        return None


def check_table(table: str) -> None:
    """See that a table's name can be one. Errors: UsageError."""
    if not table:
        raise UsageError("no table is named", "add --table NAME")
    if len(table) > MAX_NAME_CHARACTERS or not NAME.fullmatch(table):
        raise UsageError(
            f"{table!r} is not a table name", "a table name is made of letters, digits and _, for example tcust"
        )


def check_field(option: str, name: str | None, *, may_be_primary_key: bool = False) -> None:
    """See that a field's name that an option gives can be one; None: the option was not given. Errors: UsageError."""
    if name is None:
        return
    if len(name) > MAX_NAME_CHARACTERS or not NAME.fullmatch(name):
        raise UsageError(f"{option} {name!r} is not a field name", "a field name is made of letters, digits and _")
    if name == PRIMARY_KEY and not may_be_primary_key:
        raise UsageError(
            f"{option} {PRIMARY_KEY} is impossible", "the target sets its primary key itself; name another field"
        )


def bad_name(name: str, redactor: Redactor) -> Rejected:
    """Refuse a record for a field name. Source: [D] OZ-ins, the two 400s that this spares."""
    if name == PRIMARY_KEY:
        return Rejected("map", "fid", f"the primary key {PRIMARY_KEY} cannot be set")
    return Rejected(
        "map", "field_name", f'"{redactor(name)}" is not a field name: letters, digits and underscores only'
    )


def build_headers(credentials: OzariCredentials) -> Mapping[str, str]:
    """Build the headers that every request carries. Source: [D] OZ-auth."""
    return HiddenHeaders(
        {
            "Authorization": f"Bearer {credentials.token.reveal()}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
    )


def records_path(table: str) -> str:
    """Return the path that inserts. Source: [D] OZ-ins."""
    return f"/integration/tables/{table}/records"


def is_same_table(body: Mapping[str, Any], table: str) -> bool:
    """Say whether an answer names the table that was asked; the case of its letters may differ."""
    named = body.get("table")
    return isinstance(named, str) and named.casefold() == table.casefold()


def read_success(response: Response, table: str, redactor: Redactor, done: str) -> dict[str, Any] | Verdict:
    """Return the body of a 2xx that says success for this table, else what it means. `done`: what was probably done."""
    body = read_object(response)
    if body is None:
        words = first_words(response, redactor) or "it is empty"
        return Unknown(f"{done}, but the answer cannot be read: {words}", response.status, is_unreadable=True)
    success = body.get("success")
    if success is False and isinstance(body.get("error"), str):
        return Settled((Rejected("target", str(response.status), error_text(body, response.status, redactor)),))
    if success is not True:
        words = first_words(response, redactor)
        reason = f"the answer says neither success nor an error: {words}"
        return Unknown(reason, response.status, is_unreadable=not is_own(body))
    if not is_same_table(body, table):
        return Unknown("the answer names another table", response.status, is_mismatch="table" in body)
    return body


def is_own(body: Mapping[str, Any] | None) -> bool:
    """Say whether a body has the form of the API's own answers. Source: [D] OZ-err, OZ-intro: each has `success`."""
    return body is not None and isinstance(body.get("success"), bool)


def refusal(response: Response, table: str, redactor: Redactor) -> Verdict:
    """Say what an answer other than 200 and 201 means for one record's request."""
    common = common_verdict(response, redactor)
    if common is not None:
        return common
    if response.status in STATUSES_OF_ANYBODY and not is_own(read_object(response)):
        return Blocked(str(response.status), words_of(response, redactor))
    halt = halt_of(response, table, redactor)
    if halt is not None:
        return halt
    if response.status in REFUSING_STATUSES:
        text = words_of(response, redactor)
        return Settled((Rejected("target", str(response.status), text),))
    words = words_of(response, redactor)
    return Unknown(f"the target answered {response.status}, which is not documented: {words}", response.status)


def halt_of(response: Response, table: str, redactor: Redactor) -> Halt | None:
    """Return why nothing can succeed, for the statuses that say so."""
    text = words_of(response, redactor)
    if response.status in (401, 403):
        return Halt(
            "credentials",
            f"the target refuses the token ({response.status}: {text})",
            "check OZARI_TOKEN; a token belongs to one company",
        )
    if response.status == 404 and NO_TABLE in text:
        return Halt("table", f"there is no table {table}", "check --table, and that the token's company has it")
    if response.status in (404, 405):
        return Halt(
            "table",
            f"the target does not know this call ({response.status}: {text})",
            "check --base-url: it ends before /integration",
        )
    return None


# --- preflight ----------------------------------------------------------------------------------------------------------


def preflight() -> Request:
    """Build the token probe. Source: [D] OZ-auth."""
    return Request("GET", "/integration/auth/test")


def read_preflight(response: Response, redactor: Redactor) -> Identity | Retry | Halt:
    """Read the token probe's answer."""
    common = common_reading(response, redactor)
    if common is not None:
        return common
    body = read_object(response)
    text = words_of(response, redactor)
    is_foreign = not is_own(body)
    if response.status in (404, 405):
        return Halt(
            "table",
            f"this is not Ozari's API ({response.status}: {text})",
            "check --base-url: it ends before /integration",
            is_foreign=is_foreign,
        )
    if response.status in (400, 401, 403) or (response.status == 200 and body and body.get("success") is False):
        message = f"the target refuses the token ({response.status}: {text})"
        return Halt("credentials", message, "check OZARI_TOKEN", is_foreign=is_foreign)
    company = body.get("company") if body else None
    if response.status == 200 and body and body.get("success") is True and isinstance(company, str) and company:
        return Identity(redactor(company), f"ozari:{redactor.clean(company)}")
    return Retry(f"the token probe brought no company (HTTP {response.status}: {text})", is_foreign=response.is_whole)
