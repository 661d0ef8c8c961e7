"""The stamp: a key of the loader's own, unguessable and derived from the line, so that the target can be asked about any record.

Shape: `<run id>-<line>` for the first source, `<run id>-<source>x<line>` for later ones; lower-case letters and digits, at
most 32 characters (cli.md). The run id is random, so no other run and no user's key can be equal to it.
"""

from __future__ import annotations

import re

import orjson

from loader.errors import UsageError
from loader.model import Rejected

RUN_ID = re.compile(r"[a-z0-9]{1,16}")


class Stamps:
    """Makes the stamps of one run for one field. `field` must have been checked by the target."""

    __slots__ = ("_prefix", "field", "opening")

    def __init__(self, field: str, run_id: str) -> None:
        if not RUN_ID.fullmatch(run_id):
            raise UsageError(
                "the run id is not one", "it stands in run.json: lower-case letters and digits, at most 16"
            )
        self.field = field
        self._prefix = f"{run_id}-"
        self.opening = b'{%b:"' % orjson.dumps(field)

    def text(self, source: int, number: int) -> str:
        """Return the stamp of a line."""
        return f"{self._prefix}{source}x{number}" if source else f"{self._prefix}{number}"

    def write(self, stamp: str, data: bytes) -> bytes:
        """Put a stamp in front of the members of an object that has some."""
        return self.opening + stamp.encode() + b'",' + data[1:]

    def taken(self) -> Rejected:
        """Refuse a line that has a value in the stamp's field already."""
        return Rejected("map", "stamp", "the line already has a value in the stamp's field")
