"""Whatever the moment at which process or power dies: what was acknowledged is there, and nothing is there that was not said."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from loader.checkpoint import CheckpointLog, Spot, Tools, read_run_directory
from loader.checkpoint.windows import Blank, letter_of, outcome_of, tally
from loader.errors import LogStorageFailed
from loader.model import Ambiguous, Counts, Created, Outcome, Rejected, Updated, Window

RUN = "k3j9abcdef"
NOWHERE = Path("/nowhere")
WORLDS = int(os.environ.get("LOADER_FUZZ_CASES", "2400")) // 20


class World:
    """What the caller said, and what it was told: the model to which the log is held."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.next_line = 1
        self.intended: dict[int, bool] = {}  # line -> is blank; only where `intend` returned
        self.begun: dict[int, bool] = {}  # where `intend` was called
        self.said: dict[int, list[Outcome]] = {}  # line -> outcomes in order
        self.sure: dict[int, int] = {}  # line -> how many of them are durable
        self.notes: list[int] = []
        self.sure_note = 0
        self.next_id = 1000

    def outcome(self) -> Outcome:
        self.next_id += 1
        kind = self.draw.randint(0, 9)
        if kind == 0:
            return Rejected("target", "400", f"no {self.next_id}")
        if kind == 1:
            return Ambiguous(f"lost {self.next_id}")
        if kind == 2:
            several: list[Outcome] = [Created(None), Updated(), Updated(is_unchanged=True)]
            return self.draw.choice(several)
        return Created(self.next_id if kind < 7 else f"{self.next_id:024x}")

    async def step(self, log: CheckpointLog) -> None:
        choice = self.draw.random()
        open_lines = [line for live in log.state.unresolved_windows() for line in live.unresolved_lines()]
        fresh = [line for line in open_lines if self.intended.get(line) is False]
        if choice < 0.15 or not fresh:
            await self.intend(log)
        elif choice < 0.75:
            self.settle(log, self.draw.sample(fresh, min(len(fresh), self.draw.randint(1, 6))))
        elif choice < 0.85 and self.said:
            lines = [line for line in self.said if log.state.is_settled(0, line)]
            self.settle(log, self.draw.sample(lines, min(len(lines), 2)))
        elif choice < 0.9:
            self.notes.append(len(self.notes) + 1)
            log.note("count", self.notes[-1])
        elif choice < 0.93:
            for line in fresh[:2]:
                log.doubt(Spot(0, line, line * 10), "timed out")
        else:
            await self.sync(log)
        if self.draw.random() < 0.5:
            await asyncio.sleep(0)

    async def intend(self, log: CheckpointLog) -> None:
        first = log.state.last_intent_end(0)[0]
        end = first + self.draw.randint(1, 6)
        blanks = tuple(line for line in range(first, end) if self.draw.random() < 0.1)
        lines = {line: line in blanks for line in range(first, end)}
        self.begun.update(lines)
        await log.intend([Window(0, first, end, first * 10, end * 10, 7, end - first, blanks)])
        self.intended.update(lines)

    def settle(self, log: CheckpointLog, lines: list[int]) -> None:
        if not lines:
            return
        outcomes = [self.outcome() for _ in lines]
        log.settle([Spot(0, line, line * 10) for line in lines], outcomes)
        for line, outcome in zip(lines, outcomes, strict=True):
            self.said.setdefault(line, []).append(outcome)

    async def sync(self, log: CheckpointLog) -> None:
        said = {line: len(outcomes) for line, outcomes in self.said.items()}
        notes = len(self.notes)
        await log.sync()
        self.sure.update(said)
        self.sure_note = notes

    def check(self, disk: Any) -> None:
        """Hold the log, as anybody would read it, to what was said."""
        with read_run_directory(NOWHERE, storage=disk) as run:
            slots = {line: slot for _, line, slot in run.each_slot()}
            counts = Counts(lines=len(slots))
            for line, slot in slots.items():
                assert line in self.begun
                if isinstance(slot, Blank):
                    assert self.begun[line]
                    counts.skipped_blank += 1
                    continue
                said = self.said.get(line, [])
                if slot is None:
                    assert not self.sure.get(line)
                else:
                    assert outcome_of(slot) in said[max(0, self.sure.get(line, 0) - 1) :]
                    tally(counts, letter_of(slot))
            assert set(self.intended) <= set(slots)
            assert run.state.counts == counts
            assert run.state.notes.get("count", 0) >= self.sure_note
            assert not run.state.is_shortened
            self.agree(run.state, slots)

    def agree(self, state: Any, slots: dict[int, Any]) -> None:
        """After a crash the log is the truth: what it forgot may not come back."""
        for line in list(self.said):
            outcome = outcome_of(slots.get(line))
            kept = max((at for at, said in enumerate(self.said[line], 1) if said == outcome), default=0)
            self.said[line] = self.said[line][:kept]
        self.begun = {line: isinstance(slot, Blank) for line, slot in slots.items()}
        self.notes = list(range(1, state.notes.get("count", 0) + 1))

    def trust(self) -> None:
        """What is there when the log was opened is durable from then on."""
        self.intended = dict(self.begun)
        self.sure = {line: len(said) for line, said in self.said.items()}
        self.sure_note = len(self.notes)


async def execute(world: World, tools: Tools, steps: int, *, is_new: bool) -> None:
    """One execution of the run, which ends by itself or because the disk stops."""
    log = None
    try:
        if is_new:
            log = await CheckpointLog.create(NOWHERE, RUN, {"table": "tcust"}, tools=tools)
        else:
            log = await CheckpointLog.open(NOWHERE, RUN, {"table": "tcust"}, tools=tools)
            world.trust()
        for _ in range(steps):
            if log.failure:
                break
            await world.step(log)
        await log.close()
        if not log.failure:
            world.trust()
    except LogStorageFailed:
        if log:
            await log.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
async def test_any_crash_is_survived(part: int, disk: Any, tools: Tools, slow_tools: Tools) -> None:
    for seed in range(part * WORLDS // 4, (part + 1) * WORLDS // 4):
        disk.__init__()
        world = World(seed)
        draw = random.Random(-seed - 1)
        disk.short_writes = draw if seed % 3 == 0 else None
        mine = slow_tools if seed % 2 else tools
        await execute(world, mine, 5, is_new=True)
        for _ in range(8):
            disk.kill()
            disk.stop_at = draw.randint(0, 120)
            await execute(world, mine, draw.randint(1, 80), is_new=False)
            if draw.random() < 0.5:
                disk.kill()
            else:
                disk.cut_power(draw)
            try:
                world.check(disk)
            except BaseException as error:
                error.add_note(f"world {seed}")
                raise
