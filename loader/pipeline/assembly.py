"""The parts that send the records of one execution, each built once and whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loader.checkpoint import AmbiguousLine
from loader.delivery.claim import Claim
from loader.delivery.delivery import Delivery, Parts
from loader.delivery.older_ids import OlderIds
from loader.delivery.packer import ChunkPacker
from loader.delivery.queue import ChunkQueue
from loader.delivery.retry import RetryPolicy
from loader.delivery.settlement import RejectGuard, Settlement
from loader.delivery.unsent import Unsent
from loader.pipeline.flow import Flow
from loader.pipeline.intake import Demand, Intake, Limits
from loader.pipeline.resume import Resume
from loader.pipeline.shortened_log import choose
from loader.pipeline.tasks import Tasks
from loader.reconcile.doubt import Duplicates
from loader.reconcile.reconciler import Reconciler

if TYPE_CHECKING:
    from loader.pipeline.reconcile_setup import Setup
    from loader.pipeline.session import Session

MAX_OUTSTANDING_RECORDS = 20_000


def assemble(
    session: Session,
    setup: Setup,
    demand: Demand,
    ambiguous: Sequence[AmbiguousLine],
    duplicates: Duplicates,
    older_ids: OlderIds,
) -> Flow:
    """Build the parts.

    `ambiguous`: lines that earlier executions left so, and that can be asked about now. `duplicates`: those known already.
    """
    run, stop, runtime, sizes = session.run, session.stop, session.runtime, session.sizes
    options, log, target, sender = run.plan.options, run.log, session.target, session.sender
    queue = ChunkQueue(
        lookahead=sizes.lookahead,
        max_outstanding=max(MAX_OUTSTANDING_RECORDS, 4 * sizes.window_lines),
        is_ordered=options.is_ordered,
        is_solo=setup.prover is not None,
    )
    packer = ChunkPacker(
        queue,
        log,
        overhead_bytes=target.body_overhead_bytes,
        max_records=sizes.max_records,
        max_bytes=options.max_bytes,
    )
    unsent = Unsent(queue, log)
    claim = Claim(setup.prover, queue, unsent, log)
    settlement = Settlement(log, queue, stop, RejectGuard(options.max_rejects))
    if demand.sink is not None:
        settlement.add_sink(demand.sink)
    reconciler = Reconciler(runtime, queue, packer, settlement, claim, stop, setup.policy, duplicates)
    parts = Parts(runtime, target, sender, queue, packer, settlement, reconciler, claim, stop, session.warn, older_ids)
    delivery = Delivery(parts, RetryPolicy(options.patience_seconds), confirm_credentials=session.preflight.is_well)
    shortened_log = choose(run, parts, setup.policy.strategy, sizes.crash_bound)
    resume = Resume(parts, unsent, run, sizes.window_lines, ambiguous, shortened_log, sends_unsent=demand.reads_new)
    limits = Limits(sizes.window_lines, options.max_lines, sizes.crash_bound)
    intake = Intake(parts, unsent, run, limits, resume, shortened_log, demand)
    tasks = Tasks(
        parts, delivery, intake, reconciler, session.preflight.is_well, sizes.concurrency, options.timeout_seconds
    )
    return Flow(parts, intake, reconciler, unsent, tasks)
