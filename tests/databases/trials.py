"""A load into a database of its own, and what it came to: lost, doubled, wrongly rejected, another's row.

Every record has its own value in a plain text column, so that the count does not hang on what other columns make of values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loader import OzariInsert, OzariUpdate, Report
from loader.emulator import Plan, running
from loader.runs import rejects
from tests.emulated.loading import TABLE, ambiguous_of, ids_of, plan_of, rejects_of, run, write

CODE = "fcode"
QUICK_SECONDS = 15.0
"""A stop that comes later was not at the first record: it had waited for patience."""
FIGURES: list[Figures] = []


@dataclass(frozen=True)
class Database:
    """A new database and its URL. `kind`: mariadb or postgresql."""

    kind: str
    url: str

    @property
    def is_mariadb(self) -> bool:
        return self.kind == "mariadb"

    def trigger(self, column: str, expression: str) -> list[str]:
        """Write a trigger that puts an expression into a column; `{}` stands for the value that was given."""
        value = expression.format(f"NEW.{column}")
        if self.is_mariadb:
            return [
                f"CREATE TRIGGER shape_{event} BEFORE {event} ON {TABLE} FOR EACH ROW SET NEW.{column} = {value}"
                for event in ("INSERT", "UPDATE")
            ]
        body = f"BEGIN NEW.{column} := {value}; RETURN NEW; END"
        return [
            f"CREATE FUNCTION shape() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            f"CREATE TRIGGER shape BEFORE INSERT OR UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION shape()",
        ]


@dataclass
class Figures:
    """One line of the table."""

    trial: str
    database: str
    expected: str
    lost: int = 0
    doubled: int = 0
    rejected: int = 0
    wrong: int = 0
    remarks: list[str] = field(default_factory=list)
    end: str = ""

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.rejected or self.wrong)


@dataclass(frozen=True)
class Loaded:
    """How a load ended, and what the table holds."""

    report: Report
    rows: list[dict[str, Any]]
    created: Mapping[int, int | str | None]
    rejects: Mapping[int, str]
    ambiguous: frozenset[int]
    words: str
    """What the rejects say."""

    @property
    def told(self) -> str:
        """All that the report says in words."""
        report = self.report
        return "\n".join(filter(None, (report.message, report.hint, report.bound, *report.warnings)))

    @property
    def is_quick_stop(self) -> bool:
        return self.report.state == "stopped" and self.report.seconds < QUICK_SECONDS


def column(name: str, sql: str) -> dict[str, str]:
    """Say what a column is, in the database's own words."""
    return {"name": name, "sql": sql}


def plan(
    columns: Sequence[Mapping[str, Any]] = (),
    *faults: Mapping[str, Any],
    statements: Sequence[str] = (),
    sql_mode: str | None = None,
    collation: str | None = None,
    **ozari: Any,
) -> Plan:
    """Build a plan with one table of these columns and the plain one."""
    spec = {"fields": [{"name": CODE}, *columns], "statements": list(statements)}
    database = {"sql_mode": sql_mode, "collation": collation}
    return plan_of(*faults, ozari={"tables": {TABLE: spec}, "database": database, **ozari})


def lost_answers(share: float, *, when: str = "after", **more: Any) -> dict[str, Any]:
    """Lose a share of the answers to inserts or updates."""
    operations = ["insert", "update"]
    return {"kind": "close", "api": "ozari", "operations": operations, "when": when, "probability": share, **more}


async def loaded(
    database: Database,
    folder: Path,
    plan: Plan,
    records: Sequence[Mapping[str, Any]],
    target: OzariInsert | OzariUpdate,
    *,
    before: Sequence[Mapping[str, Any]] = (),
    **options: Any,
) -> Loaded:
    """Load records into a table that held others `before`."""
    folder.mkdir(exist_ok=True)
    chosen = {"patience_seconds": 20.0, **options}
    with running(plan, database=database.url) as emulator:
        try:
            held = emulator.store.open(TABLE, plan.ozari.tables[TABLE]) if emulator.store is not None else None
            assert held is not None
            for fields in before:
                held.insert(fields, 0.0)
            directory = folder / "trial.run"
            report = await run(emulator, target, write(folder / "source.ndjson", records), directory, **chosen)
            created = {line: given for (_, line), given in ids_of(directory).items()}
            doubtful = frozenset(ambiguous_of(directory))
            words = "\n".join(row.message for row in rejects.rejected(directory))
            return Loaded(report, emulator.rows(TABLE), created, rejects_of(directory), doubtful, words)
        finally:
            emulator.close()


def note(figures: Figures, done: Loaded) -> None:
    """Take a figure into the table."""
    report = done.report
    figures.end = report.state if report.reason is None else f"{report.state} ({report.reason}, {report.seconds:.0f} s)"
    FIGURES.append(figures)


def count_inserts(
    trial: str,
    database: Database,
    expected: str,
    done: Loaded,
    records: Sequence[Mapping[str, Any]],
    bad_lines: frozenset[int] = frozenset(),
) -> Figures:
    """Count what came of inserts. `bad_lines` are those that no target could take."""
    figures = Figures(trial, database.kind, expected)
    held = Counter(row[CODE] for row in done.rows)
    by_id = {row["fid"]: row[CODE] for row in done.rows}
    for line, record in enumerate(records, 1):
        code = record[CODE]
        figures.doubled += max(0, held[code] - 1)
        figures.rejected += line in done.rejects and line not in bad_lines
        if line in done.ambiguous or line in done.rejects:
            continue
        given = done.created.get(line)
        is_settled = line in done.created or done.report.state == "finished"
        figures.lost += is_settled and held[code] == 0
        figures.wrong += given is not None and by_id.get(int(given)) != code
    if done.report.duplicates:
        only = sum(held[by_id.get(int(given))] == 1 for given in done.report.duplicates)
        figures.remarks.append(f"{only} ids called duplicates that are the only rows of their records")
    note(figures, done)
    return figures


def table() -> list[str]:
    """Write the figures as the table of benchmarks/README.md."""
    lines = [
        "| trial | database | lost | doubled | wrongly rejected | wrong row | ended | expected |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for one in FIGURES:
        counts = f"{one.lost} | {one.doubled} | {one.rejected} | {one.wrong}"
        end = "; ".join([one.end, *one.remarks])
        lines.append(f"| {one.trial} | {one.database} | {counts} | {end} | {one.expected} |")
    return lines
