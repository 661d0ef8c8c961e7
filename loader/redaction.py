"""Foreign text made safe to show, and without secrets, in whatever form they could stand in it. Pure.

Text that came from a server, a source or a file name passes through `escape` before it reaches a terminal or a log: an escape
sequence in an error message must not move a cursor, and a line feed must not forge a log line. JSON that is printed passes
through `plain_json`, which does the same and loses nothing.
"""

from __future__ import annotations

import binascii
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from loader.settings import Secret

SHOWN_CHARACTERS = 200
"""Foreign text is cut here: a message is to be read, not to be archived (reliability.md 5)."""
TELLING_CHARACTERS = 12
"""A shorter secret (an app id may be a number) is also part of honest ids, which may not be lost for it."""

# Cc: control characters. Cf: invisible ones, among them the bidirectional overrides that make text read as other text.
# Cs: lone surrogates, which no UTF-8 stream takes. Zl, Zp: line separators.
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
JOINERS = "\u200c\u200d"
"""Format characters that ordinary words of some languages need; they cannot reorder anything."""


# What JSON may hold raw and a terminal may obey: DEL, the C1 controls (U+009B begins a sequence as ESC [ does), the line
# separators, and the marks that turn the direction of what follows.
OBEYED = re.compile(
    rb"\x7f|\xc2[\x80-\x9f\xad]|\xd8\x9c|\xe2\x80[\x8b\x8e\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"
)
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""Bytes that percent-encoding leaves alone everywhere (RFC 3986 2.3)."""


def escape(text: str, limit: int | None = SHOWN_CHARACTERS) -> str:
    """Make foreign text safe to show on one line; cut it at `limit` characters."""
    is_cut = limit is not None and len(text) > limit
    shown = text[:limit] if is_cut else text
    if not shown.isprintable():
        shown = "".join(_escape_one(character) for character in shown)
    return shown + "..." if is_cut else shown


def printable(text: str) -> str:
    r"""Write the name of a file as text that UTF-8 can hold: bytes that are none stand as `\xe9`."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # other lone surrogates than those of a file name
        return text.encode("utf-8", "backslashreplace").decode()


def all_printable(value: Any) -> Any:
    """Do the same with every text of a JSON value."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {all_printable(key): all_printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [all_printable(item) for item in value]
    return value


def _escape_one(character: str) -> str:
    if unicodedata.category(character) in HIDDEN_CATEGORIES and character not in JOINERS:
        return character.encode("unicode_escape").decode("ascii")
    return character


def plain_json(data: bytes) -> bytes:
    """Escape what a terminal would obey. The JSON means what it meant."""
    return OBEYED.sub(_escape_bytes, data) if OBEYED.search(data) else data


def _escape_bytes(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


class Redactor:
    """Makes foreign text fit to show: without secrets, on one line, cut. Holds secrets; shows none.

    `min_characters`: secrets that are shorter are left alone.
    """

    __slots__ = ("_forms", "_telling")

    def __init__(self, secrets: Iterable[Secret] = (), min_characters: int = 1) -> None:
        texts = (secret.reveal() for secret in secrets)
        self._forms = secret_forms(text for text in texts if len(text) >= min_characters)
        self._telling = tuple(form for form in self._forms if len(form) >= TELLING_CHARACTERS)

    def __call__(self, text: str) -> str:
        """Return the text as it may be shown."""
        return escape(self.clean(text))

    def clean(self, text: str) -> str:
        """Return the text without secrets, whole."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text

    def is_clean(self, text: str) -> bool:
        """Say whether foreign text may be kept as it is: it is printable, short, and holds no secret."""
        return self.are_clean((text,))

    def are_clean(self, texts: Sequence[str]) -> bool:
        """Say the same of many texts at once."""
        is_short = max(map(len, texts), default=0) <= SHOWN_CHARACTERS
        return is_short and all(map(str.isprintable, texts)) and self.are_free(texts)

    def are_free(self, texts: Sequence[str]) -> bool:
        """Say whether texts that are printable and short hold no secret."""
        if not self._telling:
            return True
        joined = "".join(texts)
        return not any(form in joined for form in self._telling)


def secret_forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """List the forms in which secrets could stand in a text: as they are, and as JSON, percent-encoding and base64 write them.

    The longest come first: a form that is part of a longer one must not be replaced before it, or the rest would stay.
    """
    forms: set[str] = set()
    for secret in secrets:
        quoted = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        quoted |= {form.replace("/", "\\/") for form in quoted}
        twice = {json.dumps(form, ensure_ascii=False)[1:-1] for form in quoted}
        shown = {form.replace("\\", "\\\\") for form in quoted | {secret}}  # as Python's repr shows a text or bytes
        # If the text around has both kinds of quotes, repr escapes one of them.
        twice |= shown | {form.replace("'", "\\'") for form in shown}
        data = secret.encode("utf-8", "surrogatepass")
        upper = "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in data)
        lower = "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02x}" for byte in data)
        percent = {upper, lower, upper.replace("%2F", "/"), lower.replace("%2f", "/")}
        forms |= {secret} | quoted | twice | percent | {form for form in _base64_forms(data) if len(form) > 5}
    return tuple(sorted(forms, key=len, reverse=True))


def _base64_forms(data: bytes) -> set[str]:
    """Encode bytes on their own, and as the middle of longer data: only the characters that depend on no neighbour are kept."""
    forms = set()
    for shift in range(3):
        text = binascii.b2a_base64(bytes(shift) + data, newline=False).decode()
        own = text[(shift * 8 + 5) // 6 : (shift + len(data)) * 8 // 6]
        forms |= {own, own.replace("+", "-").replace("/", "_")} | ({text, text.rstrip("=")} if not shift else set())
    return forms
