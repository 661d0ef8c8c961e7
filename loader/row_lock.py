"""The noun of what two records may not share while they are in flight. Pure."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

NUMBER, ZERO, NUMBER_TEXT, NUMBER_AND_MORE, TEXT, UNTOLD = (1 << bit for bit in range(6))
"""Forms of the filters' values: a number; one that is 0; a text that is a number or date; one that begins with a number; any
other text; and one that the update changes into a value that tells no row apart."""


class RowLock(NamedTuple):
    """The lock of an update. Two updates may be of one row if they share a text.

    `fields`: those whose values tell rows apart; only locks of equal fields can be compared. `texts`: the values of the row that
    is sought, and those that it has afterwards if they differ. `numbers`: the same by the numbers that values begin with.
    `forms`: of all the values.
    """

    fields: str
    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    forms: int


Lock: TypeAlias = str | RowLock
