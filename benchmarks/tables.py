"""Make tables and pictures from the JSON in benchmarks/results: the only source, so that a new measurement renews them all.

    python -m benchmarks.tables [--without-plots]

Writes between the marks `<!-- table NAME -->` and `<!-- end -->`: every table into benchmarks/README.md, a summary of a few lines
into README.md. Draws a picture for each table beside the JSON. A table whose result is missing says so.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import summary

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
MARK = re.compile(r"<!-- table (\w+) -->\n.*?<!-- end -->\n", re.DOTALL)
Result: TypeAlias = dict[str, Any]


def read(folder: Path = RESULTS) -> dict[str, Result]:
    """Read every result that is there."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def grid(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lay a table out in Markdown; figures stand to the right."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    lines += ["| " + " | ".join(map(shown, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def shown(cell: Any) -> str:
    """Write a cell: thousands apart, no more digits than mean something."""
    if cell is None:
        return ""
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if cell >= 100 else f"{cell:.3g}"
    return str(cell)


# --- peers ---------------------------------------------------------------------------------------------------------------


def speed(result: Result, shape: str) -> str:
    """Compare the speeds of one shape."""
    part = result["shapes"].get(shape, {})
    if "speed" not in part:
        return "Not measured yet.\n"
    rows = []
    for row in sorted(part["speed"], key=lambda one: one.get("cpu_microseconds_per_record", 1e9)):
        if "failed" in row:
            rows.append([row["name"], row["failed"]])
            continue
        rows.append(
            [
                row["name"] + ("" if row["name"].startswith("loader") else f" ({row['version'].split()[-1]})"),
                row["records_per_second"],
                row["cpu_microseconds_per_record"],
                row["start_cpu_seconds"],
                row["peak_mb"],
                f"{row['cpu_ratio']}: {row['by_cpu']}" if "by_cpu" in row else None,
                f"{row['pace_ratio']}: {row['by_pace']}" if "by_pace" in row else None,
            ]
        )
    head = ["", "records/s", "CPU µs a record", "start, CPU s", "peak MB", "loader by CPU", "loader by records/s"]
    noise = part["noise"]
    said = f"Medians of {part['rounds']} rounds, {part['speed_at'][:10]}; noise floor of the ratios: "
    said += f"{noise['cpu']} by CPU, {noise['pace']} by records/s."
    return f"{grid(head, rows)}\n{said}\n"


def faults(result: Result, shape: str) -> str:
    """Compare what was lost and doubled."""
    rows = result["shapes"].get(shape, {}).get("faults")
    if not rows:
        return "Not measured yet.\n"
    names = list(rows[0]["trials"])
    table = grid(["", *names], [[row["name"], *(fate(row["trials"][name]) for name in names)] for row in rows])
    counts = sorted({row["trials"][names[0]]["records"] for row in rows})
    said = f"Of {counts[-1]:,} records" + (f" ({counts[0]:,} for GNU parallel)" if len(counts) > 1 else "")
    return f"{table}\n{said}, {result['shapes'][shape]['faults_at'][:10]}.\n"


def fate(trial: Result) -> str:
    """Say in a cell what became of the records. They are lost where the contestant ended as if all were well."""
    listed = sum(trial["listed"].values())
    ends = [end.removeprefix("exit ") for end in trial["ends"] if end not in ("killed", "all arrived")]
    is_content = listed or all(end == "0" for end in ends[-1:])
    words = [f"**{trial['lost']:,} {'lost' if is_content else 'not there'}**"] if trial["lost"] else []
    words += [f"**{trial['doubled']:,} doubled**"] if trial["doubled"] else []
    words += [f"{listed:,} listed"] if listed else []
    if ends == ["idle"]:
        return ", ".join(words or ["0"]) + " (sends no more)"
    is_quiet = listed or all(end == "0" for end in ends)
    return ", ".join(words or ["0"]) + ("" if is_quiet else f" (exit {', '.join(ends)})")


# --- the loader alone ------------------------------------------------------------------------------------------------------


def stages(result: Result) -> str:
    """Show the stages."""
    rows = [
        [row["stage"], row["microseconds_per_record"], f"{row['quartiles'][0]} to {row['quartiles'][1]}"]
        for row in result["rows"]
    ]
    return grid(["stage", "CPU µs a record", "middle half"], rows)


def pipeline(result: Result) -> str:
    """Show the requests beside the bare loop."""
    rows = [
        [name, row["microseconds_per_request"], row["ratio"], row["ratio_error"], row.get("goal"), row.get("verdict")]
        for name, row in result["rows"].items()
    ]
    return grid(["", "CPU µs a request", "of the bare loop", "±", "goal", ""], rows) + noise_of(result)


def floors(result: Result) -> str:
    """Show wrk."""
    keys = ["requests_per_second", "client_microseconds", "server_microseconds"]
    rows = [[name, *(row[key] for key in keys)] for name, row in result["rows"].items()]
    return grid(["", "requests/s", "client CPU µs", "server CPU µs"], rows) + noise_of(result)


def chunks(result: Result) -> str:
    """Show the chunks beside the parse limit."""
    keys = ["microseconds_per_record", "of_parse_limit", "error", "records_per_second", "goal", "verdict"]
    rows = [[name, *(row.get(key) for key in keys)] for name, row in result["rows"].items()]
    return grid(["", "CPU µs a record", "of the parse limit", "±", "records/s", "goal", ""], rows) + noise_of(result)


def memory(result: Result) -> str:
    """Show the memory."""
    keys = ["target", "lines", "highest_mb", "at_quarter_mb", "at_half_mb", "at_end_mb", "run_bytes_per_record"]
    head = ["target", "lines", "highest MB", "at a quarter", "at half", "at the end", "run directory, bytes a record"]
    goal = (
        f"\nGoals: {result['ceiling_mb']:g} MB; {result['max_run_bytes_per_record']:g} bytes a record, here ids included, beyond "
        "the last 2 MiB of log, which a short run keeps.\n"
    )
    return grid(head, [[row[key] for key in keys] for row in result["rows"]]) + goal


def resume(result: Result) -> str:
    """Show what resuming costs."""
    keys = ["records", "resume_first_request_seconds", "status_seconds", "first_id_seconds"]
    head = ["settled records", "first request, s", "`status`, s", "first line of `ids`, s"]
    goal = f"\nGoal: {result['goal_seconds']:g} s each, at 50 million.\n"
    return grid(head, [[row[key] for key in keys] for row in result["rows"]]) + goal


def begin(result: Result) -> str:
    """Show how soon a load begins."""
    rows = [[row["target"], row["bytes"], row["seconds"], row["longest"], row["cpu_seconds"]] for row in result["rows"]]
    head = ["target", "source, bytes", "first record after, s", "longest", "CPU s by then"]
    return grid(head, rows) + f"\nGoal: {result['goal_seconds']:g} s.\n"


def rates(result: Result) -> str:
    """Show how well rates are found, and kept."""
    found = [
        [f"{row['limiter']}, {row['limit']:g}/s", f"{row['reached']:.1%}", f"{row['refused']:.2%}", met(row)]
        for row in result["found"]
    ]
    kept = [
        [
            f"{row['rate']:g}/s",
            row["burst"] or "default",
            f"{row['mean_error']:+.2%}",
            row["most_in_a_second"],
            f"{row['allowed_in_a_second']:g}",
            f"{row['cpu_share']:.1%}",
            met(row),
        ]
        for row in result["kept"]
    ]
    return (
        grid(["`--rate auto` at", "of the limit", "429", "95 %, under 1 %"], found)
        + "\n"
        + grid(
            ["fixed rate", "`--burst`", "mean", "most in a second", "allowed", "one core", "mean within 0.5 %"], kept
        )
    )


def met(row: Result) -> str:
    """Say whether a row reached its goal."""
    return "reached" if row["is_met"] else "missed"


def startup(result: Result) -> str:
    """Show what starting costs."""
    row = [result["help_seconds"], result["base_seconds"], result["ratio"], result["ceiling"]]
    return grid(["", "`loader --help`, s", "`import click`, s", "ratio", "at most"], [["start", *row]])


def noise_of(result: Result) -> str:
    """Tell the noise floor."""
    return f"\nMedians of {result['rounds']} rounds; noise floor {result['noise']}.\n"


def machine(result: Result) -> str:
    """Say where and with what it was measured."""
    one = result["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in result["packages"].items())
    load = ", ".join(map(str, one["load_average"]))
    missing = ", ".join(result.get("missing", {}))
    absent = f" Not installed: {missing}." if missing else ""
    return (
        f"{one['processor']}, {one['cores']} cores, {one['system']}; Python {result['python']}, {packages}. "
        f"{result['at'][:10]}, load average at the end {load}.{absent}\n"
    )


ALONE: dict[str, Callable[[Result], str]] = {
    "startup": startup,
    "stages": stages,
    "pipeline": pipeline,
    "floors": floors,
    "chunks": chunks,
    "memory": memory,
    "resume": resume,
    "begin": begin,
    "rates": rates,
}


def render(name: str, results: dict[str, Result]) -> str:
    """Make the table of this name: a benchmark's, `machine_<benchmark>`, `speed_` or `faults_` and a shape, or `summary`."""
    if name == "summary":
        return summary.lines(results)
    kind, _, rest = name.partition("_")
    source = rest if kind == "machine" else "peers" if kind in ("speed", "faults") else name
    if source not in results:
        return "Not measured yet.\n"
    if kind == "machine":
        return machine(results[source])
    if kind in ("speed", "faults"):
        return (speed if kind == "speed" else faults)(results[source], rest)
    return ALONE[name](results[source])


def fill(page: str, results: dict[str, Result]) -> str:
    """Put the tables into a page."""
    return MARK.sub(lambda match: f"<!-- table {match[1]} -->\n{render(match[1], results)}<!-- end -->\n", page)


def main() -> int:
    """Write pages and pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--without-plots", action="store_true")
    arguments = parser.parse_args()
    results = read()
    for path in PAGES:
        path.write_text(fill(path.read_text(encoding="utf-8"), results), encoding="utf-8")
    if not arguments.without_plots:
        from benchmarks import plots

        plots.draw(results, RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
