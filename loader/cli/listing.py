"""What a run holds: `status`, `ids`, `rejects`, `ambiguous`. They read, take no lock, and speak to no target."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from loader.cli.options import Command

if TYPE_CHECKING:
    from pathlib import Path

    from loader.runs.directory import RunInfo
    from loader.runs.rejects import Listed

RUN = click.argument("run", metavar="RUN")
RECORDS = click.option(
    "--records", is_flag=True, help="Print just the source lines, byte for byte, ready to mend and load."
)
WRITE_BYTES = 64 * 1024
_PLAIN_SPACE = ("\r", "\n", "\t")


@click.command(cls=Command, examples="loader status cities.ndjson.ozari-tcity.run")
@RUN
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def status(run: str, *, is_json: bool) -> int:
    """Show what is done, rejected, ambiguous and left."""
    from loader.runs.status import read_status

    directory, info = _open(run)
    found = read_status(directory, info)
    sys.stdout.write(found.to_json().decode() + "\n" if is_json else found.to_text())
    return 0


@click.command(
    cls=Command,
    examples="""
    loader ids cities.ndjson.ozari-tcity.run > ids.ndjson
    loader ids cities.ndjson.ozari-tcity.run --format csv > ids.csv
    """,
)
@RUN
@click.option("--format", "form", type=click.Choice(["ndjson", "csv"]), default="ndjson", help="[ndjson]")
def ids(run: str, form: str) -> int:
    """List the created ids: source line, byte offset, id, key."""
    from loader.runs.directory import source_names
    from loader.runs.ids import created

    directory, info = _open(run)
    files = source_names(info)
    has_sources = len(files) > 1
    rows = ((*row, files[row.source]) if has_sources else row[1:] for row in created(directory, info, _warn))
    names = ["line", "offset", "id", "key"]
    names = ["source", *names, "file"] if has_sources else names
    _write(_csv(names, rows) if form == "csv" else _ndjson(dict(zip(names, row, strict=True)) for row in rows))
    return 0


@click.command(
    cls=Command,
    examples="""
    loader rejects cities.ndjson.ozari-tcity.run
    loader rejects cities.ndjson.ozari-tcity.run --records > mend.ndjson
    """,
)
@RUN
@RECORDS
def rejects(run: str, *, records: bool) -> int:
    """List the rejected lines: where they stand, why, and what they say."""
    from loader.runs.rejects import rejected

    return _list(run, rejected, is_raw=records)


@click.command(cls=Command, examples="loader ambiguous cities.ndjson.ozari-tcity.run")
@RUN
@RECORDS
def ambiguous(run: str, *, records: bool) -> int:
    """List the records whose fate is unknown, in the shape of rejects."""
    from loader.runs.rejects import ambiguous as held

    return _list(run, held, is_raw=records)


def _list(run: str, read: Callable[[Path], Iterator[Listed]], *, is_raw: bool) -> int:
    from loader.runs.directory import source_names
    from loader.runs.rejects import raw_lines, with_lines

    directory, info = _open(run)
    if is_raw:
        _write(raw_lines(read(directory), directory, info))
        return 0
    files = source_names(info)
    rows = with_lines(read(directory), directory, info, _warn)
    _write(_ndjson(row.to_object(file=files[row.source] if len(files) > 1 else None) for row in rows))
    return 0


def _open(run: str) -> tuple[Path, RunInfo]:
    from pathlib import Path

    from loader.errors import LogError
    from loader.runs import directory as run_directory

    directory = Path(run)
    info = run_directory.read(directory)
    if not (directory / run_directory.LOG_FILE).exists():
        raise LogError(f"{directory} holds no {run_directory.LOG_FILE}", "restore it from a backup")
    return directory, info


def _ndjson(objects: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    import orjson

    from loader.redaction import plain_json

    for values in objects:
        yield plain_json(orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE))


def _csv(names: list[str], rows: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
    import csv
    import io

    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(_cell(cell) for cell in row)
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    """Make text safe for a terminal; its line ends and tabs stay, in quotes (RFC 4180)."""
    from loader.redaction import escape

    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(part if part in _PLAIN_SPACE else escape(part, None) for part in re.split(r"([\r\n\t])", value))


def _write(pieces: Iterator[bytes]) -> None:
    """Write bytes to standard output, the first at once and the rest in blocks."""
    out = sys.stdout.buffer
    out.write(next(pieces, b""))
    out.flush()
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= WRITE_BYTES:
            out.write(b"".join(held))
            held.clear()
            size = 0
    out.write(b"".join(held))
    out.flush()


def _warn(text: str) -> None:
    from loader.redaction import escape

    click.echo(f"warning: {escape(text, None)}", err=True)
