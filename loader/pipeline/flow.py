"""The parts of an execution that is under way, in one value."""

from __future__ import annotations

from dataclasses import dataclass

from loader.delivery.delivery import Parts
from loader.delivery.unsent import Unsent
from loader.pipeline.intake import Intake
from loader.pipeline.tasks import Tasks
from loader.reconcile.comparing import Comparing
from loader.reconcile.reconciler import Reconciler


@dataclass(frozen=True, slots=True)
class Flow:
    """What watching and ending an execution needs of its parts."""

    parts: Parts
    intake: Intake
    reconciler: Reconciler
    unsent: Unsent
    tasks: Tasks
    comparing: Comparing | None = None
