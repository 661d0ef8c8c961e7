"""A user, a source, a process and a disk in any order: hypothesis looks for the sequence that breaks a promise.

The source grows, is altered and truncated (both refused, then put back); the process runs, dies, is interrupted and meets a
rival; the log's tail is damaged; the options change. In the end the run is finished in fair weather and judged.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from loader.checkpoint import read_state
from loader.reading import sizes
from loader.settings import Rate
from tests.simulation.cases import Blow, Trouble, draw_case
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import CLEAR
from tests.simulation.trace import Trace
from tests.simulation.worlds import FOLDERS, Lives, Result

EXAMPLES = max(10, int(os.environ.get("LOADER_SEEDS", "240")) // 24)
BLOWS: list[Blow] = ["process", "power", "signal", "signals", "cancel", "cancels", "stall", "nap"]
troubles = st.builds(
    Trouble,
    blow=st.sampled_from(BLOWS),
    by=st.sampled_from(["disk", "request", "time"]),
    at=st.integers(1, 60),
    seconds=st.floats(0, 5),
    moment=st.floats(0, 0.99),
    pause_seconds=st.sampled_from([0.0, 1.0, 50.0]),
    appended=st.sampled_from([0, 0, 0, 3, 20]),
    has_rival=st.booleans(),
)


class User(RuleBasedStateMachine):
    """One run and all that is done to it."""

    @initialize(seed=st.integers(0, 10_000))
    def begin(self, seed: int) -> None:
        case = draw_case(seed)
        self.result = Result(seed)
        self.stack = ExitStack()
        self.stack.enter_context(mock.patch.object(sizes, "MIN_WINDOW_LINES", case.window_lines))
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="loader-world-", dir=FOLDERS)))
        self.loop = SimulatedLoop()
        self.lives = Lives(
            replace(case, troubles=()), folder, self.loop, Trace(self.loop.time, folder, is_kept=False), self.result
        )
        self.loop.set_exception_handler(self.lives.heard)
        self.do(self.lives.open())

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def is_right(self) -> None:
        assert not self.result.wrong, (self.result.seed, self.result.wrong[:3])

    @property
    def loaded_lines(self) -> int:
        """How many lines of the source the log knows."""
        try:
            return read_state(self.lives.directory).last_intent_end(0)[0] - 1
        except (OSError, ValueError):
            return 0

    @rule(trouble=troubles)
    def run_into_trouble(self, trouble: Trouble) -> None:
        self.do(self.lives.live(trouble))
        self.is_right()

    @rule()
    def run(self) -> None:
        self.do(self.lives.live(None))
        self.is_right()

    @rule(rate=st.sampled_from([Rate(20.0), Rate(500.0), Rate()]), concurrency=st.sampled_from([None, 1, 3, 12]))
    def change_options(self, rate: Rate, concurrency: int | None) -> None:
        case = self.lives.case
        self.lives.case = replace(case, options=replace(case.options, rate=rate, concurrency=concurrency))

    @rule(noise=st.binary(min_size=1, max_size=200))
    def damage_the_tail(self, noise: bytes) -> None:
        disk = self.lives.disk
        if "checkpoint.log" in disk.names and (disk.folder / "run.json").exists():
            disk.rewrite("checkpoint.log", disk.content("checkpoint.log") + noise.replace(b"\n", b""))

    @precondition(lambda self: self.loaded_lines > 0)
    @rule(share=st.floats(0, 0.99), is_cut=st.booleans())
    def change_what_was_loaded(self, share: float, is_cut: bool) -> None:
        source, number = self.lives.source, int(share * self.loaded_lines)
        before, handled = source.read_bytes(), self.lives.service.handled
        lines = before.split(b"\n")
        lines[number] = b'{"other": 1}'
        source.write_bytes(b"\n".join(lines[:number] if is_cut else lines))
        self.do(self.lives.live(None))
        told, self.result.wrong = self.result.wrong, []
        assert all("refused" in text for text in told), told
        assert told, "a run went on with another source"
        assert self.lives.service.handled == handled
        source.write_bytes(before)

    def teardown(self) -> None:
        if not hasattr(self, "lives"):
            return
        try:
            self.do(self.finish())
            self.is_right()
        finally:
            self.loop.close()
            self.stack.close()

    async def finish(self) -> None:
        self.lives.service.engine.set_faults(())
        self.lives.service.weather = CLEAR
        await self.lives.finish()


def test_no_sequence_of_events_breaks_a_promise() -> None:
    run_state_machine_as_test(User, settings=settings(max_examples=EXAMPLES, stateful_step_count=12, deadline=None))
