"""The last line of a source, if it has no line end: it may have been cut off, and be completed later."""

from __future__ import annotations

from typing import Protocol

from loader.errors import SourceError
from loader.model import Rejected
from loader.reading.format import Format
from loader.reading.lines import Block

_CUT_CODES = frozenset({"json", "utf8"})
"""What a line may be refused for if its end is missing."""


class _Named(Protocol):
    name: str
    format: Format


def check_ending(source: _Named, block: Block) -> None:
    """See that a last line without a line end is whole. Errors: SourceError.

    A line that is no JSON may be the first half of one. Refused, it would be final, and its other half would change the source.
    """
    what = f"has more than the longest accepted line's bytes ({block.too_long_bytes:,})"
    if block.lines:
        refusal = source.format.decode(block.lines[-1])[0]
        if not isinstance(refusal, Rejected) or refusal.code not in _CUT_CODES:
            return
        what = f"is no JSON ({refusal.message})"
    number = block.number + max(0, len(block.lines) - 1)
    raise SourceError(
        f"{source.name} breaks off in line {number:,}, which has no line end and {what}; the lines before it are loaded",
        "when the source is complete, repeat the command with it: that line is read again."
        " If it is complete, give the line its line end: it is rejected then",
    )
