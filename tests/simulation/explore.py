"""Run many worlds, or look at one.

python -m tests.simulation.explore 0 20000 [--jobs 2]
python -m tests.simulation.explore --show 4711

A seed repeats on every Python: what `--show` tells is what happened in the run that failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter

from tests.simulation.cases import draw_case
from tests.simulation.worlds import Result, run_world

MOST_TOLD = 30
TOLD_EVERY = 1000


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("end", type=int, nargs="?", default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--show", type=int, help="tell all that happens in this world")
    parser.add_argument("--digest", type=int, help="say only the digest of this world's trace")
    arguments = parser.parse_args()
    if arguments.show is not None:
        return show(arguments.show)
    if arguments.digest is not None:
        tell(run_world(arguments.digest).digest)
        return 0
    return explore(range(arguments.first, arguments.end), arguments.jobs)


def explore(seeds: range, jobs: int) -> int:
    began, wrong, counts, hours = time.monotonic(), 0, Counter[str](), 0.0
    with multiprocessing.Pool(jobs, maxtasksperchild=2000) as pool:
        for number, result in enumerate(pool.imap_unordered(run_one, seeds, chunksize=8), 1):
            counts += result.counts
            hours += result.seconds / 3600
            wrong += bool(result.wrong)
            if result.wrong and wrong <= MOST_TOLD:
                tell(f"seed {result.seed}: {len(result.wrong)} wrong: {result.wrong[:3]}")
                tell(f"  repeat it: {sys.executable} -m tests.simulation.explore --show {result.seed}")
            if number % TOLD_EVERY == 0:
                sys.stderr.write(f"{number} of {len(seeds)} worlds, {wrong} wrong\n")
    seconds = time.monotonic() - began
    speed = f"{seconds:.0f} s, {len(seeds) / seconds:.1f} worlds/s, {hours:.0f} virtual hours"
    tell(f"{len(seeds)} worlds, {wrong} wrong, {speed}")
    tell(", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    return 1 if wrong else 0


def tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def run_one(seed: int) -> Result:
    return run_world(seed)


def show(seed: int) -> int:
    tell(draw_case(seed))
    result = run_world(seed, is_kept=True)
    tell("\n".join(result.log))
    tell((result.wrong, result.counts))
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
