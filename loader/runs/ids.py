"""The created ids by line, each with the line's offset and key, which the log need not hold: the source has them.

The source is read along while the log's ids go by, both by line, so the first id is out at once whatever the run's size, and
memory stays flat. Where the source is gone, offset and key are None, with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from loader.checkpoint import read_run_directory
from loader.model import RecordId
from loader.reading.blocks import LinesByNumber
from loader.reading.parsing import text_of
from loader.runs.directory import RunInfo
from loader.runs.rejects import Warn, reopen_or_warn
from loader.settings import TargetSettings
from loader.targets.stamp_form import StampForm
from loader.targets.stamps import Stamps


class CreatedRow(NamedTuple):
    """One created record."""

    source: int
    number: int
    offset: int | None
    id: RecordId
    key: str | None


def created(directory: Path, info: RunInfo, warn: Warn) -> Iterator[CreatedRow]:
    """Yield the created records of a run, by source and line."""
    keys = Keys(info.settings, info.run, info.stamp_form)
    with read_run_directory(directory) as run:
        for source, group in groupby(run.ids(), key=lambda row: row.source):
            opened = reopen_or_warn(info, source, directory, warn)
            lines = LinesByNumber(opened, source, info.options, warn)
            try:
                for _, number, record_id in group:
                    offset, data = lines.find(number)
                    yield CreatedRow(source, number, offset, record_id, keys.of(source, number, data, lines))
            finally:
                if opened is not None:
                    opened.close()


class Keys:
    """The key of a line: the member named by --key, else the stamp, which follows from the line's number alone."""

    def __init__(self, settings: TargetSettings, run_id: str, form: StampForm) -> None:
        self._field = settings.key
        self._stamps = Stamps(settings.stamp, run_id, form) if settings.stamp is not None else None

    def of(self, source: int, number: int, data: bytes | None, lines: LinesByNumber) -> str | None:
        """Return the key of a line of `lines`; None if it has none. Only a member's value needs the line's bytes."""
        if self._field is None:
            return None if self._stamps is None else self._stamps.text(source, number)
        if data is None:
            return None
        fields, line = lines.decode(data)
        # Anything else is another line than the one that was loaded.
        return text_of(fields, line, self._field) if isinstance(fields, dict) else None
