"""Shared by the load tests: plans of the emulator, loads through the library and through the command, and the comparison.

`audit` compares what the source says with what the emulator holds and with the ids that were told.
Every test that loads something ends with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loader import (
    CanbusAdd,
    CanbusCredentials,
    Options,
    OzariCredentials,
    OzariInsert,
    OzariUpdate,
    Rate,
    Report,
    Secret,
    load,
)
from loader.emulator import Emulator, Fact, Plan, parse_plan
from loader.runs import directory as run_directory
from loader.runs import ids, rejects

COMMAND = [sys.executable, "-m", "loader"]
ENVIRONMENT = {
    "OZARI_TOKEN": "emulator-token",
    "CANBUS_TENANT_ID": "emulator",
    "CANBUS_APP_ID": "emulator-app",
    "CANBUS_API_KEY": "emulator-key",
    "CANBUS_API_SECRET": "emulator-secret",
}
OZARI = OzariCredentials(Secret("emulator-token"))
CANBUS = CanbusCredentials("emulator", Secret("emulator-app"), Secret("emulator-key"), Secret("emulator-secret"))
TABLE, APP = "tcity", "emulator-app"
UNIQUE = {"apps": [{"items": {"Code": {"is_unique": True}, "Stamp": {"is_unique": True}}}]}
Target = OzariInsert | OzariUpdate | CanbusAdd

INSERT = OzariInsert(TABLE)
ADD = CanbusAdd(user="loader")
QUICK = Options(rate=Rate(5000.0), settle_seconds=0.3, timeout_seconds=20.0, patience_seconds=60.0)
"""Nothing here is waited for longer than a test needs; no test asserts a time."""


def plan_of(*faults: Mapping[str, Any], **values: Any) -> Plan:
    """Build a plan: faults, and `ozari` or `canbus` switches as they would stand in its file."""
    return parse_plan(json.dumps({"faults": faults, **values}).encode(), is_json=True)


def records_of(count: int, field: str = "fcode") -> list[dict[str, Any]]:
    """Make records that differ in one field."""
    return [{field: f"K{number}", "name": f"name of {number}"} for number in range(1, count + 1)]


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Write a source."""
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


async def run(
    emulator: Emulator, target: Target, sources: Path | Sequence[Path], directory: Path, **options: Any
) -> Report:
    """Load through the library, with options that do not make a test wait."""
    chosen = replace(QUICK, **{"base_url": emulator.base_url, **options})
    credentials = CANBUS if isinstance(target, CanbusAdd) else OZARI
    return await load(sources, target, run=directory, options=chosen, credentials=credentials)


# --- the real command ---------------------------------------------------------------------------------------------------


def start(*words: str | Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a command in a child process."""
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        env=os.environ | ENVIRONMENT | dict(environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def command(
    *words: str | Path, given: bytes = b"", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    child = start(*words, environment=environment)
    out, err = child.communicate(given, timeout=90)
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def told(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """Read the `--json` report of a command."""
    assert done.stdout, f"exit {done.returncode}: {done.stderr.decode()}"
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def rows_of(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    """Read what `ids`, `rejects` or `ambiguous` printed."""
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- what is held, and what is told of it -------------------------------------------------------------------------------


def facts(emulator: Emulator, *operations: str) -> list[Fact]:
    """Return the requests of some operations, in the order in which they arrived."""
    return sorted((fact for fact in emulator.journal if fact.operation in operations), key=lambda fact: fact.sequence)


def ids_of(directory: Path) -> dict[tuple[int, int], int | str | None]:
    """Return the id of each created line."""
    rows = list(ids.created(directory, run_directory.read(directory), print))
    found = {(row.source, row.number): row.id for row in rows}
    assert len(found) == len(rows), "a line has two ids"
    return found


def rejects_of(directory: Path) -> dict[int, str]:
    """Return the code of each rejected line."""
    rows = list(rejects.rejected(directory))
    found = {row.number: row.code for row in rows}
    assert len(found) == len(rows), "a line is rejected twice"
    return found


def ambiguous_of(directory: Path) -> list[int]:
    """Return the ambiguous lines."""
    return [row.number for row in rejects.ambiguous(directory)]


def audit(
    emulator: Emulator, directory: Path, expected: Mapping[int, str], field: str = "fcode", *, source: int = 0
) -> list[str]:
    """Say what is wrong: lost, doubled, or under an id that is not its own. `expected`: line to value of the field."""
    is_canbus = run_directory.read(directory).target == "canbus add"
    rows = emulator.rows(APP if is_canbus else TABLE)
    held = Counter(row[field] for row in rows)
    by_id = {row["_id" if is_canbus else "fid"]: row[field] for row in rows}
    created = {line: given for (index, line), given in ids_of(directory).items() if index == source}
    doubtful = {row.number for row in rejects.ambiguous(directory) if row.source == source}
    wrong = [f"{value} is held {count} times" for value, count in held.items() if count > 1]
    for line, value in expected.items():
        if line in doubtful:
            continue
        if held[value] == 0:
            wrong.append(f"line {line} ({value}) is lost")
        if line not in created:
            wrong.append(f"line {line} ({value}) has no entry in ids")
        elif created[line] is not None and by_id.get(created[line]) != value:
            wrong.append(f"line {line} ({value}) has the id of {by_id.get(created[line])}")
    wrong += [f"line {line} has an id and should not" for line in created.keys() - expected.keys()]
    return wrong[:10]


def closes(report: Report) -> bool:
    """Say whether the counts of a finished run close."""
    parts = report.created + report.updated + report.rejected + report.ambiguous + report.skipped_blank
    return report.state == "finished" and report.lines == parts


def keyed(count: int) -> dict[int, str]:
    """Say which line of `records_of` holds which value."""
    return {number: f"K{number}" for number in range(1, count + 1)}
