"""Kills the real command at random moments of a long run, resumes it until it ends, and compares the target with the log.

    python -m tests.emulated.crashing --kills 20 --operation insert [--transport lean] [--no-query] [--cut] --folder FOLDER

The figures of the crash suite come from here; `test_crash` kills at named points, in processes that start quicker.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from loader.emulator import running
from tests.emulated.crash_jobs import CREDENTIALS, KINDS, Job, Kind, plan_of
from tests.emulated.crash_trials import cut_log

COMMAND = [sys.executable, "-m", "loader"]
OPTIONS = {
    "insert": ("--settle", "0.5"),
    "add": ("--settle", "0.5", "--max-records", "100"),
}
FIRST_SECONDS, AGAIN_SECONDS = (0.2, 3.5), (0.2, 2.0)
"""Between these moments a run of 5,000 records is killed: while it starts, while it loads, seldom behind its end."""
ODDS_OF_CRASH_IN_RECOVERY = 0.3
END_SECONDS = 300.0


def kill_after(job: Job, seconds: float) -> bool:
    """Start the command and kill it, hard, after a while. False: it had ended before."""
    with (job.folder / "output.txt").open("ab") as output:
        process = subprocess.Popen([*COMMAND, *job.words], env=os.environ | CREDENTIALS, stdout=output, stderr=output)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def finish(job: Job) -> dict[str, Any]:
    """Run to the end; return the report."""
    done = subprocess.run(
        [*COMMAND, *job.words], env=os.environ | CREDENTIALS, capture_output=True, timeout=END_SECONDS, check=False
    )
    if not done.stdout:
        raise AssertionError(f"exit {done.returncode}: {done.stderr.decode()}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def crash(
    folder: Path, kind: Kind, records: int, draw: random.Random, *, transport: str = "auto", is_cut: bool = False
) -> tuple[int, list[str]]:
    """Carry out one trial; return how many processes were killed, and what is wrong."""
    with running(plan_of(kind)) as emulator:
        job = Job(kind, folder, records, emulator.base_url, (*OPTIONS[kind.words[1]], "--transport", transport))
        job.prepare(emulator)
        kills = int(kill_after(job, draw.uniform(*FIRST_SECONDS)))
        if is_cut and job.run.exists():
            cut_log(job.run, draw)
        if draw.random() < ODDS_OF_CRASH_IN_RECOVERY:
            kills += kill_after(job, draw.uniform(*AGAIN_SECONDS))
        return kills, job.check(emulator, finish(job))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--operation", choices=["insert", "add"], default="insert")
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--no-query", action="store_true")
    parser.add_argument("--cut", action="store_true")
    parser.add_argument("--transport", choices=["auto", "session", "lean"], default="auto")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    kind = KINDS[arguments.operation + "-no-query" * arguments.no_query]
    draw = random.Random(arguments.seed)
    bad = kills = trials = 0
    while kills < arguments.kills:
        folder = arguments.folder / f"trial{trials}"
        killed, wrong = crash(
            folder, kind, arguments.records, draw, transport=arguments.transport, is_cut=arguments.cut
        )
        trials += 1
        kills += killed
        bad += bool(wrong)
        print(trials, f"{killed} killed", wrong[:5] or "ok", flush=True)  # noqa: T201 -- a command's result
    print(f"{trials} runs, {kills} kills, {bad} wrong")  # noqa: T201 -- a command's result
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
