"""When a record, and not its target, is to blame for the server errors that it meets. Pure."""

from __future__ import annotations

MAX_CHANCE = 0.05
"""Records expected to fail so often by chance alone, at most, where one is blamed."""


def is_culprit(count: int, weight: float, needed: float, others_failed: int, others_succeeded: int) -> bool:
    """Say whether a record that failed `count` times is at fault.

    Where a share f of all requests fails, f^count of all records fail `count` times, whatever is in them. So what counts is how
    often the others failed in the same time. Nobody is blamed while nobody succeeds. `weight`: of the errors, as evidence;
    `needed`: of it at least.
    """
    if weight < needed or others_succeeded < 1:
        return False
    others = others_failed + others_succeeded
    share = (others_failed + 1) / (others + 2)
    return others * share**count <= MAX_CHANCE
