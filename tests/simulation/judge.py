"""What must hold at the end of a world (reliability.md 4.1), read off the log and the target by nothing but their own readers."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import orjson

from loader.checkpoint import read_run_directory
from loader.checkpoint.windows import Blank, outcome_of
from loader.emulator.tables import Tables
from loader.model import Ambiguous, Created, Outcome, Rejected, Updated
from loader.reconcile.reconciler import UNPROVED
from loader.report.report import Report
from tests.simulation.cases import APP, TABLE, Case

REFUSALS = {"400", "409", "413", "422", "500", "502", "503", "504", "520", "408"}
"""Statuses with which a fault plan may have a good update refused, or which came three times."""


def judge(
    case: Case,
    directory: Path,
    markers: dict[int, str],
    lines: list[bytes],
    tables: Tables,
    report: Report,
    *,
    was_in_order: bool,
) -> list[str]:
    """Return what is wrong. `was_in_order`: no execution left a record behind as ambiguous, to be settled out of turn."""
    line_count = len(lines)
    with read_run_directory(directory) as run:
        slots = {line: slot for _, line, slot in run.each_slot()}
    outcomes: dict[int, Outcome] = {}
    blanks = 0
    wrong: list[str] = []
    for line in range(1, line_count + 1):
        slot = slots.get(line)
        outcome = outcome_of(slot)
        if isinstance(slot, Blank):
            blanks += 1
        elif outcome is None:
            wrong.append(f"line {line} has no outcome in a finished run")
        else:
            outcomes[line] = outcome
    if set(slots) - set(range(1, line_count + 1)):
        wrong.append("the log knows of lines that the source does not have")
    wrong += _counts(outcomes, blanks, line_count, report)
    if case.kind == "update":
        wrong += _updates(case, outcomes, markers, lines, tables)
    else:
        wrong += _creations(case, outcomes, markers, tables)
    if case.kind == "insert" and (report.missing, report.doubled) != (0, 0):
        wrong.append(f"counted at the end: {report.missing} missing, {report.doubled} doubled; {report.bound}")
    if case.options.is_ordered and was_in_order:
        wrong += _order(outcomes)
    reasons = Counter(outcome.reason for outcome in outcomes.values() if isinstance(outcome, Ambiguous))
    if case.is_exact and any(not reason.endswith(UNPROVED) for reason in reasons):
        wrong.append(f"{report.ambiguous} records stay ambiguous, though all can be asked about: {reasons}")
    return wrong


def _counts(outcomes: dict[int, Outcome], blanks: int, line_count: int, report: Report) -> list[str]:
    told = Counter(type(outcome).__name__ for outcome in outcomes.values())
    expected = {
        "lines": line_count,
        "created": told["Created"],
        "updated": told["Updated"],
        "rejected": told["Rejected"],
        "ambiguous": told["Ambiguous"],
        "skipped_blank": blanks,
        "ids_unknown": sum(outcome == Created(None) for outcome in outcomes.values()),
    }
    return [
        f"the report says {name} {getattr(report, name)}, the log has {number}"
        for name, number in expected.items()
        if getattr(report, name) != number
    ]


def _creations(case: Case, outcomes: dict[int, Outcome], markers: dict[int, str], tables: Tables) -> list[str]:
    name, key = ("Name", "_id") if case.kind == "add" else ("fname", "fid")
    rows = [row for row in tables.rows(APP if case.kind == "add" else TABLE) if row.get(name) != "old"]
    held = Counter(row.get(name) for row in rows)
    by_id = {str(row[key]): row for row in rows}
    may_double = case.options.ambiguous == "resend"
    wrong: list[str] = []
    for line, outcome in outcomes.items():
        marker = markers.get(line)
        count = held[marker] if marker is not None else 0
        wrong += _one(line, outcome, marker, count, may_double=may_double)
        if isinstance(outcome, Created) and outcome.id is not None:
            row = by_id.get(str(outcome.id))
            if row is None or row.get(name) != marker:
                wrong.append(f"line {line}: id {outcome.id} holds {row and row.get(name)}")
    ids = Counter(
        outcome.id for outcome in outcomes.values() if isinstance(outcome, Created) and outcome.id is not None
    )
    wrong += [f"id {record_id} stands at {count} lines" for record_id, count in ids.items() if count > 1]
    strangers = set(held) - set(markers.values())
    return wrong + [f"a row that nobody sent: {stranger}" for stranger in sorted(map(str, strangers))]


def _order(outcomes: dict[int, Outcome]) -> list[str]:
    """`--ordered`: created in source order. Ids that were not learnt say nothing."""
    ids = [(line, outcome.id) for line, outcome in sorted(outcomes.items()) if isinstance(outcome, Created)]
    known = [(line, int(str(record_id), 16)) for line, record_id in ids if record_id is not None]
    return [
        f"line {after[0]} was created before line {before[0]}"
        for before, after in pairwise(known)
        if before[1] > after[1]
    ]


def _one(line: int, outcome: Outcome, marker: str | None, count: int, *, may_double: bool) -> list[str]:
    is_good = False
    match outcome:
        case Created():
            is_good = count == 1 or (count > 1 and may_double)
        case Rejected():
            is_good = count == 0 or may_double
        case Ambiguous():
            is_good = count <= 1 or may_double
        case Updated():
            pass
    if marker is None and not (isinstance(outcome, Rejected) and outcome.stage != "target"):
        is_good = False
    return [] if is_good else [f"line {line} is {outcome}, and the target holds it {count} times"]


def _updates(
    case: Case, outcomes: dict[int, Outcome], markers: dict[int, str], lines: list[bytes], tables: Tables
) -> list[str]:
    """Each row has the value of the last of its lines that was applied, or of an ambiguous one behind it."""
    values: dict[str, list[str]] = {row["fcode"]: ["old"] for row in case.old_rows}
    wrong = []
    for line, outcome in sorted(outcomes.items()):
        marker = markers.get(line)
        if marker is None:
            continue
        body = orjson.loads(lines[line - 1])
        code = body.get("filters", body)["fcode"]
        if code not in values:
            if not isinstance(outcome, Ambiguous) and not (
                isinstance(outcome, Rejected) and outcome.code in {"404", *REFUSALS}
            ):
                wrong.append(f"line {line} is {outcome}, and there is no row {code}")
        elif isinstance(outcome, Updated):
            values[code] = [marker]
        elif isinstance(outcome, Created) or (isinstance(outcome, Rejected) and outcome.code not in REFUSALS):
            wrong.append(f"line {line} is {outcome}, and there is a row {code}")
        else:  # a plan's refusal may hit the second sending of an update whose first one was applied
            values[code].append(marker)
    for row in tables.rows(TABLE):
        if row["fname"] not in values[row["fcode"]]:
            wrong.append(f"row {row['fcode']} holds {row['fname']}, not one of {values[row['fcode']]}")
    return wrong
