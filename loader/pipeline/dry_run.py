"""A dry run: read, check, chunk and count everything on the very path of a real one; send nothing, write nothing.

What only the target can know (unique values, permissions, types) it cannot find; the report says how many lines would
go out.
"""

from __future__ import annotations

from pathlib import Path

from loader.delivery.chunking import Chunker, bytes_of
from loader.reading.sizes import sizes_of
from loader.reading.source import FileSource, Opened, read_blocks
from loader.reading.stdin import StandardInput
from loader.reading.windows import ReadWindow, WindowBuilder
from loader.redaction import escape
from loader.report.progress import Observer
from loader.report.report import Report
from loader.runs.directory import STANDARD_INPUT
from loader.runs.plan import DryRun
from loader.runtime import Runtime
from loader.targets.registry import build_shaper, build_target, kind_of

MAX_SHOWN = 100
"""Bad lines named one by one; the counts are of all."""


class Tally:
    """What a dry run found."""

    def __init__(self, plan: DryRun, world: Runtime) -> None:
        self.lines = self.good = self.rejected = self.blank = self.requests = self.body_bytes = 0
        self.told: list[str] = []
        run_id = world.new_run_id()
        shaper = build_shaper(plan.target, run_id)
        self._overhead_bytes = shaper.body_overhead_bytes
        if plan.credentials is not None:
            target = build_target(plan.target, plan.credentials, run_id)
            shaper, self._overhead_bytes = target.shaper, target.body_overhead_bytes
        sizes = sizes_of(shaper.max_records, kind_of(plan.target).concurrency, plan.options)
        self.sorter = WindowBuilder(shaper, sizes.window_lines)
        self.max_records = sizes.max_records
        self._max_bytes = plan.options.max_bytes

    def add(self, draft: ReadWindow, name: str) -> None:
        """Count a window, and its chunks."""
        self.lines += draft.line_count
        self.good += len(draft.records)
        self.rejected += len(draft.refused)
        self.blank += len(draft.blank)
        for line, refusal in draft.refused[: max(0, MAX_SHOWN - len(self.told))]:
            self.told.append(f"{escape(name)} line {line.number}: {refusal.code}: {refusal.message}")
        overhead = self._overhead_bytes
        chunker = Chunker(overhead, self.max_records, self._max_bytes)
        chunks = chunker.pack(draft.records)
        self.requests += len(chunks)
        self.body_bytes += sum(overhead - 1 + bytes_of(chunk.records) + len(chunk.records) for chunk in chunks)


async def rehearse(plan: DryRun, observer: Observer | None, world: Runtime) -> Report:
    """Read everything and count. Errors: SourceError, UsageError."""
    began = world.clock()
    tally = Tally(plan, world)
    for index, path in enumerate(plan.sources):
        opened: Opened = StandardInput(None) if path == STANDARD_INPUT else FileSource(Path(path))
        try:
            for block in read_blocks(opened, source=index, max_line_bytes=plan.options.max_line_bytes):
                for draft in tally.sorter.feed(block):
                    tally.add(draft, path)
                if plan.options.max_lines is not None and tally.lines >= plan.options.max_lines:
                    break
                await world.sleep(0)
            for draft in tally.sorter.flush():
                tally.add(draft, path)
        finally:
            opened.close()
    if observer is not None:
        for text in tally.told:
            observer.warned(text)
    is_update = plan.target.is_update
    return Report(
        run=str(plan.run_directory),
        target=kind_of(plan.target).name,
        state="finished",
        lines=tally.lines,
        created=0 if is_update else tally.good,
        updated=tally.good if is_update else 0,
        rejected=tally.rejected,
        skipped_blank=tally.blank,
        requests=tally.requests,
        bytes_sent=tally.body_bytes,
        seconds=world.clock() - began,
        table=plan.target.table or "",
        warnings=tuple(tally.told),
        is_dry_run=True,
    )
