"""The harmless request that proves the credentials: before the first record, and whenever the target has to be probed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.errors import RunStopped
from loader.model import Halt, NoResponse, Retry
from loader.report.waiting import Waits
from loader.runtime import Runtime
from loader.targets.base import Identity, Target

FIRST_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 30.0
FIRST_CONTACT_SECONDS = 30.0
"""As long as nothing has ever answered as the API does and what comes hardly gets better: no such host, a web page."""
FOREIGN_SECONDS = 60.0
"""A refusal of the probe that is not the API's own may be a firewall's, for a while; then the run stops."""


NOT_THE_API = "check the base URL (--base-url): what answers there is not the API"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there is no answer to the preflight. `hint` is set where one hardly comes later."""

    reason: str
    hint: str | None
    waiting: str


def plain(error: str) -> str:
    """Return the words of a failure alone: `connection refused`, `no such host`."""
    name, _, words = error.partition(": ")
    if not name.isidentifier() or not words:
        return error
    return "no such host" if words in {"EAI_NONAME", "EAI_NODATA"} else words[:1].lower() + words[1:]


class Preflight:
    """Asks the target who we are."""

    def __init__(
        self,
        sender: Sender,
        target: Target,
        stop: Stop,
        runtime: Runtime,
        patience_seconds: float,
        host: str = "the target",
        waits: Waits | None = None,
    ) -> None:
        self._host = host
        self._waits = waits or Waits(runtime.clock)
        self._foreign_since: float | None = None
        self._sender = sender
        self._target = target
        self._stop = stop
        self._runtime = runtime
        self._patience_seconds = patience_seconds

    async def identify(self) -> Identity | None:
        """Ask until there is an answer. None: the run was stopped meanwhile. Errors: RunStopped."""
        began = self._runtime.clock()
        wait, patience = FIRST_WAIT_SECONDS, self._patience_seconds
        with self._waits.on(f"the first answer of {self._host}", patience) as waiting:
            while not self._stop.is_requested:
                answer = await self._ask()
                if isinstance(answer, Identity):
                    return answer
                if isinstance(answer, Halt):
                    raise RunStopped(answer.reason, answer.message, answer.hint)
                patience = min(self._patience_seconds, FIRST_CONTACT_SECONDS) if answer.hint else self._patience_seconds
                waiting.reason, waiting.until = f"{answer.waiting}; trying again", began + patience
                left = began + patience - self._runtime.clock()
                if left <= 0:
                    hint = answer.hint or "check the network and the base URL"
                    raise RunStopped("patience", f"the target cannot be reached: {answer.reason}", hint)
                seconds = wait * (0.5 + self._runtime.draw())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(seconds, left) if answer.hint else seconds):
                        await self._stop.wait()
                wait = min(2 * wait, MAX_WAIT_SECONDS)
        return None

    async def is_well(self) -> bool:
        """Say whether the preflight is answered well now. A refusal stops the run, and a run that stops asks no more.

        A refusal that is not in the API's form may be a firewall's, which ends by itself: it has to last before it stops the run.
        """
        if self._stop.is_requested:
            return False
        answer = await self._ask()
        if isinstance(answer, Halt) and (not answer.is_foreign or self._lasts()):
            self._stop.halt(answer)
        if isinstance(answer, Identity):
            self._foreign_since = None
        else:
            self._sender.breaker.last_fault = answer.message if isinstance(answer, Halt) else answer.reason
        return isinstance(answer, Identity)

    def _lasts(self) -> bool:
        now = self._runtime.clock()
        self._foreign_since = now if self._foreign_since is None else self._foreign_since
        return now - self._foreign_since >= FOREIGN_SECONDS

    async def _ask(self) -> Identity | Halt | NoAnswer:
        reply = await self._sender.send(self._target.preflight(), is_record=False)
        if isinstance(reply, NoResponse):
            if reply.fatal_hint:
                return Halt(reply.fatal_reason, reply.error, reply.fatal_hint)
            reason = f"{self._host}: {plain(reply.error)}"
            return NoAnswer(reason, reply.poor_hint, f"cannot reach {reason}")
        answer = self._target.read_preflight(reply)
        self._sender.was_answered(is_useful=not isinstance(answer, Retry))
        if isinstance(answer, Retry):
            reason = f"{self._host}: {answer.reason}"
            return NoAnswer(reason, NOT_THE_API if answer.is_foreign else None, f"no good answer of {reason}")
        return answer
