"""The library: `await load(...)` for the report, `async for done in load(...)` for each outcome as it is made.

A thin layer over `pipeline`, as the command line is. Nothing is read from flags; credentials come from the environment
if none are given. The first outcome is yielded as soon as it is in the log.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from loader.credentials import Given, read_credentials
from loader.model import Outcome, Record
from loader.pipeline.pipeline import run_load
from loader.report.progress import Observer
from loader.report.report import Report
from loader.runs.naming import directory_of
from loader.runs.plan import DryRun, LoadPlan
from loader.settings import Credentials, Options, TargetSettings
from loader.targets.registry import kind_of

MAX_QUEUED = 10_000
"""Outcomes waiting for a slow `async for`; beyond them the load pauses."""


class Done(NamedTuple):
    """One line and how it ended."""

    source: int
    line: int
    offset: int
    key: str | None
    outcome: Outcome


class Load:
    """A load that begins when it is awaited or iterated over."""

    def __init__(self, plan: LoadPlan | DryRun, observer: Observer | None) -> None:
        self.plan = plan
        self.report: Report | None = None
        """Set when the load has ended."""
        self._observer = observer

    def __await__(self) -> Generator[Any, None, Report]:
        return self._run().__await__()

    async def _run(self) -> Report:
        self.report = await run_load(self.plan, observer=self._observer)
        return self.report

    async def __aiter__(self) -> AsyncGenerator[Done, None]:
        queue: asyncio.Queue[Done | None] = asyncio.Queue()
        has_room = asyncio.Event()
        has_room.set()

        def put(records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
            for record, outcome in zip(records, outcomes, strict=True):
                queue.put_nowait(Done(record.source, record.number, record.offset, record.key, outcome))
            if queue.qsize() > MAX_QUEUED:
                has_room.clear()

        task = asyncio.create_task(run_load(self.plan, observer=self._observer, sink=put, has_room=has_room))
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (done := await queue.get()) is not None:
                if queue.qsize() <= MAX_QUEUED // 2:
                    has_room.set()
                yield done
            self.report = await task
        finally:
            has_room.set()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


def load(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: TargetSettings,
    *,
    run: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    credentials: Credentials | None = None,
    observer: Observer | None = None,
    is_dry_run: bool = False,
) -> Load:
    """Load NDJSON into a target. Awaiting the result gives the `Report`; iterating over it gives each `Done`.

    A load of the same run directory resumes. `credentials` default to the environment's (`OZARI_TOKEN`, `CANBUS_...`).
    Errors: LoaderError, whose `hint` says what to do. A record that is refused is an outcome, not an error.
    """
    given_sources = [sources] if isinstance(sources, str | os.PathLike) else sources
    paths = tuple(os.fspath(path) for path in given_sources)
    kind = kind_of(target)
    kind.check(target)
    given = Given(credentials) if credentials is not None else read_credentials(os.environ, kind.vendor.form)
    chosen = options or Options()
    directory = Path(run) if run is not None else directory_of(None, paths[0], target, given.credentials)
    if is_dry_run:
        rehearsal = DryRun(
            sources=paths, target=target, credentials=given.credentials, options=chosen, run_directory=directory
        )
        return Load(rehearsal, observer)
    needed = given.require()
    if chosen.base_url is None:
        base_url = os.environ.get(kind.vendor.base_url_variable) or kind.vendor.base_url(needed)
        chosen = replace(chosen, base_url=base_url)
    plan = LoadPlan(sources=paths, target=target, credentials=needed, options=chosen, run_directory=directory)
    return Load(plan, observer)
