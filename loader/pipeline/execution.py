"""One execution of an opened run, in steps: who are we, put together, announce, watch, finish, say how it ended.

The order matters: the preflight comes before anything else is sent, the run is bound to the identity before the first
record, and what an execution knows at its end (what was never sent, the rate that was found) is written before the log
is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec

from loader.checkpoint import read_run_directory
from loader.delivery.settlement import Sink
from loader.delivery.stop import Stop
from loader.errors import LogStorageFailed, RunStopped, StopReason
from loader.model import Updated
from loader.pipeline.assembly import Assembly, assemble
from loader.pipeline.duplicate_bound import bound_text, ids_of, limits_text
from loader.pipeline.open_files import make_room
from loader.pipeline.preflight import Preflight, new_throttle
from loader.pipeline.reconcile_setup import prepare_remedy
from loader.pipeline.telemetry import Telemetry
from loader.reading.sizes import sizes_of
from loader.reconcile.reconciler import Word
from loader.report.progress import Observer
from loader.report.report import Report, Start, State
from loader.runs import directory as run_directory
from loader.runs.directory import STANDARD_INPUT, table_of
from loader.runs.opening import OpenRun
from loader.runtime import Runtime
from loader.settings import OzariUpdate
from loader.targets import build_target
from loader.transport.base import Transport

if TYPE_CHECKING:
    from loader.reconcile.list_filter import Learnt

MAX_WARNINGS = 1_000


class Execution:
    """Holds what the steps share."""

    def __init__(
        self,
        run: OpenRun,
        stop: Stop,
        observer: Observer | None,
        world: Runtime,
        *,
        word: Word | None = None,
        filter_id: str | None = None,
        new_transport: Callable[..., Transport] | None = None,
    ) -> None:
        self._word = word
        self._filter_id = filter_id
        self._learnt: Learnt | None = None
        self._run = run
        self._stop = stop
        self._observer = observer
        self._world = world
        self._warnings: dict[str, None] = {}
        self._is_through = (
            False  # a run is finished only where all steps were gone through: one may be cancelled anywhere
        )
        plan = run.plan
        self._target = build_target(plan.target, plan.credentials, run.info.run)
        self._sizes = sizes_of(self._target.max_records, plan.options)
        make_room(self._sizes.concurrency)
        self._throttle = new_throttle(plan.options, run.notes.rate, world)
        self._way = Preflight(
            self._target,
            plan.credentials,
            plan.options,
            self._throttle,
            self._sizes.concurrency,
            stop,
            world,
            new_transport,
        )
        self._assembly: Assembly = assemble(run, self._way, self._target, self._sizes, stop, world, self._warn)
        self._telemetry = Telemetry(run, self._assembly, self._throttle, self._sizes.concurrency, world)

    async def run(
        self, sink: Sink | None, has_room: asyncio.Event | None = None, *, settles_only: bool = False
    ) -> None:
        """Carry out the execution. `settles_only`: read no new lines. Errors: LoaderError; what a task raised."""
        intake = self._assembly.intake
        intake.has_room, intake.reads_new = has_room, not settles_only
        intake.reopening.holds_back = settles_only
        identity = await self._way.identify()
        if identity is None:
            return
        self._run.info = run_directory.bind(self._run.plan.run_directory, self._run.info, identity)
        if sink is not None:
            self._assembly.settlement.sinks.append(sink)
        await prepare_remedy(self._run, self._assembly, self._stop, self._world)
        await self._forget_unsent()
        reconciler = self._assembly.reconciler
        reconciler.word = self._word
        if isinstance(self._run.plan.target, OzariUpdate):
            reconciler.accepted = Updated()
        self._announce()
        await self._learn()
        if self._run.is_resumed and (reconciler.remedy is not None or settles_only):
            with read_run_directory(self._run.plan.run_directory) as written:
                intake.reopening.ambiguous = [row for row in written.ambiguous() if not row.is_unresolved]
        if not self._stop.is_requested:
            await self._assembly.execution.run(self._tick)
        if not self._stop.is_requested:
            await self._assembly.reconciler.second_look()
        self._is_through = True

    async def _learn(self) -> None:
        """Look for records in a list of the target, where it was asked for: before any of them would be sent again."""
        if self._filter_id is None or self._stop.is_requested:
            return
        from loader.reconcile.list_filter import Learner  # brings SQLite with it, which a load does not need

        learner = Learner(
            self._run, self._way.channel, self._stop, self._world, self._filter_id, watch=self._tick, warn=self._warn
        )
        self._learnt = await learner.learn()
        self._assembly.reconciler.suspicions.twins += learner.twins

    async def _forget_unsent(self) -> None:
        """Take back what the last execution noted as unsent: from now on it may be sent, so the note must go first.

        While one record goes alone, the note stays: it is renewed before each one (`remedy_choice`).
        """
        if not self._assembly.intake.reads_new:
            return
        if not self._assembly.parts.work.is_solo:
            self._run.notes.set_unsent(())
        self._run.notes.end = None
        await self._run.log.sync()

    def _announce(self) -> None:
        if self._observer is None:
            return
        plan, identity = self._run.plan, self._run.info.identity
        self._observer.started(
            Start(
                run=str(plan.run_directory),
                target=self._target.name,
                table=table_of(plan.target) or "",
                identity=identity.name if identity else "",
                total_bytes=self._telemetry.total_bytes,
                rate=limits_text(self._throttle),
                crash_bound_records=self._sizes.crash_bound,
                is_resumed=self._run.is_resumed,
                settled_lines=self._run.log.state.counts.settled,
            )
        )

    def _tick(self) -> None:
        """Watch: the disk, the patience, the display."""
        log, stop = self._run.log, self._stop
        if isinstance(log.failure, LogStorageFailed):
            stop.fail(log.failure)
        elif log.failure is not None:
            raise log.failure
        breaker = self._way.channel.breaker
        patience = self._run.plan.options.patience_seconds
        if breaker is not None and breaker.bad_seconds() >= patience:
            hint = "see whether the target is up; go on with `loader resume RUN`"
            stop.fail(RunStopped("patience", f"no good answer for {patience:.0f} s", hint))
        if self._observer is not None:
            self._observer.sample(self._telemetry.sample())

    def _warn(self, text: str) -> None:
        if text not in self._warnings and len(self._warnings) < MAX_WARNINGS:
            self._warnings[text] = None
            if self._observer is not None:
                self._observer.warned(text)

    # --- the end -------------------------------------------------------------------------------------------------------

    async def abandon(self) -> None:
        """Leave the run as it was: these credentials are not its own."""
        await self._way.close()

    async def close(self) -> Report:
        """Write down what a resume should know, and say how it ended."""
        await self._way.close()
        log = self._run.log
        self._assembly.intake.reopening.note_unsent()
        if self._run.plan.options.rate.per_second is None:
            self._run.notes.rate = round(self._throttle.rate_per_second, 3)
        try:
            await log.sync()
        except LogStorageFailed as error:
            self._stop.fail(error)
        report = self.report()
        sizes = run_directory.sizes_of(self._run.info.sources)
        end: dict[str, Any] | None = asdict(report) | {"at": self._world.wall_time(), "sizes": sizes}
        before = self._run.notes.end
        if not self._assembly.intake.reads_new and (before is None or before["state"] != "finished"):
            end = before  # settling doubts does not finish a run that has lines left
        self._run.notes.end = end
        if self._observer is not None:
            self._observer.sample(self._telemetry.sample())
            self._observer.ended(report)
        return report

    def report(self) -> Report:
        """Say how it ended."""
        run, stop, traffic = self._run, self._stop, self._way.channel.traffic
        error = stop.error
        identity = run.info.identity
        counts = run.log.state.counts
        seconds = self._telemetry.seconds
        suspicions = self._assembly.reconciler.suspicions
        return Report(
            run=str(run.plan.run_directory),
            target=self._target.name,
            state=self._state(),
            **msgspec.structs.asdict(counts),
            requests=traffic.requests,
            retries=traffic.retries,
            throttled=traffic.throttled,
            bytes_sent=traffic.bytes_sent,
            seconds=seconds,
            requests_per_second=traffic.requests / seconds if seconds else 0.0,
            records_per_second=self._telemetry.records_done / seconds if seconds else 0.0,
            limited_by=self._telemetry.limited_by(),
            reason=self._reason(),
            table=table_of(run.plan.target) or "",
            identity=identity.name if identity else "",
            message=error.message if error else None,
            hint=error.hint if error else None,
            bound=bound_text(run.plan, suspicions, counts),
            duplicates=ids_of(suspicions),
            warnings=tuple(self._warnings) + tuple(run.log.state.warnings),
            signal=stop.signal,
            learnt=None if self._learnt is None else self._learnt.text,
            ids_learnt=None if self._learnt is None else self._learnt.ids,
            is_resumable=run.plan.options.is_kept or STANDARD_INPUT not in run.plan.sources,
            error_code=error.exit_code if error and not isinstance(error, RunStopped | LogStorageFailed) else None,
        )

    def _state(self) -> State:
        if self._stop.signal is not None:
            return "interrupted"
        if self._stop.error is not None or self._stop.is_at_limit:
            return "stopped"
        return "finished" if self._is_through else "interrupted"

    def _reason(self) -> StopReason | None:
        error = self._stop.error
        if self._state() == "interrupted":
            return "signal"
        if isinstance(error, RunStopped):
            return error.reason
        if isinstance(error, LogStorageFailed):
            return "disk"
        return "limit" if self._stop.is_at_limit and error is None else None
