"""What must exist, as a model: the lines of a source in order, and what log and target may say of them at any moment.

A record is known by its marker, a value that no other line has. So the target is a multiset of markers, and the log says of
each line how it ended; `wrong_now` compares them after any execution, `wrong_at_end` after one that says it is finished.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loader.checkpoint import read_run_directory
from loader.checkpoint.windows import Blank, Slot, outcome_of
from loader.emulator import Emulator
from loader.model import Ambiguous, Created, Outcome, Rejected, Updated
from tests.emulated.crash_jobs import Kind

ROWS = 6
"""Rows of a table that is updated: few, so that lines meet."""
BAD_LINES = (b"{no JSON", b"[1]", b"{}", b'\xff{"a":1}', b'{"a":1,"a":2}')
BLANK_LINES = (b"", b"  ", b"\t")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the source. `marker` None: no record. `row`: the row that an update changes."""

    text: bytes
    marker: str | None = None
    row: str | None = None


@dataclass(slots=True)
class Model:
    """The source as it is, and how freely the target may hold it. `may_double`: the user allowed it, from then on."""

    kind: Kind
    lines: list[Line] = field(default_factory=list)
    may_double: bool = False

    def append_records(self, rows: list[int]) -> None:
        """Add a record for each number; for an update the number says which row."""
        for row in rows:
            number = len(self.lines) + 1
            marker, code = f"name {number}", f"K{1 + row % ROWS}"
            value: dict[str, Any] = {self.kind.field: f"K{number}", "fname": marker}
            if self.kind.is_update:
                value = {"filters": {"fcode": code}, "fields": {"fname": marker}}
            self.lines.append(Line(json.dumps(value).encode(), marker, code if self.kind.is_update else None))

    def append(self, text: bytes) -> None:
        """Add a line that is no record."""
        self.lines.append(Line(text))

    def write(self, path: Path) -> None:
        """Write the source, where it has changed: a file that was touched is read again."""
        data = b"".join(line.text + b"\n" for line in self.lines)
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)

    def prepare(self, emulator: Emulator) -> None:
        """Make the rows that are there before the run."""
        if self.kind.is_update:
            table = emulator.tables.open(self.kind.table, "fid")
            for row in range(1, ROWS + 1):
                table.insert({"fcode": f"K{row}", "fname": "old"})

    # --- the comparison ------------------------------------------------------------------------------------------------

    def wrong_now(self, emulator: Emulator, run: Path) -> list[str]:
        """Return what is wrong at any moment between two executions."""
        slots = slots_of(run)
        wrong = [f"line {line} is in the log, and not in the source" for line in slots if line > len(self.lines)]
        for number, line in enumerate(self.lines, 1):
            slot = slots.get(number)
            outcome = outcome_of(slot)
            if line.marker is None:
                is_blank = not line.text.strip()
                is_good = slot is None or (
                    isinstance(slot, Blank) if is_blank else isinstance(outcome, Rejected) and outcome.stage != "target"
                )
                wrong += [] if is_good else [f"line {number} is no record, and the log says {outcome}"]
            elif isinstance(slot, Blank):
                wrong.append(f"line {number} is a record, and the log says that it is blank")
        outcomes = {line: outcome for line, slot in slots.items() if (outcome := outcome_of(slot)) is not None}
        rows = rows_of(emulator, self.kind)
        return wrong + (self._wrong_rows(outcomes, rows) if self.kind.is_update else self._wrong_set(outcomes, rows))

    def _wrong_set(self, outcomes: Mapping[int, Outcome], rows: list[dict[str, Any]]) -> list[str]:
        held = Counter(row["fname"] for row in rows)
        by_id = {row[self.kind.id_field]: row["fname"] for row in rows}
        wrong = [f"a row that nobody sent: {name}" for name in set(held) - {line.marker for line in self.lines}]
        for number, line in enumerate(self.lines, 1):
            if line.marker is None:
                continue
            outcome, count = outcomes.get(number), held[line.marker]
            if isinstance(outcome, Created):
                is_good = count == 1 or (count > 1 and self.may_double)
                if outcome.id is not None and by_id.get(outcome.id) != line.marker:
                    wrong.append(f"line {number} has the id of {by_id.get(outcome.id)}: {outcome.id}")
            elif isinstance(outcome, Rejected):
                is_good = count == 0 or self.may_double
            else:
                is_good = (count <= 1 or self.may_double) and not isinstance(outcome, Updated)
            wrong += [] if is_good else [f"line {number} is {outcome}, and the target holds it {count} times"]
        ids = Counter(one.id for one in outcomes.values() if isinstance(one, Created) and one.id is not None)
        return wrong + [f"id {record_id} stands for {count} lines" for record_id, count in ids.items() if count > 1]

    def _wrong_rows(self, outcomes: Mapping[int, Outcome], rows: list[dict[str, Any]]) -> list[str]:
        """A row holds what the last of its updated lines wrote, or what a later one did whose fate is not known yet."""
        possible = {f"K{row}": ["old"] for row in range(1, ROWS + 1)}
        wrong = []
        for number, line in enumerate(self.lines, 1):
            if line.row is None or line.marker is None:
                continue
            outcome = outcomes.get(number)
            if isinstance(outcome, Created):
                wrong.append(f"line {number} is {outcome}, and creates nothing")
            if isinstance(outcome, Updated):
                possible[line.row] = [line.marker]
            else:  # the second sending of an update may be refused after the first was applied
                possible[line.row].append(line.marker)
        held = {row["fcode"]: row["fname"] for row in rows}
        if len(rows) != ROWS or held.keys() != possible.keys():
            return [*wrong, f"the table holds {sorted(held)}"]
        wrong += [
            f"row {row} holds {held[row]}, not {names}" for row, names in possible.items() if held[row] not in names
        ]
        return wrong

    def wrong_at_end(self, run: Path, report: Mapping[str, Any]) -> list[str]:
        """Return what is wrong in a finished run, beyond what is wrong at any moment: each line ended as exactly one thing."""
        slots = slots_of(run)
        outcomes = {number: outcome_of(slots.get(number)) for number in range(1, len(self.lines) + 1)}
        blanks = sum(isinstance(slot, Blank) for slot in slots.values())
        wrong = [
            f"line {number} has no outcome in a finished run"
            for number, outcome in outcomes.items()
            if outcome is None and not isinstance(slots.get(number), Blank)
        ]
        told = Counter(type(outcome).__name__.lower() for outcome in outcomes.values() if outcome is not None)
        expected = {
            "lines": len(self.lines),
            "skipped_blank": blanks,
            **{name: told[name] for name in ("created", "updated", "rejected", "ambiguous")},
        }
        wrong += [
            f"the report says {name} {report[name]}, the log {number}"
            for name, number in expected.items()
            if report[name] != number
        ]
        with read_run_directory(run) as reader:
            listed = {row.line for row in reader.ambiguous()}
        doubtful = {number for number, outcome in outcomes.items() if isinstance(outcome, Ambiguous)}
        if listed != doubtful:
            wrong.append(f"ambiguous are {sorted(doubtful)}, listed are {sorted(listed)}")
        code = 3 if report["rejected"] or report["ambiguous"] else 0
        return wrong + ([] if report["exit"] == code else [f"exit {report['exit']}, not {code}"])


def slots_of(run: Path) -> dict[int, Slot]:
    """Read what the log says of each line; nothing where the run was not born yet: its log may be torn then."""
    if not (run / "run.json").exists():
        return {}
    with read_run_directory(run) as reader:
        return {line: slot for _, line, slot in reader.each_slot()}


def rows_of(emulator: Emulator, kind: Kind) -> list[dict[str, Any]]:
    """Read the target's table; nothing where nobody has written to it yet."""
    try:
        return emulator.rows(kind.table)
    except KeyError:
        return []
