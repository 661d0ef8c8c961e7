"""Compare a source, the ids that `loader ids` printed, and the rows that the target holds. Shares no code with loader.

    python tests/emulated/oracle.py SOURCE IDS.ndjson DATABASE TABLE [--id fid] [--rejected N]

Every line that has an id must be held under that very id with its own values; no row may stand for two lines or for none.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sqlite3
import sys
from collections import Counter
from pathlib import Path


def read_lines(path: Path) -> dict[int, dict[str, object]]:
    """Read the good lines of a source by their physical number."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    lines = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            lines[number] = value
    return lines


def as_text(value: object) -> str:
    """Make values comparable across JSON and SQLite: numbers as text, containers as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return str(value)


def held(row_value: object, sent: object) -> bool:
    """Say whether a column holds what was sent."""
    if isinstance(sent, (list, dict)) and isinstance(row_value, str):
        try:
            return bool(json.loads(row_value) == sent)
        except ValueError:
            return False
    return as_text(row_value) == as_text(sent)


def compare(
    lines: dict[int, dict[str, object]],
    ids: list[dict[str, object]],
    rows: dict[str, dict[str, object]],
    skip: set[str],
) -> list[str]:
    """Return what is wrong; empty where every line is held exactly once under its own id."""
    wrong = []
    numbers = Counter(entry["line"] for entry in ids)
    wrong += [f"line {number} has {count} ids" for number, count in numbers.items() if count > 1]
    known = Counter(str(entry["id"]) for entry in ids if entry["id"] is not None)
    wrong += [f"id {record_id} stands for {count} lines" for record_id, count in known.items() if count > 1]
    for entry in ids:
        if entry["id"] is None:
            continue
        row = rows.get(str(entry["id"]))
        sent = lines.get(int(str(entry["line"])))
        if row is None or sent is None:
            wrong.append(
                f"line {entry['line']}: id {entry['id']} is not in the target" if sent else f"no line {entry['line']}"
            )
        elif any(not held(row.get(name), value) for name, value in sent.items() if name not in skip):
            wrong.append(f"line {entry['line']}: id {entry['id']} holds another record")
    if len(rows) != len(ids):
        wrong.append(f"the target holds {len(rows)} rows, the log says {len(ids)} were created")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("ids", type=Path)
    parser.add_argument("database", type=Path)
    parser.add_argument("table")
    parser.add_argument("--id", default="fid")
    parser.add_argument("--rejected", type=int, default=0)
    arguments = parser.parse_args()
    lines = read_lines(arguments.source)
    ids = [json.loads(line) for line in arguments.ids.read_text().splitlines()]
    connection = sqlite3.connect(arguments.database)
    connection.row_factory = sqlite3.Row
    table = arguments.table.replace('"', "")
    rows = {str(row[arguments.id]): dict(row) for row in connection.execute(f'select * from "{table}"')}  # noqa: S608 -- a name from our own command line
    wrong = compare(lines, ids, rows, skip={arguments.id})
    if len(ids) + arguments.rejected != len(lines):
        wrong.append(f"{len(lines)} good lines, {len(ids)} ids and {arguments.rejected} rejected")
    for text in wrong[:20]:
        print(text)  # noqa: T201 -- a command's result
    print(f"{len(lines)} good lines, {len(rows)} rows, {len(ids)} ids, {len(wrong)} wrong")  # noqa: T201 -- a command's result
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
