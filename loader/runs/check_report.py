"""What `loader log check` and `loader log repair` say: one screen, or one JSON object. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import msgspec
import orjson

from loader.checkpoint.repair.examine import Damage, Soundness
from loader.model import Counts
from loader.redaction import all_printable, escape, plain_json
from loader.report import wording

_SHOWN = 12
"""Findings, and ranges of lines, that are named one by one; the JSON has all."""

_MEANING: dict[Soundness, str] = {
    "sound": "every checksum and every number is right",
    "torn": "the last write was cut short, which is harmless: the next opening takes it off",
    "shortened": "the log came back shorter than it was",
    "damaged": "something that was written is lost or altered",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What was found, and what was done.

    `doubtful`: source, first and last line of what counts as ambiguous. `behind`: source, its last known line, and how many
    lines behind it may have been sent (None: any number). `marked`: lines that a repair put in doubt.
    """

    run: str
    verdict: Soundness
    log_bytes: int
    entries: int
    generation: int
    settled_bytes: int
    folds: int
    counts: Counts
    findings: tuple[Damage, ...]
    doubtful: tuple[tuple[int, int, int], ...]
    behind: tuple[tuple[int, int, int | None], ...]
    has_sources: bool
    marked: int | None = None
    copies: tuple[str, ...] = ()
    is_repaired: bool = False

    @property
    def is_usable(self) -> bool:
        """Say whether the run can be gone on with as it is."""
        return self.is_repaired or self.verdict in {"sound", "torn"}

    def to_json(self) -> bytes:
        """Return one JSON object on one line."""
        values: dict[str, Any] = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name != "has_sources"
        }
        values["counts"] = msgspec.structs.asdict(self.counts)
        values["findings"] = [finding._asdict() for finding in self.findings]
        values["doubtful"] = [{"source": at, "lines": [first, last]} for at, first, last in self.doubtful]
        values["behind"] = [{"source": at, "line": line, "at_most": most} for at, line, most in self.behind]
        return plain_json(orjson.dumps(all_printable(msgspec.to_builtins(values))))

    def to_text(self) -> str:
        """Return one screen."""
        blocks = [
            f"{escape(self.run, None)}: {self.verdict}; {_MEANING[self.verdict]}.",
            self._holdings(),
            self._findings(),
            self._doubts(),
            self._outcome(),
        ]
        return "\n\n".join(block for block in blocks if block) + "\n"

    def _holdings(self) -> str:
        counts = self.counts
        pairs = [
            ("lines", counts.lines),
            ("created", counts.created),
            ("updated", counts.updated),
            ("rejected", counts.rejected),
            ("ambiguous", counts.ambiguous),
            ("blank", counts.skipped_blank),
            ("without outcome", counts.lines - counts.settled),
        ]
        held = ", ".join(f"{wording.count(number)} {name}" for name, number in pairs if number) or "no line"
        log = f"{wording.size(self.log_bytes)}, {wording.counted(self.entries, 'entry', 'entries')}"
        settled = f"{wording.size(self.settled_bytes)}, {wording.counted(self.folds, 'fold')}"
        return (
            f"  checkpoint.log      {log}, generation {self.generation}\n"
            f"  checkpoint.settled  {settled}\n"
            f"  known               {held}"
        )

    def _findings(self) -> str:
        rows = []
        for finding in self.findings[:_SHOWN]:
            entry = "" if finding.entry is None else f", entry {finding.entry}"
            rows.append(f"  {finding.file}, byte {finding.offset:,}{entry}: {escape(finding.text)}")
        if len(self.findings) > _SHOWN:
            rows.append(f"  and {len(self.findings) - _SHOWN:,} more; --json has them all")
        return "\n".join(rows)

    def _doubts(self) -> str:
        if self.verdict in {"sound", "torn"}:
            return ""
        parts = [self._lines(*row) for row in self.doubtful[:_SHOWN]]
        if len(self.doubtful) > _SHOWN:
            parts.append(f"and {len(self.doubtful) - _SHOWN:,} more ranges")
        for source, line, most in self.behind:
            where = f"{self._source(source)}line {line:,}"
            parts.append(f"any line behind {where}" if most is None else f"at most {most:,} lines behind {where}")
        if not parts:
            return "No line is affected."
        return "In doubt: " + ", ".join(parts) + "."

    def _lines(self, source: int, first: int, last: int) -> str:
        where = self._source(source)
        return f"{where}line {first:,}" if first == last else f"{where}lines {first:,} to {last:,}"

    def _source(self, source: int) -> str:
        return f"source {source}, " if self.has_sources else ""

    def _outcome(self) -> str:
        if self.marked is None:
            return "" if self.is_usable else f"`loader log repair {escape(self.run, None)}` makes it sound again."
        count = wording.counted(self.marked, "line")
        if not self.is_repaired:
            return f"A repair would count {count} as ambiguous. Nothing was changed."
        kept = ", ".join(self.copies)
        text = f"Repaired: the log is sound, and {count} {'counts' if self.marked == 1 else 'count'} as ambiguous. Kept: {kept}."
        if self.behind:
            text += "\nA resume asks the target about every line behind the last known one before it sends it."
        if self.marked or self.behind:
            run = escape(self.run, None)
            text += f"\n`loader ambiguous {run}` lists them, `loader resume {run}` goes on and settles what can be asked for."
        return text
