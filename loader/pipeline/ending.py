"""How an execution ended: its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loader.errors import LogStorageFailed, RunStopped, StopReason
from loader.pipeline.duplicate_bound import bound_text, ids_of
from loader.pipeline.flow import Flow
from loader.pipeline.session import Session
from loader.reconcile.doubt import Duplicates
from loader.report.report import Report, State
from loader.runs.directory import STANDARD_INPUT

if TYPE_CHECKING:
    from loader.reconcile.list_filter import Learnt


class Ending:
    """Reads off the parts how it ended. `is_through`: all steps were gone through."""

    def __init__(
        self, session: Session, flow: Flow | None, learnt: Learnt | None, duplicates: Duplicates, *, is_through: bool
    ) -> None:
        self._session = session
        self._flow = flow
        self._learnt = learnt
        self._duplicates = duplicates
        self._is_through = is_through

    def report(self) -> Report:
        """Say how it ended."""
        session, plan = self._session, self._session.run.plan
        stop, traffic, identity = session.stop, session.sender.traffic, session.run.info.identity
        error = stop.error
        counts = session.run.log.state.counts
        seconds = session.telemetry.seconds
        duplicates, learnt = self._duplicates, self._learnt
        return Report(
            run=str(plan.run_directory),
            target=session.run.info.target,
            state=self._state(),
            **msgspec.structs.asdict(counts),
            requests=traffic.requests,
            retries=traffic.retries,
            throttled=traffic.throttled,
            bytes_sent=traffic.bytes_sent,
            seconds=seconds,
            requests_per_second=traffic.requests / seconds if seconds else 0.0,
            records_per_second=session.telemetry.records_done / seconds if seconds else 0.0,
            limited_by=session.telemetry.limited_by(self._flow),
            reason=self._reason(),
            table=plan.target.table or "",
            identity=identity.name if identity else "",
            message=error.message if error else None,
            hint=error.hint if error else None,
            bound=bound_text(plan, duplicates, counts),
            duplicates=ids_of(duplicates),
            doubled=len(duplicates.proved) + duplicates.extra,
            missing=duplicates.missing,
            grounds=session.grounds.checked,
            assumptions=session.grounds.assumed,
            warnings=tuple(session.warnings) + tuple(session.run.log.state.warnings),
            signal=stop.signal,
            learnt=None if learnt is None else learnt.text,
            ids_learnt=None if learnt is None else learnt.ids,
            is_resumable=plan.options.is_kept or STANDARD_INPUT not in plan.sources,
            error_code=error.exit_code if error and not isinstance(error, RunStopped | LogStorageFailed) else None,
        )

    def _state(self) -> State:
        stop = self._session.stop
        if stop.signal is not None:
            return "interrupted"
        if stop.error is not None or stop.is_at_limit:
            return "stopped"
        return "finished" if self._is_through else "interrupted"

    def _reason(self) -> StopReason | None:
        stop = self._session.stop
        if self._state() == "interrupted":
            return "signal"
        if isinstance(stop.error, RunStopped):
            return stop.error.reason
        if isinstance(stop.error, LogStorageFailed):
            return "disk"
        return "limit" if stop.is_at_limit and stop.error is None else None
