"""Is the run in the directory the one that is asked for, and the one that its log was made for? Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec

from loader.errors import LogDamaged, RunMismatch
from loader.runs.directory import NEW_RUN_HINT, STANDARD_INPUT, RunInfo, SourceInfo, decode
from loader.runs.leftovers import RUN_FILE
from loader.settings import CHANGEABLE

_RESTORE = (
    f"put {RUN_FILE} back as it was, or remove it: the log's first line holds the same. `loader resume` takes options"
)


def check_same(recorded: RunInfo, asked: RunInfo) -> None:
    """Compare a run with what is asked of it now, before anything is sent. Errors: RunMismatch that names the difference.

    The sources' content and the identity are compared later, when they are known (`check_identity`, `source`).
    """
    _compare("target", recorded.target, asked.target)
    _compare("origin", recorded.origin, asked.origin)
    if recorded.options.base_url and asked.options.base_url:  # the same origin: what may differ is the path
        _compare("base URL", recorded.options.base_url, asked.options.base_url)
    for name in (field.name for field in fields(recorded.settings) if field.name not in CHANGEABLE):
        _compare(name, getattr(recorded.settings, name), getattr(asked.settings, name))
    _check_number(recorded.sources, asked.sources)
    for before, now in zip(recorded.sources, asked.sources, strict=True):
        if STANDARD_INPUT in {before.path, now.path}:
            _compare("source", before.path, now.path)


def check_header(recorded: RunInfo, bound: Mapping[str, Any]) -> None:
    """Compare run.json with what the log's first line says of the run, which a checksum keeps. Errors: RunMismatch.

    What a resume writes anew is not compared: whose credentials these are, and where the sources are.
    """
    try:
        sealed = decode(msgspec.json.encode(bound))
    except LogDamaged:
        return  # a log that no load has made
    for name in ("run", "target", "origin", "settings", "options"):
        before, now = getattr(sealed, name), getattr(recorded, name)
        if before != now:
            raise RunMismatch(
                f"{RUN_FILE} was changed: {_first_difference(before, now, name)}, says the checkpoint log", _RESTORE
            )
    if len(sealed.sources) != len(recorded.sources):
        raise RunMismatch(f"{RUN_FILE} was changed: the checkpoint log was made for other sources", _RESTORE)


def _first_difference(before: object, now: object, name: str) -> str:
    if is_dataclass(before) and type(before) is type(now):
        for field in fields(before):
            if getattr(before, field.name) != getattr(now, field.name):
                return f"{field.name} is {_shown(getattr(now, field.name))}, not {_shown(getattr(before, field.name))}"
    return f"{name} is {_shown(now)}, not {_shown(before)}"


def _check_number(before: Sequence[SourceInfo], now: Sequence[SourceInfo]) -> None:
    if len(before) == len(now):
        return
    known = {source.path for source in before}
    new = [source.path for source in now if source.path not in known]
    hint = f"repeat the command as it was, or {NEW_RUN_HINT}"
    if new and len(new) < len(now):
        hint = f"repeat the command as it was, and load what is new by itself: {', '.join(new[:3])}"
    raise RunMismatch(f"the run was made for another number of sources: {len(before)}, not {len(now)}", hint)


def _compare(name: str, before: object, now: object) -> None:
    if before != now:
        raise RunMismatch(
            f"the run was made for another {name}: {_shown(before)}, not {_shown(now)}",
            f"repeat the command as it was, or {NEW_RUN_HINT}",
        )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)
