"""Work that is done to its end: whoever is cancelled meanwhile, or at once, where it has nothing to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_shielded(work: Coroutine[Any, Any, None]) -> None:
    """Do the work to its end, however often the caller is cancelled meanwhile; only then let it be cancelled."""
    task = asyncio.ensure_future(work)
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            is_cancelled = True
    task.result()
    if is_cancelled:
        raise asyncio.CancelledError


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that has nothing to wait for. Errors: RuntimeError where it waits."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise RuntimeError("what is there already is waited for")
