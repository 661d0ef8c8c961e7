"""Windows for lines that were intended and that the log has forgotten: made anew from the source. Pure but for who reads it.

Where the lines lie between others that are known, they are just those. Behind the last line that is known, as many are taken as
the lost entries can have held: a line too many costs a question, a line too few a double record. Where nobody can say how many,
it is all that the source has; unless the target can be asked about every line before it is sent, which a resume does by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from loader.checkpoint.repair.salvage import Salvage
from loader.checkpoint.windows import Gap
from loader.model import Window


class Again(Protocol):
    """The sources of a run, read again in windows."""

    def between(self, gap: Gap) -> Iterable[Window]:
        """Return windows for just these lines. Errors: SourceError where they are not there."""
        ...

    def behind(self, source: int, line: int, offset: int, end: int | None) -> Iterable[Window]:
        """Return windows from a line on, up to line `end` or the end of the source."""
        ...


def fill(
    salvage: Salvage,
    again: Again,
    *,
    sources: int,
    window_lines: int,
    least_ends: Mapping[int, int],
    intended_ends: Mapping[int, int],
    is_asked_first: bool,
) -> list[int]:
    """Bring windows in for everything that may have been sent; return the sources where a resume must ask on by itself.

    `least_ends`: for sources that were read to their end, the lines below which all were intended. `intended_ends`: those that
    `checkpoint.intended` has.
    """
    left_to_asking = []
    for gap in gaps_of(salvage):
        for window in again.between(gap):
            salvage.fill(window)
    begun = [
        source for source, source_state in salvage.sources.items() if source_state.windows or len(source_state.folds)
    ]
    last_begun = max([*begun, *(source for source, _ in salvage.orphans), *intended_ends], default=0)
    for source in range(sources):
        line, offset = salvage.end_of(source)
        count = windows_behind(salvage, source)
        end: int | None = max(least_ends.get(source, 1), intended_ends.get(source, 1), least_end(salvage, source))
        if count is not None:
            end = max(end or 1, line + count * window_lines)
        elif is_asked_first:
            left_to_asking.append(source)
        else:
            end = None
        if end is None or end > line:
            for window in again.behind(source, line, offset, end):
                salvage.fill(window)
        was_ended = source < last_begun or source in least_ends
        if end is not None and salvage.end_of(source)[0] >= end and not was_ended:
            break  # the next source is not begun before the end of this one
    return left_to_asking


def gaps_of(salvage: Salvage) -> list[Gap]:
    """Return the lines that were intended and that nothing holds any more, as far as their range is known."""
    found = []
    for source in sorted({*salvage.sources, *(head.source for head in salvage.lost_heads)}):
        source_state = salvage.source_state(source)
        found += source_state.gaps(source)
        heads = [head for head in salvage.lost_heads if head.source == source and head.lines[1] > source_state.end]
        if heads:
            last = max(heads, key=lambda head: head.lines[1])
            found.append(Gap(source, source_state.end, last.lines[1], source_state.end_offset, last.bytes[1]))
    return found


def windows_behind(salvage: Salvage, source: int) -> int | None:
    """Return how many windows may have been intended behind the last line of a source that is known; None: any number."""
    last = salvage.intents.get(source, -1)
    is_open_ended = last < 0 and (salvage.has_unknown_folds or any(hole.is_base for hole in salvage.holes))
    if salvage.is_endless or is_open_ended:
        return None
    return sum(hole.max_intents for hole in salvage.holes if hole.first_n > last)


def least_end(salvage: Salvage, source: int) -> int:
    """Return a line below which all lines are known to have been intended."""
    return max([1, *(line + 1 for at, line in salvage.orphans if at == source)])
