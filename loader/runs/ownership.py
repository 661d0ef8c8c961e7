"""Whose files these are: before a run directory is believed, and before anything is written beside it.

Law: what decides where credentials and records go is read only from a directory that this user alone can write, out of regular
files with one name each. So nobody can swap run.json for one that names another address, and no write reaches a second name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from loader.checkpoint import BALLAST, INTENDED, LOG, SETTLED
from loader.errors import LogError, UsageError
from loader.runs.directory import METRICS_FILE, SPOOL_FILE
from loader.runs.leftovers import RUN_FILE
from loader.runs.plan import DryRun, LoadPlan
from loader.targets.registry import kind_of

_NAMES = (
    RUN_FILE, f"{RUN_FILE}.new", LOG, f"{LOG}.new", SETTLED, f"{SETTLED}.new", INTENDED, BALLAST, METRICS_FILE, SPOOL_FILE,
)  # fmt: skip
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_own(directory: Path) -> None:
    """See that a run directory and all files of the run in it are this user's alone. Errors: LogError."""
    try:
        status = directory.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise LogError(f"{directory} cannot be read: {error.strerror}", "check its permissions") from None
    if not stat.S_ISDIR(status.st_mode):
        return  # others say what it is
    _check_owner(directory, directory, status)
    # From here on nobody else can change which files the names mean.
    for name in _NAMES:
        path = directory / name
        try:
            status = path.lstat()
        except OSError:
            continue
        _check_kind(path, status)
        _check_owner(directory, path, status)


def _check_owner(directory: Path, path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise LogError(
            f"{path} belongs to another user, who decides what stands in it: the address that gets your credentials, too",
            "name a run directory of your own",
        )
    if status.st_mode & _OTHERS_WRITE:
        raise LogError(
            f"others may write to {path} (mode {stat.S_IMODE(status.st_mode):04o}), and so decide where your records go",
            f"look at {directory / RUN_FILE}; if it says what you know, `chmod go-w {path}`",
        )


def _check_kind(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise LogError(
            f"{path} is not a regular file but {_kind(status)}",
            "put the file itself back, or name another run directory",
        )
    if status.st_nlink > 1:
        raise LogError(
            f"{path} has {status.st_nlink} names (hard links): what the run writes would change the others too",
            f"give the run a file of its own: `cp -p {path} {path}.own && mv {path}.own {path}`",
        )


def _kind(status: os.stat_result) -> str:
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"))
    return next((name for matches, name in kinds if matches(status.st_mode)), "a device or socket")


def check_written_apart(path: str, option: str, read: Iterable[str], directory: Path) -> None:
    """See that a file to be written is none that is read, nor one of the run's. Errors: UsageError.

    Files are compared by what they are, not by name: a link leads to the same file.
    """
    hint = f"name another file with {option}"
    if Path(path).resolve().parent == directory.resolve():
        raise UsageError(f"{option} {path} lies in the run directory", hint)
    status = _status(path)
    if status is None:
        return
    for name in read:
        other = os.fstat(0) if name == "-" else _status(name)
        if other is not None and os.path.samestat(status, other) and stat.S_ISREG(status.st_mode):
            what = "standard input" if name == "-" else name
            raise UsageError(f"{option} {path} is {what}, which is read: it would be written into", hint)
    if directory.is_dir():
        for own in directory.iterdir():
            other = _status(own)
            if other is not None and os.path.samestat(status, other):
                raise UsageError(f"{option} {path} is {own}, a file of the run", hint)


def files_read(plan: LoadPlan | DryRun) -> Iterator[str]:
    """Yield what a load reads: its sources, and the files that options and the environment name."""
    yield from plan.sources
    if plan.options.ca_file:
        yield plan.options.ca_file
    form = kind_of(plan.target).vendor.form
    yield from filter(None, (os.environ.get(f"{name}_FILE") for name in form.variables))


def _status(path: str | Path) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - the path may be text
    except OSError:
        return None
