"""The stamp: a key of the loader's own, unguessable and derived from the line, so that the target can be asked about any record.

Shape: `<run id>-<line>`; in a run of several sources `<run id>-<source>x<line>`. Both numbers have as many digits in every stamp
of a run, so that the stamp that is proved on the first record proves the field's room for all. Lower-case letters and digits,
at most 32 characters (cli.md). The run id is random, so no other run and no user's key can be equal to it.

Runs that an earlier version began have numbers without leading zeros, and the first source's number is left out. They keep that
form: what was written can be asked for by nothing else.
"""

from __future__ import annotations

import re

import orjson

from loader.errors import SourceError, UsageError
from loader.model import Rejected
from loader.targets.stamp_form import EARLIER_FORM, StampForm

RUN_ID = re.compile(r"[a-z0-9]{1,16}")


class Stamps:
    """Makes the stamps of one run for one field. `field` must have been checked by the target."""

    __slots__ = ("_end", "_first", "_form", "_later", "field", "opening")

    def __init__(self, field: str, run_id: str, form: StampForm = EARLIER_FORM) -> None:
        if not RUN_ID.fullmatch(run_id):
            raise UsageError(
                "the run id is not one", "it stands in run.json: lower-case letters and digits, at most 16"
            )
        self.field = field
        self.opening = b'{%b:"' % orjson.dumps(field)
        line = f"%0{form.line_digits}d" if form.is_even else "%d"
        source = f"%0{form.source_digits}d" if form.source_digits else "%d"
        self._first = f"{run_id}-{line}"
        self._later = f"{run_id}-{source}x{line}"
        self._form = form
        self._end = 10**form.line_digits if form.is_even else 2**63

    def text(self, source: int, number: int) -> str:
        """Return the stamp of a line. Errors: SourceError past the last line that has one."""
        if number >= self._end:
            raise SourceError(
                f"the source has more than {self._end - 1:,} lines, the most that a run with stamps can take",
                "load the lines behind that one in a run of their own: `tail -n +N FILE | loader ... - --run NEW`",
            )
        if source or self._form.source_digits:
            return self._later % (source, number)
        return self._first % number

    def write(self, stamp: str, data: bytes) -> bytes:
        """Put a stamp in front of the members of an object that has some."""
        return self.opening + stamp.encode() + b'",' + data[1:]

    def taken(self) -> Rejected:
        """Refuse a line that has a value in the stamp's field already."""
        return Rejected("map", "stamp", "the line already has a value in the stamp's field")
