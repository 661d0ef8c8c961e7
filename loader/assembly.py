"""The parts of one execution, and how they are connected.

The sizes follow from the target and the options: how many lines make a window, how many records may wait for a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loader.delivery import Delivery, Parts
from loader.execution import Execution
from loader.intake import Intake, Limits
from loader.opening import OpenRun
from loader.reconcile import Reconciler
from loader.retry import RetryPolicy
from loader.settings import Options
from loader.settlement import RejectGuard, Settlement
from loader.stopping import Stop
from loader.targets.base import Target
from loader.way import Way
from loader.work import Work
from loader.world import World

OZARI_CONCURRENCY = 32
CANBUS_CONCURRENCY = 4
"""Four requests of 1,000 records each already fill the wire (performance.md 3b)."""
MIN_WINDOW_LINES = 64
WINDOW_ROUNDS = 4
"""Each window costs a sync of the disk before it may go, some 200 us of CPU: with two rounds that is 1.5 us a record."""
MAX_OUTSTANDING_RECORDS = 20_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers that follow from target and options."""

    concurrency: int
    max_records: int
    window_lines: int

    @property
    def lookahead(self) -> int:
        """Return how many records may wait for a worker before reading pauses."""
        return self.window_lines // 2

    @property
    def crash_bound(self) -> int:
        """Return how many records a crash can leave ambiguous: in flight, waiting, and one window read ahead."""
        return self.concurrency * self.max_records + self.lookahead + self.window_lines


def sizes_of(target: Target, options: Options) -> Sizes:
    """Choose the sizes. A window is one chunk for Canbus, and some rounds of all workers for single records."""
    is_single = target.max_records == 1
    concurrency = options.concurrency or (OZARI_CONCURRENCY if is_single else CANBUS_CONCURRENCY)
    if options.is_ordered:
        concurrency = 1
    max_records = 1 if is_single else min(options.max_records, target.max_records)
    window_lines = WINDOW_ROUNDS * concurrency if is_single else max_records * max(1, MIN_WINDOW_LINES // max_records)
    return Sizes(concurrency, max_records, max(MIN_WINDOW_LINES, window_lines))


@dataclass(slots=True)
class Assembly:
    """What an execution is made of, for those who watch and end it."""

    parts: Parts
    delivery: Delivery
    intake: Intake
    execution: Execution
    reconciler: Reconciler
    settlement: Settlement


def assemble(
    run: OpenRun, way: Way, target: Target, sizes: Sizes, stop: Stop, world: World, warn: Callable[[str], None]
) -> Assembly:
    """Connect the parts of an execution."""
    options = run.plan.options
    work = Work(
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
    )
    parts = Parts(world, target, way.channel, work, settlement, reconciler, stop, warn)
    max_bytes = min(options.max_bytes, run.log.state.notes.get("max_bytes", options.max_bytes))
    limits = Limits(
        sizes.window_lines, sizes.max_records, max_bytes, options.max_lines, options.is_ordered, sizes.crash_bound
    )
    intake = Intake(parts, run.log, run.readers, limits)
    delivery = Delivery(
        parts,
        RetryPolicy(options.patience_seconds),
        confirm_credentials=way.is_well,
        learn_ceiling=intake.lower_ceiling,
    )
    execution = Execution(
        parts, delivery, intake, concurrency=sizes.concurrency, timeout_seconds=options.timeout_seconds
    )
    return Assembly(parts, delivery, intake, execution, reconciler, settlement)
