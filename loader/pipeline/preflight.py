"""The way to the target: transport, throttle, channel and breaker of one execution, and the preflight over them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from loader.delivery.breaker import Breaker
from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.errors import RunStopped
from loader.model import Halt, NoResponse, Retry
from loader.rate.throttle import AutoThrottle, FixedThrottle, Throttle
from loader.runtime import Runtime
from loader.settings import Credentials, Options
from loader.targets.base import Identity, Target
from loader.transport.base import Transport
from loader.urls import default_base_url

PREFLIGHT_WAIT_SECONDS = 1.0
MAX_PREFLIGHT_WAIT_SECONDS = 30.0
SPARE_CONNECTIONS = 4
"""For look-ups and probes, which have no worker's slot."""


def new_throttle(options: Options, found_rate: float | None, world: Runtime) -> Throttle:
    """Build the throttle: the rate asked for, else the rate that is found, from what an earlier execution found."""
    rate = options.rate
    if rate.per_second is not None:
        return FixedThrottle(rate.per_second, options.burst, clock=world.clock, sleep=world.sleep, draw=world.draw)
    start = rate.start_per_second or found_rate
    return AutoThrottle(start, clock=world.clock, sleep=world.sleep, draw=world.draw)


class Preflight:
    """Asks who we are, and carries every request."""

    def __init__(
        self,
        target: Target,
        credentials: Credentials,
        options: Options,
        throttle: Throttle,
        concurrency: int,
        stop: Stop,
        world: Runtime,
        new_transport: Callable[..., Transport],
    ) -> None:
        self._patience_seconds = options.patience_seconds
        self._target = target
        self._stop = stop
        self._world = world
        transport = new_transport(
            options.base_url or default_base_url(credentials),
            target.headers,
            concurrency=concurrency + SPARE_CONNECTIONS,
            timeout_seconds=options.timeout_seconds,
            proxy=options.proxy,
            ca_file=options.ca_file,
            max_records=target.max_records,
        )
        self.channel = Sender(transport, throttle)
        self.channel.breaker = Breaker(world, self.is_well)

    async def identify(self) -> Identity | None:
        """Ask who we are, patiently. None: the run was stopped meanwhile. Errors: RunStopped, RunMismatch."""
        began = self._world.clock()
        wait = PREFLIGHT_WAIT_SECONDS
        while not self._stop.is_requested:
            answer = await self._ask()
            if isinstance(answer, Identity):
                return answer
            if isinstance(answer, Halt):
                raise RunStopped(answer.reason, answer.message, answer.hint)
            if self._world.clock() - began >= self._patience_seconds:
                raise RunStopped(
                    "patience", f"the target cannot be reached: {answer}", "check the network and the base URL"
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait * (0.5 + self._world.draw())):
                    await self._stop.wait()
            wait = min(2 * wait, MAX_PREFLIGHT_WAIT_SECONDS)
        return None

    async def _ask(self) -> Identity | Halt | str:
        reply = await self.channel.send(self._target.preflight(), is_record=False)
        if isinstance(reply, NoResponse):
            return Halt("patience", reply.error, reply.fatal_hint) if reply.fatal_hint else reply.error
        answer = self._target.read_preflight(reply)
        self.channel.was_answered(is_useful=not isinstance(answer, Retry))
        return answer.reason if isinstance(answer, Retry) else answer

    async def is_well(self) -> bool:
        """Say whether the preflight is answered well now; a refusal stops the run, and a run that stops asks no more."""
        if self._stop.is_requested:
            return False
        answer = await self._ask()
        if isinstance(answer, Halt):
            self._stop.halt(answer)
        return isinstance(answer, Identity)

    async def close(self) -> None:
        """Probe no more, and close the transport."""
        if self.channel.breaker is not None:
            await self.channel.breaker.close()
        await self.channel.close()
