"""From what somebody typed to frozen settings: the one place where options are checked together.

Every option arrives as text (click has already decided between flag, environment, profile and default) and leaves as a value of
`settings`, or as an error with a hint. Nothing is sent and nothing is written here; the run directory is only looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from loader.cli import quantities
from loader.credentials import read_credentials
from loader.errors import UsageError
from loader.runs import directory as run_directory
from loader.runs.directory import STANDARD_INPUT, Kind
from loader.runs.naming import directory_of
from loader.runs.plan import LoadPlan
from loader.settings import (
    AmbiguousPolicy,
    CanbusAdd,
    Options,
    OzariInsert,
    OzariUpdate,
    TargetSettings,
    TransportName,
)
from loader.urls import check_base_url, check_proxy, default_base_url

NAME = re.compile(r"[A-Za-z0-9_]+")
"""[D] OZ-err, OZ-ins: table and field names. Used with fullmatch: `$` would let a trailing line feed pass."""
MAX_NAME_LENGTH = 64
PRIMARY_KEY = "fid"
NOT_KEPT = "--no-keep: no copy of standard input is kept, so this run cannot be resumed"


def load_settings(kind: Kind, values: Mapping[str, Any], environ: Mapping[str, str]) -> LoadPlan:
    """Build the settings of a load from its options. Errors: UsageError. The sources are not opened here."""
    target = _target(kind, values)
    sources = _sources(values["sources"], values.get("run"))
    options = build_options(values, Options(), target)
    is_dry_run = bool(values.get("dry_run"))
    given = read_credentials(environ, is_canbus=kind == "canbus add", is_needed=not is_dry_run)
    if options.base_url is None:
        options = replace(options, base_url=default_base_url(given.credentials))
    directory = directory_of(values.get("run"), sources[0], target, given.credentials)
    is_lost = sources == (STANDARD_INPUT,) and not options.is_kept and not is_dry_run
    return LoadPlan(
        sources=sources,
        target=target,
        credentials=given.credentials,
        options=options,
        run_directory=directory,
        is_dry_run=is_dry_run,
        warnings=given.warnings + ((NOT_KEPT,) if is_lost else ()),
    )


def resume_settings(directory: Path, values: Mapping[str, Any], environ: Mapping[str, str]) -> LoadPlan:
    """Build the settings to go on with a run: its own, except where an option says otherwise.

    `--limit` is not carried over: it says where one execution ends, and resuming is how to go on behind it.
    """
    info = run_directory.read(directory)
    target = _override(info.settings, values)
    given = read_credentials(environ, is_canbus=info.target == "canbus add")
    options = build_options(values, replace(info.options, max_lines=None), target)
    if options.base_url is None:
        options = replace(options, base_url=default_base_url(given.credentials))
    return LoadPlan(
        sources=tuple(run_directory.locate_source(source, directory) for source in info.sources),
        target=target,
        credentials=given.credentials,
        options=options,
        run_directory=directory,
        reads_pipe=False,
        warnings=given.warnings,
    )


# --- the target -------------------------------------------------------------------------------------------------------


def _target(kind: Kind, values: Mapping[str, Any]) -> TargetSettings:
    key, stamp = values.get("key"), values.get("stamp")
    if kind == "canbus add":
        _check_item("--key", key)
        _check_item("--stamp", stamp)
        _check_item("--user", values.get("user"))
        return _checked(CanbusAdd(values.get("user"), key, stamp, bool(values.get("unique"))))
    table = values.get("table")
    if not table:
        raise UsageError("no table is named", "add --table NAME")
    if not NAME.fullmatch(table) or len(table) > MAX_NAME_LENGTH:
        raise UsageError(
            f"{table!r} is not a table name", "a table name is made of letters, digits and _, for example tcust"
        )
    if kind == "ozari update":
        match = tuple(values.get("match") or ())
        for field in match:
            _check_field("--match", field)
        if len(set(match)) != len(match):
            raise UsageError("a field is named twice by --match", "name each field once")
        return OzariUpdate(table, match)
    for option, field in (("--key", key), ("--stamp", stamp)):
        _check_field(option, field)
        if field == PRIMARY_KEY:
            raise UsageError(
                f"{option} {PRIMARY_KEY} is impossible", "the target sets its primary key itself; name another field"
            )
    return _checked(OzariInsert(table, key, stamp, bool(values.get("unique"))))


def _checked(target: OzariInsert | CanbusAdd) -> OzariInsert | CanbusAdd:
    if target.key is not None and target.key == target.stamp:
        raise UsageError(f"{target.key!r} is both key and stamp", "a stamp needs a spare field of its own")
    if target.is_unique and target.key is None and target.stamp is None:
        raise UsageError(
            "--unique says something about a key or stamp, and there is none", "add --key FIELD or --stamp FIELD"
        )
    return target


def _check_field(option: str, name: str | None) -> None:
    if name is not None and not NAME.fullmatch(name):
        raise UsageError(f"{option} {name!r} is not a field name", "a field name is made of letters, digits and _")


def _check_item(option: str, name: str | None) -> None:
    if name is not None and (not name.strip() or not name.isprintable()):
        raise UsageError(
            f"{option} {name!r} is empty or holds a control character", "give the name as the target shows it"
        )


def _override(settings: TargetSettings, values: Mapping[str, Any]) -> TargetSettings:
    """Apply `--key` and `--unique`, the two words about the target that may change in a resume."""
    key, is_unique = values.get("key"), values.get("unique")
    if isinstance(settings, OzariUpdate):
        if is_unique:
            raise UsageError("--unique does not exist for updates", "leave it out")
        return settings
    if isinstance(settings, OzariInsert):
        _check_field("--key", key)
    else:
        _check_item("--key", key)
    return _checked(
        replace(
            settings,
            key=settings.key if key is None else key,
            is_unique=settings.is_unique if is_unique is None else bool(is_unique),
        )
    )


def check_filter(filter_id: str | None, target: TargetSettings) -> None:
    """See that a list filter can teach anything about a run. Errors: UsageError."""
    if filter_id is None:
        return
    if not isinstance(target, CanbusAdd):
        raise UsageError("--filter names a list filter of Canbus", "leave it out: Ozari is asked by --key or --stamp")
    if not filter_id.strip() or not filter_id.isprintable():
        raise UsageError(
            "--filter names no filter", "its id stands in the page source of the list screen: window.GLOBAL.FILTER_ID"
        )
    if target.key is None and target.stamp is None:
        raise UsageError(
            "this run has neither stamp nor key by which a row could be told to be a record's",
            "add --key ITEM: an item whose values identify the records",
        )


# --- the source and the run -------------------------------------------------------------------------------------------


def _sources(sources: Sequence[str], run: str | None) -> tuple[str, ...]:
    if STANDARD_INPUT in sources:
        if len(sources) > 1:
            raise UsageError("standard input cannot be mixed with other sources", "give - alone")
        if run is None:
            raise UsageError("standard input has no name to call its run by", "add --run DIR")
        return (STANDARD_INPUT,)
    if len({Path(source).resolve() for source in sources}) != len(sources):
        raise UsageError("a source is named twice", "its records would be created twice; name each source once")
    return tuple(sources)


# --- the options ------------------------------------------------------------------------------------------------------


def _zero_or_more_seconds(option: str, text: str) -> float:
    return quantities.parse_seconds(option, text, may_be_zero=True)


def _ca_file(option: str, text: str) -> str:
    if not Path(text).is_file():
        raise UsageError(f"{option} {text} is not a file", "name a file of certificates in PEM form")
    return text


def _proxy(_option: str, text: str) -> str:
    return check_proxy(text)


def _base_url(_option: str, text: str) -> str:
    return check_base_url(text)


# From the option's name to the field of Options and the reader of its text.
READERS: dict[str, tuple[str, Callable[[str, str], object]]] = {
    "rate": ("rate", quantities.parse_rate),
    "burst": ("burst", quantities.parse_count),
    "concurrency": ("concurrency", quantities.parse_count),
    "limit": ("max_lines", quantities.parse_count),
    "max_rejects": ("max_rejects", quantities.parse_reject_limit),
    "max_records": ("max_records", quantities.parse_count),
    "max_bytes": ("max_bytes", quantities.parse_size),
    "max_line_bytes": ("max_line_bytes", quantities.parse_size),
    "timeout": ("timeout_seconds", quantities.parse_seconds),
    "settle": ("settle_seconds", _zero_or_more_seconds),
    "patience": ("patience_seconds", quantities.parse_seconds),
    "base_url": ("base_url", _base_url),
    "proxy": ("proxy", _proxy),
    "ca_file": ("ca_file", _ca_file),
}


def build_options(values: Mapping[str, Any], base: Options, target: TargetSettings) -> Options:
    """Replace in `base` what the options say. Errors: UsageError for text that is no value, and for a policy that cannot be."""
    changes: dict[str, Any] = {
        field: read("--" + name.replace("_", "-"), str(values[name]))
        for name, (field, read) in READERS.items()
        if values.get(name) is not None
    }
    if values.get("ordered") is not None:
        changes["is_ordered"] = bool(values["ordered"])
    if values.get("no_keep") is not None:
        changes["is_kept"] = not values["no_keep"]
    if values.get("ambiguous") is not None:
        changes["ambiguous"] = cast("AmbiguousPolicy", values["ambiguous"])
    if values.get("transport") is not None:
        changes["transport"] = cast("TransportName", values["transport"])
    options = replace(base, **changes)
    if options.ambiguous == "reconcile":
        _check_reconcile(target)
    return options


def _check_reconcile(target: TargetSettings) -> None:
    if target.is_askable:
        return
    if target.key is None and target.stamp is None:
        raise UsageError(
            "--ambiguous reconcile needs something to ask by", "add --key FIELD or --stamp FIELD, or choose hold"
        )
    raise UsageError(
        "--ambiguous reconcile is possible with Canbus only where the key or stamp item forbids duplicates",
        "add --unique if it does, or choose hold",
    )
