"""A dry run: read, check, chunk and count everything on the very path of a real one; send nothing, write nothing.

What only the target can know (unique values, permissions, types) it cannot find; the report says how many lines would
go out.
"""

from __future__ import annotations

from pathlib import Path

from loader.delivery.chunking import Chunker, bytes_of
from loader.reading.beginning import check_beginning, check_name
from loader.reading.blocks import read_blocks
from loader.reading.cursor import Cursor
from loader.reading.formats import format_of
from loader.reading.sizes import sizes_of
from loader.reading.source import FileSource, Opened
from loader.reading.stdin import StandardInput
from loader.reading.windows import ReadWindow, WindowBuilder
from loader.redaction import escape
from loader.report.progress import Observer
from loader.report.reject_groups import RejectGroups
from loader.report.report import Report
from loader.runs.directory import STANDARD_INPUT
from loader.runs.plan import DryRun
from loader.runtime import Runtime
from loader.targets.registry import build_shaper, build_target, kind_of
from loader.targets.stamp_form import form_for

MAX_SHOWN = 100
"""Bad lines named one by one; the counts are of all."""


class Tally:
    """What a dry run found."""

    def __init__(self, plan: DryRun, runtime: Runtime) -> None:
        self.lines = self.good = self.rejected = self.blank = self.requests = self.body_bytes = 0
        self.messages: list[str] = []
        self.rejects = RejectGroups()
        run_id = runtime.new_run_id()
        form = form_for(len(plan.sources))
        shaper = build_shaper(plan.target, run_id, form=form)
        self._overhead_bytes = shaper.body_overhead_bytes
        if plan.credentials is not None:
            target = build_target(plan.target, plan.credentials, run_id, form=form)
            shaper, self._overhead_bytes = target.shaper, target.body_overhead_bytes
        sizes = sizes_of(shaper.max_records, kind_of(plan.target).concurrency, plan.options)
        self.shaper = shaper
        self.window_lines = sizes.window_lines
        self.max_records = sizes.max_records
        self._max_bytes = plan.options.max_bytes

    def add(self, window: ReadWindow, name: str) -> None:
        """Count a window, and its chunks."""
        self.lines += window.line_count
        self.good += len(window.records)
        self.rejected += len(window.refused)
        self.blank += len(window.blank)
        for line, refusal in window.refused:
            self.rejects.add(refusal.code, line.source, line.number, refusal.message)
        for line, refusal in window.refused[: max(0, MAX_SHOWN - len(self.messages))]:
            self.messages.append(f"{escape(name)} line {line.number}: {refusal.code}: {refusal.message}")
        overhead = self._overhead_bytes
        chunker = Chunker(overhead, self.max_records, self._max_bytes)
        chunks = chunker.pack(window.records)
        self.requests += len(chunks)
        self.body_bytes += sum(overhead - 1 + bytes_of(chunk.records) + len(chunk.records) for chunk in chunks)


async def rehearse(plan: DryRun, observer: Observer | None, runtime: Runtime) -> Report:
    """Read everything and count. Errors: SourceError, UsageError."""
    began = runtime.clock()
    tally = Tally(plan, runtime)
    for path in plan.sources:
        if path != STANDARD_INPUT:
            check_name(path)
            tally.messages += check_beginning(Path(path))
    for index, path in enumerate(plan.sources):
        opened: Opened = StandardInput(None) if path == STANDARD_INPUT else FileSource(Path(path))
        try:
            source_format = format_of(opened, plan.options)
            builder = WindowBuilder(tally.shaper, tally.window_lines, source_format)
            for block in read_blocks(
                Cursor(opened), source_format, source=index, max_line_bytes=plan.options.max_line_bytes
            ):
                for window in builder.feed(block):
                    tally.add(window, path)
                if plan.options.max_lines is not None and tally.lines >= plan.options.max_lines:
                    break
                await runtime.sleep(0)
            for window in builder.flush():
                tally.add(window, path)
        finally:
            opened.close()
    if observer is not None:
        for text in tally.messages:
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
        seconds=runtime.clock() - began,
        table=plan.target.table or "",
        warnings=tuple(tally.messages),
        warning_count=tally.rejected,
        is_dry_run=True,
        rejects=tally.rejects.groups(),
    )
