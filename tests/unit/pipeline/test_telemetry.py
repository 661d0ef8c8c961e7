"""What the speed is limited by, what a run waits for, and the numbers of a sample."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from loader.delivery.breaker import FAULTS_TO_OPEN
from loader.delivery.stop import Stop
from loader.model import Created, Request, Response
from loader.pipeline.assembly import assemble
from loader.pipeline.flow import Flow
from loader.pipeline.intake import Demand
from loader.pipeline.reconcile_setup import Setup
from loader.pipeline.session import Session
from loader.rate.throttle import Throttled
from loader.reconcile.doubt import Duplicates
from loader.reconcile.policy import Policy
from loader.report.report import Sample
from loader.runs.opening import open_run
from loader.runs.plan import LoadPlan
from loader.settings import Options, OzariCredentials, OzariInsert, Rate, Secret
from tests.unit.checkpoint.conftest import FakeDisk
from tests.unit.delivery.memory_run import Replies, line, memory_tools, window
from tests.unit.pipeline.file_run import write_lines
from tests.unit.virtual_loop import in_virtual_time, loop_runtime

LINES = 100


@dataclass
class Processor:
    """The time that this process has computed."""

    seconds: float = 0.0

    def clock(self) -> float:
        return self.seconds


@dataclass
class Measured:
    """An assembled execution whose tasks do not run."""

    session: Session
    flow: Flow
    processor: Processor

    async def settle(self, *numbers: int) -> None:
        """Let lines be created."""
        records = [line(number) for number in numbers]
        self.flow.parts.queue.admit(records)
        self.flow.parts.settlement.conclude(records, [Created(number) for number in numbers])
        await self.session.run.log.sync()

    async def work(self, seconds: float, in_flight: int = 0) -> None:
        """Let time pass with n requests in flight, looked at a few times a second."""
        self.session.sender.traffic.in_flight = in_flight
        for _ in range(int(seconds * 4)):
            self.sample()
            await asyncio.sleep(0.25)
        self.sample()

    async def send(self, seconds: float) -> None:
        """Send requests for so long, as fast as the throttle admits them."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await self.session.sender.send(Request("POST", "/"), is_record=True)

    def sample(self) -> Sample:
        return self.session.telemetry.sample(self.flow)

    def limited_by(self) -> str | None:
        return self.session.telemetry.limited_by(self.flow)


@contextlib.asynccontextmanager
async def measured(folder: Path, rate: float | None = None) -> AsyncIterator[Measured]:
    """Assemble an execution with ten workers at most."""
    folder.mkdir(exist_ok=True)
    write_lines(folder, LINES)
    plan = LoadPlan(
        sources=(str(folder / "lines.ndjson"),),
        target=OzariInsert("tcity"),
        credentials=OzariCredentials(Secret("token")),
        options=Options(concurrency=10, rate=Rate(rate)),
        run_directory=folder / "run",
    )
    processor = Processor()
    runtime = loop_runtime(draw=lambda: 0.5, cpu_clock=processor.clock)
    async with open_run(plan, runtime, memory_tools(FakeDisk())) as run:
        await run.log.intend([window(1, LINES + 1)])
        async with Session(run, Stop(), runtime, None, lambda *_, **__: Replies(answered)) as session:
            yield Measured(session, assemble(session, Setup(Policy(30.0)), Demand(), (), Duplicates()), processor)


def answered(_: Request) -> Response:
    return Response(200, {}, b"")


# --- what the speed is limited by ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "processor_seconds, source_seconds, in_flight, limited_by",
    [
        (8.6, 9.0, 10, "machine"),
        (8.4, 5.1, 10, "source"),
        (0.0, 5.1, 0, "source"),
        (0.0, 4.9, 10, "concurrency"),
        (0.0, 0.0, 20, "concurrency"),
        (0.0, 0.0, 9, "target"),
        (0.0, 0.0, 0, "target"),
    ],
)
@in_virtual_time
async def test_what_takes_most_of_the_time_limits_the_speed(
    *, tmp_path: Path, processor_seconds: float, source_seconds: float, in_flight: int, limited_by: str
) -> None:
    async with measured(tmp_path) as it:
        await it.settle(1)
        await it.work(10, in_flight)
        it.processor.seconds = processor_seconds
        it.flow.intake.waited_seconds = source_seconds
        assert it.limited_by() == limited_by


@in_virtual_time
async def test_before_a_record_is_done_there_is_nothing_to_say(tmp_path: Path) -> None:
    async with measured(tmp_path) as it:
        await it.settle(1)
        assert it.limited_by() is None, "no time has passed"
    async with measured(tmp_path / "other") as it:
        await it.work(10, in_flight=10)
        assert it.limited_by() is None


@in_virtual_time
async def test_the_rate_that_was_asked_for_limits_the_speed(tmp_path: Path) -> None:
    async with measured(tmp_path, rate=10.0) as it:
        await it.settle(1)
        await it.send(10)
        assert it.limited_by() == "rate"


@in_virtual_time
async def test_where_the_target_refused_that_rate_it_is_the_targets(tmp_path: Path) -> None:
    async with measured(tmp_path, rate=10.0) as it:
        await it.settle(1)
        it.session.throttle.answered(await it.session.throttle.admit(), Throttled())
        await it.send(5)
        assert it.session.throttle.rate_per_second < 10.0
        assert it.limited_by() == "target"


# --- a sample -----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_sample_holds_the_rates_of_the_last_seconds_and_the_counts_of_the_whole_run(tmp_path: Path) -> None:
    async with measured(tmp_path, rate=10.0) as it:
        await it.work(100)
        await it.settle(*range(1, 11))
        await it.work(2)
        await it.settle(*range(11, 21))
        await it.work(2)
        sample = it.sample()
        assert sample.counts.created == it.session.telemetry.records_done == 20
        assert sample.seconds == it.session.telemetry.seconds == 104.0
        assert sample.records_per_second == pytest.approx(4.0)
        assert sample.total_bytes == LINES * len(b'{"n":   1}\n')
        await it.work(10)
        assert it.sample().records_per_second == 0.0


@in_virtual_time
async def test_it_says_what_nothing_moves_for(tmp_path: Path) -> None:
    async with measured(tmp_path) as it:
        reasons = [it.sample().waiting_reason]
        it.flow.intake.is_waiting_for_source = True
        reasons.append(it.sample().waiting_reason)
        record = line(1, lock="a")
        it.flow.parts.queue.admit([record])
        it.flow.reconciler.doubt([record], "lost")
        reasons.append(it.sample().waiting_reason)
        it.flow.parts.queue.admit([line(2)])
        reasons.append(it.sample().waiting_reason)
        for _ in range(FAULTS_TO_OPEN):
            it.session.sender.breaker.failed()
        reasons.append(it.sample().waiting_reason)
        it.session.sender.breaker.last_fault = "the target answered 500: disk full"
        reasons.append(it.sample().waiting_reason)
        plain = [reason and reason.partition("; until")[0] for reason in reasons]
        assert plain == [
            None,
            "the source",
            "1 ambiguous record, until they can be asked for",
            None,
            "the target does not answer well; asking it now and then",
            "the target does not answer well (the target answered 500: disk full); asking it now and then",
        ]
        has_end = ["; until " in (reason or "") for reason in reasons]
        assert has_end == [False, False, True, False, True, True]


@in_virtual_time
async def test_it_says_until_when_the_target_asks_for_a_pause(tmp_path: Path) -> None:
    async with measured(tmp_path, rate=10.0) as it:
        it.session.throttle.answered(await it.session.throttle.admit(), Throttled(60.0))
        reason = it.sample().waiting_reason
        assert reason is not None
        assert reason.startswith("the target asks for a pause; until ")


# --- the bound of memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outstanding, has_room", [(20_000, True), (20_001, False)])
@in_virtual_time
async def test_an_execution_holds_so_many_records_without_outcome_and_no_more(
    *, tmp_path: Path, outstanding: int, has_room: bool
) -> None:
    async with measured(tmp_path) as it:
        queue = it.flow.parts.queue
        queue.admit([line(number) for number in range(1, outstanding + 1)])
        waiting = asyncio.create_task(queue.room())
        await asyncio.sleep(1)
        assert waiting.done() is has_room
        waiting.cancel()
