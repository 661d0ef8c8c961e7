"""One execution of an open run, step by step.

The order matters. The preflight comes before anything else is sent. The run is bound to the identity before the first record.
What the target can be asked is found out before the parts are built. What a resume should know (what was never sent, the rate
that was found) is written before the log is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from loader.checkpoint import AmbiguousLine, read_run_directory
from loader.errors import LogStorageFailed
from loader.pipeline.assembly import assemble
from loader.pipeline.continuity import compare
from loader.pipeline.duplicate_bound import limits_text
from loader.pipeline.ending import Ending
from loader.pipeline.flow import Flow
from loader.pipeline.intake import Demand
from loader.pipeline.reconcile_setup import Setup, find_out
from loader.pipeline.session import Session
from loader.reconcile.doubt import Duplicates
from loader.reconcile.reconciler import Decision
from loader.report.report import Report, Start
from loader.runs import directory as run_directory

if TYPE_CHECKING:
    from loader.reconcile.list_filter import Learner


class Execution:
    """Carries out what is demanded of an open run.

    `decision`: what the user says of ambiguous records that nothing settles. `filter_id`: a saved list filter of Canbus, whose
    rows are looked through first.
    """

    def __init__(
        self, session: Session, demand: Demand, *, decision: Decision | None = None, filter_id: str | None = None
    ) -> None:
        self._session = session
        self._demand = demand
        self._decision = decision
        self._filter_id = filter_id
        self._learner: Learner | None = None
        self._duplicates = Duplicates()
        self._flow: Flow | None = None
        self._is_through = False  # a run is finished only if all steps were gone through: one may be cancelled anywhere

    async def run(self) -> None:
        """Carry it out. Errors: LoaderError; what a task raised."""
        session = self._session
        if not await session.identify():
            return
        setup = await find_out(session, self._decision)
        self._announce()
        await self._learn()
        older_ids = await compare(session, setup)
        flow = self._flow = assemble(session, setup, self._demand, self._ambiguous(setup), self._duplicates, older_ids)
        if self._demand.reads_new:
            await self._forget_earlier(flow)
        if not session.stop.is_requested:
            await flow.tasks.run(self._watch)
        if not session.stop.is_requested:
            await flow.reconciler.second_look()
        self._is_through = True

    def _announce(self) -> None:
        session = self._session
        if session.observer is None:
            return
        plan, identity = session.run.plan, session.run.info.identity
        session.observer.started(
            Start(
                run=str(plan.run_directory),
                target=session.run.info.target,
                table=plan.target.table or "",
                identity=identity.name if identity else "",
                total_bytes=session.telemetry.total_bytes,
                rate=limits_text(session.throttle),
                crash_bound_records=session.sizes.crash_bound,
                is_resumed=session.run.is_resumed,
                settled_lines=session.run.log.state.counts.settled,
            )
        )

    async def _learn(self) -> None:
        """Look for records in a list of the target, if that was asked for: before any of them would be sent again."""
        if self._filter_id is None or self._session.stop.is_requested:
            return
        from loader.reconcile.list_filter import Learner  # brings SQLite with it, which a load does not need

        session = self._session
        self._learner = Learner(
            session.run,
            session.sender,
            session.stop,
            session.runtime,
            self._filter_id,
            watch=self._watch,
            warn=session.warn,
        )
        await self._learner.learn()
        self._duplicates.proved.extend(self._learner.duplicates)

    def _ambiguous(self, setup: Setup) -> Sequence[AmbiguousLine]:
        """List the lines that earlier executions left ambiguous, if something can be done about them now."""
        run = self._session.run
        if not run.is_resumed or (setup.policy.strategy is None and self._demand.reads_new):
            return ()
        with read_run_directory(run.plan.run_directory) as written:
            return [row for row in written.ambiguous() if not row.is_unresolved]

    async def _forget_earlier(self, flow: Flow) -> None:
        """Take back what the last execution noted at its end.

        While one record goes alone, the note of unsent lines stays: it is renewed before each of them.
        """
        run = self._session.run
        run.notes.end = None
        if flow.parts.queue.is_solo:
            await run.log.sync()
        else:
            await flow.unsent.forget()

    def _watch(self) -> None:
        session = self._session
        session.watch()
        if session.observer is not None:
            session.observer.sample(session.telemetry.sample(self._flow))

    # --- the end -------------------------------------------------------------------------------------------------------

    async def close(self) -> Report:
        """Write down what a resume should know, and say how it ended."""
        session = self._session
        await session.close()
        log = session.run.log
        if self._flow is not None:
            self._flow.unsent.note()
        if session.run.plan.options.rate.per_second is None:
            session.run.notes.rate = round(session.throttle.rate_per_second, 3)
        try:
            await log.sync()
        except LogStorageFailed as error:
            session.stop.fail(error)
        report = self.report()
        session.run.notes.end = self._end_note(report)
        if session.observer is not None:
            session.observer.sample(session.telemetry.sample(self._flow))
            session.observer.ended(report)
        return report

    def _end_note(self, report: Report) -> dict[str, Any] | None:
        run = self._session.run
        before = run.notes.end
        if not self._demand.reads_new and (before is None or before["state"] != "finished"):
            return before  # settling what is ambiguous does not finish a run that has lines left
        sizes = run_directory.sizes_of(run.info.sources)
        return asdict(report) | {"at": self._session.runtime.wall_time(), "sizes": sizes}

    def report(self) -> Report:
        """Say how it ended."""
        learnt = self._learner.learnt if self._learner is not None else None
        return Ending(self._session, self._flow, learnt, self._duplicates, is_through=self._is_through).report()
