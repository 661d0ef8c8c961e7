"""The loads: `ozari insert`, `ozari update`, `canbus add`, and `resume`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from loader.cli.errors import Session
from loader.cli.options import LOAD_NAMES, RESUME_NAMES, Command, Group, with_options

if TYPE_CHECKING:
    from loader.runs.plan import DryRun, LoadPlan

CREDENTIALS = "OZARI_TOKEN; CANBUS_TENANT_ID, CANBUS_APP_ID, CANBUS_API_KEY, CANBUS_API_SECRET"
"""As the help names them. The registry knows them too, but a start that only helps does not import it."""
SOURCES = click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)


@click.group(
    cls=Group,
    examples="""
    loader ozari insert cities.ndjson --table tcity --key fcode
    loader ozari update prices.ndjson --table parts --match fsku
    """,
)
def ozari() -> None:
    """Load into Ozari (Modular 365), one record a request."""


@click.group(cls=Group, examples="loader canbus add postal.ndjson.gz --user admin@example.com")
def canbus() -> None:
    """Load into Canbus, many records a request."""


@ozari.command(
    cls=Command,
    examples="""
    loader ozari insert cities.ndjson --table tcity --limit 10
    loader ozari insert cities.ndjson --table tcity --key fcode --rate 200/s
    zcat dump.gz | loader ozari insert - --table tcity --stamp fnote --run dump.run
    """,
)
@SOURCES
@with_options(*LOAD_NAMES, "table", "stamp", "unique", base_url_variable="OZARI_BASE_URL")
@click.pass_obj
def insert(session: Session, /, **values: Any) -> int:
    """Create one record a line; a line is the object of fields.

    SOURCE is NDJSON, plain, gzip or zstd; - is standard input.
    """
    return _load("ozari insert", values, session)


@ozari.command(
    cls=Command,
    examples="""
    loader ozari update prices.ndjson --table parts --match fsku
    loader ozari update changes.ndjson --table tcust
    """,
)
@SOURCES
@with_options(*LOAD_NAMES, "table", "match", "exact", base_url_variable="OZARI_BASE_URL")
@click.pass_obj
def update(session: Session, /, **values: Any) -> int:
    """Change one record a line.

    A line is {"filters":{...},"fields":{...}}, or with --match a flat object whose named fields find the record.
    """
    return _load("ozari update", values, session)


@canbus.command(
    cls=Command,
    examples="""
    loader canbus add postal.ndjson.gz --user admin@example.com
    loader canbus add postal.ndjson --user admin@example.com --key Code --unique --max-rejects 1%
    """,
)
@SOURCES
@with_options(*LOAD_NAMES, "user", "stamp", "unique", "max_records", "max_bytes", base_url_variable="CANBUS_BASE_URL")
@click.pass_obj
def add(session: Session, /, **values: Any) -> int:
    """Create up to 1,000 records a request; a line is the object of item ids.

    SOURCE is NDJSON, plain, gzip or zstd; - is standard input.
    """
    return _load("canbus add", values, session)


VENDORS = (ozari, canbus)


@click.command(
    cls=Command,
    examples="""
    loader resume cities.ndjson.ozari-tcity.run
    loader resume cities.ndjson.ozari-tcity.run --rate 50/s --concurrency 4
    """,
)
@click.argument("run", metavar="RUN")
@with_options(*RESUME_NAMES)
@click.pass_obj
def resume(session: Session, /, run: str, **values: Any) -> int:
    """Go on with an interrupted run; repeating its command does the same."""
    from pathlib import Path

    from loader.cli.config import resume_settings

    return _carry_out(resume_settings(Path(run), values, os.environ), values, session)


def _load(kind: str, values: dict[str, Any], session: Session) -> int:
    from loader.cli.config import load_settings

    return _carry_out(load_settings(kind, values, os.environ), values, session)


def _carry_out(settings: LoadPlan | DryRun, values: dict[str, Any], session: Session) -> int:
    from loader.cli.running import (
        carry_out,
    )  # the loop and the HTTP library: not before the options are known to be right

    return carry_out(settings, values, session)
