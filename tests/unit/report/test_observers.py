"""What every observer promises: no method raises or waits, whatever becomes of the place that it writes to.

Each row of `OBSERVERS` makes one kind; a new implementation must have a row, or the first test fails. Each row of `PLACES` opens
something to write to that fails in its own way. What an observer shows is tested beside it.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import pkgutil
import time
from collections.abc import Callable
from dataclasses import replace
from io import FileIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any

import pytest

import loader.cli
import loader.report
from loader.model import Counts
from loader.redaction import Redactor
from loader.report.dashboard import Dashboard
from loader.report.log_file import SHORTEST_SECRET, LibraryLogs, LogFile
from loader.report.progress import Broadcast, MetricsFile, Observer, PlainProgress
from loader.report.report import Report, Sample, Start
from loader.settings import Secret

NASTY = "\x1b[2J [red]é\x00\u202e\n" + "x" * 500
START = Start(
    run=NASTY, target="ozari update", table=NASTY, identity=NASTY, total_bytes=None, rate=NASTY, crash_bound_records=0
)
FIRST = Sample(
    seconds=0.0,
    bytes_read=0,
    total_bytes=None,
    counts=Counts(),
    in_flight=0,
    requests=0,
    requests_per_second=0.0,
    records_per_second=0.0,
)
LARGEST = Sample(
    seconds=1e9,
    bytes_read=2**62,
    total_bytes=1,
    counts=Counts(lines=2**62, rejected=2**62),
    in_flight=10**6,
    requests=2**62,
    requests_per_second=1e300,
    records_per_second=1e300,
    rate_limit=1e300,
    waiting_reason=NASTY,
    eta_seconds=1e12,
)
REPORT = Report(run=NASTY, target="ozari update", state="stopped", message=NASTY, hint=NASTY, warnings=(NASTY,) * 50)

# --- the rows ------------------------------------------------------------------------------------------------------------


def log_file(path: Path) -> LogFile:
    return LogFile(
        str(path), lambda: "2026-11-22T09:30:00Z", Redactor([Secret("secret")], SHORTEST_SECRET), is_verbose=True
    )


def written(stream: IO[str]) -> Callable[[str], None]:
    """Write as the command does: at once, not when the buffer is full."""

    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    return write


OBSERVERS: dict[type[Observer], Callable[[Path, IO[str]], Observer]] = {
    PlainProgress: lambda _, stream: PlainProgress(written(stream), is_verbose=True),
    Dashboard: lambda _, stream: Dashboard(stream, is_verbose=True),
    MetricsFile: lambda path, _: MetricsFile(path, lambda: "2026-11-22T09:30:00Z"),
    LogFile: lambda path, _: log_file(path),
    Broadcast: lambda path, stream: Broadcast([Dashboard(stream), PlainProgress(written(stream)), log_file(path)]),
}


def unbuffered(file: Path | int) -> IO[str]:
    """Open a stream that keeps nothing back, which closing would have to write."""
    return TextIOWrapper(FileIO(file, "w"), "utf-8", write_through=True)


def a_file(folder: Path) -> tuple[Path, IO[str]]:
    return folder / "f", unbuffered(folder / "s")


def a_full_disk(_: Path) -> tuple[Path, IO[str]]:
    full = Path("/dev/full")
    return full, unbuffered(full)


def a_broken_pipe(folder: Path) -> tuple[Path, IO[str]]:
    """Make pipes whose reader has gone; the named one is what `--log-file` may be given."""
    reader, writer = os.pipe()
    os.close(reader)
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    return fifo, unbuffered(writer)


def a_closed_stream(folder: Path) -> tuple[Path, IO[str]]:
    path, stream = a_file(folder)
    stream.close()
    return path, stream


PLACES = [a_file, a_full_disk, a_broken_pipe, a_closed_stream]

# --- the promise ---------------------------------------------------------------------------------------------------------


def test_every_observer_has_a_row() -> None:
    modules = [
        importlib.import_module(f"{room.__name__}.{module.name}")
        for room in (loader.report, loader.cli)
        for module in pkgutil.iter_modules(room.__path__)
    ]
    methods = [name for name in vars(Observer) if not name.startswith("_")]
    assert methods == ["started", "sample", "warned", "ended"]
    found = {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__.startswith("loader.") and all(hasattr(kind, name) for name in methods)
    }
    assert found - {Observer} == set(OBSERVERS)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", OBSERVERS, ids=lambda kind: kind.__name__)
def test_no_method_raises_or_waits(
    kind: type[Observer], place: Callable[[Path], tuple[Path, IO[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an observer waits")

    path, stream = place(tmp_path)
    # A named pipe can only be opened for writing while somebody reads.
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if path.is_fifo() else None
    observer = OBSERVERS[kind](path, stream)
    monkeypatch.setattr(time, "sleep", refuse)
    observer.warned(NASTY)
    observer.started(START)
    if reader is not None:
        os.close(reader)
    for sample in (FIRST, replace(FIRST, seconds=30.0), LARGEST):
        assert observer.sample(sample) is None  # type: ignore[func-returns-value]  # a coroutine would be something to await
    for number in range(100):
        observer.warned(f"{NASTY}{number}")
    observer.ended(REPORT)
    observer.sample(LARGEST)
    observer.warned(NASTY)
    stream.close()


@pytest.mark.parametrize("start", [START, replace(START, is_dry_run=True)], ids=["load", "dry run"])
@pytest.mark.parametrize("kind", OBSERVERS, ids=lambda kind: kind.__name__)
def test_a_load_that_ends_before_it_began_is_no_error(kind: type[Observer], start: Start, tmp_path: Path) -> None:
    for is_started in (False, True):
        path, stream = a_file(tmp_path)
        observer = OBSERVERS[kind](path, stream)
        if is_started:
            observer.started(start)
        observer.ended(REPORT)
        stream.close()


@pytest.mark.parametrize("place", [a_file, a_full_disk])
def test_what_a_library_logs_raises_nothing(place: Callable[[Path], tuple[Path, IO[str]]], tmp_path: Path) -> None:
    path, stream = place(tmp_path)
    record = logging.LogRecord("aiohttp", logging.ERROR, "", 0, NASTY + "%s %d", ("one",), None)
    for target in (None, log_file(path)):
        LibraryLogs(target).emit(record)
    stream.close()
