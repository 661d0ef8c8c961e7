"""Measure the floor under single-record requests: wrk, a load generator in C, on the same server with the same records.

    python -m benchmarks.floors [--rounds 5] [--seconds 2] [--connections 64]

wrk only sends and counts answers; it runs under two names by turns with itself, which shows the noise. CPU of both sides per
request: the server's figure says that it is not what the other benchmarks measure. Without wrk nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measuring

BODIES = 1000
SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local at = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  at = at %% #bodies + 1
  return wrk.format(nil, "/integration/tables/tbench/records", nil, bodies[at])
end
"""


def run_wrk(script: Path, base_url: str, server: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Run wrk once; return requests a second and the CPU microseconds of both sides per request."""
    command = ["wrk", "-t1", f"-c{arguments.connections}", f"-d{arguments.seconds}s", "-s", str(script), base_url]
    before = measuring.cpu_of(server)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - it is a pipe, as asked
    said = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    counted = re.search(r"(\d+) requests in", said)
    paced = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if process.returncode or counted is None or paced is None or "Non-2xx" in said:
        raise SystemExit(f"wrk did not go well: {said}")
    requests = int(counted[1])
    return {
        "requests_per_second": float(paced[1]),
        "client_microseconds": 1e6 * (usage.ru_utime + usage.ru_stime) / requests,
        "server_microseconds": 1e6 * (measuring.cpu_of(server) - before) / requests,
    }


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all rounds; the first is thrown away."""
    records, bodies, script = folder / "records", folder / "bodies", folder / "post.lua"
    measuring.write_records(records, BODIES)
    with records.open("rb") as lines, bodies.open("wb") as file:
        file.writelines(b'{"fields":%b}\n' % line.rstrip() for line in lines)
    script.write_text(SCRIPT % json.dumps(str(bodies))[1:-1], encoding="utf-8")
    found: dict[str, list[dict[str, float]]] = {"wrk": [], "wrk again": []}
    rounds = measuring.Rounds()
    with measuring.running_server() as base_url:
        server = int(measuring.ask_server(base_url)["process"])
        for number in range(arguments.rounds + 1):
            for name in sorted(found, reverse=bool(number % 2)):
                one = run_wrk(script, base_url, server, arguments)
                if number:
                    found[name].append(one)
                    rounds.add(name, one["client_microseconds"] / 1e6)
    rows = {
        name: {key: round(statistics.median(one[key] for one in runs), 1) for key in runs[0]}
        for name, runs in found.items()
    }
    noise = round(rounds.noise("wrk", "wrk again"), 3)
    return {"rounds": arguments.rounds, "connections": arguments.connections, "noise": noise, "rows": rows}


def main() -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=64)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        print("floors: wrk is not installed, so this floor is left out (apt-get install wrk)", file=sys.stderr)
        return 0
    measuring.pin(measuring.CLIENT_CORE)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    table = [f"{'':12} {'requests/s':>11} {'client us':>10} {'server us':>10}"]
    for name, row in result["rows"].items():
        figures = [row[key] for key in ("requests_per_second", "client_microseconds", "server_microseconds")]
        table.append(f"{name:12} {figures[0]:>11} {figures[1]:>10} {figures[2]:>10}")
    measuring.print_result("floors", result, [*table, f"noise floor {result['noise']}"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
