"""Write the main figures for the project's README, one line each. A missing result leaves its line out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

Result: TypeAlias = dict[str, Any]
SHAPES = {"single": "One record a request (Ozari)", "batch": "A hundred records a request (Canbus)"}


def lines(results: dict[str, Result]) -> str:
    """Write the lines as a list in Markdown."""
    found = [*speeds(results.get("peers", {}).get("shapes", {}))]
    found += [write(results[name]) for name, write in ALONE.items() if name in results]
    return "".join(f"- {line}\n" for line in found) or "Not measured yet.\n"


def speeds(shapes: dict[str, Result]) -> Iterator[str]:
    """Give the loader's speed, and the cost of the peer that comes closest to it."""
    for shape, title in SHAPES.items():
        rows: Sequence[Result] = shapes.get(shape, {}).get("speed", [])
        cost = {row["name"]: row["cpu_microseconds_per_record"] for row in rows if "failed" not in row}
        peers = {name: value for name, value in cost.items() if not name.startswith("loader")}
        for row in rows:
            if row["name"] == "loader":
                line = (
                    f"{title}: {row['records_per_second']:,} records a second, {cost['loader']:.3g} µs of CPU a record"
                )
                best = min(peers, key=peers.__getitem__, default=None)
                yield f"{line}; the cheapest peer, {best}: {peers[best]:.3g} µs." if best else f"{line}."


def memory(result: Result) -> str:
    """Give the most memory of any load, and the length of the longest."""
    highest, longest = (max(row[key] for row in result["rows"]) for key in ("highest_mb", "lines"))
    return f"Memory: {highest:.3g} MB at most, in loads of up to {longest:,} records."


def resume(result: Result) -> str:
    """Give the cost of resuming the longest run."""
    row = max(result["rows"], key=lambda one: int(one["records"]))
    seconds = f"{row['resume_first_request_seconds']:.2g} s"
    return f"Resuming after {row['records']:,} settled records: the first request leaves after {seconds}."


def rates(result: Result) -> str:
    """Give the worst of the rates that were found."""
    limits, reached, refused = ([row[key] for row in result["found"]] for key in ("limit", "reached", "refused"))
    return (
        f"`--rate auto`, at limits from {min(limits):g} to {max(limits):,.0f} requests a second: at least {min(reached):.1%} of "
        f"the limit, at most {max(refused):.2%} of the requests refused with 429."
    )


ALONE = {"memory": memory, "resume": resume, "rates": rates}
