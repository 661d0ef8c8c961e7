"""The run directory: the names in it, and run.json, which says what was asked.

run.json is written whole or not at all (a new file, synced, then renamed) and never holds a secret. The checkpoint log
alone is the truth about records; run.json ties the log to a target, a tenant and a source, and keeps the run id so that a
lost header can be built again. This file knows nothing of the log's content: `checkpoint.peek` reads its header.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from loader.checkpoint import LOG, SETTLED, Header, NoHeader, peek
from loader.errors import LogDamaged, LogError, LogStorageFailed, RunMismatch, UsageError
from loader.redaction import printable
from loader.runs.finding import runs_near
from loader.runs.leftovers import RUN_FILE, are_leftovers, is_run_file
from loader.settings import Options, TargetSettings
from loader.targets.base import Identity
from loader.targets.registry import KINDS
from loader.targets.stamp_form import EARLIER_FORM, StampForm

LOG_FILE = LOG
METRICS_FILE = "metrics.ndjson"
SPOOL_FILE = "source.zst"
"""The kept lines of standard input."""
FORMAT_VERSION = 2
"""1 in runs whose stamps have the form of earlier versions, which can go on with those."""

STANDARD_INPUT = "-"
NEW_RUN_HINT = "load into another run directory: --run NEW"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    r"""One source. `path` is absolute, or `-`. `from_run` is the path from the run directory, for when both have moved.

    `fingerprint` is what `reading.fingerprint` made of the file; None until it was opened. A name that is not UTF-8 stands in
    run.json as `caf\xe9`, to be read, and in `path_bytes` and `from_run_bytes` as base64.
    """

    path: str
    from_run: str = ""
    fingerprint: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What run.json holds. `run` is the run id, `target` the name of a kind.

    `identity` is None until the target has said who we are.
    """

    run: str
    target: str
    origin: str
    identity: Identity | None
    settings: TargetSettings
    sources: tuple[SourceInfo, ...]
    options: Options
    loader: str
    created: str
    stamp_form: StampForm = EARLIER_FORM


# --- run.json as bytes (pure) -----------------------------------------------------------------------------------------


def encode(info: RunInfo) -> bytes:
    """Write run.json: one object, indented, for people to read. `table` stands at the top for their sake alone."""
    version = FORMAT_VERSION if info.stamp_form.is_even else 1
    first = {"format": version, "run": info.run, "target": info.target, "table": info.settings.table}
    sources = [_named_in_text(asdict(source)) for source in info.sources]
    values = first | asdict(info) | {"sources": sources}
    return msgspec.json.format(msgspec.json.encode(values), indent=2) + b"\n"


def decode(data: bytes) -> RunInfo:
    """Read run.json. Errors: LogDamaged if it is not what `encode` writes; UsageError if a newer loader wrote it."""
    try:
        values = msgspec.json.decode(data, type=dict[str, Any])
        if msgspec.convert(values["format"], int) > FORMAT_VERSION:
            raise UsageError(
                f"the run was made by a newer loader ({values.get('loader')})",
                f"update loader: this one reads run directories of format {FORMAT_VERSION}",
            )
        kind = KINDS.get(msgspec.convert(values["target"], str))
        if kind is None:
            raise msgspec.ValidationError("no such target")
        return RunInfo(
            run=msgspec.convert(values["run"], str),
            target=kind.name,
            origin=msgspec.convert(values["origin"], str),
            identity=msgspec.convert(values["identity"], Identity | None),
            settings=msgspec.convert(values["settings"], kind.settings),
            sources=msgspec.convert(
                [_named_in_bytes(source) for source in msgspec.convert(values["sources"], list[dict[str, Any]])],
                tuple[SourceInfo, ...],
            ),
            options=msgspec.convert(values["options"], Options),
            loader=msgspec.convert(values["loader"], str),
            created=msgspec.convert(values["created"], str),
            stamp_form=msgspec.convert(values.get("stamp_form", {}), StampForm),
        )
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise LogDamaged(
            f"{RUN_FILE} is damaged ({type(error).__name__})",
            "restore it from a backup; the checkpoint log beside it still holds the outcomes",
        ) from None


def check_identity(recorded: RunInfo, identity: Identity) -> None:
    """Compare who the target says we are with whom the run was made for. Errors: RunMismatch."""
    if recorded.identity is not None and recorded.identity.binding != identity.binding:
        before, now = recorded.identity.name, identity.name
        whose = f"was made for {before}, not for {now}" if before != now else f"was made for another app of {before}"
        raise RunMismatch(f"the credentials belong to somebody else: the run {whose}", f"use theirs, or {NEW_RUN_HINT}")


def _named_in_text(source: dict[str, Any]) -> dict[str, Any]:
    values = dict(source)
    for name in ("path", "from_run"):
        if (shown := printable(values[name])) != values[name]:
            values |= {name: shown, f"{name}_bytes": base64.b64encode(os.fsencode(values[name])).decode()}
    return values


def _named_in_bytes(source: dict[str, Any]) -> dict[str, Any]:
    values = dict(source)
    for name in ("path", "from_run"):
        if (data := values.pop(f"{name}_bytes", None)) is not None:
            values[name] = os.fsdecode(base64.b64decode(data))
    return values


# --- the directory ----------------------------------------------------------------------------------------------------


def describe_source(path: str, directory: Path) -> SourceInfo:
    """Describe where a source is, so that it is found from another folder, and after source and run have moved together."""
    if path == STANDARD_INPUT:
        return SourceInfo(path)
    absolute = os.path.abspath(path)  # noqa: PTH100 - a symbolic link is the user's name for the source and stays
    return SourceInfo(absolute, os.path.relpath(absolute, directory.absolute()))


def source_names(info: RunInfo) -> list[str]:
    """Return the names of the sources' files, as text; with their folders where two have one name."""
    paths = [printable(source.path) for source in info.sources]
    names = [os.path.basename(path) for path in paths]  # noqa: PTH119 - it may be `-`
    return names if len(set(names)) == len(names) else paths


def sizes_of(sources: Sequence[SourceInfo]) -> list[int | None]:
    """Return how long the sources' files were when they were opened; None for standard input."""
    return [None if info.fingerprint is None else info.fingerprint["size"] for info in sources]


def locate_source(info: SourceInfo, directory: Path) -> str:
    """Return a path at which a source may be found now; the recorded one if neither exists."""
    if info.path == STANDARD_INPUT or Path(info.path).exists() or not info.from_run:
        return info.path
    moved = directory / info.from_run
    return str(moved) if moved.exists() else info.path


def exists(directory: Path) -> bool:
    """Say whether a run was begun here. Errors: UsageError if the directory holds something else: that is left alone."""
    try:
        if not directory.exists():
            return False
        if directory.is_dir():
            if _peek(directory) not in (NoHeader.NO_LOG, NoHeader.UNBORN):
                return True
            if is_run_file(directory / RUN_FILE):
                return True
            if are_leftovers(directory):
                return False
    except OSError as error:
        raise LogError(f"{directory} cannot be read: {error.strerror}", "check its permissions") from None
    raise UsageError(f"{directory} exists and is not a run directory", "name a new directory: --run NEW")


def _peek(directory: Path) -> Header | NoHeader:
    try:
        return peek(directory)
    except OSError as error:
        raise LogError(f"{directory / LOG_FILE} cannot be read: {error.strerror}", "check its permissions") from None


def clear_unborn(directory: Path) -> None:
    """Take away the log that `exists` did not count as one. Errors: LogStorageFailed."""
    try:
        for name in (LOG, SETTLED):
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise _not_written(directory, error) from None


def read(directory: Path) -> RunInfo:
    """Read run.json; if it is missing, the log's first line, which holds the same.

    Errors: UsageError if there is no run, LogDamaged if it cannot be understood.
    """
    path = directory / RUN_FILE
    try:
        # Without O_NONBLOCK a pipe of this name would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        if _is_begun(directory):
            return _from_log(directory)
        raise _no_such_run(directory) from None
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror}", "check what it is, and its permissions") from None
    if not is_run_file(path) and not isinstance(_peek(directory), Header):
        raise _no_such_run(directory)
    return decode(data)


def _is_begun(directory: Path) -> bool:
    try:
        return exists(directory)
    except UsageError:
        return False


def _no_such_run(directory: Path) -> UsageError:
    near = runs_near(directory)
    if near:
        return UsageError(f"{directory} is not a run directory", f"did you mean {' or '.join(map(str, near))}?")
    what = f"{directory} is not a run directory" if directory.exists() else f"no such run: {directory}"
    return UsageError(what, "a load prints the name of its run directory; it ends in .run")


def _from_log(directory: Path) -> RunInfo:
    header = _peek(directory)
    try:
        if isinstance(header, Header):
            return decode(msgspec.json.encode(header.bound))
    except LogDamaged:
        pass  # a header of something else than a load
    raise LogDamaged(f"{RUN_FILE} is missing beside {directory / LOG_FILE}", "restore it from a backup")


def write(directory: Path, info: RunInfo) -> None:
    """Create the run directory if it is missing, and write run.json, whole or not at all. Errors: LogStorageFailed."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = directory / _new(RUN_FILE)
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode(info))
            file.flush()
            os.fsync(file.fileno())
        new.replace(directory / RUN_FILE)
        sync_directory(directory)
    except OSError as error:
        raise _not_written(directory, error) from None


def _not_written(directory: Path, error: OSError) -> LogStorageFailed:
    return LogStorageFailed(
        f"the run directory {directory} cannot be written: {error.strerror}",
        "free some space, or name a directory that can be written: --run DIR",
    )


def bind(directory: Path, info: RunInfo, identity: Identity) -> RunInfo:
    """Tie a run to whom the target says we are; write run.json again if that was not known. Errors: RunMismatch."""
    check_identity(info, identity)
    if info.identity is not None:
        return info
    bound = replace(info, identity=identity)
    write(directory, bound)
    return bound


def sync_directory(directory: Path) -> None:
    """Make a created or renamed name durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new(name: str) -> str:
    return name + ".new"
