"""Field values as text: how two of them are compared, and when a lax server may hold two for the same.

Two strengths. `as_text` is exact: what a key is, and what a look-up's row must equal byte for byte. `lock_text` is as loose as a
database's collation may be (case, accents, spaces, the form of a number). Too loose a lock only puts two records one after the
other; too strict a one could lose an update.
"""

from __future__ import annotations

import unicodedata
from typing import Any

NUMBER_STARTS = frozenset("+-.0123456789")
MAX_EXACT_FLOAT = 1e15
"""Below it every whole number is one float, so that 5.0 may be written as 5."""


def as_text(value: Any) -> str | None:
    """Return a decoded scalar as text; None for null, arrays and objects, which are no text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        is_whole = value.is_integer() and abs(value) < MAX_EXACT_FLOAT
        return str(int(value)) if is_whole else repr(value)
    return None


def is_equal(one: Any, other: Any) -> bool:
    """Say whether two values are equal as text; arrays and objects, as values."""
    text = as_text(one)
    if text is None:
        return bool(one == other)
    return text == as_text(other)


def is_alike(one: Any, other: Any) -> bool:
    """Say whether two values may be the same one before and after a target stored it."""
    return lock_text(one) == lock_text(other)


def lock_text(value: Any) -> str:
    """Return the text under which a value is equal to all that a lax server may hold equal to it."""
    text = as_text(value)
    if text is None:
        return ""
    text = text.strip()
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(character for character in decomposed if not unicodedata.combining(character))
    if text[:1] in NUMBER_STARTS:
        try:
            return repr(float(text))
        except ValueError:
            pass
    return text.casefold()
