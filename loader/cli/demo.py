"""`loader demo`: the main job on real sample data, in under a minute."""

from __future__ import annotations

import click

from loader.cli.options import Command
from loader.errors import UsageError


@click.command(cls=Command, examples="loader demo")
@click.option("--folder", metavar="DIR", help="Do it in this new folder. [a temporary one]")
def demo(folder: str | None) -> int:
    """Load real sample data into the emulator, interrupt it, resume it, compare the target with the log."""
    import tempfile
    from pathlib import Path

    from loader.cli.demo_run import run_demo

    if folder is None:
        where = Path(tempfile.mkdtemp(prefix="loader-demo-"))
    else:
        where = Path(folder)
        if where.exists():
            raise UsageError(f"{folder} exists already", "name a new folder, or leave --folder out")
        where.mkdir(parents=True)
    return run_demo(where, click.echo)
