"""How far a run has come, read from its directory: the log's counts, the last execution's end, the last sample.

It reads only and takes no lock, so it may be asked while the run goes on; what it says is what is on the disk.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson

from loader.checkpoint import LOG, read_state
from loader.checkpoint.notes import Notes
from loader.model import Counts
from loader.redaction import all_printable, escape, plain_json
from loader.report import wording
from loader.report.report import next_steps
from loader.runs import directory as run_directory
from loader.runs.directory import METRICS_FILE, STANDARD_INPUT, RunInfo, source_names
from loader.runs.rejects import count_unsent
from loader.runs.run_lock import holder_of

TAIL_BYTES = 64 * 1024
"""Holds many samples; the last whole one is wanted."""
_SHOWN_FILES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a run has come.

    `state` is that of the last execution's report; `running` while `pid` carries it out; `open` where neither is known: it died,
    and `died_at` is when it last wrote something. `files`: how many lines were read of each source. `unsent` counts
    lines that were read and certainly not sent, `in_doubt` those that may be on their way. `total_bytes` is None, and so is
    what is left, where the uncompressed length is not known.
    """

    run: str
    target: str
    table: str | None
    identity: str | None
    state: str
    reason: str | None
    counts: Counts
    in_doubt: int
    unsent: int
    done_bytes: int
    total_bytes: int | None
    executions: int
    began_at: str
    ended_at: str | None
    last_sample: dict[str, Any] | None
    warnings: tuple[str, ...]
    is_resumable: bool
    pid: int | None = None
    died_at: str | None = None
    files: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> bytes:
        """Return one JSON object on one line; the counts stand in it by their names in the report."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values |= msgspec.structs.asdict(value) if isinstance(value, Counts) else {field.name: value}
        return plain_json(orjson.dumps(all_printable(values)))

    def to_text(self) -> str:
        """Return one screen."""
        blocks = [
            self._headline(),
            self._tally(),
            self._pace(),
            self._files(),
            next_steps(self.run, self.counts, can_go_on=self._can_go_on),
        ]
        blocks.insert(4, "\n".join(f"Warning: {escape(text, None)}" for text in self.warnings))
        return "\n\n".join(block for block in blocks if block) + "\n"

    @property
    def _can_go_on(self) -> bool:
        return not self._is_done and self.is_resumable and self.state != "running"

    @property
    def _is_done(self) -> bool:
        return self.state == "finished" and not self._left_bytes

    @property
    def _left_bytes(self) -> int | None:
        return None if self.total_bytes is None else max(0, self.total_bytes - self.done_bytes)

    def _headline(self) -> str:
        what = wording.place(self.target, self.table, self.identity)
        if self.state == "running":
            sample = (self.last_sample or {}).get("sample") or {}
            speed = f", {wording.rate(sample['records_per_second'])} records/s" if sample else ""
            return f"{what}: running, process {self.pid}{speed}."
        if self.state == "open":
            return f"{what}: not ended. No process of this machine carries it out; it died at {self.died_at}."
        why = f" ({self.reason})" if self.reason else ""
        return f"{what}: {self.state}{why} on {self.ended_at}."

    def _tally(self) -> str:
        counts = self.counts
        rows = [("lines", counts.lines)]
        rows += [("updated", counts.updated)] if self.target.endswith("update") else [("created", counts.created)]
        rows += [("rejected", counts.rejected), ("ambiguous", counts.ambiguous)]
        rows += [
            (name, number)
            for name, number in (("blank", counts.skipped_blank), ("unsent", self.unsent), ("in doubt", self.in_doubt))
            if number
        ]
        width = max(len(wording.count(number)) for _, number in rows)
        return "\n".join(f"  {name:<10}{wording.count(number):>{width}}" for name, number in rows)

    def _pace(self) -> str:
        done = f"  {wording.size(self.done_bytes)} read"
        if self.total_bytes is not None:
            left = wording.size(self._left_bytes or 0)
            done = f"  {wording.size(self.done_bytes)} of {wording.size(self.total_bytes)} read, {left} left"
        again = wording.counted(self.executions, "execution")
        lines = [f"{done}; {again} since {self.began_at}"]
        sample = (self.last_sample or {}).get("sample")
        if self.last_sample and sample:
            speed = wording.rate(sample["records_per_second"])
            waiting = f", waiting: {escape(sample['waiting_reason'])}" if sample.get("waiting_reason") else ""
            lines.append(f"  last sample {self.last_sample['time']}: {speed} records/s{waiting}")
        return "\n".join(lines)

    def _files(self) -> str:
        if len(self.files) < 2:
            return ""
        rows = [
            f"  {wording.counted(row['lines'], 'line')} of {escape(row['file'], None)}"
            for row in self.files[:_SHOWN_FILES]
        ]
        more = len(self.files) - _SHOWN_FILES
        return "\n".join(
            rows + ([f"  and {wording.counted(more, 'more file')}; --json has them all"] if more > 0 else [])
        )


def read_status(directory: Path, info: RunInfo) -> Status:
    """Read how far a run has come. Errors: LogError."""
    state = read_state(directory)
    counts = state.counts
    end = Notes(state.notes).end or {}
    unsent = count_unsent(state)
    pid = holder_of(info.run, directory)
    return Status(
        run=str(directory),
        target=info.target,
        table=info.settings.table,
        identity=info.identity.name if info.identity else None,
        state="running" if pid else end.get("state", "open"),
        reason=end.get("reason"),
        counts=counts,
        in_doubt=counts.lines - counts.settled - unsent,
        unsent=unsent,
        done_bytes=sum(state.last_intent_end(index)[1] for index in range(len(info.sources))),
        total_bytes=_total_bytes(info, directory),
        executions=state.executions,
        began_at=info.created,
        ended_at=end.get("at"),
        last_sample=_last_sample(directory / METRICS_FILE),
        warnings=tuple(state.warnings),
        is_resumable=info.options.is_kept or all(source.path != STANDARD_INPUT for source in info.sources),
        pid=pid,
        died_at=None if pid or end else _last_written(directory),
        files=tuple(
            {"source": index, "file": name, "lines": state.last_intent_end(index)[0] - 1}
            for index, name in enumerate(source_names(info))
        ),
    )


def _last_written(directory: Path) -> str:
    times = []
    for name in (LOG, METRICS_FILE):
        with contextlib.suppress(OSError):
            times.append((directory / name).stat().st_mtime)
    return datetime.fromtimestamp(max(times, default=0.0), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _total_bytes(info: RunInfo, directory: Path) -> int | None:
    """Add up the sources' sizes now; None where one is compressed, gone, or was a pipe."""
    total = 0
    for source in info.sources:
        if source.path == STANDARD_INPUT or (source.fingerprint or {}).get("kind") != "plain":
            return None
        try:
            total += Path(run_directory.locate_source(source, directory)).stat().st_size
        except OSError:
            return None
    return total


def _last_sample(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(values, dict) and isinstance(values.get("sample"), dict) and "time" in values:
            return values
    return None
