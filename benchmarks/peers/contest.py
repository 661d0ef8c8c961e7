"""What every contestant is, and what it is given: the nouns of `make peers`.

A contestant is a command that pushes a file of records to a target. Two shapes: `single` is Ozari's insert, one record a request;
`batch` is Canbus' add, `Job.batch` records a request. All read the same file and write the same fields. What a tool cannot read
as it is (curl knows no NDJSON) is prepared before the clock starts, which favours the tool.

Nobody is told how fast the target may be asked. Where a tool retries only when it is told to, it is told to.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

Shape: TypeAlias = Literal["single", "batch"]
ENVIRONMENT = Path(sys.prefix) / "peers"
"""Where the Python peers are installed, apart from the project's own environment."""
TABLE = "tbench"
APP = "emulator-app"
TOKEN = "emulator-token"  # noqa: S105 - the emulator's own, and plainly so
CANBUS = {
    "tenant_id": "emulator",
    "app_id": APP,
    "api_key": "emulator-key",
    "api_secret": "emulator-secret",
}
KEYS: Mapping[Shape, str] = {"single": "fcode", "batch": "code"}
"""The field whose values tell the records apart."""


@dataclass(frozen=True)
class Job:
    """One push: `source` (NDJSON) to the server at `base_url`. `folder` is the contestant's own and outlives a kill."""

    shape: Shape
    source: Path
    folder: Path
    base_url: str
    batch: int = 100
    concurrency: int = 32

    @property
    def url(self) -> str:
        """Where records are posted."""
        return self.base_url + (f"/integration/tables/{TABLE}/records" if self.shape == "single" else "/api/records")

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}

    @property
    def prefix(self) -> str:
        """What stands before the records in a body."""
        return '{"fields":' if self.shape == "single" else json.dumps(CANBUS)[:-1] + ',"add":['

    @property
    def suffix(self) -> str:
        """What stands behind them."""
        return "}" if self.shape == "single" else "]}"

    def as_json(self) -> str:
        """Write the job for a script in another environment."""
        return json.dumps(
            {
                "source": str(self.source),
                "folder": str(self.folder),
                "url": self.url,
                "headers": self.headers,
                "batch": self.batch if self.shape == "batch" else 1,
                "credentials": CANBUS if self.shape == "batch" else None,
            }
        )


@dataclass(frozen=True)
class Contestant:
    """A tool and how it is used. `build` prepares the job's folder and returns the command."""

    name: str
    shapes: tuple[Shape, ...]
    build: Callable[[Job], list[str]]
    version: Callable[[], str]
    needs: tuple[str, ...] = ()
    """Programs that must be there; a path is looked for as it is."""
    hint: str = "make peers installs it"
    environment: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[Shape, int] = field(default_factory=lambda: {"single": 10_000, "batch": 100_000})
    """How many records a speed run sends: enough for some seconds."""
    finished_codes: tuple[int, ...] = (0,)
    """Exit codes that say: do not run me again."""
    is_endless: bool = False
    """Does not end by itself; it is ended once everything has arrived, or nothing arrives any more."""
    own_batch: int | None = None
    """Records a request where that is not the contest's."""

    def missing(self) -> list[str]:
        """Name the programs that are not there."""
        return [name for name in self.needs if not (Path(name).exists() if "/" in name else shutil.which(name))]

    def child_environment(self, job: Job) -> dict[str, str]:
        """Build the environment: nothing is written outside the job's folder, nothing is told to anybody."""
        quiet = {"DO_NOT_TRACK": "1", "RUNTIME__DLTHUB_TELEMETRY": "false", "HOME": str(job.folder)}
        return {**os.environ, **quiet, **self.environment}
