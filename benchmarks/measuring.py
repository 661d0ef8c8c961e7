"""What the benchmarks share: the server beside them, blocks by turns, and figures that say how far they can be believed.

How noise is dealt with: every contender runs a short block in each round, in one process, so that a disturbance meets them alike;
a round gives ratios, and the median over the rounds counts. One contender runs twice under two names (the A-A control). What
its two halves differ by, and how far its ratios scatter, is the noise floor; a difference inside it gets no verdict.
The figure is CPU time of the client's whole process, threads included, never wall time.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

SERVER = Path(__file__).parent / "server.py"
CLIENT_CORE, SERVER_CORE = 0, 1
CITIES = ("Tel Aviv", "Haifa", "\u5927\u962a\u5e02", "\u05d9\u05e8\u05d5\u05e9\u05dc\u05d9\u05dd")
PACKAGES = ("aiohttp", "aiolimiter", "msgspec", "orjson", "uvloop")
MEDIAN_ERROR = 1.57
"""A median's 95 % interval is about 1.57 interquartile ranges divided by the square root of the count (McGill, 1978)."""

Block = Callable[[int], Awaitable[float]]
"""Sends so many records; returns the CPU seconds that it cost."""


@dataclass
class Ratio:
    """How much cheaper a contender is than the base: the median over the rounds, and half the width of its interval."""

    ratios: list[float]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.ratios)

    @property
    def error(self) -> float:
        """Half the width of the median's interval."""
        if len(self.ratios) < 4:
            return float("inf")
        low, _, high = statistics.quantiles(self.ratios, n=4)
        return MEDIAN_ERROR * (high - low) / math.sqrt(len(self.ratios))


@dataclass
class Rounds:
    """The blocks of all contenders: seconds of CPU per record, one a round."""

    costs: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds_per_record: float) -> None:
        """Take a block in."""
        self.costs.setdefault(name, []).append(seconds_per_record)

    def ratio(self, base: str, name: str) -> Ratio:
        """Return how many times cheaper `name` is than `base`, round by round."""
        return Ratio([one / other for one, other in zip(self.costs[base], self.costs[name], strict=True)])

    def noise(self, base: str, control: str) -> float:
        """Return the noise floor: how far the control is from the base, and how far it cannot be told from it."""
        ratio = self.ratio(base, control)
        return abs(ratio.median - 1) + ratio.error


def median_microseconds(costs: Sequence[float]) -> float:
    """Return the middle cost in microseconds."""
    return round(1e6 * statistics.median(costs), 2)


def verdict(ratio: Ratio, goal: float, noise: float) -> str:
    """Say whether a goal is reached, unless the noise forbids to say so."""
    doubt = goal * noise + ratio.error
    if abs(ratio.median - goal) <= doubt:
        return f"inside the noise (+-{doubt:.2f}): no verdict"
    return "reached" if ratio.median > goal else "missed"


async def alternate(contenders: Mapping[str, Block], *, rounds: int, records: int) -> Rounds:
    """Run every contender once a round, in another order each time; one round before is thrown away."""
    found = Rounds()
    draw = random.Random(1)  # noqa: S311 -- an order, not a secret
    for number in range(rounds + 1):
        names = list(contenders)
        draw.shuffle(names)
        for name in names:
            seconds = await contenders[name](records)
            if number:
                found.add(name, seconds / records)
    return found


def pin(core: int) -> None:
    """Keep this process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """Run the server on a core of its own; give its base URL."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    pin(SERVER_CORE)
    process = subprocess.Popen([sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if before:
        os.sched_setaffinity(0, before)
    assert process.stdout is not None  # noqa: S101 -- it is a pipe, as asked
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.communicate()


def ask_server(base_url: str) -> dict[str, Any]:
    """Ask the server what it has seen."""
    with urllib.request.urlopen(f"{base_url}/bench") as answer:  # noqa: S310 - loopback
        return dict(orjson.loads(answer.read()))


def write_records(path: Path, count: int, *, is_canbus: bool = False, user: str | None = None) -> int:
    """Write so many generated records of about 250 bytes; return their bytes. `user` goes into each (Canbus asks for one)."""
    draw = random.Random(1)  # noqa: S311 -- the same data on each machine
    prefix = "" if is_canbus else "f"
    size = 0
    with path.open("wb") as file:
        for number in range(1, count + 1):
            record: dict[str, Any] = {
                "code": f"K-{number:08d}",
                "name": f"Customer {draw.randrange(10**6)}",
                "street": f"Herzl Street {draw.randrange(1, 999)}",
                "city": draw.choice(CITIES),
                "zip": draw.randrange(10**7),
                "lat": draw.randrange(10**7) / 10**5,
                "lng": draw.randrange(10**7) / 10**5,
                "phone": f"+972-5{draw.randrange(10)}-{draw.randrange(10**7):07d}",
                "balance": draw.randrange(10**6) / 100,
                "orders": draw.randrange(100),
                "active": draw.random() < 0.5,
                "parent": None,
                "note": "x" * 20,
            }
            if user is not None:
                record["System_Create_User"] = user
            size += file.write(orjson.dumps({prefix + name: value for name, value in record.items()}) + b"\n")
    return size


def conditions() -> dict[str, Any]:
    """Say where and with what was measured."""
    return {
        "at": now(),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "load_average": [round(load, 2) for load in os.getloadavg()],
        },
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def now() -> str:
    """Return the time of day, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def processor() -> str:
    """Name the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def print_result(benchmark: str, result: Mapping[str, Any], lines: Sequence[str]) -> None:
    """Print a table for people on standard error, and one JSON object on standard output.

    Where LOADER_BENCH_RESULTS names a folder, as `make bench` does, the object is kept there too, for the tables and plots.
    """
    for line in lines:
        print(line, file=sys.stderr)
    whole = {"benchmark": benchmark, **conditions(), **result}
    print(json.dumps(whole))
    path = results_path(benchmark)
    if path is not None:
        path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def results_path(benchmark: str) -> Path | None:
    """Say where a result is kept, if it is."""
    folder = os.environ.get("LOADER_BENCH_RESULTS")
    return Path(folder) / f"{benchmark}.json" if folder else None


def kept(benchmark: str) -> dict[str, Any]:
    """Read the result that was kept before; empty where there is none."""
    path = results_path(benchmark)
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path is not None and path.exists() else {}


def cpu_of(process_id: int) -> float:
    """Return the CPU seconds of another process so far (Linux)."""
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    """Return the CPU time of this process so far, of all its threads."""
    return time.process_time()
