"""The root of the command line and its last resort: every command returns its exit code, every failure passes `failing`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

import click

from loader.cli.demo import demo
from loader.cli.emulator import emulator
from loader.cli.errors import Session, explain, quiet_pipe, version
from loader.cli.listing import ambiguous, ids, rejects, status
from loader.cli.load import CREDENTIALS, VENDORS, resume
from loader.cli.log import log
from loader.cli.options import Group
from loader.cli.reconcile import reconcile

EXAMPLES = """
loader ozari insert cities.ndjson --table tcity --key fcode
loader canbus add postal.ndjson.gz --user admin@example.com --rate 10/s
loader resume cities.ndjson.ozari-tcity.run
loader ids cities.ndjson.ozari-tcity.run --format csv > ids.csv
"""
EPILOG = f"""Credentials come from the environment, or from a file named by the variable + _FILE: {CREDENTIALS}.
Every option may also stand as LOADER_<OPTION> in the environment, or in a profile. Exit codes: 0 done, 2 wrong usage, 3 some
records rejected or ambiguous, 4 stopped by the target (resumable), 5 source or log unusable, 129/130/143 interrupted
(resumable)."""


def _print_version(ctx: click.Context, _parameter: click.Parameter, is_asked: bool) -> None:  # noqa: FBT001 - click's signature
    if is_asked:
        click.echo(f"loader {version()}")
        ctx.exit(0)


@click.group(
    cls=Group,
    examples=EXAMPLES,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def app() -> None:
    """Move NDJSON records into Ozari and Canbus: nothing lost, nothing doubled, and what cannot be known is listed."""


for command in (*VENDORS, resume, status, ids, rejects, ambiguous, reconcile, log, emulator, demo):
    app.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    _speak_utf8()
    session = Session()
    session.is_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(arguments, session)
    finally:
        _flush_errors()


def _run(arguments: Sequence[str] | None, session: Session) -> int:
    try:
        code = app.main(
            None if arguments is None else list(arguments), prog_name="loader", standalone_mode=False, obj=session
        )
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # The reader of standard output has seen enough, as in `loader ids RUN | head`; click makes SystemExit(1) of that,
        # and of nothing else outside its standalone mode.
        quiet_pipe()
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last resort
        return explain(error, session)
    return code if isinstance(code, int) else 0


def _flush_errors() -> None:
    """Let a reader of standard error that has gone change no exit code: the interpreter's own last flush would make it 120."""
    try:
        sys.stderr.flush()
    except OSError:
        quiet_pipe(sys.stderr)


def _speak_utf8() -> None:
    """Write UTF-8 whatever the locale: records carry Hebrew and Japanese."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    # click knows neither variable (choices.md 5.1, 7); nothing here is coloured but what rich draws, and rich knows both.
    if os.environ.get("TERM") == "dumb":
        os.environ.setdefault("NO_COLOR", "1")
