"""What the report says in words: the bound on duplicates with its assumption, and the rate."""

from __future__ import annotations

from loader.model import Counts
from loader.pipeline.grounds import Grounds
from loader.rate.throttle import FixedThrottle, Throttle
from loader.reconcile.doubt import Duplicates
from loader.reconcile.reconciler import Policy
from loader.reconcile.strategies import ByLookup
from loader.runs.plan import LoadPlan


def limits_text(throttle: Throttle) -> str:
    """Say the rate in a word: `200/s`, `auto`."""
    return throttle.describe() if isinstance(throttle, FixedThrottle) else "auto"


def ids_of(duplicates: Duplicates) -> tuple[int | str, ...]:
    """List the ids under which records stand once more."""
    return tuple(record_id for duplicate in duplicates.proved for record_id in duplicate.ids if record_id is not None)


def add_grounds(grounds: Grounds, plan: LoadPlan, policy: Policy) -> None:
    """Name what was checked of that on which the bound rests, and what was not and has to be assumed."""
    target, beliefs = plan.target, policy.beliefs
    if beliefs is not None and beliefs.extents:
        longest = max(extent.characters for extent in beliefs.extents)
        what = "the stamp is" if beliefs.word == "stamp" else "keys of the kinds that were asked for are"
        since = "" if beliefs.is_fresh else ", as an earlier execution proved"
        grounds.check(f"{what} kept as written, up to {longest} characters{since}")
    if beliefs is not None and beliefs.is_lag_known:
        grounds.check(f"a created record was shown after {beliefs.lag_seconds:.1f} s; no absence was believed sooner")
    elif beliefs is not None:
        grounds.assume("the target shows a created record soon: none was timed")
    if policy.strategy is not None and not target.is_update:
        grounds.assume(f"the target applies nothing later than {policy.settle_seconds:g} s after a lost connection")
    if target.key is not None and target.stamp is None and policy.strategy is not None:
        grounds.assume("nobody else writes the same keys meanwhile")
    grounds.assume("a refusal (a status 4xx) means that nothing was written")
    if target.stamp is None or not isinstance(policy.strategy, ByLookup):
        grounds.assume("nothing between this machine and the target sends a request twice")
    grounds.assume("the target does not go back to an earlier state")


def _found_text(duplicates: Duplicates) -> str | None:
    """Say what was found wrong in the target; None if nothing was."""
    if duplicates.missing:
        return (
            f"{duplicates.missing} records that were created are not there: a count of the rows with the run's stamps"
        )
    if duplicates.extra:
        extra = f"{duplicates.extra} rows too many carry the run's stamps: twins, or records that were refused and yet written"
        return (
            f"{len(duplicates.proved)} records stand in the target twice, and {extra}" if duplicates.proved else extra
        )
    if duplicates.proved:
        return f"{len(duplicates.proved)} records stand in the target twice; their further ids are listed"
    return None


def bound_text(plan: LoadPlan, duplicates: Duplicates, counts: Counts) -> str | None:
    """Say which duplicates are possible, and on what that rests; None where nothing was loaded."""
    if not counts.created + counts.updated + counts.ambiguous:
        return None
    settle = plan.options.settle_seconds
    found = _found_text(duplicates)
    if found is not None:
        return found
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
