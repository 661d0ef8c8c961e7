r"""Backslashes that an export has doubled: `\\n` instead of `\n`, `\\"` instead of `\"`. Pure.

psql's \copy and COPY TO, `mysql` without --raw and INTO OUTFILE escape the backslashes of a JSON text once more. A line with
a quote in a text is no JSON then; one with a line feed in a text still is, and means something else. So a single line that
fails in that way, and is good with single backslashes, speaks of the whole file, as long as no line has a single escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from loader.reading.sniff_form import Form
from loader.reading.sniff_json import good_object

_RUN = re.compile(rb"\\+")
_DOUBLED = re.compile(rb'(?<!\\)\\\\(?=["nrtbfu/])')

FORM = Form(
    "JSON whose backslashes are doubled",
    r"sed 's/\\\\/\\/g'",
    note="or export it anew: psql -AtXc 'SELECT ...' instead of \\copy, mysql -N --raw",
)


def is_mended_by_halving(line: bytes) -> bool:
    """Say whether a line that is no JSON becomes a good object when each pair of backslashes is made one."""
    return b'\\\\"' in line and not good_object(line) and good_object(line.replace(b"\\\\", b"\\"))


def escapes_singly(lines: Iterable[bytes]) -> bool:
    """Say whether a line has a single escape: whoever wrote it doubles no backslashes."""
    return any(len(run) % 2 for line in lines if b"\\" in line for run in _RUN.findall(line))


def doubled_form(lines: Iterable[bytes]) -> Form | None:
    """Name a file with doubled backslashes, by lines that cannot be read otherwise."""
    proof = 0
    for number, line in enumerate(lines, 1):
        if b"\\" not in line:
            continue
        if any(len(run) % 2 for run in _RUN.findall(line)):
            return None  # whoever wrote it escapes singly
        if not proof and is_mended_by_halving(line):
            proof = number
    return FORM._replace(evidence=f"line {proof:,}") if proof else None


def looks_doubled(lines: Iterable[bytes]) -> int | None:
    r"""Return the number of the first line that may hold `\\\\n` for a line feed, if nothing speaks against it."""
    first = None
    for number, line in enumerate(lines, 1):
        if b"\\" not in line:
            continue
        if any(len(run) % 2 for run in _RUN.findall(line)) or len(_DOUBLED.findall(line)) < len(_RUN.findall(line)):
            return None
        first = first or number
    return first
