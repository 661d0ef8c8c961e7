"""Which updates may be of one row: the lock of a set of filters.

A row can be told apart by equal filters only as well as a database tells values apart, and that is not by their bytes: case,
width, kana, marks, blanks, ligatures, the form of a number or of a date may not count, and a number equals each text that begins
with it. So a lock is as loose as the loosest of the usual collations. Too loose a lock only puts two updates one after the other;
too strict a one could let an older value win. What cannot be told apart at all (null, a boolean) is left out of the lock;
then it is a lock of other fields, and `delivery.locks` says what follows from that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from loader.row_lock import NUMBER, NUMBER_AND_MORE, NUMBER_TEXT, TEXT, UNTOLD, ZERO, RowLock

SUPPLEMENTARY = 0x10000
"""From here on older collations of MySQL hold all characters equal."""
NOT_TOLD_APART = "\N{REPLACEMENT CHARACTER}"
IGNORED = frozenset({"Cc", "Cf", "Mn", "Mc", "Me", "Zs", "Zl", "Zp"})
"""Categories of blanks, marks and what has no shape."""
UNKNOWN_CATEGORIES = frozenset({"Cn", "Co", "Cs"})
LETTERS = {
    "ß": "s", "ẞ": "s", "æ": "a", "œ": "o", "ð": "d", "þ": "t", "ŋ": "n", "ĸ": "k", "ˀ": "", "ー": "", "゠": "-",
}  # fmt: skip
"""Letters that some collation holds equal to others, and whose names do not say so. A long vowel of kana has no letter."""
SAME_LETTERS = {"u": "i", "y": "i", "w": "v"}
"""Equal in the Danish (ü, y), Lithuanian (i, y) and Swedish (v, w) collations."""
ASCII = {code: chr(code).lower() for code in range(33, 127)}
ASCII = {code: SAME_LETTERS.get(letter, letter) for code, letter in ASCII.items()}
BLANKS: dict[int, None] = dict.fromkeys([*range(33), 127])
TRANSLATION: dict[int, str | None] = {**ASCII, **BLANKS}
RUNS = re.compile(r"a[ae]+|o[oe]+|i[ie]+|ss+|th")
"""ä is ae in German, å is aa in Danish, ß is ss or s, þ is th: of each run its first letter counts."""
NUMERIC = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?")
DATE = re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})(?![0-9])")
OTHER_FORMS = re.compile(r"(?<=LETTER )(?:SMALL|FINAL|DOTLESS) | WITH .*")
"""Words in a character's name by which it differs from its base letter."""


def row_lock(filters: Mapping[str, Any], new: Mapping[str, Any]) -> RowLock:
    """Return the lock of an update: of the row that it finds, and of the one that it makes where it changes its own filters."""
    old_side = _side(filters)
    by_name = {name.casefold(): value for name, value in new.items()}
    if by_name.keys().isdisjoint(map(str.casefold, filters)):
        fields, text, prefix, forms = old_side
        return RowLock(fields, (text,), (prefix,), forms)
    new_side = _side({name: by_name.get(name.casefold(), value) for name, value in filters.items()})
    forms = old_side[3] | new_side[3] | (UNTOLD if old_side[0] != new_side[0] else 0)
    texts, prefixes = dict.fromkeys((old_side[1], new_side[1])), dict.fromkeys((old_side[2], new_side[2]))
    return RowLock(old_side[0], tuple(texts), tuple(prefixes), forms)


def _side(filters: Mapping[str, Any]) -> tuple[str, str, str, int]:
    """Return the fields that tell rows apart, their values as text, the same by numeric beginnings, and the values' forms."""
    names: list[str] = []
    texts: list[str] = []
    prefixes: list[str] = []
    forms = 0
    pairs = filters.items() if len(filters) == 1 else sorted(filters.items(), key=lambda pair: pair[0].casefold())
    for name, value in pairs:
        if value is None or isinstance(value, bool | dict | list):
            continue
        text, prefix, form = _value_lock(value)
        names.append(name.casefold())
        texts.append(text)
        prefixes.append(prefix)
        forms |= form
    return "\n".join(names), "\n".join(texts), "\n".join(prefixes), forms


def _value_lock(value: Any) -> tuple[str, str, int]:
    """Return a value as it is compared as text, as it is compared as a number, and its form."""
    if not isinstance(value, str):
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        text = repr(number + 0.0)  # -0.0 is 0.0
        return text, text, NUMBER if number else NUMBER | ZERO
    folded = fold(value)
    found = NUMERIC.match(folded)
    if found is None:
        return folded, folded, TEXT
    number_text = repr(float(found[0]) + 0.0)
    if found.end() == len(folded):
        return number_text, number_text, NUMBER_TEXT
    if date := DATE.match(value.strip()):
        year, month, day = map(int, date.groups())
        number_text = repr(float(10_000 * year + 100 * month + day))
        return number_text, number_text, NUMBER_TEXT
    return folded, number_text, NUMBER_AND_MORE


def fold(text: str) -> str:
    """Return what is left of a text when all that some collation leaves out of account is gone."""
    is_plain = text.isascii()
    folded = (
        text.translate(TRANSLATION) if is_plain else "".join(map(_fold_character, unicodedata.normalize("NFKD", text)))
    )
    return RUNS.sub(lambda run: run[0][0], folded)


@lru_cache(maxsize=8192)
def _fold_character(character: str) -> str:
    """Fold a character that cannot be decomposed any further."""
    if character.isascii():
        return TRANSLATION[ord(character)] or ""
    category = unicodedata.category(character)
    if category in IGNORED:
        return ""
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    if ord(character) >= SUPPLEMENTARY or category in UNKNOWN_CATEGORIES:
        return NOT_TOLD_APART
    lower = character.lower()
    if lower in LETTERS:
        return LETTERS[lower]
    base = OTHER_FORMS.sub("", unicodedata.name(lower, "")).replace("KATAKANA ", "HIRAGANA ")
    try:
        letter = unicodedata.lookup(base)
    except KeyError:
        letter = lower
    return (TRANSLATION[ord(letter)] or "") if letter.isascii() else letter.casefold()
