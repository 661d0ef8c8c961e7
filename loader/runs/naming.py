"""How a run directory is called where the user names none. Pure."""

from __future__ import annotations

from pathlib import Path

from loader.errors import UsageError
from loader.runs.directory import table_of
from loader.settings import CanbusCredentials, Credentials, TargetSettings


def directory_of(run: str | None, source: str, target: TargetSettings, credentials: Credentials) -> Path:
    """Return the run directory: the one that is named, else one beside the source."""
    if run is not None:
        if not run:
            raise UsageError("--run names no directory", "add --run DIR")
        return Path(run)
    if isinstance(credentials, CanbusCredentials):
        return default_directory(source, "canbus", credentials.tenant_id)
    return default_directory(source, "ozari", table_of(target) or "")


def default_directory(source: str, target: str, table: str) -> Path:
    """Name the run directory of a source: `SOURCE.<target>-<table>.run`, beside it."""
    return Path(f"{source}.{target}-{table}.run")
