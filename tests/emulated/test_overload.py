"""A target that cannot, for a while or for good: the run pauses, does not flood, goes on by itself, and gives up resumable.

An outage begins when some records have gone through and ends after a second or two. What was requested meanwhile is counted: it
may be what was in flight, the faults that open the breaker, and a harmless question now and then, never a flood. At the end
every record must be there once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loader import CanbusAdd, OzariInsert, OzariUpdate, Rate, Report
from loader.delivery import breaker
from loader.emulator import Emulator
from loader.emulator.emulator import EmulatorThread
from loader.reconcile import reconciler as reconcile
from tests.emulated.loading import (
    INSERT,
    TABLE,
    UNIQUE,
    ambiguous_of,
    audit,
    closes,
    facts,
    keyed,
    plan_of,
    records_of,
    rejects_of,
    run,
    write,
)

CONCURRENCY = 8
COUNT = 600
OUTAGE_SECONDS = 1.5
MAX_ASKED = 2 * CONCURRENCY + breaker.FAULTS_TO_OPEN + 20
"""What was in flight, once more what failed beside it, and questions; at the rate of the load an outage would bring 1,500."""
BASE_LATENCY = {"kind": "latency", "milliseconds": 3}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_PROBE_SECONDS", 0.2)
    monkeypatch.setattr(breaker, "MAX_PROBE_SECONDS", 0.4)
    monkeypatch.setattr(reconcile, "ASK_AGAIN_SECONDS", 0.3)


@dataclass(frozen=True)
class Load:
    """One kind of load, with what lets its doubts be settled."""

    target: OzariInsert | OzariUpdate | CanbusAdd
    field: str
    operation: str
    count: int


LOADS = {
    "insert": Load(OzariInsert(TABLE, stamp="fstamp"), "fcode", "insert", COUNT),
    "update": Load(OzariUpdate(TABLE, match=("fcode",)), "fcode", "update", COUNT),
    "add": Load(CanbusAdd("loader", stamp="Stamp", is_unique=True), "Code", "add", 2 * COUNT),
}
OUTAGES: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429},
    "429, come in a second": {"kind": "status", "status": 429, "retry_after": "1"},
    "503": {"kind": "status", "status": 503, "content": "html"},
    "503, come in a second": {"kind": "status", "status": 503, "retry_after": "1"},
    "500 after the commit": {"kind": "status", "status": 500, "commit": "before"},
    "closes": {"kind": "close", "when": "before"},
    "never answers": {"kind": "hang", "when": "before"},
}
OPTIONS: dict[str, Any] = {
    "rate": Rate(1000.0), "concurrency": CONCURRENCY, "max_records": 4, "settle_seconds": 0.2, "timeout_seconds": 1.0,
}  # fmt: skip


def source_of(load: Load, folder: Path) -> Path:
    records = records_of(load.count, load.field)
    if load.operation == "update":
        records = [record | {"name": f"new {number}"} for number, record in enumerate(records, 1)]
    return write(folder / "source", records)


async def prepare(load: Load, emulator: Emulator, folder: Path) -> Path:
    """Write the source; for updates, the rows that they change."""
    if load.operation == "update":
        rows = write(folder / "rows", records_of(load.count))
        await run(emulator, INSERT, rows, folder / "rows.run")
    return source_of(load, folder)


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def check_all_there(load: Load, emulator: Emulator, folder: Path, report: Report) -> None:
    """Nothing lost, nothing doubled, nothing left over."""
    assert closes(report)
    assert (report.created + report.updated, report.rejected, report.ambiguous) == (load.count, 0, 0)
    assert report.exit_code == 0
    if load.operation == "update":
        held = {row["fcode"]: row["name"] for row in emulator.rows(TABLE)}
        assert held == {f"K{number}": f"new {number}" for number in range(1, load.count + 1)}
    else:
        assert audit(emulator, folder / "run", keyed(load.count), load.field) == []


# --- an outage that passes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize(
    "name", ["insert", pytest.param("update", marks=pytest.mark.soak), pytest.param("add", marks=pytest.mark.soak)]
)
async def test_an_outage_is_waited_for(tmp_path: Path, name: str, outage: str) -> None:
    load = LOADS[name]
    with EmulatorThread(Emulator(plan_of(canbus=UNIQUE))) as emulator:
        source = await prepare(load, emulator, tmp_path)
        emulator.set_faults(*plan_of(BASE_LATENCY).faults)
        task = asyncio.create_task(run(emulator, load.target, source, tmp_path / "run", **OPTIONS))
        await until(lambda: len(facts(emulator, load.operation)) >= 60)
        emulator.set_faults(*plan_of(OUTAGES[outage]).faults)
        before = emulator.journal.requests
        await asyncio.sleep(OUTAGE_SECONDS)
        asked = emulator.journal.requests - before
        assert not task.done()
        emulator.set_faults(*plan_of(BASE_LATENCY).faults)
        report = await task
        assert 1 <= asked <= MAX_ASKED
        check_all_there(load, emulator, tmp_path, report)


@pytest.mark.parametrize("name", ["insert", pytest.param("add", marks=pytest.mark.soak)])
async def test_a_target_that_is_down_is_waited_for(tmp_path: Path, name: str) -> None:
    load = LOADS[name]
    with running_thread() as (emulator, thread):
        source = await prepare(load, emulator, tmp_path)
        emulator.set_faults(*plan_of(BASE_LATENCY).faults)
        task = asyncio.create_task(run(emulator, load.target, source, tmp_path / "run", **OPTIONS))
        await until(lambda: len(facts(emulator, load.operation)) >= 60)
        await asyncio.to_thread(thread.pause)
        await asyncio.sleep(OUTAGE_SECONDS)
        assert not task.done()
        await asyncio.to_thread(thread.resume)
        report = await task
        # What was tried against the closed port stands in the report alone.
        assert report.requests - emulator.journal.requests <= MAX_ASKED
        check_all_there(load, emulator, tmp_path, report)


class Names:
    """The machine's name look-ups: those of one name can be made to fail, and are counted meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.is_down = False
        self.failed = 0
        look_up = socket.getaddrinfo

        def answer(host: Any, *arguments: Any, **named: Any) -> Any:
            if self.is_down and host == name:
                self.failed += 1
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return look_up(host, *arguments, **named)

        monkeypatch.setattr(socket, "getaddrinfo", answer)


NAME_KEPT_SECONDS = 10.0
"""aiohttp asks for a name again after so long."""


@pytest.mark.parametrize("begins", ["at the preflight", pytest.param("in the middle", marks=pytest.mark.soak)])
async def test_a_name_that_is_found_no_more_is_waited_for(
    tmp_path: Path, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = LOADS["insert"]
    names = Names(monkeypatch, "localhost")
    with running_thread() as (emulator, thread):
        source = source_of(load, tmp_path)
        names.is_down = begins == "at the preflight"
        rate = Rate(1000.0 if names.is_down else 40.0)  # a load that is still going when the name is asked for again
        options = OPTIONS | {"base_url": emulator.base_url.replace("127.0.0.1", "localhost"), "rate": rate}
        task = asyncio.create_task(run(emulator, load.target, source, tmp_path / "run", **options))
        if begins == "in the middle":
            await until(lambda: len(facts(emulator, "insert")) >= 60)
            names.is_down = True
            await asyncio.sleep(NAME_KEPT_SECONDS)
            await asyncio.to_thread(thread.pause)  # connections that are open need no name
            await asyncio.to_thread(thread.resume)
        await until(lambda: names.failed >= 2)
        before = emulator.journal.requests
        await asyncio.sleep(OUTAGE_SECONDS)
        assert not task.done()
        assert emulator.journal.requests == before
        assert names.failed <= MAX_ASKED
        names.is_down = False
        check_all_there(load, emulator, tmp_path, await task)


async def test_a_name_that_stays_unknown_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = LOADS["insert"]
    names = Names(monkeypatch, "localhost")
    with EmulatorThread(Emulator(plan_of())) as emulator:
        source = source_of(load, tmp_path)
        options = OPTIONS | {"base_url": emulator.base_url.replace("127.0.0.1", "localhost")}
        names.is_down = True
        stopped = await run(emulator, load.target, source, tmp_path / "run", **options, patience_seconds=1.0)
        assert (stopped.state, stopped.reason, stopped.exit_code) == ("stopped", "patience", 4)
        assert (emulator.journal.requests, names.failed <= MAX_ASKED) == (0, True)
        names.is_down = False
        report = await run(emulator, load.target, source, tmp_path / "run", **options)
        check_all_there(load, emulator, tmp_path, report)


class running_thread:  # noqa: N801 -- a context manager, used like a function
    def __enter__(self) -> tuple[Emulator, EmulatorThread]:
        self._thread = EmulatorThread(Emulator(plan_of(canbus=UNIQUE)))
        return self._thread.start(), self._thread

    def __exit__(self, *_: object) -> None:
        self._thread.stop()


@pytest.mark.parametrize("rate", [Rate(1000.0), Rate()], ids=["fixed", "auto"])
async def test_a_target_that_slows_down_a_hundredfold_is_not_pressed(tmp_path: Path, rate: Rate) -> None:
    load = LOADS["insert"]
    options = OPTIONS | {"rate": rate, "timeout_seconds": 20.0}
    with EmulatorThread(Emulator(plan_of())) as emulator:
        source = source_of(load, tmp_path)
        emulator.set_faults(*plan_of(BASE_LATENCY).faults)
        task = asyncio.create_task(run(emulator, load.target, source, tmp_path / "run", **options))
        await until(lambda: len(facts(emulator, "insert")) >= 30)
        emulator.set_faults(*plan_of({**BASE_LATENCY, "milliseconds": 300}).faults)
        before = emulator.journal.requests
        await asyncio.sleep(OUTAGE_SECONDS)
        # Never more at once than the concurrency, so that many every 300 ms.
        assert emulator.journal.requests - before <= CONCURRENCY * (OUTAGE_SECONDS / 0.3 + 2)
        emulator.set_faults(*plan_of(BASE_LATENCY).faults)
        report = await task
        assert report.retries == 0
        check_all_there(load, emulator, tmp_path, report)


# --- an outage that does not --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize(
    "begins", ["in the middle", pytest.param("at the first record", marks=pytest.mark.soak), "at the preflight"]
)
async def test_the_run_gives_up_after_its_patience_and_is_resumed(tmp_path: Path, begins: str, outage: str) -> None:
    load = LOADS["insert"]
    options = OPTIONS | {"patience_seconds": 1.0, "timeout_seconds": 0.5}
    with EmulatorThread(Emulator(plan_of())) as emulator:
        source = source_of(load, tmp_path)
        rule = (
            OUTAGES[outage] if begins == "at the preflight" else OUTAGES[outage] | {"operations": ["insert", "query"]}
        )
        after = {"in the middle": 60, "at the first record": 1, "at the preflight": 0}[begins]
        emulator.set_faults(*plan_of({**rule, "after": after}, BASE_LATENCY).faults)
        stopped = await run(emulator, load.target, source, tmp_path / "run", **options)
        assert (stopped.state, stopped.reason, stopped.exit_code) == ("stopped", "patience", 4)
        assert emulator.journal.requests <= after + 2 * MAX_ASKED
        if begins == "at the preflight":
            assert facts(emulator, "insert") == []
        emulator.set_faults()
        report = await run(emulator, load.target, source, tmp_path / "run", **OPTIONS)
        check_all_there(load, emulator, tmp_path, report)


async def test_a_target_that_stays_down_is_given_up(tmp_path: Path) -> None:
    load = LOADS["insert"]
    options = OPTIONS | {"patience_seconds": 1.0}
    with running_thread() as (emulator, thread):
        source = source_of(load, tmp_path)
        emulator.set_faults(*plan_of(BASE_LATENCY).faults)
        task = asyncio.create_task(run(emulator, load.target, source, tmp_path / "run", **options))
        await until(lambda: len(facts(emulator, "insert")) >= 60)
        await asyncio.to_thread(thread.pause)
        stopped = await task
        assert (stopped.state, stopped.reason, stopped.exit_code) == ("stopped", "patience", 4)
        again = await run(emulator, load.target, source, tmp_path / "run", **options)  # at the preflight now
        assert (again.state, again.reason, again.requests <= MAX_ASKED) == ("stopped", "patience", True)
        await asyncio.to_thread(thread.resume)
        report = await run(emulator, load.target, source, tmp_path / "run", **OPTIONS)
        check_all_there(load, emulator, tmp_path, report)


async def test_questions_that_nobody_answers_end_with_the_patience(tmp_path: Path) -> None:
    """A look-up that answers with a page says nothing: the last doubts of a run must not hold it for ever."""
    page = {"kind": "status", "status": 200, "content": "html", "operations": ["query"], "after": 2}
    load = LOADS["insert"]
    # Near the end: what is still to be sent must be through before the patience with the questions is over.
    lost = {"kind": "close", "when": "after", "operations": ["insert"], "after": load.count - 10, "times": 1}
    with EmulatorThread(Emulator(plan_of(page, lost))) as emulator:
        source = source_of(load, tmp_path)
        report = await run(emulator, load.target, source, tmp_path / "run", **OPTIONS, patience_seconds=1.0)
        assert (report.state, report.reason, report.created) == ("stopped", "patience", load.count - 1)
        emulator.set_faults()
        check_all_there(load, emulator, tmp_path, await run(emulator, load.target, source, tmp_path / "run", **OPTIONS))


# --- one bad record in fifty --------------------------------------------------------------------------------------------

BAD = range(25, 200, 50)


def with_bad(load: Load, folder: Path, count: int, bad: range) -> Path:
    records = records_of(count, load.field)
    for number in bad:
        records[number - 1]["note"] = "makes the target fail"
    return write(folder / "source", records)


@pytest.mark.parametrize("name", ["insert", "update", "add"])
async def test_a_record_that_always_fails_stops_no_others(tmp_path: Path, name: str) -> None:
    """A stamp proves it absent each time: rejected. Where the sending is the question nothing is proved: ambiguous."""
    load = LOADS[name]
    fault = {"kind": "status", "status": 500, "operations": [load.operation], "body_contains": "makes the target fail"}
    options = OPTIONS | {"max_records": 50, "rate": Rate(300.0) if name != "add" else Rate(50.0)}
    with EmulatorThread(Emulator(plan_of(canbus=UNIQUE))) as emulator:
        if name == "update":
            await run(emulator, INSERT, write(tmp_path / "rows", records_of(200)), tmp_path / "rows.run")
        emulator.set_faults(*plan_of(fault).faults)
        source = with_bad(load, tmp_path, 200, BAD)
        report = await run(emulator, load.target, source, tmp_path / "run", **options, patience_seconds=20.0)
        assert closes(report)
        assert report.created + report.updated == 200 - len(BAD)
        if name == "insert":
            assert rejects_of(tmp_path / "run") == dict.fromkeys(BAD, "500")
            assert ambiguous_of(tmp_path / "run") == []
        else:
            assert (rejects_of(tmp_path / "run"), ambiguous_of(tmp_path / "run")) == ({}, list(BAD))
        good = {line: value for line, value in keyed(200).items() if line not in BAD}
        if name != "update":
            assert audit(emulator, tmp_path / "run", good, load.field) == []
        # Three failures each, and the questions about them; the chunks of Canbus are cut down step by step.
        assert len(facts(emulator, load.operation)) <= {"insert": 200 + 2 * len(BAD), "update": 220, "add": 100}[name]
