"""Carries out a load: puts the display up, runs the pipeline, prints the report. Imported when there is something to load."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import sys
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, Literal, TypeVar

from loader.cli.errors import Session, quiet_pipe
from loader.pipeline.pipeline import run_load
from loader.redaction import Redactor
from loader.report.log_file import SHORTEST_SECRET, LibraryLogs, LogFile
from loader.report.progress import Broadcast, MetricsFile, Observer, PlainProgress
from loader.report.report import Report
from loader.runs.directory import METRICS_FILE
from loader.runs.ownership import check_written_apart, files_read
from loader.runs.plan import DryRun, LoadPlan
from loader.runtime import utc_text

T = TypeVar("T")

COLLECTOR_THRESHOLDS = (10_000, 50, 100)
"""Python's own are 700, 10, 10: a window of 1,000 records alone would set off a search for cycles or two."""
HEAP_BLOCK_BYTES = 1024 * 1024
"""Up to here freed blocks stay with the process: pieces and bodies of some hundred KB would bring new pages with each of them.
glibc learns the size from the largest block freed so far, which no option and no environment has to tell it."""
PR_SET_DUMPABLE = 4
"""Source: linux/prctl.h."""


def carry_out(settings: LoadPlan | DryRun, values: Mapping[str, Any], session: Session) -> int:
    """Load, print the report, return the exit code."""
    with observers(settings, values, session) as observer:
        report = run(run_load(settings, observer=observer, on_signal=abort))
    show(report, values, session)
    return report.exit_code


def settle(
    settings: LoadPlan,
    decision: Literal["accept", "resend", "reject"] | None,
    values: Mapping[str, Any],
    session: Session,
) -> int:
    """Settle the ambiguous records of a run, print the report, return 3 where some are left, or ids that were asked for."""
    filter_id = values.get("filter")
    from loader.pipeline.pipeline import run_reconcile

    with observers(settings, values, session) as observer:
        report = run(
            run_reconcile(settings, decision=decision, filter_id=filter_id, observer=observer, on_signal=abort)
        )
    show(report, values, session)
    if report.state == "finished":
        return 3 if report.ambiguous or (filter_id is not None and report.ids_unknown) else 0
    return report.exit_code


def abort(number: int) -> None:
    """End at once, at a second signal. What was not logged is found out by the resume."""
    with contextlib.suppress(OSError, ValueError):
        _write_error("\naborted: requests in flight are left alone; a resume will find out about them\n")
    os._exit(128 + number)


def guard_memory() -> None:
    """Let neither a core dump nor another process of the same user read the memory: it holds the secrets."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # A core dump that is piped to a collector ignores the limit (core(5)); this does not, and it refuses ptrace as well.
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the quickest loop there is."""
    guard_memory()
    # What is loaded by now stays, and records make no cycles: to look through them all the time costs a load a tenth.
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    bytes(HEAP_BLOCK_BYTES)  # made and freed at once
    try:
        import uvloop
    except ImportError:
        loop_factory = None
    else:
        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(work)


def show(report: Report, values: Mapping[str, Any], session: Session) -> None:
    """Print the report: JSON where asked, else text; a quiet command prints it where something is left to do.

    A reader of standard output that has gone does not change how the load ended.
    """
    session.is_json = False  # this is the one object
    text = report.to_json().decode() + "\n" if values.get("json") else report.to_text()
    try:
        if values.get("json") or not values.get("quiet") or report.exit_code:
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        quiet_pipe()


@contextlib.contextmanager
def observers(settings: LoadPlan | DryRun, values: Mapping[str, Any], session: Session) -> Iterator[Observer]:
    """Put up what the user asked to see, and take it down whatever happens."""
    redactor = Redactor(settings.credentials.secrets if settings.credentials else (), SHORTEST_SECRET)
    session.scrub = redactor.clean
    session.is_verbose = bool(values.get("verbose"))
    session.is_json = session.is_json or bool(values.get("json"))
    log_file = None
    if values.get("log_file"):
        check_written_apart(values["log_file"], "--log-file", files_read(settings), settings.run_directory)
        log_file = LogFile(values["log_file"], utc_text, redactor, is_verbose=session.is_verbose)
        session.log = log_file.write
    logging.basicConfig(handlers=[LibraryLogs(log_file)], level=logging.WARNING, force=True)
    told: list[Observer] = [
        *([log_file] if log_file else []),
        MetricsFile(settings.run_directory / METRICS_FILE, utc_text),
    ]
    with contextlib.ExitStack() as stack:
        display = _display(values, stack)
        observer = Broadcast([display, *told])
        for warning in settings.warnings:
            observer.warned(warning)
        yield observer


def _display(values: Mapping[str, Any], stack: contextlib.ExitStack) -> Observer:
    is_verbose, is_quiet = bool(values.get("verbose")), bool(values.get("quiet"))
    mode = "none" if is_quiet else values.get("progress") or "auto"
    if mode == "auto" and is_drawable():
        from loader.report.dashboard import Dashboard

        dashboard = Dashboard(sys.stderr, is_verbose=is_verbose)
        stack.callback(dashboard.close)
        return dashboard
    return PlainProgress(_write_error, has_start=not is_quiet, has_samples=mode != "none", is_verbose=is_verbose)


def is_drawable() -> bool:
    """Say whether standard error is a terminal that can draw."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown", ""}


def _write_error(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
