"""What is left of a damaged checkpoint.settled: folds that are whole, and those that are lost. Pure; judges nothing.

A fold is whole where its head and its body are sealed and stand together. Numbers begin at 0 with the header and go up by one a
line, so a missing fold is noticed by its number wherever a later one is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from loader.checkpoint.folds import FoldRef, ref_of
from loader.checkpoint.format import Body, Fold, Header
from loader.checkpoint.repair.survey import Scrap, add_scrap, looks_sealed, pieces


class LostFold(NamedTuple):
    """A fold that cannot be read; its head may still say which lines it held."""

    n: int
    head: Fold | None = None
    offset: int = 0
    end: int = 0  # where its body ended


@dataclass
class FoldSurvey:
    """What is there."""

    size: int = 0
    has_header: bool = False
    refs: dict[int, FoldRef] = field(default_factory=dict)  # by the number of the head, in the order of the file
    lost: list[LostFold] = field(default_factory=list)
    scraps: list[Scrap] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    good_end: int = 0  # where the last whole fold ends
    shaped: int = 0  # bad lines that look sealed, where no line is sealed by this run

    @property
    def is_ordered(self) -> bool:
        """Say whether all that is whole stands in its place, so that reading from the front finds it."""
        return (
            self.has_header
            and not self.lost
            and not self.repeats
            and all(s.offset >= self.good_end for s in self.scraps)
        )


def survey_folds(blocks: Iterable[bytes], seed: int, name: str) -> FoldSurvey:
    """Look at every line. Errors: LogDamaged where a later version of loader wrote in it."""
    found = FoldSurvey()
    heads: dict[int, LostFold] = {}
    waiting: tuple[int, Fold] | None = None  # head, and where it ends
    highest = -1
    for offset, data, entry in pieces(blocks, seed, name):
        found.size = end = offset + len(data)
        if entry is None:
            found.shaped += looks_sealed(data)
            add_scrap(found.scraps, offset, end)
        elif entry.n <= highest:
            found.repeats.append(offset)
        elif isinstance(entry, Header):
            found.has_header, found.good_end = True, end
        elif isinstance(entry, Fold):
            heads[entry.n] = LostFold(entry.n, entry, offset, end + entry.body)
            waiting = (end, entry)
        elif isinstance(entry, Body) and waiting and _fits(waiting, entry, offset, len(data)):
            ref = ref_of(waiting[1], offset)
            is_whole = data[-1:] == b"\n"  # else its line feed was hit, and it is read from memory
            found.refs[waiting[1].n] = ref if is_whole else ref._replace(position=None, kept=data + b"\n")
            found.good_end = end
        highest = max(highest, entry.n if entry else -1)
    found.shaped *= highest < 0
    found.lost = [heads.get(n, LostFold(n)) for n in range(1, highest + 1, 2) if n not in found.refs]
    return found


def _fits(head: tuple[int, Fold], body: Body, offset: int, size: int) -> bool:
    """Say whether a body is the one of a head; a line feed may be lost between them, and one behind."""
    return body.n == head[1].n + 1 and 0 <= offset - head[0] <= 1 and 0 <= head[1].body - size <= 1
