"""One world from its first execution to its end: runs the unmodified pipeline, strikes it, resumes it, and has it judged.

Everything takes place in one loop in virtual time. The target lives on while the process is dead; the process is dead when
its disk, its network and its tasks are gone, in this order, so that nothing it does in dying has an effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from unittest import mock

import msgspec
import orjson

from loader.checkpoint import Tools, read_state
from loader.emulator.engine import Engine
from loader.emulator.journal import Journal
from loader.emulator.routes import read_target
from loader.emulator.tables import Tables
from loader.emulator.wire import Call
from loader.errors import LoaderError, LogDamaged, LogLocked
from loader.model import Request
from loader.pipeline.pipeline import run_load
from loader.reading import sizes
from loader.report.report import Report
from loader.runs.plan import LoadPlan
from loader.runtime import Runtime
from loader.transport.base import Transport
from tests.simulation.cases import TABLE, Case, Trouble, draw_case, line_of
from tests.simulation.disk import Aside, Disk, LossyStorage
from tests.simulation.judge import judge
from tests.simulation.loop import SimulatedLoop, StuckError
from tests.simulation.network import CLEAR, Service, Wire
from tests.simulation.trace import Trace

T = TypeVar("T")
MAX_ROUGH_LIVES = 6
MAX_CALM_LIVES = 6
MAX_SECONDS = 40_000.0
"""No execution may last longer: hours of outage and patience are a fraction of it."""
LONG_AGO_SECONDS = 100.0
"""Old rows are older than any lag of a read."""
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
OURS = {"strike", "rival", "death"}
DEATHS = ("process", "power")
_SHM = Path("/dev/shm")  # noqa: S108 -- a folder in memory where there is one; each world makes its own inside
FOLDERS = _SHM if _SHM.is_dir() else None


@dataclass(slots=True)
class Result:
    """What came of a world. `wrong` is empty where every promise was kept."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    digest: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    log: list[str] = field(default_factory=list)


def run_world(seed: int, *, is_kept: bool = False) -> Result:
    """Draw a world, run it to its end and judge it."""
    return run_case(draw_case(seed), is_kept=is_kept)


def run_case(case: Case, *, is_kept: bool = False) -> Result:
    """Run a world to its end and judge it. `is_kept`: keep all that happens as text, and let bugs of the harness through."""
    result = Result(case.seed)
    with (
        # The two sizes of the pipeline that would hide its seams from 60 lines; and a number that the log writes down.
        mock.patch.object(sizes, "MIN_WINDOW_LINES", case.window_lines),
        mock.patch.object(sizes, "WINDOW_ROUNDS", 1),
        mock.patch.object(os, "getpid", return_value=4711),
        tempfile.TemporaryDirectory(prefix="loader-world-", dir=FOLDERS) as folder,
    ):
        loop = SimulatedLoop()
        trace = Trace(loop.time, Path(folder), is_kept=is_kept)
        try:
            lives = Lives(case, Path(folder), loop, trace, result)
            loop.set_exception_handler(lives.heard)
            loop.run_until_complete(lives.run())
        except StuckError:
            result.wrong.append("stuck: every task waits for something that never comes")
        except Exception as error:
            result.wrong.append(f"{type(error).__name__}: {error}")
            if is_kept:
                raise
        finally:
            result.digest, result.log = trace.digest(), trace.lines
            result.seconds = loop.time()
            loop.close()
    return result


class Lives:
    """The executions of one world, one after another."""

    def __init__(self, case: Case, folder: Path, loop: SimulatedLoop, trace: Trace, result: Result) -> None:
        self.case = case
        self.loop = loop
        self.trace = trace
        self.result = result
        self.draw = Random(f"world {case.seed}")
        self.source = folder / "source.ndjson"
        self.directory = folder / "job.run"
        self.directory.mkdir(mode=0o700)
        self.disk = Disk(self.directory, Random(f"disk {case.seed}"), trace)
        self.lines = list(case.lines)
        self.markers = dict(case.markers)
        self.tables = Tables()
        self.journal = Journal(200_000)
        self.is_dying = False
        self.storages: list[LossyStorage] = []
        self.wires: list[Wire] = []
        self.last_report: Report | None = None
        self.had_ambiguous = False

    def heard(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take note of what no task wanted to know."""
        if not self.is_dying and "async_generator_athrow" not in str(context.get("task")):  # the collector's own
            what = f"{context.get('message')}: {context.get('exception')!r} {context.get('task')!r}"
            self.result.wrong.append(f"unheard: {what}")

    async def run(self) -> None:
        """Live through all troubles, and on to the end."""
        await self.open()
        for trouble in self.case.troubles:
            if trouble.appended or not self._is_done():  # a finished run may still grow, and be struck then
                await self.live(trouble)
        for _ in range(MAX_ROUGH_LIVES):
            if self._is_done():
                break
            await self.live(None)
        self.service.engine.set_faults(())
        self.service.weather = CLEAR
        await self.finish()

    async def open(self) -> None:
        """Make the source, the table and the target."""
        case, loop = self.case, self.loop
        plan = msgspec.structs.replace(case.plan, faults=())
        engine = Engine(plan, self.tables, self.journal, self.target_time, loop.time)
        write_source(self.source, self.lines, has_end=self.draw.random() < 0.7)
        for row in case.old_rows:
            insert_old(engine, row)
        engine.set_faults(case.plan.faults)
        await asyncio.sleep(LONG_AGO_SECONDS)
        self.service = await self.serve(engine)

    async def finish(self) -> None:
        """Go on in fair weather until nothing is left to do, and judge."""
        await asyncio.sleep(1000.0)
        for _ in range(MAX_CALM_LIVES):
            if self._is_done() and not self._has_hope():
                break
            await self.live(None)
        await self._end()

    async def serve(self, engine: Engine) -> Service:
        """Open the target to the network."""
        return Service(engine, self.case.weather, self.loop, Random(f"net {self.case.seed}"), self.trace)

    def _is_done(self) -> bool:
        report = self.last_report
        return report is not None and report.state == "finished" and report.lines == len(self.lines)

    def _has_hope(self) -> bool:
        return self.last_report is not None and self.last_report.ambiguous > 0 and self.case.is_exact

    async def _end(self) -> None:
        """Judge what is left, and see that a finished run sends nothing."""
        result, report = self.result, self.last_report
        result.counts["faults"] += sum(self.journal.faults.values()) + self.service.lost_answers
        result.counts["requests"] += self.service.handled
        if report is None or not self._is_done():
            how = f"{report.state}, {report.reason}: {report.message}, {report.lines} lines" if report else "no report"
            result.wrong.append(f"never finished: {how}")
            return
        before = self.service.handled
        await self.live(None)
        if self.service.handled > before and not report.ambiguous:
            result.wrong.append("a finished run sent requests when it was repeated")
        report = self.last_report
        if report is None:
            return
        result.counts["ambiguous"] += report.ambiguous
        result.wrong += judge(
            self.case,
            self.directory,
            self.markers,
            self.lines,
            self.tables,
            report,
            was_in_order=not self.had_ambiguous,
        )

    # --- one execution -----------------------------------------------------------------------------------------------

    async def live(self, trouble: Trouble | None) -> bool:
        """Carry out one execution; True where it ended by itself."""
        self.result.counts["executions"] += 1
        self.trace("begin", trouble)
        if trouble is not None and trouble.appended:
            self._append(trouble.appended)
        death = asyncio.Event()
        main = self.spawn(self._execute(trouble, death.set, lambda _: None), "main")
        dead = asyncio.create_task(death.wait(), name="death")
        strikes: list[asyncio.Task[None]] = []
        if trouble is not None:
            strikes.append(asyncio.create_task(self._strike(trouble, main, death), name="strike"))
            if trouble.has_rival:
                strikes.append(self.spawn(self._rival(main), "rival"))
        async with asyncio.timeout(MAX_SECONDS):
            await asyncio.wait({main, dead}, return_when=asyncio.FIRST_COMPLETED)
        is_dead = death.is_set()
        if is_dead:
            self.is_dying = True
            self.result.counts["crashes"] += 1
            self.kill()
        await self._sweep(is_dead=is_dead)
        for strike in strikes:
            if not strike.cancelled() and (error := strike.exception()) is not None:
                raise error
        self._take(main, is_dead=is_dead)
        self.kill()
        self.storages, self.wires = [], []
        self.loop.signals.clear()
        self.trace("end", is_dead, self.last_report and self.last_report.state)
        if is_dead and trouble is not None:
            await self._after_death(trouble)
        with contextlib.suppress(LogDamaged, FileNotFoundError):  # a later execution settles it out of its turn
            self.had_ambiguous |= read_state(self.directory).counts.ambiguous > 0
        self.is_dying = False
        return not is_dead

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a task of the process."""
        return asyncio.create_task(work, name=name)

    async def _after_death(self, trouble: Trouble) -> None:
        if trouble.blow == "power":
            self.result.counts["power losses"] += 1
            self.disk.cut_power()
        if trouble.is_cut:
            self.result.counts["logs cut"] += 1
            self.disk.cut_log()
        await asyncio.sleep(trouble.pause_seconds)

    def kill(self) -> None:
        """Let the process do nothing any more."""
        for storage in self.storages:
            storage.kill()
        for wire in self.wires:
            wire.kill()

    async def _sweep(self, *, is_dead: bool) -> None:
        """End what the execution has left behind. One that ended by itself leaves nothing but our own strikes."""
        mine = asyncio.current_task()
        for _ in range(5):
            await asyncio.sleep(0)  # what was cancelled ends in its own turn
        for _ in range(200):
            left = sorted((task for task in asyncio.all_tasks() if task is not mine), key=str)
            if not left:
                return
            names = {task.get_name() for task in left}
            if not is_dead and not self.is_dying and "rival" not in names and names - OURS:
                self.result.wrong.append(f"tasks are left: {[str(task) for task in left]}")
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=100.0)
        self.result.wrong.append("there are tasks that cannot be ended")

    def _take(self, main: asyncio.Task[Report], *, is_dead: bool) -> None:
        """Take the execution's report, or see that it failed as it may."""
        self.last_report = None
        if main.cancelled():
            return
        error = main.exception()
        if is_dead:
            return
        if error is None:
            report = self.last_report = main.result()
            self.trace("report", report.state, report.reason, report.created, report.updated, report.ambiguous)
            if report.error_code is not None:
                self.result.wrong.append(f"an execution failed: {report.message} ({report.hint})")
        elif not isinstance(error, LoaderError):
            self.result.wrong.append(f"an execution raised {type(error).__name__}: {error}")
        elif not isinstance(error, LogLocked):
            self.result.wrong.append(f"an execution was refused: {error.message}")

    async def _execute(
        self, trouble: Trouble | None, die: Callable[[], None], seen: Callable[[Request], None]
    ) -> Report:
        """Be the process: run the pipeline on what is left of the world."""
        is_mortal = trouble is not None and trouble.blow in DEATHS

        def died(_where: str) -> None:
            self.is_dying = True
            self.kill()
            die()

        def on_request(request: Request) -> None:
            seen(request)
            if trouble is None or not is_mortal or trouble.by != "request" or mine[0].requests != trouble.at:
                return
            if trouble.moment < 0.5:
                died("request")
            else:
                deaths.append(self.loop.call_later(self.service.way() * 2, died, "request"))

        def new_transport(_origin: str, headers: Any, *, timeout_seconds: float, **_more: Any) -> Wire:
            mine.append(Wire(self.service, on_request, headers, timeout_seconds))
            self.wires.append(mine[0])
            return mine[0]

        mine: list[Wire] = []
        deaths: list[asyncio.TimerHandle] = []
        die_at = trouble.at if trouble is not None and is_mortal and trouble.by == "disk" else None
        storage = LossyStorage(self.disk, died, die_at, trouble.moment if trouble else 0.0)
        self.storages.append(storage)
        has_signals = trouble is not None and trouble.blow in ("signal", "signals", "nap")
        try:
            return await run_load(
                self._plan(has_limit=trouble is not None),
                runtime=self._runtime(),
                new_transport=self._transport(new_transport),
                tools=self._tools(storage),
                on_signal=(lambda _: died("signal")) if has_signals else None,
            )
        finally:
            for death in deaths:
                death.cancel()  # a process that has ended cannot die, and the next one's life is its own
            for wire in mine:
                self.result.wrong += wire.complaints
                if not wire.is_dead and not wire.is_closed:
                    self.result.wrong.append("the transport was not closed")

    def _plan(self, *, has_limit: bool) -> LoadPlan:
        case = self.case
        return LoadPlan(
            sources=(str(self.source),),
            target=case.target,
            credentials=case.credentials,
            options=case.options if has_limit else replace(case.options, max_lines=None),
            run_directory=self.directory,
        )

    def _transport(self, simulated: Callable[..., Wire]) -> Callable[..., Transport] | None:
        return simulated

    def _runtime(self) -> Runtime:
        draw = Random(f"life {self.case.seed} {self.result.counts['executions']}")
        return Runtime(
            clock=self.loop.time,
            sleep=asyncio.sleep,
            draw=draw.random,
            cpu_clock=lambda: 0.0,
            wall_time=lambda: f"{self.wall_time():%Y-%m-%dT%H:%M:%SZ}",
            new_run_id=lambda: "r" + "".join(draw.choice("abcdefgh01234567") for _ in range(9)),
        )

    def _tools(self, storage: LossyStorage) -> Tools:
        aside = Random(f"aside {self.case.seed} {self.result.counts['executions']}")
        clock = lambda: self.wall_time().isoformat(timespec="seconds")  # noqa: E731 -- as the log's own clock says it
        return Tools(storage, clock, lambda: Aside(aside), self.case.sizes)

    def wall_time(self) -> datetime:
        """Say what the clock on the wall shows to the process: always the same, for nothing may depend on it."""
        return NOON

    def target_time(self) -> float:
        """Say what it shows to the target, in seconds of the epoch."""
        return NOON.timestamp() + self.loop.time()

    # --- what befalls it ---------------------------------------------------------------------------------------------

    async def _strike(self, trouble: Trouble, main: asyncio.Task[Report], death: asyncio.Event) -> None:
        if trouble.blow in DEATHS and trouble.by != "time":
            return  # it comes from the disk or the network
        await asyncio.sleep(trouble.seconds)
        self.trace("strike", trouble.blow)
        match trouble.blow:
            case "process" | "power":
                self.is_dying = True
                self.kill()
                death.set()
            case "signal":
                self.loop.raise_signal(signal.SIGTERM)
            case "signals":
                self.loop.raise_signal(signal.SIGTERM)
                await asyncio.sleep(trouble.moment)
                self.loop.raise_signal(signal.SIGTERM)
            case "cancel":
                main.cancel()
            case "cancels":
                main.cancel()
                await asyncio.sleep(trouble.moment)
                main.cancel()
            case "stall":
                self.service.stand_still(3 * self.case.options.timeout_seconds * trouble.moment)
            case "nap":
                self.loop.raise_signal(signal.SIGTERM)
                await asyncio.sleep(trouble.moment)
                self.service.stand_still(3 * self.case.options.timeout_seconds)

    async def _rival(self, main: asyncio.Task[Report]) -> None:
        """Start a second process on the run: while the first holds it, it may not send."""

        def seen(_request: Request) -> None:
            if not main.done():
                self.result.wrong.append("two processes send for one run")

        await asyncio.sleep(self.draw.random() * 0.1)
        if main.done():
            return
        try:
            await self._execute(None, lambda: None, seen)
        except LogLocked:
            self.result.counts["rivals refused"] += 1
        except (LoaderError, OSError):
            if not self.is_dying:
                raise

    def _append(self, count: int) -> None:
        """Let the source grow, after whole lines."""
        first = len(self.lines) + 1
        for number in range(first, first + count):
            self.lines.append(line_of(self.case.target, number, self.draw, self.case.naming))
            self.markers[number] = f"name {number}"
        is_open = not self.source.read_bytes().endswith(b"\n")
        with self.source.open("ab") as file:
            file.write((b"\n" if is_open else b"") + b"".join(line + b"\n" for line in self.lines[first - 1 :]))


def write_source(path: Path, lines: list[bytes], *, has_end: bool) -> None:
    """Write the lines; a last one that is blank has a line end, or it would be none."""
    path.write_bytes(b"\n".join(lines) + (b"\n" if has_end or not lines[-1] else b""))


def insert_old(engine: Engine, row: dict[str, Any]) -> None:
    """Create a row past all faults."""
    method, path, query, route = read_target(b"POST", f"/integration/tables/{TABLE}/records".encode())
    headers = {b"authorization": b"Bearer emulator-token", b"content-type": b"application/json"}
    answer = engine._ozari.handle(Call(method, path, query, route, headers, orjson.dumps({"fields": row})))
    assert answer.status in (200, 201), answer.body
