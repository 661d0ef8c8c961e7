"""A run that is open and a target that can be asked: what every command needs that talks to the target.

A load adds the parts that send records (`assembly`); a command that only asks needs no more than this:

    async with open_run(plan, runtime) as run, Session(run, Stop(), runtime) as session:
        if await session.identify():
            reply = await session.sender.send(question, is_record=False)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Self, TypeAlias

from loader.delivery.breaker import Breaker
from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.errors import LogStorageFailed, RunStopped
from loader.pipeline.open_files import make_room
from loader.pipeline.preflight import Preflight
from loader.pipeline.telemetry import Telemetry
from loader.rate.throttle import AutoThrottle, FixedThrottle, Throttle
from loader.reading.sizes import sizes_of
from loader.report.progress import Observer
from loader.runs import directory as run_directory
from loader.runs.opening import OpenRun
from loader.runtime import Runtime
from loader.settings import Options
from loader.targets.busy import BusyAnswers
from loader.targets.registry import build_target
from loader.transport.base import Transport
from loader.transport.choose import choose_transport

NewTransport: TypeAlias = Callable[..., Transport]
"""Builds a transport. It takes the arguments of `SessionTransport`."""

MAX_WARNINGS = 1_000
SPARE_CONNECTIONS = 4
"""For look-ups and probes, which have no worker's slot."""


class Session:
    """Holds an open run, its target, and the one way to send requests there."""

    def __init__(
        self,
        run: OpenRun,
        stop: Stop,
        runtime: Runtime,
        observer: Observer | None = None,
        new_transport: NewTransport | None = None,
    ) -> None:
        options = run.plan.options
        self.run, self.stop, self.runtime, self.observer = run, stop, runtime, observer
        self.warnings: dict[str, None] = {}
        self.target = build_target(run.plan.target, run.plan.credentials, run.info.run)
        self.sizes = sizes_of(self.target.shaper.max_records, run.plan.kind.concurrency, options)
        make_room(self.sizes.concurrency)
        self.throttle = new_throttle(options, run.notes.rate, runtime)
        busy = BusyAnswers(frozenset(options.busy_statuses))
        self.sender = Sender(self._connect(new_transport), self.throttle, Breaker(runtime), busy)
        self.preflight = Preflight(self.sender, self.target, stop, runtime, options.patience_seconds)
        self.telemetry = Telemetry(run, self.sender, self.throttle, self.sizes.concurrency, runtime)

    def _connect(self, new_transport: NewTransport | None) -> Transport:
        plan = self.run.plan
        options = plan.options
        return (new_transport or partial(choose_transport, options.transport, warn=self.warn))(
            plan.base_url,
            self.target.headers,
            concurrency=self.sizes.concurrency + SPARE_CONNECTIONS,
            timeout_seconds=options.timeout_seconds,
            proxy=options.proxy,
            ca_file=options.ca_file,
            max_records=self.target.shaper.max_records,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def identify(self) -> bool:
        """Ask the target who we are, patiently, and bind the run to it. False: the run was stopped meanwhile.

        Errors: RunStopped; RunMismatch where the run belongs to other credentials.
        """
        identity = await self.preflight.identify()
        if identity is None:
            return False
        self.run.info = run_directory.bind(self.run.plan.run_directory, self.run.info, identity)
        return True

    def warn(self, text: str) -> None:
        """Warn the user, once."""
        if text not in self.warnings and len(self.warnings) < MAX_WARNINGS:
            self.warnings[text] = None
            if self.observer is not None:
                self.observer.warned(text)

    def watch(self) -> None:
        """Stop the run if its disk has failed, or if the target has given no good answer for too long.

        To be called a few times a second.
        """
        failure, patience = self.run.log.failure, self.run.plan.options.patience_seconds
        if isinstance(failure, LogStorageFailed):
            self.stop.fail(failure)
        elif failure is not None:
            raise failure
        if self.sender.breaker.bad_seconds() >= patience:
            hint = "see whether the target is up; go on with `loader resume RUN`"
            self.stop.fail(RunStopped("patience", f"no good answer for {patience:.0f} s", hint))

    async def close(self) -> None:
        """Close every connection."""
        await self.sender.close()


def new_throttle(options: Options, found_rate: float | None, runtime: Runtime) -> Throttle:
    """Build the throttle: the rate asked for, else the rate that is found, from what an earlier execution found."""
    rate = options.rate
    if rate.per_second is not None:
        return FixedThrottle(runtime, rate.per_second, options.burst)
    return AutoThrottle(runtime, rate.start_per_second or found_rate)
