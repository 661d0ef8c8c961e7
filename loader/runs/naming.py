"""How a run directory is called if the user names none. Pure."""

from __future__ import annotations

from pathlib import Path

from loader.errors import UsageError
from loader.settings import Credentials, TargetSettings
from loader.targets.registry import kind_of


def directory_of(run: str | None, source: str, target: TargetSettings, credentials: Credentials | None) -> Path:
    """Return the run directory: the one that is named, else one beside the source. `credentials` None: a dry run without any."""
    if run is not None:
        if not run:
            raise UsageError("--run names no directory", "add --run DIR")
        return Path(run)
    kind = kind_of(target)
    return default_directory(source, kind.vendor.name, kind.label(target, credentials))


def default_directory(source: str, vendor: str, label: str) -> Path:
    """Name the run directory of a source: `SOURCE.<target>-<table>.run`, beside it."""
    return Path(f"{source}.{vendor}-{label}.run")
