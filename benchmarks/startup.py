"""Measure what starting the command costs, as a ratio to importing the library that reads its arguments.

    python -m benchmarks.startup [ROUNDS]

`loader --help` is run by turns with `python -c "import click"`, so that a noisy machine disturbs both alike, and the
medians are compared. The ratio travels between machines; the seconds do not. Prints one JSON object and exits 1 past the
ceiling that the project set itself.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks import measuring

CEILING = 1.5  # a command that answers `--help` slower than that imports something it does not need yet
ROUNDS = 15
HELP = (sys.executable, "-m", "loader", "--help")
BASE = (sys.executable, "-c", "import click")


def measure(command: tuple[str, ...]) -> float:
    """Return the seconds that one run of a command takes."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> int:
    """Print the result; return the exit code."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for command in (HELP, BASE):
        measure(command)  # the first runs write bytecode and fill the page cache
    pairs = [(measure(HELP), measure(BASE)) for _ in range(rounds)]
    help_seconds = statistics.median(seconds for seconds, _ in pairs)
    base_seconds = statistics.median(seconds for _, seconds in pairs)
    ratio = help_seconds / base_seconds
    result = {
        "rounds": rounds,
        "help_seconds": round(help_seconds, 4),
        "base_seconds": round(base_seconds, 4),
        "ratio": round(ratio, 3),
        "ceiling": CEILING,
    }
    table = f"loader --help {help_seconds:.3f} s, importing click {base_seconds:.3f} s, ratio {ratio:.2f} (at most {CEILING})"
    measuring.print_result("startup", result, [table])
    return 0 if ratio <= CEILING else 1


if __name__ == "__main__":
    sys.exit(main())
