"""The whole flow, top to bottom: open the run, ask who we are, read -> shape -> send -> log, drain, report.

This file puts the parts together and decides their order; each step is somewhere else. Nothing is sent before the run
is locked and the preflight has shown whose credentials these are.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from loader.checkpoint import Tools
from loader.credentials import keep_emulator_here
from loader.delivery.settlement import Sink
from loader.delivery.stop import Stop
from loader.errors import LoaderError, RunMismatch
from loader.pipeline.dry_run import rehearse
from loader.pipeline.execution import Execution
from loader.pipeline.intake import Demand
from loader.pipeline.session import NewTransport, Session
from loader.reconcile.reconciler import Decision
from loader.report.progress import Observer
from loader.report.report import Report
from loader.runs.directory import sizes_of
from loader.runs.opening import OpenRun, open_run
from loader.runs.plan import DryRun, LoadPlan
from loader.runtime import Runtime

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 0.2
"""A signal so soon behind the first is the same one: `timeout` tells the command and then its whole process group, a closed
terminal and its shell both hang up, and nobody decides twice in that time."""


async def run_load(
    plan: LoadPlan | DryRun,
    *,
    observer: Observer | None = None,
    runtime: Runtime | None = None,
    tools: Tools | None = None,
    new_transport: NewTransport | None = None,
    sink: Sink | None = None,
    has_room: asyncio.Event | None = None,
    on_signal: Callable[[int], None] | None = None,
) -> Report:
    """Carry out a plan and return its report. Errors: LoaderError where the run cannot even begin.

    `runtime`, `tools` and `new_transport` stand in for the machine, the log's disk and the network. `sink` is called with each
    group of records and their outcomes; while `has_room` is clear, no more is read.
    `on_signal`: handle SIGHUP, SIGINT and SIGTERM, the first by draining, the second by calling this with the
    signal's number (it is to end the process).
    """
    runtime = runtime or Runtime()
    if isinstance(plan, DryRun):
        return await rehearse(plan, observer, runtime)
    keep_emulator_here(plan.credentials, plan.base_url)
    stop = Stop()
    with handled_signals(stop, on_signal):
        async with open_run(plan, runtime, tools) as run:
            finished = finished_report(run)
            if finished is not None:
                return finished
            session = Session(run, stop, runtime, observer, new_transport)
            return await carry_out(session, Execution(session, Demand(sink=sink, has_room=has_room)))


async def run_reconcile(
    plan: LoadPlan,
    *,
    decision: Decision | None = None,
    filter_id: str | None = None,
    observer: Observer | None = None,
    runtime: Runtime | None = None,
    tools: Tools | None = None,
    on_signal: Callable[[int], None] | None = None,
) -> Report:
    """Ask the target about the ambiguous records of a run; settle the rest by the user's decision. Reads no new lines.

    `filter_id`: a saved list filter of Canbus, whose rows are looked through first (`reconcile.list_filter`).
    It asks also in a run of `--ambiguous hold`: this command is the asking.
    """
    keep_emulator_here(plan.credentials, plan.base_url)
    plan = replace(plan, options=replace(plan.options, ambiguous=None))
    runtime = runtime or Runtime()
    stop = Stop()
    with handled_signals(stop, on_signal):
        async with open_run(plan, runtime, tools) as run:
            session = Session(run, stop, runtime, observer)
            demand = Demand(reads_new=False)
            return await carry_out(session, Execution(session, demand, decision=decision, filter_id=filter_id))


async def carry_out(session: Session, execution: Execution) -> Report:
    """Run an execution to its end, or to a stop; its report says why it stopped. Errors: RunMismatch, before all else."""
    try:
        await execution.run()
    except RunMismatch:  # these credentials are not the run's own: it stays as it was
        await session.close()
        raise
    except LoaderError as error:
        session.stop.fail(error)
    except BaseException:
        await execution.close()
        raise
    return await execution.close()


def finished_report(run: OpenRun) -> Report | None:
    """Return the report of a run that is finished and has nothing left to do, or None."""
    end = run.notes.end
    if not run.is_resumed or run.has_grown or not end or end["state"] != "finished":
        return None
    if end.get("sizes") != sizes_of(run.info.sources):
        return None  # a log that was put back from a backup, and had ended before the source grew
    if end["ambiguous"] and run.plan.target.is_askable and run.plan.options.ambiguous != "hold":
        return None
    names = {field.name for field in fields(Report)}
    values = {name: value for name, value in end.items() if name in names}
    lists = ("duplicates", "warnings", "grounds", "assumptions")
    values |= {name: tuple(values.get(name) or ()) for name in lists}
    nothing: dict[str, Any] = {"requests": 0, "retries": 0, "throttled": 0, "bytes_sent": 0, "seconds": 0.0}
    nothing |= {"ids_learnt": None, "learnt": None}
    values |= nothing | {"requests_per_second": 0.0, "records_per_second": 0.0, "limited_by": None}
    return Report(**values | {"run": str(run.plan.run_directory), "finished_at": end["at"]})


class handled_signals:  # noqa: N801 -- a context manager, used like a function
    """Drain at the first signal, end at the second; leave the handlers as they were."""

    def __init__(self, stop: Stop, on_second: Callable[[int], None] | None) -> None:
        self._stop = stop
        self._on_second = on_second
        self._second_from: float | None = None  # after a first signal, be the run stopping already or not
        # Under nohup a hang-up is ignored from the start: the load is to outlive its terminal.
        is_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        handled = SIGNALS if on_second is not None else ()
        self._numbers = [number for number in handled if not (is_nohup and number == signal.SIGHUP)]

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in self._numbers:
            loop.add_signal_handler(number, self._received, number)

    def _received(self, number: int) -> None:
        now = asyncio.get_running_loop().time()
        if self._second_from is None:
            self._second_from = now + ECHO_SECONDS
            self._stop.interrupt(number)
        elif self._on_second is not None and now >= self._second_from:
            self._on_second(number)

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._numbers:
            loop.remove_signal_handler(number)
