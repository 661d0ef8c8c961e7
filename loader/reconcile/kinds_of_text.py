"""What kinds of characters a text is made of: what a proof by one text says of another. Pure.

A table changes texts by kind: it folds case, trims blanks, loses what its character set lacks, writes numbers in its own form. A
text that was kept proves it for texts of the same kinds, or of fewer, that are no longer.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
WHOLE = re.compile(r"-?(?:0|[1-9]\d*)")
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*")
PLAIN_MARKS = frozenset(string.punctuation) - frozenset("'\"\\<>&%_`")
"""One kind; each of the others is one of its own, since something on the way may give it a meaning."""
WIDE = 0x10000
"""Characters from here on take four bytes in UTF-8, which some tables do not hold."""


def _kind_of(character: str) -> str:
    if character.isascii():
        if character.isdigit():
            return "digit"
        if character.isalpha():
            return "lower" if character.islower() else "upper"
        return "mark" if character in PLAIN_MARKS else f"U+{ord(character):02X}"
    category = unicodedata.category(character)
    script = unicodedata.name(character, "UNNAMED").split()[0]
    width = unicodedata.east_asian_width(character)
    return f"{script} {category} {width}" + (" wide" if ord(character) >= WIDE else "")


_ASCII = {code: _kind_of(chr(code)) for code in range(128)}


class Extent(NamedTuple):
    """The kinds in a text, and its length."""

    kinds: frozenset[str]
    characters: int
    size: int
    """In bytes of UTF-8: some tables count those."""

    def covers(self, other: Extent) -> bool:
        """Say whether a proof by this text holds for the other, too."""
        return other.kinds <= self.kinds and other.characters <= self.characters and other.size <= self.size


def extent_of(text: str) -> Extent:
    """Measure a text."""
    if text.isascii():
        kinds = {_ASCII[code] for code in set(text.encode())}
        size = len(text)
    else:
        kinds = {_kind_of(character) for character in set(text)}
        size = len(text.encode("utf-8", "surrogatepass"))
        kinds |= {f"not {form}" for form in ("NFC", "NFD") if not unicodedata.is_normalized(form, text)}
    kinds |= set(_forms(text))
    return Extent(frozenset(kinds), len(text), size)


def _forms(text: str) -> Iterable[str]:
    if text[:1].isspace():
        yield "blank at the front"
    if text[-1:].isspace():
        yield "blank at the end"
    if NUMBER.fullmatch(text):
        yield "number"
        if not WHOLE.fullmatch(text):
            yield "number in a form of its own"
    elif DATE.fullmatch(text):
        yield "date"
