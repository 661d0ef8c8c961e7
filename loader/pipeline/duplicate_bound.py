"""What the report says in words: the bound on duplicates with its assumption, and the rate."""

from __future__ import annotations

from loader.model import Counts
from loader.rate.throttle import FixedThrottle, Throttle
from loader.reconcile.doubt import Duplicates
from loader.runs.plan import LoadPlan


def limits_text(throttle: Throttle) -> str:
    """Say the rate in a word: `200/s`, `auto`."""
    return throttle.describe() if isinstance(throttle, FixedThrottle) else "auto"


def ids_of(duplicates: Duplicates) -> tuple[int | str, ...]:
    """List the ids under which records stand once more."""
    return tuple(record_id for duplicate in duplicates.proved for record_id in duplicate.ids if record_id is not None)


def bound_text(plan: LoadPlan, duplicates: Duplicates, counts: Counts) -> str | None:
    """Say which duplicates are possible, and on what that rests; None where nothing was loaded."""
    if not counts.created + counts.updated + counts.ambiguous:
        return None
    settle = plan.options.settle_seconds
    if duplicates.proved:
        return f"{len(duplicates.proved)} records stand in the target twice; their further ids are listed"
    if duplicates.blind:
        return f"at most {duplicates.blind} records: so many were sent again without asking, by --ambiguous resend"
    target = plan.target
    if target.is_update:
        late = f"nothing later than {settle:g} s after a lost connection"
        return f"none possible; no update was applied out of order, if the target applies {late}"
    if counts.ambiguous:
        word = "record is" if counts.ambiguous == 1 else "records are"
        return f"none were made; {counts.ambiguous} {word} ambiguous, and loading them again could double them"
    if not target.is_askable:
        return "none possible: nothing was sent twice that may have been applied"
    whose = "" if target.stamp else ", and if nobody else writes the same keys"
    return f"none possible, if the target applies nothing later than {settle:g} s after a lost connection{whose}"
