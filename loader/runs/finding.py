"""Which run somebody may have meant who named something that is none."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from loader.runs.leftovers import is_run_file

_SHOWN = 3


def runs_near(path: Path) -> list[Path]:
    """Return runs that a name may have meant: those of this source, or those in this folder, at most three."""
    try:
        if path.is_dir():
            near = sorted(path.iterdir())
        else:
            near = sorted(other for other in path.parent.iterdir() if _is_named_after(other.name, path.name))
        return list(islice((run for run in near if is_run_file(run / "run.json")), _SHOWN))
    except OSError:
        return []


def _is_named_after(run: str, name: str) -> bool:
    stem = name.removesuffix(".run")
    return len(stem) > 2 and stem in run
