"""`reconcile`: ask the target about the ambiguous records of a run, or settle them by the user's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from loader.cli.errors import Session
from loader.cli.options import PACE_NAMES, SHOWN_NAMES, WAY_NAMES, Command, with_options
from loader.errors import UsageError

if TYPE_CHECKING:
    from loader.reconcile.policy import Decision

NAMES = (
    "key", "unique", "filter", "source", "profile", *PACE_NAMES, "timeout", "settle", "patience", *WAY_NAMES, *SHOWN_NAMES,
)  # fmt: skip


@click.command(
    cls=Command,
    examples="""
    loader reconcile cities.ndjson.ozari-tcity.run
    loader reconcile cities.ndjson.ozari-tcity.run --accept
    loader reconcile cities.ndjson.ozari-tcity.run --reject
    loader reconcile postal-codes.ndjson.canbus-acme.run --filter 66a0f4c7d2e1b83950fa71cc
    """,
)
@click.argument("run", metavar="RUN")
@click.option("--accept", is_flag=True, help="Your word: they exist; they count as created, their ids unknown.")
@click.option("--resend", is_flag=True, help="Your word: they do not exist; they are sent again.")
@click.option(
    "--reject", is_flag=True, help="Your word: they do not exist, and are not to be sent; they count as rejected."
)
@with_options(*NAMES)
@click.pass_obj
def reconcile(session: Session, /, run: str, *, accept: bool, resend: bool, reject: bool, **values: Any) -> int:
    """Ask the target about records of unknown fate; --accept, --resend or --reject settles the rest by your word.

    --filter learns ids that went with an answer from a list of Canbus. Exits 3 where some are left.
    """
    words: dict[Decision, bool] = {"accept": accept, "resend": resend, "reject": reject}
    given = [word for word, is_given in words.items() if is_given]
    if len(given) > 1:
        raise UsageError(
            f"--{given[0]} and --{given[1]} contradict each other", "look with `loader ambiguous RUN`, then choose one"
        )
    import os
    from pathlib import Path

    from loader.cli.config import check_filter, resume_settings

    settings = resume_settings(Path(run), values, os.environ)
    check_filter(values.get("filter"), settings.target)
    from loader.cli.running import settle

    return settle(settings, given[0] if given else None, values, session)
