"""What one execution is to do, as the pipeline takes it from the command line or a library's user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loader.settings import Credentials, Options, TargetSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What is to be loaded, whereto, how, and where the run is kept."""

    sources: tuple[str, ...]
    target: TargetSettings
    credentials: Credentials
    options: Options
    run_directory: Path
    is_dry_run: bool = False
    reads_pipe: bool = True
    """Standard input is there to be read; False for `loader resume`, which has only what the run kept of it."""
    warnings: tuple[str, ...] = ()
    """What the user should be told before it begins."""
