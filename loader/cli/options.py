"""Every option, once: its name, what it takes, its help, and the section of the help it stands in.

Every value arrives as text and is read in `config`; click decides where it comes from: flag, LOADER_<NAME> in the
environment, the profile, or nothing (then `config` knows the default). Secrets have no option.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

WHAT, PACE, DOUBT, WAY, SHOWN = "What is loaded", "Pace", "Stops and doubts", "The way there", "What you see"
SECTIONS = (WHAT, PACE, DOUBT, WAY, SHOWN)
ENVIRONMENT_PREFIX = "LOADER_"


class Option(click.Option):
    """An option with a section and its one name in the environment."""

    def __init__(self, *args: Any, section: str = SHOWN, extra_envvar: str | None = None, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.section = section
        name = ENVIRONMENT_PREFIX + (self.name or "").upper()
        self.envvar = [extra_envvar, name] if extra_envvar else [name]


def _read_profile(ctx: click.Context, _parameter: click.Parameter, path: str | None) -> None:
    if path is None:
        return
    from loader.cli.profile import read_profile

    ctx.default_map = read_profile(path, [name for name in OPTIONS if name != "profile"])


def _text(flag: str, metavar: str, section: str, words: str, **attributes: Any) -> dict[str, Any]:
    return {"param_decls": (flag,), "metavar": metavar, "section": section, "help": words, **attributes}


def _flag(flags: str, section: str, words: str, **attributes: Any) -> dict[str, Any]:
    return {
        "param_decls": tuple(flags.split()), "is_flag": True, "default": None, "section": section, "help": words, **attributes,
    }  # fmt: skip


OPTIONS: dict[str, dict[str, Any]] = {
    "table": _text("--table", "NAME", WHAT, "Table to load into."),
    "match": _text(
        "--match", "FIELD", WHAT, "Lines are flat; this field finds the record, the others change it. Repeatable.", multiple=True
    ),
    "user": _text("--user", "LOGIN", WHAT, "Fill System_Create_User where a line has none."),
    "key": _text("--key", "FIELD", WHAT, "Field that identifies a record: shown by `ids`, asked by when an answer is lost."),
    "stamp": _text(
        "--stamp", "FIELD", WHAT, "Write a key of the loader's own into this spare field: a lost answer can be asked for exactly."
    ),
    "unique": _flag("--unique", WHAT, "Your word: the key or stamp item forbids duplicates in the target and is its only one."),
    "run": _text("--run", "DIR", WHAT, "Run directory; repeating the command on it resumes. [SOURCE.<target>-<table>.run]"),
    "limit": _text("--limit", "N", WHAT, "Stop, resumable, after N lines: try ten, look, go on."),
    "dry_run": _flag("--dry-run", WHAT, "Read, check, chunk and count everything; send nothing."),
    "max_line_bytes": _text("--max-line-bytes", "SIZE", WHAT, "Longest accepted line. [16MiB]"),
    "no_keep": _flag("--no-keep", WHAT, "Keep no copy of standard input; such a run cannot be resumed."),
    "profile": _text(
        "--profile", "FILE", WHAT, "TOML file of any of these options.", is_eager=True, expose_value=False, callback=_read_profile
    ),
    "rate": _text("--rate", "RATE", PACE, "Requests admitted: N, N/s, N/min, auto or auto:N (begin there). [auto]"),
    "burst": _text("--burst", "N", PACE, "Requests that may go at once; no second admits more than rate + burst."),
    "concurrency": _text("--concurrency", "N", PACE, "Requests in flight at most. [Ozari 32, Canbus 4]"),
    "ordered": _flag("--ordered", PACE, "Create in source order: one request in flight."),
    "max_records": _text("--max-records", "N", PACE, "Records in one request at most. [1000]"),
    "max_bytes": _text("--max-bytes", "SIZE", PACE, "Bytes of one request at most; a larger record goes alone. [8MiB]"),
    "ambiguous": _text(
        "--ambiguous", "POLICY", DOUBT, "What to do with a request whose fate is unknown: reconcile, hold or resend."
        " [reconcile where there is a key or stamp to ask by (Canbus: and --unique), else hold]",
        type=click.Choice(["reconcile", "hold", "resend"]),
    ),
    "filter": _text(
        "--filter", "ID", DOUBT, "Canbus: read the rows of this saved list filter for ids that went with an answer."
    ),
    "max_rejects": _text(
        "--max-rejects", "LIMIT", DOUBT, "Stop, resumable, past N or P% rejected by the target."
        " [the first 100 answered, or any 1,000 in a row, all rejected; 100% turns it off]",
    ),
    "trust_log": _flag(
        "--trust-log", DOUBT, "Go on by the log, although the target's ids say that one of the two was put back."
    ),
    "timeout": _text("--timeout", "SECONDS", DOUBT, "Time for one request. [60]"),
    "settle": _text(
        "--settle", "SECONDS", DOUBT, "How long the target may still apply a request whose connection died. [30]"
    ),
    "patience": _text("--patience", "SECONDS", DOUBT, "Stop, resumable, after this long without one good answer. [900]"),
    "base_url": _text("--base-url", "URL", WAY, "Where the API is. Also OZARI_BASE_URL, CANBUS_BASE_URL. [the vendor's]"),
    "proxy": _text("--proxy", "URL", WAY, "Proxy to go through; none is taken from anywhere else."),
    "ca_file": _text("--ca-file", "FILE", WAY, "Certificates to trust, in PEM form."),
    "transport": _text(
        "--transport", "NAME", WAY, "session, lean (quicker), or auto: lean if its self-check passes, without proxy. [auto]",
        type=click.Choice(["auto", "session", "lean"]),
    ),
    "json": _flag("--json", SHOWN, "Print the result as one JSON object on standard output."),
    "progress": _text(
        "--progress", "MODE", SHOWN, "On standard error: auto, plain or none. [auto]",
        type=click.Choice(["auto", "plain", "none"]),
    ),
    "verbose": _flag("-v --verbose", SHOWN, "Say more: every warning, a line every second."),
    "quiet": _flag("-q --quiet", SHOWN, "Say nothing but warnings, errors, and a report that asks for something to be done."),
    "log_file": _text("--log-file", "FILE", SHOWN, "Append JSON lines on what happens."),
}  # fmt: skip

SHOWN_NAMES = ("json", "progress", "verbose", "quiet", "log_file")
PACE_NAMES = ("rate", "burst", "concurrency")
DOUBT_NAMES = ("ambiguous", "max_rejects", "trust_log", "timeout", "settle", "patience")
WAY_NAMES = ("base_url", "proxy", "ca_file", "transport")
LOAD_NAMES = (
    "key", "run", "limit", "dry_run", "max_line_bytes", "no_keep", "profile", *PACE_NAMES, "ordered",
    *DOUBT_NAMES, *WAY_NAMES, *SHOWN_NAMES,
)  # fmt: skip
RESUME_NAMES = ("key", "unique", "limit", "profile", *PACE_NAMES, *DOUBT_NAMES, "proxy", "transport", *SHOWN_NAMES)
"""Every option that does not change what is sent (cli.md)."""


def with_options(*names: str, base_url_variable: str | None = None) -> Callable[[F], F]:
    """Decorate a command with options, shown in the order of OPTIONS."""

    def decorate(command: F) -> F:
        for name in reversed([name for name in OPTIONS if name in names]):
            attributes = dict(OPTIONS[name])
            extra = base_url_variable if name == "base_url" else None
            command = click.option(*attributes.pop("param_decls"), cls=Option, extra_envvar=extra, **attributes)(
                command
            )
        return command

    return decorate


class WithExamples(click.Command):
    """What has a help that begins with examples."""

    def __init__(self, *args: Any, examples: str = "", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write description, examples, usage, and what there is to choose from."""
        self.format_help_text(ctx, formatter)
        write_examples(self.examples, formatter)
        formatter.write_paragraph()
        self.format_usage(ctx, formatter)
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)


class Command(WithExamples):
    """A command whose help lays its options out in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section; `-h` comes last."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                rows.setdefault(getattr(parameter, "section", SHOWN), []).append(record)
        for section in SECTIONS:
            if section in rows:
                with formatter.section(section):
                    formatter.write_dl(rows[section])


class Group(WithExamples, click.Group):
    """A group of commands."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """List the commands in the order in which they are needed, not by the alphabet."""
        return list(self.commands)


def write_examples(examples: str, formatter: click.HelpFormatter) -> None:
    """Write examples as they are typed."""
    if examples:
        with formatter.section("Examples"):
            for line in examples.strip().splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")
