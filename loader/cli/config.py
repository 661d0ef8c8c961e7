"""From what somebody typed to frozen settings: the one place where options are checked together.

Every option arrives as text (click has already decided between flag, environment, profile and default) and leaves as a value of
`settings`, or as an error with a hint. Nothing is sent and nothing is written here; the run directory is only looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from loader.cli import quantities
from loader.credentials import read_credentials
from loader.errors import UsageError
from loader.runs import directory as run_directory
from loader.runs.directory import STANDARD_INPUT
from loader.runs.naming import directory_of
from loader.runs.plan import DryRun, LoadPlan
from loader.settings import AmbiguousPolicy, Credentials, Options, TargetSettings, TransportName
from loader.targets.kind import Kind
from loader.targets.registry import KINDS, kind_of
from loader.urls import check_base_url, check_proxy

NOT_KEPT = "--no-keep: no copy of standard input is kept, so this run cannot be resumed"


def load_settings(name: str, values: Mapping[str, Any], environ: Mapping[str, str]) -> LoadPlan | DryRun:
    """Build the settings of a load from its options; `name` is that of its kind. Errors: UsageError.

    The sources are not opened here.
    """
    kind = KINDS[name]
    target = kind.from_options(values)
    kind.check(target)
    _check_claims(target)
    sources = _sources(values["sources"], values.get("run"))
    options = build_options(values, Options(), target)
    given = read_credentials(environ, kind.vendor.form)
    if values.get("dry_run"):
        return DryRun(
            sources=sources,
            target=target,
            credentials=given.credentials,
            options=options,
            run_directory=directory_of(values.get("run"), sources[0], target, given.credentials),
            warnings=given.warnings,
        )
    credentials = given.require()
    is_lost = sources == (STANDARD_INPUT,) and not options.is_kept
    return LoadPlan(
        sources=sources,
        target=target,
        credentials=credentials,
        options=_with_base_url(options, kind, credentials),
        run_directory=directory_of(values.get("run"), sources[0], target, credentials),
        warnings=given.warnings + ((NOT_KEPT,) if is_lost else ()),
    )


def resume_settings(directory: Path, values: Mapping[str, Any], environ: Mapping[str, str]) -> LoadPlan:
    """Build the settings to go on with a run: its own, unless an option says otherwise.

    `--limit` is not carried over: it says where one execution ends, and a resume goes on from there.
    """
    info = run_directory.read(directory)
    kind = KINDS[info.target]
    target = _override(info.settings, values)
    kind.check(target)
    _check_claims(target)
    given = read_credentials(environ, kind.vendor.form)
    credentials = given.require()
    options = build_options(values, replace(info.options, max_lines=None), target)
    return LoadPlan(
        sources=tuple(run_directory.locate_source(source, directory) for source in info.sources),
        target=target,
        credentials=credentials,
        options=_with_base_url(options, kind, credentials),
        run_directory=directory,
        reads_pipe=False,
        warnings=given.warnings,
    )


def _with_base_url(options: Options, kind: Kind, credentials: Credentials) -> Options:
    return options if options.base_url is not None else replace(options, base_url=kind.vendor.base_url(credentials))


# --- the target -------------------------------------------------------------------------------------------------------


def _check_claims(target: TargetSettings) -> None:
    """See that what is claimed of key and stamp goes together."""
    if target.key is not None and target.key == target.stamp:
        raise UsageError(f"{target.key!r} is both key and stamp", "a stamp needs a spare field of its own")
    if target.is_unique and target.key is None and target.stamp is None:
        raise UsageError(
            "--unique says something about a key or stamp, and there is none", "add --key FIELD or --stamp FIELD"
        )


def _override(settings: TargetSettings, values: Mapping[str, Any]) -> TargetSettings:
    """Apply `--key` and `--unique`, the two options about the target that a resume takes."""
    given = {"key": values.get("key"), "is_unique": values.get("unique")}
    names = {field.name for field in fields(settings)}
    if values.get("unique") and "is_unique" not in names:
        raise UsageError("--unique does not exist for updates", "leave it out")
    return replace(settings, **{name: value for name, value in given.items() if value is not None and name in names})


def check_filter(filter_id: str | None, target: TargetSettings) -> None:
    """See that a list filter can teach anything about a run. Errors: UsageError."""
    if filter_id is None:
        return
    kind = kind_of(target)
    if kind.new_records is None:
        hint = f"leave it out: {kind.vendor.title} is asked by --key or --stamp"
        raise UsageError("--filter names a list filter of Canbus", hint)
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
    if values.get("trust_log") is not None:
        changes["trusts_log"] = bool(values["trust_log"])
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
    vendor = kind_of(target).vendor.title
    raise UsageError(
        f"--ambiguous reconcile is possible with {vendor} only where the key or stamp item forbids duplicates",
        "add --unique if it does, or choose hold",
    )
