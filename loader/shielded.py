"""Work that is done to its end, however often the caller is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


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
