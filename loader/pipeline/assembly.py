"""The parts of one execution, and how they are connected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loader.delivery.delivery import Delivery, Parts
from loader.delivery.queue import ChunkQueue
from loader.delivery.retry import RetryPolicy
from loader.delivery.settlement import RejectGuard, Settlement
from loader.delivery.stop import Stop
from loader.pipeline.intake import Intake, Limits
from loader.pipeline.preflight import Preflight
from loader.pipeline.tasks import Tasks
from loader.reading.sizes import Sizes
from loader.reconcile.reconciler import Reconciler
from loader.runs.opening import OpenRun
from loader.runtime import Runtime
from loader.targets.base import Target

MAX_OUTSTANDING_RECORDS = 20_000


@dataclass(slots=True)
class Assembly:
    """What an execution is made of, for those who watch and end it."""

    parts: Parts
    delivery: Delivery
    intake: Intake
    execution: Tasks
    reconciler: Reconciler
    settlement: Settlement


def assemble(
    run: OpenRun, way: Preflight, target: Target, sizes: Sizes, stop: Stop, world: Runtime, warn: Callable[[str], None]
) -> Assembly:
    """Connect the parts of an execution."""
    options = run.plan.options
    work = ChunkQueue(
        lookahead=sizes.lookahead,
        max_outstanding=max(MAX_OUTSTANDING_RECORDS, 4 * sizes.window_lines),
        is_ordered=options.is_ordered,
    )
    settlement = Settlement(run.log, work, stop, RejectGuard(options.max_rejects))
    reconciler = Reconciler(
        world,
        work,
        settlement,
        stop,
        settle_seconds=options.settle_seconds,
        new_chunker=lambda: intake.new_chunker(),  # noqa: PLW0108 - intake is made after this
        keep_reason=run.log.doubt,
    )
    parts = Parts(world, target, way.channel, work, settlement, reconciler, stop, warn)
    max_bytes = min(options.max_bytes, run.notes.max_bytes or options.max_bytes)
    limits = Limits(
        sizes.window_lines, sizes.max_records, max_bytes, options.max_lines, options.is_ordered, sizes.crash_bound
    )
    intake = Intake(parts, reconciler, run.log, run.readers, limits)
    delivery = Delivery(
        parts,
        RetryPolicy(options.patience_seconds),
        confirm_credentials=way.is_well,
        learn_ceiling=intake.lower_ceiling,
    )
    execution = Tasks(
        parts, delivery, intake, reconciler, concurrency=sizes.concurrency, timeout_seconds=options.timeout_seconds
    )
    return Assembly(parts, delivery, intake, execution, reconciler, settlement)
