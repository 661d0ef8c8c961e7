"""What every answer has in common, whichever target sent it: statuses that mean the same everywhere, bodies, texts, Retry-After.

Every function is total: no status, header or byte makes one raise. Foreign text leaves here only through a `Redactor`, which
takes the target's secrets out of it (a server or a proxy may echo a request) and makes it safe to show.
A status alone says what a request did; the body is read only if the status leaves a choice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from loader.model import Halt, Response, Retry, Split, Unknown, Verdict
from loader.redaction import Redactor

MAX_RETRY_AFTER_SECONDS = 1e9
"""Thirty years: a longer one is no number to reckon with. How long a run really waits is decided by `retry` and `rate`."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BACKSLASH, DELETE = map(ord, "\\\x7f")
SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
# The two forms with a zone (RFC 9110 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT". The third is
# "Sun Nov  6 08:49:37 1994". Read by hand: strptime follows the locale, and email.utils brings a socket with it.
ZONED_DATE = re.compile(r"[A-Za-z]{3,9}, ([0-9]{1,2})[ -]([A-Za-z]{3})[ -]([0-9]{4}|[0-9]{2}) ([0-9:]{8}) (?:GMT|UTC)")
C_DATE = re.compile(r"[A-Za-z]{3} ([A-Za-z]{3}) +([0-9]{1,2}) ([0-9:]{8}) ([0-9]{4})")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)
LOOKED_BYTES = 16 * 1024
"""Of a page's body, for its first words."""
MARGIN_CHARACTERS = 4096
"""Left out at a cut: there half a secret could stand, which no redactor knows."""


def error_text(body: Mapping[str, Any] | None, status: int, redactor: Redactor) -> str:
    """Return the error text of an answer, or words that say there is none."""
    for name in ("error", "message"):
        text = body.get(name) if body else None
        if isinstance(text, str) and text.strip():
            return redactor(text)
    return no_words(status)


def no_words(status: int) -> str:
    """Say that there is no text."""
    return f"HTTP {status} without an error text"


def words_of(response: Response, redactor: Redactor) -> str:
    """Return what an answer says: the error text of the API's own, else the type and the first words of the page."""
    text = error_text(read_object(response), response.status, redactor)
    return text if text != no_words(response.status) else first_words(response, redactor) or text


def first_words(response: Response, redactor: Redactor) -> str:
    """Return the type and the first words of a body, without its tags; empty if it has no words."""
    text = response.body[:LOOKED_BYTES].decode("utf-8", "replace")
    words = redactor.clean(" ".join(TAGS.sub(" ", text).split()))
    if len(response.body) > LOOKED_BYTES:
        words = words[:-MARGIN_CHARACTERS]
    if 10 * text.count("\ufffd") > len(text):
        encoding = redactor(response.headers.get("content-encoding", ""))
        words = f"{len(response.body)} bytes that are no text" + (f" (content-encoding {encoding})" if encoding else "")
    kind = redactor(response.headers.get("content-type", "").partition(";")[0].strip()) or "no content type"
    return f"{kind}: {redactor(words)}" if words else ""


def answered(response: Response, redactor: Redactor) -> str:
    """Say which status came, and with which words."""
    words, status = words_of(response, redactor), response.status
    return f"the target answered {status}" + (f": {words}" if words != no_words(status) else "")


def has_simple_strings(body: bytes) -> bool:
    """Say whether the strings of a JSON text are all printable ASCII, as a text without escapes has them; False: look at each.

    A control character in a string of JSON must be written as an escape; DEL alone need not.
    """
    return body.isascii() and BACKSLASH not in body and DELETE not in body


def read_object(response: Response) -> dict[str, Any] | None:
    """Return the body where it is a complete JSON object, else None."""
    if not response.is_complete:
        return None
    try:
        value = orjson.loads(response.body.removeprefix(BYTE_ORDER_MARK))
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def common_verdict(response: Response, redactor: Redactor) -> Verdict | None:
    """Return what a status means for any request that changes something; None if the target has to say.

    Source: reliability.md 2.3. A 503 is no promise that nothing was applied; nor is a 408, which may even belong to another
    request (an idle connection's).
    """
    status = response.status
    if 300 <= status < 400:
        return redirect(response, may_be_applied=True)
    if status == 413:
        return Split("413", "the target says that the request is too large", is_too_large=True)
    if status == 429:
        return throttled(response)
    if status == 408 or status >= 500:
        return Unknown(answered(response, redactor), status)
    return None


def common_reading(response: Response, redactor: Redactor) -> Retry | Halt | None:
    """Return what a status means for a request that changes nothing; None if the reader has to say."""
    status = response.status
    if 300 <= status < 400:
        return redirect(response, may_be_applied=False)
    if status == 429:
        return throttled(response)
    if status == 408 or status >= 500:
        return Retry(answered(response, redactor), retry_after_seconds(response.headers))
    return None


def redirect(response: Response, *, may_be_applied: bool) -> Halt:
    """Stop on a redirect: following one could carry credentials to a stranger and turn a POST into a GET."""
    return Halt(
        "redirect",
        f"the target answered with a redirect ({response.status})",
        "the base URL is probably not the API's own; check --base-url (scheme, host, path)",
        may_be_applied,
    )


def throttled(response: Response) -> Retry:
    """Wait: the target says that requests come too fast."""
    return Retry("throttled", retry_after_seconds(response.headers), is_throttled=True)


# --- Retry-After --------------------------------------------------------------------------------------------------------


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how long Retry-After asks to wait, at least 0.0; None if it is missing or cannot be read.

    A date is measured against the answer's own Date, so that no clock of ours is believed; without one a date says nothing.
    """
    value = headers.get("retry-after", "").strip()
    if SECONDS.fullmatch(value):
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    until = read_date(value)
    sent = read_date(headers.get("date", "").strip())
    if until is None or sent is None:
        return None
    return min(max((until - sent).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


def read_date(text: str) -> datetime | None:
    """Read an HTTP date in any of its three forms; None if it is none."""
    if found := ZONED_DATE.fullmatch(text):
        day, month, year, clock = found.groups()
    elif found := C_DATE.fullmatch(text):
        month, day, clock, year = found.groups()
    else:
        return None
    full_year = int(year) if len(year) == 4 else int(year) + (1900 if int(year) >= 70 else 2000)
    try:
        hour, minute, second = (int(part) for part in clock.split(":"))
        return datetime(full_year, MONTHS.index(month.lower()) + 1, int(day), hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
