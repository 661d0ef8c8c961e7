"""Draw the results with matplotlib: one picture for each table. Called by `benchmarks.tables`; nothing else needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl

mpl.use("Agg")  # no screen; must be said before pyplot is there
from matplotlib import pyplot as plt

Result: TypeAlias = dict[str, Any]
OURS, OTHERS, FLOOR, BAD, WORSE = "#1f6f8b", "#b8b8b8", "#7a7a7a", "#c0392b", "#e59866"
SHAPES = {"single": "one record a request (Ozari)", "batch": "100 records a request (Canbus)"}
DPI = 110


def draw(results: dict[str, Result], folder: Path) -> None:
    """Draw whatever is there."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    for name, plot in PLOTS.items():
        if name in results:
            keep(plot(results[name]), folder / f"{name}.png")
    for shape, part in results.get("peers", {}).get("shapes", {}).items():
        if "speed" in part:
            keep(speed(part, shape), folder / f"speed_{shape}.png")
        if "faults" in part:
            keep(faults(part, shape), folder / f"faults_{shape}.png")


def keep(figure: Any, path: Path) -> None:
    """Write a picture without a date or a version in it, so that the same figures make the same file."""
    figure.savefig(path, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def bars(
    axes: Any,
    names: Sequence[str],
    values: Sequence[float],
    colours: Sequence[str],
    title: str,
    *,
    is_log: bool = False,
) -> None:
    """Draw bars from the top down, each with its figure at its end."""
    axes.barh(range(len(names)), values, color=colours, height=0.65)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=9)
    if is_log:
        axes.set_xscale("log")
    for place, value in enumerate(values):
        axes.annotate(f" {value:,.3g}" if value < 1000 else f" {value:,.0f}", (value, place), va="center", fontsize=8)
    axes.margins(x=0.18)


def speed(part: Result, shape: str) -> Any:
    """CPU per record, records a second and memory of the contestants of one shape."""
    rows = [row for row in part["speed"] if "failed" not in row and row["name"] != "loader again"]
    rows.sort(key=lambda row: row["cpu_microseconds_per_record"])
    names = [row["name"] for row in rows]
    colours = [OURS if name.startswith("loader") else OTHERS for name in names]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 0.42 * len(rows) + 1.2), sharey=True)
    kept = ["cpu_microseconds_per_record", "records_per_second", "peak_mb"]
    titles = ["CPU µs a record (log)", "records/s (log)", "peak memory, MB"]
    for axes, key, title in zip((left, middle, right), kept, titles, strict=True):
        bars(axes, names, [row[key] for row in rows], colours, title, is_log=key != "peak_mb")
    said = f"{SHAPES[shape]}: one core for the client, medians of {part['rounds']} rounds"
    figure.suptitle(said, x=0.02, ha="left", fontsize=10)
    figure.tight_layout()
    return figure


def faults(part: Result, shape: str) -> Any:
    """Draw what was lost and doubled, trial by trial."""
    rows, trials = part["faults"], list(part["faults"][0]["trials"])
    size = (2.3 * len(trials) + 1.6, 0.36 * len(rows) + 1.4)
    figure, all_axes = plt.subplots(1, len(trials), figsize=size, sharey=True)
    for axes, trial in zip(all_axes, trials, strict=True):
        fates = [row["trials"][trial] for row in rows]
        lost, doubled = [one["lost"] for one in fates], [one["doubled"] for one in fates]
        axes.barh(range(len(rows)), lost, color=BAD, height=0.65, label="not there, on no list")
        axes.barh(range(len(rows)), doubled, left=lost, color=WORSE, height=0.65, label="doubled")
        axes.set_title(trial, loc="left", fontsize=9)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        for place, one in enumerate(fates):
            listed = sum(one["listed"].values())
            said = f" {lost[place] + doubled[place]:,}" + (f" ({listed:,} listed)" if listed else "")
            axes.annotate(said, (lost[place] + doubled[place], place), va="center", fontsize=8)
        axes.set_xlim(0, max(*map(sum, zip(lost, doubled, strict=True)), 1) * 1.4)
        axes.set_xticks([])
    all_axes[0].invert_yaxis()
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=2, fontsize=8, frameon=False)
    counts = sorted({row["trials"][trials[0]]["records"] for row in rows})
    less = f" (GNU parallel: {counts[0]:,})" if len(counts) > 1 else ""
    figure.suptitle(
        f"{SHAPES[shape]}: not there and doubled, of {counts[-1]:,} records{less}", x=0.02, ha="left", fontsize=10
    )
    figure.tight_layout()
    return figure


def stages(result: Result) -> Any:
    """CPU per record of each stage."""
    rows = result["rows"]
    figure, axes = plt.subplots(figsize=(7, 0.3 * len(rows) + 0.9))
    colours = [FLOOR if row["stage"].startswith("floor") else OURS for row in rows]
    names = [row["stage"] for row in rows]
    bars(axes, names, [row["microseconds_per_record"] for row in rows], colours, "CPU µs a record, stage by stage")
    return figure


def ratios(result: Result, key: str, title: str, base: str) -> Any:
    """Ratios over a floor, with their intervals and goals."""
    rows = {name: row for name, row in result["rows"].items() if name != base}
    figure, axes = plt.subplots(figsize=(7, 0.42 * len(rows) + 1.0))
    values = [row[key] for row in rows.values()]
    errors = [row.get("ratio_error", row.get("error", 0.0)) for row in rows.values()]
    colours = [FLOOR if name.endswith("again") else OURS for name in rows]
    axes.barh(range(len(rows)), values, xerr=errors, color=colours, height=0.6, ecolor="#333333", capsize=3)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.axvline(1, color=FLOOR, linewidth=0.8)
    for place, row in enumerate(rows.values()):
        if "goal" in row:
            axes.plot([row["goal"]] * 2, [place - 0.42, place + 0.42], color=BAD, linewidth=1.6)
        axes.annotate(f"  {row[key]:.2f}", (values[place] + errors[place], place), va="center", fontsize=8)
    axes.margins(x=0.12)
    axes.set_title(f"{title}; red: the goal (where it is against this base)", loc="left", fontsize=9)
    return figure


def pipeline(result: Result) -> Any:
    """Draw the requests beside the bare loop."""
    return ratios(result, "ratio", "requests by CPU, as a multiple of a bare aiohttp loop", "bare")


def chunks(result: Result) -> Any:
    """Chunks beside the parse limit."""
    rows = {name: {**row} for name, row in result["rows"].items()}
    for name in ("gzip", "zstd"):
        rows.get(name, {}).pop("goal", None)  # theirs is against the plain file
    return ratios({"rows": rows}, "of_parse_limit", "records by CPU, as a part of read + orjson.loads", "parse")


def floors(result: Result) -> Any:
    """Both sides of wrk."""
    figure, axes = plt.subplots(figsize=(6, 1.6))
    row = result["rows"]["wrk"]
    values = [row["client_microseconds"], row["server_microseconds"]]
    bars(axes, ["wrk", "the server"], values, [FLOOR, OTHERS], "CPU µs a request")
    return figure


def memory(result: Result) -> Any:
    """Memory over the length of a load, and over the time of the longest."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True)
    for target, colour in (("ozari", OURS), ("canbus", "#d98c3f")):
        rows = [row for row in result["rows"] if row["target"] == target]
        if not rows:
            continue
        left.plot([row["lines"] for row in rows], [row["highest_mb"] for row in rows], "o-", color=colour, label=target)
        curve = rows[-1]["curve_mb"]
        times = [100 * place / max(1, len(curve) - 1) for place in range(len(curve))]
        right.plot(times, curve, color=colour, label=f"{target}, {rows[-1]['lines']:,} lines")
    for axes, title in (
        (left, "highest resident MB, by lines"),
        (right, "resident MB over the longest load, % of its time"),
    ):
        axes.axhline(result["ceiling_mb"], color=BAD, linewidth=1, linestyle="--")
        axes.set_title(title, loc="left", fontsize=9)
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    left.set_xscale("log")
    left.set_ylim(0, result["ceiling_mb"] * 1.15)
    figure.tight_layout()
    return figure


def resume(result: Result) -> Any:
    """Seconds over settled records."""
    figure, axes = plt.subplots(figsize=(6.5, 3.2))
    records = [row["records"] for row in result["rows"]]
    names = {
        "resume_first_request_seconds": "first request",
        "status_seconds": "status",
        "first_id_seconds": "first id",
    }
    for key, name in names.items():
        axes.plot(records, [row[key] for row in result["rows"]], "o-", label=name)
    axes.axhline(result["goal_seconds"], color=BAD, linewidth=1, linestyle="--")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_title("seconds from the command's start, by settled records", loc="left", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    return figure


def begin(result: Result) -> Any:
    """Seconds to the first record."""
    rows = result["rows"]
    figure, axes = plt.subplots(figsize=(6.5, 0.4 * len(rows) + 0.9))
    names = [f"{row['target']}, {size(row['bytes'])}" for row in rows]
    bars(
        axes,
        names,
        [row["seconds"] for row in rows],
        [OURS] * len(rows),
        "seconds from the command's start to the first record",
    )
    axes.axvline(result["goal_seconds"], color=BAD, linewidth=1, linestyle="--")
    return figure


def size(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 1e9:.0f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def startup(result: Result) -> Any:
    """Draw what starting costs beside the least imports."""
    figure, axes = plt.subplots(figsize=(6, 1.5))
    values = [result["help_seconds"], result["base_seconds"]]
    bars(axes, ["loader --help", "import click, orjson"], values, [OURS, FLOOR], "seconds")
    return figure


PLOTS: dict[str, Callable[[Result], Any]] = {
    "begin": begin,
    "chunks": chunks,
    "floors": floors,
    "memory": memory,
    "pipeline": pipeline,
    "resume": resume,
    "stages": stages,
    "startup": startup,
}
