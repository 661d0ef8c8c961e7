"""The same worlds over the real transport and the real server, on the simulated network of simloop.

Nothing of the client is stood in for but the disk: aiohttp speaks HTTP to the emulator's own connections, in virtual time,
and simloop draws which of all runnable callbacks runs next. Slower than the other worlds by a factor of ten or more.

simloop needs Python 3.12: on 3.11 nothing here is collected (`conftest`), and `make simulate` says so.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from loader.emulator.engine import Engine, Ticket
from loader.emulator.server import Connection
from loader.reading import sizes
from tests.simulation.cases import Case, draw_case
from tests.simulation.trace import Trace
from tests.simulation.worlds import FOLDERS, Lives, Result

simloop: Any = importlib.import_module("simloop")  # not there where mypy runs on 3.11
SEEDS = int(os.environ.get("LOADER_SEEDS", "240")) // 20
ADDRESS, PORT = "127.0.0.9", 8080
"""An address of this machine, as plain http must be, and yet another host to simloop."""


class Target:
    """The emulator's server on a host of its own; see `loader.emulator.server.Service`."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self.loop = loop
        self.connections: set[Connection] = set()
        self.lingering: set[Connection] = set()
        self.weather: Any = None
        self.lost_answers = 0

    @property
    def handled(self) -> int:
        return self.engine._journal.requests

    def forget(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def is_own_host(self, host: bytes) -> bool:
        return True

    def later(self, seconds: float, ticket: Ticket) -> None:
        self.loop.call_later(seconds, self.engine.perform_late, ticket)

    def way(self) -> float:
        return 0.01


class WireLives(Lives):
    """Lives whose process is a host that can crash."""

    def __init__(self, case: Case, folder: Path, loop: Any, trace: Trace, result: Result) -> None:
        super().__init__(case, folder, loop, trace, result)
        self.net = loop.net
        self.net.host("target")
        self.client = self.net.host("client")
        # simloop gives out addresses that are not of this machine; the base URL must be.
        self.net._names[ADDRESS] = "target"
        self.net._addresses["target"] = ADDRESS
        self.net.set_defaults(latency=(0.0005, 3 * case.weather.mean_seconds))
        loop.signals = {}

    async def serve(self, engine: Engine) -> Any:
        target = Target(engine, self.loop)

        async def listen() -> None:
            await self.loop.create_server(lambda: Connection(target), "target", PORT)

        await self.net.host("target").create_task(listen())
        for outage in self.case.weather.outages:
            self.loop.call_later(outage.begins, self.net.partition, ["client"], ["target"])
            self.loop.call_later(outage.ends, self.net.heal)
        return target

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self.client.create_task(work, name=name)
        return task

    def kill(self) -> None:
        super().kill()
        if self.is_dying and self.net._alive["client"]:
            self.client.crash()

    async def _after_death(self, trouble: Any) -> None:
        self.client.restart()
        await super()._after_death(trouble)

    def _transport(self, simulated: Callable[..., Any]) -> None:
        """Take the real one."""


def run_wire(seed: int) -> Result:
    case, result = draw_case(seed), Result(seed)
    troubles = [one for one in case.troubles if one.blow in ("process", "power", "cancel") and one.by != "request"]
    case = replace(
        case,
        troubles=tuple(replace(one, has_rival=False) for one in troubles),
        options=replace(case.options, base_url=f"http://{ADDRESS}:{PORT}"),
    )
    random.seed(seed)  # aiohttp shuffles with the shared generator
    with (
        mock.patch.object(sizes, "MIN_WINDOW_LINES", case.window_lines),
        mock.patch.object(os, "getpid", return_value=4711),
        tempfile.TemporaryDirectory(prefix="loader-world-", dir=FOLDERS) as folder,
    ):
        loop = simloop.SimLoop(seed)
        trace = Trace(loop.time, Path(folder), is_kept=False)
        lives = WireLives(case, Path(folder), loop, trace, result)
        loop.set_exception_handler(lives.heard)
        try:
            loop.run_until_complete(lives.run())
        finally:
            result.seconds, result.digest = loop.time(), loop.trace_hash()
            loop.close()
    return result


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(4))
def test_every_promise_is_kept_over_the_wire(part: int) -> None:
    wrong = {seed: found for seed in range(part, SEEDS, 4) if (found := run_wire(seed).wrong)}
    assert not wrong


def test_a_world_repeats_over_the_wire() -> None:
    assert run_wire(3).digest == run_wire(3).digest
