"""Are sources of a new run loaded by another one already? A run is found by its first source's name alone.

So a glob that a file was added to in front begins a new run, and would load all the others once more.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from loader.checkpoint import read_state
from loader.errors import LoaderError, RunMismatch
from loader.reading.fingerprint import check
from loader.report.wording import counted, quoted
from loader.runs import directory as run_directory
from loader.runs.directory import RunInfo, SourceInfo
from loader.runs.naming import directory_of
from loader.runs.plan import LoadPlan


def check_apart(plan: LoadPlan, asked: RunInfo) -> None:
    """See that no run beside a source holds it already, if the user has not named a run. Errors: RunMismatch."""
    names = [directory_of(None, source, plan.target, plan.credentials) for source in plan.sources]
    if plan.run_directory != names[0]:
        return
    ending = names[0].name.removeprefix(Path(plan.sources[0]).name)
    for folder in sorted({path.parent for path in names}):
        for other in sorted(folder.glob(f"*{ending}")):
            overlap = None
            with contextlib.suppress(LoaderError, OSError):  # what is wrong with another run is none of this one's
                overlap = _overlap(other, run_directory.read(other), asked)
            if overlap is not None:
                raise overlap


def is_same_file(before: SourceInfo, now: SourceInfo) -> bool:
    """Say whether both are one file, whatever its name, and still what it was or longer."""
    one, other = before.fingerprint, now.fingerprint
    return one is not None and other is not None and _place(one) == _place(other) and check(one, other) != "changed"


def _place(fingerprint: dict[str, Any]) -> tuple[int, int]:
    return fingerprint["device"], fingerprint["inode"]


def _overlap(other: Path, recorded: RunInfo, asked: RunInfo) -> RunMismatch | None:
    if (recorded.origin, recorded.settings.table) != (asked.origin, asked.settings.table):
        return None
    held = [now for now in asked.sources if any(is_same_file(before, now) for before in recorded.sources)]
    if not held:
        return None
    new = [quoted(Path(source.path).name) for source in asked.sources if source not in held]
    count = counted(read_state(other).counts.created, "created record")
    alone = f"load {', '.join(new)} alone" if new else f"`loader resume {quoted(str(other))}` goes on with it"
    return RunMismatch(
        f"{Path(held[0].path).name} belongs to the run {other} already, with {count}",
        f"{alone}; to load everything once more, name a run of its own: --run NEW",
    )
