"""An execution that reads a real file and sends nothing: what would leave waits in the queue. Its log is in memory.

async with file_run(folder, disk, limits=...) as run:
    await run.intake.run()
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

from loader.checkpoint import AmbiguousLine, read_state
from loader.delivery.claim import Prover
from loader.delivery.delivery import Parts
from loader.delivery.queue import ChunkQueue
from loader.pipeline.intake import Demand, Intake, Limits
from loader.pipeline.resume import Resume
from loader.reading.lines import Block
from loader.reading.readers import Reader
from loader.reading.source import FileSource
from loader.runs.opening import OpenRun, open_run
from loader.runs.plan import LoadPlan
from loader.settings import CanbusAdd, CanbusCredentials, Options, OzariUpdate, RejectLimit, Secret, TargetSettings
from loader.settings import OzariCredentials as Ozari
from loader.targets.registry import build_target
from tests.unit.checkpoint.conftest import FakeDisk, Inline, Later, Node
from tests.unit.delivery.delivering import Doubted
from tests.unit.delivery.memory_run import NOWHERE, MemoryRun, memory_tools, numbers, unanswered
from tests.unit.virtual_loop import loop_runtime

ADD = CanbusAdd("tom")
WINDOWS_OF_FOUR = Limits(window_lines=4, max_lines=None, crash_bound=0)


class SlowReader(Reader):
    """A source that says a line every ten seconds."""

    def __init__(self, source: int, opened: FileSource, options: Options) -> None:
        super().__init__(source, opened, options)
        self.is_slow = True

    async def blocks(self, offset: int, number: int) -> AsyncGenerator[Block, None]:
        self.is_slow = False  # read as what it is: a file
        blocks = super().blocks(offset, number)
        lines = [line async for block in blocks for line in block.lines]
        self.is_slow = True
        for line in lines:
            await asyncio.sleep(10)
            yield Block(self.source, number, offset, [line], line)
            number, offset = number + 1, offset + len(line)


class FileRun:
    """The parts of the execution."""

    def __init__(
        self,
        run: OpenRun,
        memory: MemoryRun,
        limits: Limits,
        demand: Demand,
        ambiguous: Sequence[AmbiguousLine],
    ) -> None:
        self.log, self.disk, self.queue = run.log, memory.disk, memory.queue
        self.unsent, self.stop, self.settlement = memory.unsent, memory.stop, memory.settlement
        self.memory = memory
        self.doubted = Doubted()
        target = build_target(run.plan.target, run.plan.credentials, run.info.run)
        self.parts = Parts(
            memory.runtime,
            target,
            memory.sender,
            memory.queue,
            memory.packer,
            memory.settlement,
            self.doubted,
            memory.claim,
            memory.stop,
            lambda _: None,
        )
        reads_new = demand.reads_new
        resume = Resume(self.parts, self.unsent, run, limits.window_lines, ambiguous, None, sends_unsent=reads_new)
        self.intake = Intake(self.parts, self.unsent, run, limits, resume, None, demand)

    def queued(self) -> list[int]:
        """Take what waits in the queue; return its lines."""
        return [number for chunk in numbers(self.memory.waiting()) for number in chunk]

    def doubts(self) -> list[int]:
        """Return the lines that were taken into doubt, in order."""
        return [number for taken, _, _ in self.doubted.taken for number in taken]


@contextlib.asynccontextmanager
async def file_run(
    folder: Path,
    disk: FakeDisk,
    *,
    settings: TargetSettings = ADD,
    limits: Limits = WINDOWS_OF_FOUR,
    demand: Demand | None = None,
    ambiguous: Sequence[AmbiguousLine] = (),
    queue: ChunkQueue | None = None,
    prover: Prover | None = None,
    is_slow: bool = False,
    is_slow_disk: bool = False,
) -> AsyncGenerator[FileRun]:
    """Open the run of `lines.ndjson`, or open it again."""
    disk.kill()  # whoever held it before is gone
    tools = replace(memory_tools(disk), new_worker=Later if is_slow_disk else Inline)
    async with open_run(_plan(folder, settings), loop_runtime(draw=lambda: 0.5), tools) as run:
        if is_slow:
            run.readers.pop().close()
            run.readers.append(SlowReader(0, FileSource(folder / "lines.ndjson"), run.plan.options))
        queue = queue or ChunkQueue(lookahead=1000, max_outstanding=1000, is_solo=prover is not None)
        memory = MemoryRun(disk, run.log, queue, prover, RejectLimit(), unanswered)
        yield FileRun(run, memory, limits, demand or Demand(), ambiguous)


def _plan(folder: Path, settings: TargetSettings) -> LoadPlan:
    credentials = CanbusCredentials("tenant", Secret("a"), Secret("b"), Secret("c"))
    is_ozari = isinstance(settings, OzariUpdate)
    return LoadPlan(
        sources=(str(folder / "lines.ndjson"),),
        target=settings,
        credentials=Ozari(Secret("token")) if is_ozari else credentials,
        options=Options(),
        run_directory=folder / "run",
    )


def write_lines(folder: Path, count: int) -> None:
    """Write a source of good lines."""
    (folder / "lines.ndjson").write_bytes(b"".join(b'{"n":%4d}\n' % number for number in range(1, count + 1)))


def intended_lines(disk: FakeDisk) -> int:
    """Count the lines whose intents would survive a loss of power now."""
    left = FakeDisk()
    for name, node in disk.names.items():
        left.names[name] = kept = Node()
        kept.data = node.durable
    return read_state(NOWHERE, storage=left).last_intent_end(0)[0] - 1
