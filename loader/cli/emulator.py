"""`loader emulator`: both APIs on this machine, with a fault plan."""

from __future__ import annotations

import sys

import click

from loader.cli.options import Command
from loader.errors import UsageError

MAX_PORT = 65535


def _print_words(ctx: click.Context, _parameter: click.Parameter, is_asked: bool) -> None:  # noqa: FBT001 - click's signature
    if is_asked:
        from importlib.resources import files

        sys.stdout.write(files("loader.emulator").joinpath("PLANS.md").read_text(encoding="utf-8"))
        ctx.exit(0)


@click.command(
    cls=Command,
    examples="""
    loader emulator --plan-words
    loader emulator --port 8080
    loader emulator --plan faults.toml --database rows.sqlite
    """,
)
@click.option(
    "--port", type=click.IntRange(0, MAX_PORT), default=0, help="Port; 0 takes a free one, which is printed. [0]"
)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", help="Loopback address to listen on. [127.0.0.1]")
@click.option("--plan", metavar="FILE", help="Fault plan, TOML or JSON. [no faults, no limits]")
@click.option(
    "--plan-words",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_words,
    help="Print all that a plan may say, with an example of each, and exit.",
)
@click.option(
    "--database",
    metavar="FILE",
    envvar="LOADER_EMULATOR_DATABASE",
    help="Keep the rows in this SQLite file, or Ozari's in a mariadb:// or postgresql:// database. [in memory]",
)
def emulator(port: int, host: str, plan: str | None, database: str | None) -> int:
    """Serve the APIs of Ozari and Canbus on loopback, as their pages describe them.

    It prints its address, and as shell commands what a client's environment needs; it serves until it is interrupted.
    """
    import sqlite3

    from loader.urls import is_loopback

    if not is_loopback(host):
        raise UsageError(
            f"the emulator does not listen on {host}", "it serves this machine alone: 127.0.0.1, ::1 or localhost"
        )
    from loader.emulator import run_emulator
    from loader.emulator.ozari.store import RowsError
    from loader.emulator.plan import Plan, PlanError, read_plan

    try:
        rules = read_plan(plan) if plan else Plan()
    except PlanError as error:
        raise UsageError(
            f"the fault plan cannot be read: {error}",
            "samples/faults.toml is one to start from; `loader emulator --plan-words` shows all that it may hold",
        ) from None
    try:
        run_emulator(rules, database or ":memory:", host, port, _announce)
    except OSError as error:
        where = f"{host} port {port}" if port else host
        raise UsageError(f"the emulator cannot listen on {where}: {error.strerror}", "choose another --port") from None
    except RowsError as error:
        raise UsageError(f"the database cannot be used: {error}", "name another one with --database") from None
    except sqlite3.Error as error:
        raise UsageError(
            f"the database {database} cannot be used: {error}", "name another file with --database"
        ) from None
    return 0


def _announce(text: str) -> None:
    sys.stdout.write(text + "\n" if text.startswith("export ") else f"# {text}\n")
    sys.stdout.flush()
