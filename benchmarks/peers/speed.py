"""How fast the contestants are: rounds in changing order on the benchmark server, the client on one core, the server on another.

Each run starts the command anew with a new folder and a new server. A run of one record tells what starting costs; CPU per record
is what the long run cost beyond that. Records a second are those of the server's window, from the first record's request to the
last one's, so that starting does not count there either. The server must have seen every record, or the row says how many.
"""

from __future__ import annotations

import random
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.peers.contest import Contestant, Job, Shape
from benchmarks.peers.running import Usage, run

OURS, CONTROL = "loader", "loader again"


def write_source(path: Path, count: int, shape: Shape) -> None:
    """Write records that a target takes as they are: each names the user that Canbus asks for."""
    measuring.write_records(path, count, is_canbus=shape == "batch", user="loader" if shape == "batch" else None)


def push(
    contestant: Contestant, shape: Shape, source: Path, folder: Path, records: int
) -> tuple[Usage, dict[str, Any]]:
    """Run once, from nothing; return the cost and what the server saw."""
    folder.mkdir()
    try:
        with measuring.running_server() as base_url:
            job = Job(shape, source, folder, base_url)
            if contestant.own_batch is not None:
                job = replace(job, batch=contestant.own_batch)
            usage = run(contestant, job, lambda: int(measuring.ask_server(base_url)["created"]), wanted=records)
            return usage, measuring.ask_server(base_url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Contest:
    """All rounds of one shape."""

    def __init__(self, shape: Shape, contestants: Sequence[Contestant], folder: Path, share: float) -> None:
        self.shape = shape
        self.contestants = [one for one in contestants if shape in one.shapes]
        self._folder = folder
        self._counts = {one.name: max(1, int(one.records[shape] * share)) for one in self.contestants}
        self._sources = self._write_sources()
        self.costs = measuring.Rounds()
        self.paces = measuring.Rounds()
        self.starts: dict[str, list[float]] = {}
        self.peaks: dict[str, list[float]] = {}
        self.failures: dict[str, str] = {}

    def _write_sources(self) -> dict[int, Path]:
        """Write the same records in the lengths that are needed."""
        whole = self._folder / f"{self.shape}.ndjson"
        counts = sorted({1, *self._counts.values()})
        write_source(whole, counts[-1], self.shape)
        sources = {}
        for count in counts:
            sources[count] = self._folder / f"{self.shape}-{count}.ndjson"
            with whole.open("rb") as lines, sources[count].open("wb") as file:
                file.writelines(islice(lines, count))
        whole.unlink()
        return sources

    def round(self, number: int) -> None:
        """Run every contestant once; round 0 only warms up."""
        names = list(self.contestants)
        random.Random(number).shuffle(names)  # noqa: S311 - an order, not a secret
        for contestant in names:
            if contestant.name not in self.failures:
                self._run(contestant, is_counted=number > 0)

    def _run(self, contestant: Contestant, *, is_counted: bool) -> None:
        name, count = contestant.name, self._counts[contestant.name]
        start, _ = push(contestant, self.shape, self._sources[1], self._folder / "start", 1)
        usage, seen = push(contestant, self.shape, self._sources[count], self._folder / "push", count)
        if usage.code not in (*contestant.finished_codes, -15) or seen["created"] != count:
            said = usage.output.splitlines()[-1:] or [""]
            self.failures[name] = f"{seen['created']} of {count} created, exit {usage.code}: {said[0][:120]}"
        elif is_counted:
            self.starts.setdefault(name, []).append(start.cpu_seconds)
            self.peaks.setdefault(name, []).append(usage.peak_mb)
            self.costs.add(name, max(usage.cpu_seconds - start.cpu_seconds, 1e-9) / (count - 1))
            self.paces.add(name, (seen["ended"] - seen["began"]) / (count - 1))

    def rows(self) -> list[dict[str, Any]]:
        """Judge."""
        rows: list[dict[str, Any]] = []
        noise = self.costs.noise(OURS, CONTROL) if OURS not in self.failures else float("inf")
        wall_noise = self.paces.noise(OURS, CONTROL) if OURS not in self.failures else float("inf")
        for contestant in self.contestants:
            name = contestant.name
            row: dict[str, Any] = {"name": name, "version": contestant.version(), "records": self._counts[name]}
            if name in self.failures:
                rows.append(row | {"failed": self.failures[name]})
                continue
            row |= {
                "records_per_second": round(1 / statistics.median(self.paces.costs[name])),
                "cpu_microseconds_per_record": measuring.median_microseconds(self.costs.costs[name]),
                "start_cpu_seconds": round(statistics.median(self.starts[name]), 2),
                "peak_mb": statistics.median(self.peaks[name]),
            }
            if OURS not in self.failures and not name.startswith(OURS):
                row |= {
                    "cpu_ratio": round(self.costs.ratio(name, OURS).median, 2),
                    "by_cpu": standing(self.costs, name, noise),
                    "pace_ratio": round(self.paces.ratio(name, OURS).median, 2),
                    "by_pace": standing(self.paces, name, wall_noise),
                }
            rows.append(row)
        self.noise = {"cpu": round(noise, 3), "pace": round(wall_noise, 3)}
        return rows


def standing(rounds: measuring.Rounds, peer: str, noise: float) -> str:
    """Say who is ahead, unless the noise forbids to say so."""
    ratio = rounds.ratio(peer, OURS)
    said = {"reached": "loader ahead", "missed": "peer ahead"}
    found = measuring.verdict(ratio, 1.0, noise)
    return said.get(found, "inside the noise")
