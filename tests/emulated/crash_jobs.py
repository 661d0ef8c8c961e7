"""The loads that the crash tests interrupt: source, options, what the target must hold at the end, and the comparison.

Every source also has a line that is no JSON and a blank one, so that what is refused here is recovered too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loader.checkpoint import read_run_directory
from loader.emulator import Emulator, Plan, parse_plan

CREDENTIALS = {
    "OZARI_TOKEN": "emulator-token",
    "CANBUS_TENANT_ID": "emulator",
    "CANBUS_APP_ID": "emulator-app",
    "CANBUS_API_KEY": "emulator-key",
    "CANBUS_API_SECRET": "emulator-secret",
}
UNIQUE_ITEM = {"canbus": {"apps": [{"items": {"Stamp": {"is_unique": True}}}]}}
NO_QUERY = {"ozari": {"query": "off_html"}}
INSERT = ("ozari", "insert", "--table", "tcity", "--rate", "2000")
UPDATE = ("ozari", "update", "--table", "tcity", "--rate", "2000")
ADD = ("canbus", "add", "--user", "loader", "--concurrency", "4", "--max-records", "4", "--rate", "50")
TRANSPORTS = ("session", "lean")
BAD_LINES = 1
BLANK_LINES = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """A way of loading. `is_exact`: nothing may end as ambiguous. `is_stamped`: the log may be cut anywhere."""

    name: str
    words: tuple[str, ...]
    plan: Mapping[str, Any]
    is_exact: bool = True
    is_stamped: bool = False
    is_piped: bool = False  # the source is standard input

    @property
    def is_add(self) -> bool:
        return self.words[1] == "add"

    @property
    def is_update(self) -> bool:
        return self.words[1] == "update"

    @property
    def table(self) -> str:
        return "emulator-app" if self.is_add else "tcity"

    @property
    def field(self) -> str:
        return "Code" if self.is_add else "fcode"

    @property
    def id_field(self) -> str:
        return "_id" if self.is_add else "fid"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("insert", (*INSERT, "--stamp", "fstamp"), {}, is_stamped=True),
        Kind("insert-no-query", (*INSERT, "--stamp", "fstamp"), NO_QUERY, is_stamped=True),
        Kind("insert-key", (*INSERT, "--key", "fcode"), {}),
        Kind("insert-pipe", (*INSERT, "--stamp", "fstamp"), {}, is_stamped=True, is_piped=True),
        Kind("insert-hold", INSERT, {}, is_exact=False),
        Kind("update", UPDATE, {}),
        Kind("update-filters", UPDATE, {}),
        # Nobody can be asked without writing: an update that changes its own filters is held and listed.
        Kind("update-filters-no-query", UPDATE, NO_QUERY, is_exact=False),
        Kind("add", (*ADD, "--stamp", "Stamp", "--unique"), UNIQUE_ITEM, is_stamped=True),
        Kind("add-hold", ADD, {}, is_exact=False),
    )
}


def plan_of(kind: Kind) -> Plan:
    """Build the emulator's plan of a kind."""
    return parse_plan(json.dumps({"seed": 1, **kind.plan}).encode(), is_json=True)


@dataclass(frozen=True, slots=True)
class Job:
    """One load into one emulator."""

    kind: Kind
    folder: Path
    records: int
    base_url: str
    options: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        return self.folder / "source.ndjson"

    @property
    def run(self) -> Path:
        return self.folder / "job.run"

    @property
    def words(self) -> list[str]:
        """The command, without the interpreter."""
        return [
            *self.kind.words[:2], "-" if self.kind.is_piped else str(self.source), *self.kind.words[2:], *self.options,
            "--run", str(self.run), "--base-url", self.base_url, "--json",
        ]  # fmt: skip

    def records_by_line(self) -> dict[int, int]:
        """Say which physical line holds which record: behind the second stands a bad line, behind the fourth a blank one."""
        return {number + (number > 2) + (number > 4): number for number in range(1, self.records + 1)}

    def prepare(self, emulator: Emulator) -> None:
        """Write the source, and for an update the rows that it will change."""
        self.folder.mkdir(parents=True)
        by_line = {line: json.dumps(self._line(number)) for line, number in self.records_by_line().items()}
        texts = [by_line.get(line, "no JSON" if line == 3 else " ") for line in range(1, max(by_line) + 1)]
        self.source.write_text("".join(text + "\n" for text in texts))
        table = emulator.tables.open(self.kind.table, "fid") if self.kind.is_update else None
        for number in range(1, self.records + 1):
            if table is not None:
                table.insert({"fcode": f"K{number}", "fname": "old"})

    def _line(self, number: int) -> dict[str, Any]:
        new = {"fname": f"name {number}"}
        if self.kind.name.startswith("update-filters"):
            return {"filters": {"fcode": f"K{number}"}, "fields": new | {"fcode": f"N{number}"}}
        if self.kind.is_update:  # two lines a row: the second must win
            return {"filters": {"fcode": f"K{(number + 1) // 2}"}, "fields": new}
        return {self.kind.field: f"K{number}"} | new

    def as_the_log_knows(self) -> Job:
        """Expect less of a log that lost the note of which rows were there before the run: a key alone does not tell."""
        with read_run_directory(self.run) as reader:
            is_lost = "highest_fid" not in reader.state.notes
        return (
            replace(self, kind=replace(self.kind, is_exact=False))
            if self.kind.name == "insert-key" and is_lost
            else self
        )

    # --- the comparison ------------------------------------------------------------------------------------------------

    def check(self, emulator: Emulator, report: Mapping[str, Any]) -> list[str]:
        """Return what is wrong at the end of the run (reliability.md 4.1)."""
        wrong = [*self._check_log(report)]
        rows = emulator.rows(self.kind.table)
        wrong += self._check_updated(rows, report) if self.kind.is_update else self._check_created(rows, report)
        return wrong[:8]

    def _check_log(self, report: Mapping[str, Any]) -> list[str]:
        wrong = []
        if report["state"] != "finished":
            wrong.append(f"the run is {report['state']}: {report['reason']}, {report['message']}")
        lines = self.records + BAD_LINES + BLANK_LINES
        parts = [report[name] for name in ("created", "updated", "rejected", "ambiguous", "skipped_blank")]
        if report["lines"] != lines or sum(parts) != lines or report["rejected"] != BAD_LINES:
            wrong.append(f"the counts do not close: {lines} lines, {report['lines']} said, {parts}")
        if self.kind.is_exact and report["ambiguous"]:
            wrong.append(f"{report['ambiguous']} records are ambiguous: {self._ambiguous()}")
        with read_run_directory(self.run) as reader:
            if list(reader.state.unresolved_windows()):
                wrong.append("a window is open after a clean end")
            counts = reader.state.counts
            wrong += [
                f"the report says {report[name]} {name}, the log {getattr(counts, name)}"
                for name in ("created", "updated", "rejected", "ambiguous")
                if getattr(counts, name) != report[name]
            ]
        return wrong

    def _ambiguous(self) -> dict[int, str]:
        with read_run_directory(self.run) as reader:
            return {row.line: row.outcome.reason for row in reader.ambiguous()}

    def _check_created(self, rows: list[dict[str, Any]], report: Mapping[str, Any]) -> list[str]:
        """See every row once, under the id of its own line; a row without an id in the log belongs to a doubtful line."""
        field, by_line = self.kind.field, self.records_by_line()
        held = Counter(row[field] for row in rows)
        wrong = [f"{value} is held {count} times" for value, count in held.items() if count > 1]
        by_id = {row[self.kind.id_field]: row for row in rows}
        with read_run_directory(self.run) as reader:
            ids = {row.line: row.id for row in reader.ids()}
        known = [record_id for record_id in ids.values() if record_id is not None]
        if len(set(known)) < len(known):
            wrong.append("an id stands for two lines")
        for line, record_id in ids.items():
            number = by_line.get(line)
            row = (
                by_id.get(record_id, {}) if record_id is not None else {field: f"K{number}", "fname": f"name {number}"}
            )
            if row.get(field) != f"K{number}" or row.get("fname") != f"name {number}":
                wrong.append(f"line {line} has the id of another record: {record_id}")
            if not held[f"K{number}"]:
                wrong.append(f"line {line} is created and not held")
        doubtful = self._ambiguous()
        for line, number in by_line.items():
            if line not in doubtful and line not in ids:
                wrong.append(f"line {line} is lost, and the target holds it {held[f'K{number}']} times")
        if report["created"] != len(ids):
            wrong.append(f"the report says {report['created']} created, the log holds {len(ids)} ids")
        if len(rows) > len(ids) + len(doubtful):
            wrong.append(f"{len(rows)} rows for {len(ids)} ids and {len(doubtful)} doubtful lines")
        return wrong

    def _check_updated(self, rows: list[dict[str, Any]], report: Mapping[str, Any]) -> list[str]:
        """See in every row what the last of its lines wrote."""
        wanted = {f"K{number}": "old" for number in range(1, self.records + 1)}
        for number in range(1, self.records + 1):
            line = self._line(number)
            key = line["filters"]["fcode"]
            wanted.pop(key, None)
            wanted[line["fields"].get("fcode", key)] = line["fields"]["fname"]
        held = {row["fcode"]: row["fname"] for row in rows}
        listed = 0
        if (
            not self.kind.is_exact
        ):  # a listed update was applied, or it was not: its row stands under the one name or the other
            by_line = self.records_by_line()
            open_numbers = [by_line[line] for line in self._ambiguous()]
            listed = len(open_numbers)
            for number in open_numbers:
                changes = self._line(number)["fields"]
                if held.get(f"K{number}") == "old":
                    wanted.pop(changes["fcode"])
                    wanted[f"K{number}"] = "old"
        wrong = [
            f"{key} holds {held.get(key)!r}, not {value!r}" for key, value in wanted.items() if held.get(key) != value
        ]
        if len(rows) != self.records:
            wrong.append(f"{len(rows)} rows")
        if report["updated"] + listed != self.records:
            wrong.append(f"the report says {report['updated']} updated")
        return wrong
