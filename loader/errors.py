"""Every exception that `loader` raises on purpose.

LoaderError            message, hint, exit code
├── UsageError         2  wrong options, no credentials, no such run
├── SourceError        5  the source cannot be read, or is not the one the run began with
├── LogError           5  the checkpoint log cannot be used
│   ├── LogDamaged        acknowledged data is not what was written
│   ├── LogLocked         another process holds the run
│   └── LogStorageFailed  the disk is full, or a write or sync failed
├── RunMismatch        5  the run was made for another target, tenant, table, source or mapping
└── RunStopped         4  the target stopped the run; it can be resumed

A bad record is never an exception: it is a value (`model.Rejected`). Exceptions are for the run.
Every message may be shown to a user as it is, so none may hold a secret; every error has a hint that says what to do.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

StopReason: TypeAlias = Literal[
    "credentials", "table", "redirect", "patience", "rejects", "answers", "disk", "limit", "signal"
]
"""The words of the report (cli.md)."""


class LoaderError(Exception):
    """Stop the command with a message, a hint and an exit code."""

    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LoaderError):
    """Say that the command cannot be carried out as it was asked."""

    exit_code = 2


class SourceError(LoaderError):
    """Say that the source cannot be read, or has changed."""

    exit_code = 5


class LogError(LoaderError):
    """Say that the checkpoint log cannot be used."""

    exit_code = 5


class LogDamaged(LogError):
    """Say that data which was acknowledged as durable is missing or altered."""


class LogLocked(LogError):
    """Say that another process holds the run."""


class LogStorageFailed(LogError):
    """Say that the disk refused a write or a sync; the log may not be written any more by this process."""


class RunMismatch(LoaderError):
    """Say that the run directory belongs to other data or another target."""

    exit_code = 5


class RunStopped(LoaderError):
    """Say that the target stopped the run. `reason` is one of the words of the report."""

    exit_code = 4

    def __init__(self, reason: StopReason, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.reason: StopReason = reason
