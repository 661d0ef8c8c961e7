"""Records that earlier executions created, read again from the source: by them a resume can prove what it asks by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby, islice
from typing import TYPE_CHECKING

from loader.errors import LoaderError
from loader.model import Record, RecordId
from loader.reading.lines import Block
from loader.reading.windows import WindowBuilder
from loader.runs.ids import CreatedRow, created

if TYPE_CHECKING:
    from loader.pipeline.session import Session

MAX_RECORDS = 1_000


def created_earlier(session: Session) -> Iterator[tuple[Record, RecordId]]:
    """Yield some of them, with their ids. A source that cannot be read any more has none."""
    run = session.run
    info = replace(run.info, settings=run.plan.target)
    rows = list(islice(created(run.plan.run_directory, info, session.warn), MAX_RECORDS))
    for source, group in groupby(rows, key=lambda row: row.source):
        reader = run.readers[source]
        single = WindowBuilder(session.target.shaper, 1, reader.format)
        known = [(row, row.offset) for row in group if row.offset is not None and row.key is not None]
        try:
            for (row, offset), line in zip(known, reader.lines([offset for _, offset in known]), strict=False):
                yield from _record_of(row, offset, line or b"", single)
        except LoaderError:
            continue


def _record_of(row: CreatedRow, offset: int, line: bytes, single: WindowBuilder) -> Iterator[tuple[Record, RecordId]]:
    for window in single.feed(Block(row.source, row.number, offset, [line], line)):
        for record in window.records:
            yield record, row.id
