"""What one execution is to do, as the pipeline takes it from the command line or a library's user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loader.settings import Credentials, Options, TargetSettings
from loader.targets.kind import Kind
from loader.targets.registry import kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What is to be loaded, whereto, how, and where the run is kept."""

    sources: tuple[str, ...]
    target: TargetSettings
    credentials: Credentials
    options: Options
    run_directory: Path
    reads_pipe: bool = True
    """Standard input is there to be read; False for `loader resume`, which has only what the run kept of it."""
    warnings: tuple[str, ...] = ()
    """What the user should be told before it begins."""

    @property
    def kind(self) -> Kind:
        """Return the registry's entry for the target."""
        return kind_of(self.target)

    @property
    def base_url(self) -> str:
        """Return the base URL of the options, else the vendor's own."""
        return self.options.base_url or self.kind.vendor.base_url(self.credentials)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What is to be read, checked and counted. Nothing is sent.

    `credentials` are not needed. They only make the size of a request exact, if it carries them in its body.
    """

    sources: tuple[str, ...]
    target: TargetSettings
    credentials: Credentials | None
    options: Options
    run_directory: Path
    """Where a load would keep its run."""
    warnings: tuple[str, ...] = ()
