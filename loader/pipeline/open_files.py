"""Open files: enough for the connections that a run may have, or an error before it begins.

A run that meets the limit in the middle would fail connect after connect, for a reason that looks like the target's.
"""

from __future__ import annotations

import contextlib
import resource

from loader.errors import UsageError

OTHERS = 64
"""Beside connections and sources: log, lock, display, name look-ups, and what the process had open before."""


def make_room(connections: int, sources: int = 1) -> None:
    """Raise this process's own limit of open files where it is too low. Errors: UsageError where the system allows no more."""
    needed = connections + sources - 1 + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard == resource.RLIM_INFINITY or hard >= needed:
        # macOS says that there is no limit and refuses what is past its own.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
            return
    who, fewer = f"{connections} requests in flight need", "lower --concurrency"
    if sources > 1:
        who, fewer = (
            f"{sources} sources and {connections} requests in flight need",
            f"load fewer files at once, {fewer}",
        )
    raise UsageError(
        f"{who} {needed} open files, and {soft} are allowed", f"{fewer}, or allow more: `ulimit -n {needed}`"
    )
