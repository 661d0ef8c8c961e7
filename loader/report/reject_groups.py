"""The rejected records of a run by their code: how many, which line was the first, and what was said of it. Pure.

Memory is bounded: a target may invent a code for every record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from loader.redaction import SHOWN_CHARACTERS, escape
from loader.report import wording

MAX_CODES = 50
OTHER = "other"
"""Stands for all codes past the first 50."""
SHOWN = 5
"""Groups in the text of a report; `--json` has them all."""


@dataclass(frozen=True, slots=True)
class RejectGroup:
    """The rejected records of one code. `source`, `line` and `message` are those of the first."""

    code: str
    count: int
    source: int
    line: int
    message: str


class RejectGroups:
    """Gathers rejects, which come by source and line."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, int, str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, code: str, source: int, line: int, message: str) -> None:
        """Count a reject."""
        if code not in self._counts and len(self._counts) >= MAX_CODES:
            code = OTHER
        if code not in self._counts:
            self._counts[code] = 0
            self._first[code] = (source, line, message[:SHOWN_CHARACTERS])
        self._counts[code] += 1

    def groups(self) -> tuple[RejectGroup, ...]:
        """Return the groups, the largest first."""
        order = sorted(self._counts, key=lambda code: -self._counts[code])
        return tuple(RejectGroup(code, self._counts[code], *self._first[code]) for code in order)


def text_of(groups: Iterable[RejectGroup], *, has_sources: bool) -> str:
    """Write the largest groups, one a line: `160,002 json  line 1: unexpected end of data`."""
    rows = list(groups)
    counts = [wording.count(group.count) for group in rows[:SHOWN]]
    width = max(map(len, counts), default=0)
    code_width = max((len(escape(group.code)) for group in rows[:SHOWN]), default=0)
    lines = [
        f"  {count:>{width}} {escape(group.code):<{code_width}}  "
        f"{f'source {group.source}, ' if has_sources else ''}line {group.line:,}: {escape(group.message)}"
        for count, group in zip(counts, rows, strict=False)
    ]
    if len(rows) > SHOWN:
        lines.append(f"  and {len(rows) - SHOWN} more codes; --json has them all")
    return "\n".join(["Rejected", *lines]) if lines else ""
