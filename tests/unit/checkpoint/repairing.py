"""Shared by the tests of `log repair`: a run that writes its log as runs do, sources to be read again, damage, and a repair.

The log has several executions, folds, generations, records in doubt that are settled later, rejected ones that are sent again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loader.checkpoint import CheckpointLog, Gap, Spot, Tools, read_run_directory
from loader.checkpoint.intended import intended_ends
from loader.checkpoint.repair.refill import fill
from loader.checkpoint.repair.rewrite import Repair
from loader.checkpoint.windows import Exceptional, Slot
from loader.model import Ambiguous, Created, Outcome, Rejected, Window

RUN = "k3j9abcdef"
BOUND = {"table": "tcust", "created": "2025-01-01T00:00:00+00:00"}
NOWHERE = Path("/nowhere")
LOG, SETTLED = "checkpoint.log", "checkpoint.settled"
WINDOW_LINES = 6
LINES = 400  # of each source

Slots = dict[tuple[int, int], Slot]


def is_blank(source: int, line: int) -> bool:
    return (source * 5 + line) % 11 == 0


class Sources:
    """The sources, read again: each line has ten bytes."""

    def between(self, gap: Gap) -> Iterator[Window]:
        assert (gap.offset, gap.end_offset) == ((gap.first - 1) * 10, (gap.end - 1) * 10)
        yield from self.windows(gap.source, gap.first, gap.end)

    def behind(self, source: int, line: int, offset: int, end: int | None) -> Iterator[Window]:
        assert offset == (line - 1) * 10
        yield from self.windows(source, line, min(end or LINES + 1, LINES + 1))

    def windows(self, source: int, first: int, end: int) -> Iterator[Window]:
        for at in range(first, end, WINDOW_LINES):
            yield window(source, at, min(at + WINDOW_LINES, end))


def window(source: int, first: int, end: int) -> Window:
    blanks = tuple(line for line in range(first, end) if is_blank(source, line))
    return Window(source, first, end, (first - 1) * 10, (end - 1) * 10, 7, end - first - len(blanks), blanks)


def settle(log: CheckpointLog, outcomes: Mapping[int, Outcome], source: int = 0) -> None:
    """Say how lines ended."""
    places = [Spot(source, line, (line - 1) * 10) for line in outcomes]
    log.settle(places, list(outcomes.values()))


class Writer:
    """Writes a log as runs do, over several executions."""

    def __init__(self, seed: int, tools: Tools, disk: Any) -> None:
        self.draw = random.Random(seed)
        self.tools = tools
        self.disk = disk
        self.sources = self.draw.randint(1, 2)
        self.next_id = 1000
        self.rejected: set[tuple[int, int]] = set()  # by earlier executions, and not sent again by this one
        self.said: dict[tuple[int, int], list[Outcome]] = {}

    async def write(self) -> None:
        for execution in range(self.draw.randint(1, 4)):
            if execution:
                self.rejected = {
                    (source, line) for source, line, outcome in self.held() if isinstance(outcome, Rejected)
                }
                log = await CheckpointLog.open(NOWHERE, RUN, tools=self.tools)
            else:
                log = await CheckpointLog.create(NOWHERE, RUN, BOUND, tools=self.tools)
            for _ in range(self.draw.randint(3, 40)):
                await self.step(log)
                await asyncio.sleep(0)  # what was said is written, and no line is settled twice by mistake
            if self.draw.random() < 0.4:
                await log.close()
            else:
                await log.sync()
                await die()
            self.disk.kill()

    async def step(self, log: CheckpointLog) -> None:
        open_lines = [
            (live.window.source, line) for live in log.state.unresolved_windows() for line in live.unresolved_lines()
        ]
        choice = self.draw.random()
        if choice < 0.35 or not open_lines:
            await self.intend(log)
        elif choice < 0.8:
            for key in self.draw.sample(open_lines, min(len(open_lines), self.draw.randint(1, 8))):
                self.settle(log, key, self.outcome())
        elif choice < 0.88:
            await self.settle_again(log)
        elif choice < 0.91:
            for source, line in self.draw.sample(open_lines, min(len(open_lines), 3)):
                log.doubt(Spot(source, line, line * 10), "connection reset")
        elif choice < 0.94:
            self.next_id += 1
            log.note("unsent", self.next_id)
            log.note("proof", True)
        else:
            await log.sync()

    async def intend(self, log: CheckpointLog) -> None:
        for source in range(self.sources):
            first = log.state.last_intent_end(source)[0]
            if first <= LINES // 2:
                end = min(first + self.draw.randint(1, WINDOW_LINES), LINES // 2 + 1)
                await log.intend([window(source, first, end)])
                return

    async def settle_again(self, log: CheckpointLog) -> None:
        """Settle what is ambiguous; send again what an earlier execution left as rejected."""
        await log.sync()
        held = self.held()
        for source, line, outcome in self.draw.sample(held, min(len(held), 3)):
            if isinstance(outcome, Rejected):
                if (source, line) not in self.rejected:
                    continue
                self.rejected.discard((source, line))
                self.settle(log, (source, line), Ambiguous("sent again"))
                await log.sync()
            if self.draw.random() < 0.7:
                self.settle(log, (source, line), self.outcome())

    def held(self) -> list[tuple[int, int, Outcome]]:
        """Return what is rejected or ambiguous."""
        slots = read(self.disk)[0].items()
        return [(source, line, slot.outcome) for (source, line), slot in slots if isinstance(slot, Exceptional)]

    def settle(self, log: CheckpointLog, key: tuple[int, int], outcome: Outcome) -> None:
        self.said.setdefault(key, []).append(outcome)
        settle(log, {key[1]: outcome}, key[0])

    def outcome(self) -> Outcome:
        self.next_id += 1
        kind = self.draw.randint(0, 9)
        if kind == 0:
            return Rejected("target", "400", f"no {self.next_id}")
        if kind == 1:
            return Ambiguous(f"lost {self.next_id}")
        if kind == 2:
            return Created(None)
        return Created(self.next_id if kind < 8 else f"{self.next_id:024x}")


async def die() -> None:
    """Let the process that writes the log do nothing more."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def read(disk: Any) -> tuple[Slots, dict[str, Any]]:
    with read_run_directory(NOWHERE, storage=disk) as run:
        return {(source, line): slot for source, line, slot in run.each_slot()}, dict(run.state.notes)


# --- damage -----------------------------------------------------------------------------------------------------------------


def flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 3)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def lose_sector(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(data)) // 64 * 64
    size = len(data[at : at + draw.choice([64, 128, 512])])
    data[at : at + size] = draw.choice([bytes(size), draw.randbytes(size)])


def lose_lines(data: bytearray, draw: random.Random) -> None:
    lines = bytes(data).splitlines(keepends=True)
    at = draw.randrange(len(lines) - 1) if len(lines) > 1 else 0
    del lines[at : min(at + draw.randint(1, 3), len(lines) - 1)]
    data[:] = b"".join(lines)


def copy_lines(data: bytearray, draw: random.Random) -> None:
    lines = bytes(data).splitlines(keepends=True)
    at, to = draw.randrange(len(lines)), draw.randrange(len(lines))
    data[:] = b"".join([*lines[:to], *lines[at : at + 3], *lines[to:]])


def swap_lines(data: bytearray, draw: random.Random) -> None:
    lines = bytes(data).splitlines(keepends=True)
    at, to = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[at], lines[to] = lines[to], lines[at]
    data[:] = b"".join(lines)


def lose_header(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(bytes(data).index(b"\n"))] ^= 255


def insert_noise(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(data) + 1)
    data[at:at] = draw.randbytes(draw.randint(1, 100))


KINDS = [flip, lose_sector, lose_lines, copy_lines, swap_lines, lose_header, insert_noise]


def damage(disk: Any, draw: random.Random) -> str:
    kind = draw.choice(KINDS)
    where = draw.choice([(LOG,), (LOG,), (SETTLED,), (LOG, SETTLED)])
    for name in where:
        data = bytearray(disk.names[name].data)
        kind(data, draw)
        disk.names[name].data = bytes(data)
    if draw.random() < 0.05:
        del disk.names[SETTLED]
        where = (*where, "no settled")
    return f"{kind.__name__} in {where}"


def repair(disk: Any, tools: Tools, sources: int, *, is_asked_first: bool = False) -> tuple[str, list[str]]:
    """Repair as the command does; return the verdict and the names of the copies."""
    work = Repair(disk, RUN, BOUND, is_locked=True, fold_lines=tools.sizes.fold_lines)
    try:
        verdict = work.found.verdict
        if verdict in {"sound", "torn"}:
            return verdict, []
        fill(
            work.salvage,
            Sources(),
            sources=sources,
            window_lines=WINDOW_LINES,
            least_ends={},
            intended_ends=intended_ends(disk, RUN),
            is_asked_first=is_asked_first,
        )
        work.doubt()
        return verdict, work.write(work.salvage.stale_notes & {"unsent"})
    finally:
        work.close()
