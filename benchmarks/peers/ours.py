"""`loader` as a contestant: the real command with everything on.

Its rate is set out of reach where speed is measured, and left to it (`auto`) where something goes wrong.
"""

from __future__ import annotations

import sys
from functools import partial

from benchmarks.peers.contest import APP, CANBUS, TABLE, TOKEN, Contestant, Job
from loader import __version__

ENVIRONMENT = {
    "OZARI_TOKEN": TOKEN,
    "CANBUS_TENANT_ID": CANBUS["tenant_id"],
    "CANBUS_APP_ID": APP,
    "CANBUS_API_KEY": CANBUS["api_key"],
    "CANBUS_API_SECRET": CANBUS["api_secret"],
}
FINISHED = (0, 3)
"""3: finished, and some records are rejected or ambiguous; another run would change nothing."""
SPEED = ("--rate", "100000/s", "--concurrency", "32")
STAMP = {"single": ("--stamp", "fstamp"), "batch": ("--stamp", "Stamp", "--unique")}
SETTLE = ("--settle", "2")
"""The emulator applies nothing later than that; the default of 30 s only makes the trial longer."""


def build(job: Job, *options: str, is_stamped: bool = False) -> list[str]:
    """Build the command. Repeating it resumes."""
    what = ["ozari", "insert"] if job.shape == "single" else ["canbus", "add"]
    where = ["--table", TABLE] if job.shape == "single" else ["--max-records", str(job.batch)]
    stamp = STAMP[job.shape] if is_stamped else ()
    return [
        *(sys.executable, "-m", "loader", *what, str(job.source), *where, "--base-url", job.base_url),
        *("--run", str(job.folder / "load.run"), "--progress", "none", *options, *stamp),
    ]


def version() -> str:
    """Return the version of this checkout."""
    return f"loader {__version__}"


def make(name: str, *options: str, is_stamped: bool = False, own_batch: int | None = None) -> Contestant:
    """Make a contestant out of a set of options."""
    return Contestant(
        name=name,
        shapes=("batch",) if own_batch else ("single", "batch"),
        build=partial(_with_options, options, is_stamped),
        version=version,
        environment=ENVIRONMENT,
        records={"single": 40_000, "batch": 400_000},
        finished_codes=FINISHED,
        own_batch=own_batch,
    )


def _with_options(options: tuple[str, ...], is_stamped: bool, job: Job) -> list[str]:  # noqa: FBT001 - partial fills it in
    return build(job, *options, is_stamped=is_stamped)


FOR_SPEED = (
    make("loader", *SPEED),
    make("loader again", *SPEED),
    make("loader, 1,000 a request", *SPEED, own_batch=1000),
)
"""The second is the control: the same command under another name."""
FOR_FAULTS = (make("loader --stamp", *SETTLE, is_stamped=True), make("loader", *SETTLE))
