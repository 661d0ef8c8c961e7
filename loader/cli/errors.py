"""From an exception to two lines on standard error and an exit code; the last resort for a bug included.

`error:` says what is wrong, `hint:` what to do. No traceback is shown unless it is asked for, and none holds the values of
variables: they may be secrets.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TextIO

import click

from loader.errors import LoaderError

BUG, USAGE, INTERRUPTED = 1, 2, 130
_NO_MEMORY = (
    "there is not enough memory",
    "allow more (`ulimit -v`), or take less at once (--concurrency, --max-bytes, --max-line-bytes), then repeat the command",
    5,
)


def _as_it_is(text: str) -> str:
    return text


class Session:
    """What a command sets up for the case that it fails: how to take out secrets, and where to log.

    A plain class: dataclasses would cost every start a few milliseconds.
    """

    __slots__ = ("is_json", "is_verbose", "log", "scrub")

    def __init__(self) -> None:
        self.is_verbose = False
        self.is_json = False  # what reads standard output reads an error there too
        self.scrub: Callable[[str], str] = _as_it_is
        # Appends to the log file: level, event, values.
        self.log: Callable[[str, str, dict[str, object]], None] | None = None


def explain(error: BaseException, session: Session) -> int:
    """Say what went wrong; return the exit code."""
    error = _innermost(error)
    if isinstance(error, MemoryError):
        return say(*_NO_MEMORY, session)
    if isinstance(error, LoaderError):
        return say(error.message, error.hint, error.exit_code, session)
    if isinstance(error, click.ClickException):
        return _explain_click(error, session)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return say("interrupted", "repeat the command to go on", INTERRUPTED, session)
    return _explain_bug(error, session)


def say(message: str, hint: str, code: int, session: Session) -> int:
    """Write an error and its hint; return the code."""
    from loader.redaction import escape

    message, hint = session.scrub(message), session.scrub(hint)
    if session.log is not None:
        session.log("error", "failed", {"text": message, "hint": hint, "exit_code": code})
    lines = [f"error: {escape(message, None)}"] + ([f"hint: {escape(hint, None)}"] if hint else [])
    click.echo("\n".join(lines), err=True)
    if session.is_json:
        _print_json(message, hint, code)
    return code


def _print_json(message: str, hint: str, code: int) -> None:
    """Print the report of a command that could not begin: one object, as ever."""
    import json

    state = "interrupted" if code == INTERRUPTED else "stopped"
    report = {"run": None, "target": None, "state": state, "reason": None, "message": message, "hint": hint or None}
    with contextlib.suppress(LoaderError, OSError):
        sys.stdout.write(json.dumps(report | {"error_code": code}) + "\n")
        sys.stdout.flush()


def _innermost(error: BaseException) -> BaseException:
    """Return what a task group wrapped: the error made for the user if there is one, else the first."""
    while isinstance(error, BaseExceptionGroup):
        meant = error.subgroup(LoaderError)
        error = (meant or error).exceptions[0]
    return error


# What somebody may expect to exist here, and why it does not.
ABSENT_OPTIONS = {
    "--stamp": "an update creates nothing: it needs no stamp to be asked for",
    "--unique": "an update creates nothing: it cannot double a record",
    "--token": "credentials come from the environment: OZARI_TOKEN, or OZARI_TOKEN_FILE naming a file",
    "--api-key": "credentials come from the environment: CANBUS_API_KEY, or CANBUS_API_KEY_FILE naming a file",
    "--api-secret": "credentials come from the environment: CANBUS_API_SECRET, or CANBUS_API_SECRET_FILE naming a file",
}


def _explain_click(error: click.ClickException, session: Session) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return USAGE
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "loader"
    hint = f"see `{path} --help`"
    message = error.format_message()
    if isinstance(error, click.NoSuchOption | click.exceptions.NoSuchCommand):
        name = error.option_name if isinstance(error, click.NoSuchOption) else error.command_name
        message = f"no such {'option' if isinstance(error, click.NoSuchOption) else 'command'}: {name}"
        near = f"did you mean {error.possibilities[0]}? " if error.possibilities else ""
        hint = ABSENT_OPTIONS.get(name, near + hint)
    return say(message[:1].lower() + message[1:].rstrip("."), hint, error.exit_code, session)


def _explain_bug(error: BaseException, session: Session) -> int:
    import platform
    import traceback

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "loader" in frame.filename]
    place = (
        f" at {frames[-1].filename.rpartition('loader/')[2]}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    )
    if session.is_verbose:
        # Without capture_locals: a local may be a secret. The message of the exception is scrubbed.
        text = session.scrub("".join(traceback.format_exception(error)))
        if session.log is not None:
            session.log("error", "traceback", {"text": text})
        else:
            click.echo(text, err=True)
    versions = f"loader {version()}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return say(
        f"unexpected {type(error).__name__}{place}: a bug in loader",
        f"report these two lines with the command ({versions}); -v shows more. What was loaded is in the run directory",
        BUG,
        session,
    )


def version() -> str:
    """Return loader's version."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("loader")
    except PackageNotFoundError:
        return "unknown"


def quiet_pipe(stream: TextIO | None = None) -> None:
    """Point a stream at nothing after its reader has gone, so that the interpreter's last flush is quiet too.

    None: standard output.
    """
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())
