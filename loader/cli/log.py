"""`log check` and `log repair`: is a run's checkpoint log sound, and how it becomes so again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from loader.cli.listing import RUN
from loader.cli.options import Command, Group

if TYPE_CHECKING:
    from loader.runs.check_report import LogReport

DAMAGED = 5
JSON = click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")


@click.group(
    cls=Group,
    examples="""
    loader log check cities.ndjson.ozari-tcity.run
    loader log repair cities.ndjson.ozari-tcity.run
    """,
)
def log() -> None:
    """Check a run's checkpoint log, and repair a damaged one."""


@log.command(cls=Command, examples="loader log check cities.ndjson.ozari-tcity.run")
@RUN
@JSON
def check(run: str, *, is_json: bool) -> int:
    """Read the whole log, verify every checksum and number, and say what is wrong where.

    Exits 5 where it is damaged or has become shorter.
    """
    from pathlib import Path

    from loader.runs.check import check_log

    report = check_log(Path(run))
    _show(report, is_json=is_json)
    return 0 if report.is_usable else DAMAGED


@log.command(
    cls=Command,
    examples="""
    loader log repair cities.ndjson.ozari-tcity.run --dry-run
    loader log repair cities.ndjson.ozari-tcity.run
    """,
)
@RUN
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Say what would be done; change nothing.")
@JSON
def repair(run: str, *, is_dry_run: bool, is_json: bool) -> int:
    """Make a damaged log sound again: what it may have forgotten counts as ambiguous.

    Nothing is lost and nothing is sent twice: a resume asks the target about those records where it can, the others are
    listed. The damaged files are kept beside.
    """
    from pathlib import Path

    from loader.runs.check import repair_log

    _show(repair_log(Path(run), is_dry_run=is_dry_run), is_json=is_json)
    return 0


def _show(report: LogReport, *, is_json: bool) -> None:
    sys.stdout.write(report.to_json().decode() + "\n" if is_json else report.to_text())
