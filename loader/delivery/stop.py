"""Why a run ends before its source does. The first reason wins; everybody who waits is woken.

A stop is never an outcome: what is in flight is waited for, what waits is left for a resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from loader.errors import LoaderError, RunStopped
from loader.model import Halt


class Stop:
    """Holds the first reason to stop. `signal` is set instead of `error` for an interruption, neither for `--limit`."""

    def __init__(self) -> None:
        self.error: LoaderError | None = None
        self.signal: int | None = None
        self.is_at_limit = False
        self._event = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_requested(self) -> bool:
        """Say whether the run is to end."""
        return self._event.is_set()

    def on_request(self, listener: Callable[[], None]) -> None:
        """Call `listener` once, at the first reason."""
        self._listeners.append(listener)

    def fail(self, error: LoaderError) -> None:
        """Stop for an error."""
        if not self.is_requested:
            self.error = error
            self._request()

    def halt(self, halt: Halt) -> None:
        """Stop because the target will let nothing succeed."""
        self.fail(RunStopped(halt.reason, halt.message, halt.hint))

    def interrupt(self, signal: int) -> None:
        """Stop because somebody asked for it."""
        if not self.is_requested:
            self.signal = signal
            self._request()

    def reach_limit(self) -> None:
        """Stop because as many lines were read as were asked for."""
        self.is_at_limit = True

    def _request(self) -> None:
        self._event.set()
        for listener in self._listeners:
            listener()

    async def wait(self) -> None:
        """Wait until somebody stops the run."""
        await self._event.wait()
