"""The harmless request that proves the credentials: before the first record, and whenever the target has to be probed."""

from __future__ import annotations

import asyncio
import contextlib

from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.errors import RunStopped
from loader.model import Halt, NoResponse, Retry
from loader.runtime import Runtime
from loader.targets.base import Identity, Target

FIRST_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 30.0


class Preflight:
    """Asks the target who we are."""

    def __init__(self, sender: Sender, target: Target, stop: Stop, runtime: Runtime, patience_seconds: float) -> None:
        self._sender = sender
        self._target = target
        self._stop = stop
        self._runtime = runtime
        self._patience_seconds = patience_seconds

    async def identify(self) -> Identity | None:
        """Ask until there is an answer. None: the run was stopped meanwhile. Errors: RunStopped."""
        began = self._runtime.clock()
        wait = FIRST_WAIT_SECONDS
        while not self._stop.is_requested:
            answer = await self._ask()
            if isinstance(answer, Identity):
                return answer
            if isinstance(answer, Halt):
                raise RunStopped(answer.reason, answer.message, answer.hint)
            if self._runtime.clock() - began >= self._patience_seconds:
                raise RunStopped(
                    "patience", f"the target cannot be reached: {answer}", "check the network and the base URL"
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait * (0.5 + self._runtime.draw())):
                    await self._stop.wait()
            wait = min(2 * wait, MAX_WAIT_SECONDS)
        return None

    async def is_well(self) -> bool:
        """Say whether the preflight is answered well now. A refusal stops the run, and a run that stops asks no more."""
        if self._stop.is_requested:
            return False
        answer = await self._ask()
        if isinstance(answer, Halt):
            self._stop.halt(answer)
        return isinstance(answer, Identity)

    async def _ask(self) -> Identity | Halt | str:
        reply = await self._sender.send(self._target.preflight(), is_record=False)
        if isinstance(reply, NoResponse):
            return Halt("patience", reply.error, reply.fatal_hint) if reply.fatal_hint else reply.error
        answer = self._target.read_preflight(reply)
        self._sender.was_answered(is_useful=not isinstance(answer, Retry))
        return answer.reason if isinstance(answer, Retry) else answer
