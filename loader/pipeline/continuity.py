"""Do the log and the target still fit each other? Asked at each resume, before anything is sent.

Backups are put back on either side. If the target went back, what the log calls created is not there any more; if the log
did, the target holds rows that it does not know. Both are seen by ids, whatever the records can be asked by. What cannot be
asked is left to the ids of the first answers (`delivery.older_ids`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loader.checkpoint import CheckpointLog, read_run_directory
from loader.checkpoint.reader import KnownIds
from loader.delivery.older_ids import WORD, OlderIds, too_far
from loader.model import Halt, NoResponse, Retry
from loader.pipeline.reconcile_setup import Setup, ask_capability
from loader.reconcile.strategies import ByLookup
from loader.targets.base import QueryEndpoint
from loader.targets.registry import build_created_row

if TYPE_CHECKING:
    from loader.pipeline.session import Session

ASK_AGAIN_SECONDS = 1.0
MOST_STEP = 4
"""Others may write as well: as many ids for each record of ours as the run has seen so far, up to this."""


async def compare(session: Session, setup: Setup) -> OlderIds:
    """Stop the run if log and target contradict each other. Returns what watches the ids of this execution."""
    run = session.run
    log: CheckpointLog = run.log
    target = run.plan.target
    if not run.is_resumed or target.is_update or run.plan.options.trusts_log:
        return OlderIds(log)
    with read_run_directory(run.plan.run_directory) as written:
        known = written.known_ids()
    highest = known.highest if known.highest is not None else run.notes.highest_fid
    if highest is None or session.stop.is_requested:
        return OlderIds(log, known)
    furthest = highest + _allowance(session, known)
    strategy = setup.policy.strategy
    can_ask = isinstance(strategy, ByLookup) and strategy.tells_old_from_new
    endpoint = await ask_capability(session) if run.plan.kind.new_capability is not None else None
    if isinstance(endpoint, QueryEndpoint):
        if not can_ask and endpoint.highest_fid is not None and endpoint.highest_fid > furthest:
            session.stop.halt(too_far(endpoint.highest_fid, highest))
        if known.highest is not None:
            await _look_for(session, known.highest)
    return OlderIds(log, known, None if can_ask or target.stamp is not None else furthest)


def _allowance(session: Session, known: KnownIds) -> int:
    """Return how far the target's highest id may lie above the log's: by records in flight, refused ones, and others' rows."""
    counts = session.run.log.state.counts
    step = 1
    if known.lowest is not None and known.highest is not None and counts.created:
        step = -(-(known.highest - known.lowest + 1) // counts.created)
    return session.sizes.crash_bound * min(max(1, step), MOST_STEP) + counts.rejected


async def _look_for(session: Session, record_id: int) -> None:
    """Stop the run if the last created row is gone. A read may lag behind, so it is asked for as long as `--settle`."""
    run, stop, runtime = session.run, session.stop, session.runtime
    question = build_created_row(run.plan.target, run.plan.credentials, run.info.run)
    began = runtime.clock()
    while not stop.is_requested:
        reply = await session.sender.send(question.encode(record_id), is_record=False)
        presence = Retry(reply.error) if isinstance(reply, NoResponse) else question.read(record_id, reply)
        session.sender.was_answered(is_useful=isinstance(presence, str))
        if isinstance(presence, Halt):
            stop.halt(presence)
            return
        if presence == "there":
            return
        is_over = runtime.clock() - began >= run.plan.options.settle_seconds
        if is_over and presence in ("gone", "foreign"):
            what = "is not there any more" if presence == "gone" else "is another record now"
            message = f"what was created is not there any more: the row {record_id}, the last one of the log, {what}"
            stop.halt(Halt("answers", message, f"see whether a backup of the target was put back; {WORD}"))
            return
        if is_over:
            session.warn("it could not be asked whether the last created row is still there; this is assumed")
            return
        await runtime.sleep(ASK_AGAIN_SECONDS)
