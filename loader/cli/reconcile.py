"""`reconcile`: ask the target about the ambiguous records of a run, or settle them by the user's word."""

from __future__ import annotations

from typing import Any

import click

from loader.cli.errors import Session
from loader.cli.options import PACE_NAMES, SHOWN_NAMES, Command, with_options
from loader.errors import UsageError

NAMES = ("key", "unique", "filter", "profile", *PACE_NAMES, "timeout", "settle", "patience", "proxy", *SHOWN_NAMES)


@click.command(
    cls=Command,
    examples="""
    loader reconcile cities.ndjson.ozari-tcity.run
    loader reconcile cities.ndjson.ozari-tcity.run --accept
    loader reconcile postal-codes.ndjson.canbus-acme.run --filter 66a0f4c7d2e1b83950fa71cc
    """,
)
@click.argument("run", metavar="RUN")
@click.option("--accept", is_flag=True, help="Your word: they exist; they count as created, their ids unknown.")
@click.option("--resend", is_flag=True, help="Your word: they do not exist; they are sent again.")
@with_options(*NAMES)
@click.pass_obj
def reconcile(session: Session, /, run: str, *, accept: bool, resend: bool, **values: Any) -> int:
    """Ask the target about records of unknown fate; --accept or --resend settles the rest by your word.

    --filter learns ids that went with an answer from a list of Canbus. Exits 3 where some are left.
    """
    if accept and resend:
        raise UsageError(
            "--accept and --resend contradict each other", "look with `loader ambiguous RUN`, then choose one"
        )
    import os
    from pathlib import Path

    from loader.cli.config import check_filter, resume_settings

    settings = resume_settings(Path(run), values, os.environ)
    check_filter(values.get("filter"), settings.target)
    from loader.cli.running import settle

    return settle(settings, "accept" if accept else "resend" if resend else None, values, session)
