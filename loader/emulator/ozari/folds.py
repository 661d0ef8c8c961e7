"""What a collation holds equal: a text as it is compared. Pure.

Each fold is what some real collation does; none is right for all. `utf8mb4_general_ci` is case, accents and blanks;
`utf8mb4_unicode_ci` adds width and kana, and takes the voicing marks of kana for accents (はは and ぱぱ are one).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from loader.emulator.switches import Fold

_TO_KATAKANA = {code: code + 0x60 for code in (*range(0x3041, 0x3097), 0x309D, 0x309E)}


def folding(folds: Sequence[Fold]) -> Callable[[Any], Any]:
    """Make the function that says what a text is compared as. What is no text stays as it is."""

    @lru_cache(maxsize=65536)
    def fold_text(text: str) -> str:
        if "width" in folds:
            text = unicodedata.normalize("NFKC", text)
        if "accents" in folds:
            parts = unicodedata.normalize("NFD", text)
            text = "".join(part for part in parts if unicodedata.category(part) != "Mn")
        if "kana" in folds:
            text = text.translate(_TO_KATAKANA)
        if "case" in folds:
            text = text.casefold()
        return text.rstrip(" ") if "blanks" in folds else text

    def fold(value: Any) -> Any:
        return fold_text(value) if isinstance(value, str) else value

    return fold
