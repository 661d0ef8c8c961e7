"""The fault matrix: every fault x insert, update, add and look-up x a new or a reused connection x 1 or 50 records x transport.

One fault strikes one request of a load. Each cell asserts how every record ended (in the log, by line), how many requests were
sent, what the report counts, and that the target holds what that outcome says. The expected values follow from the
effect in fault_table.py alone. Records whose fate is unknown are held, but for the look-ups, which are there to settle it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest

from loader import CanbusAdd, OzariInsert, OzariUpdate, Rate, Report
from loader.emulator import Emulator, running
from loader.reconcile import comparing
from loader.reconcile import reconciler as reconcile
from loader.transport import lean
from loader.transport import pool as connector
from tests.emulated.fault_table import FAULTS, OPERATIONS, Again, Done, Doubt, Effect, Fault, Operation, Refused, Stops
from tests.emulated.loading import (
    APP,
    INSERT,
    TABLE,
    ambiguous_of,
    facts,
    ids_of,
    plan_of,
    records_of,
    rejects_of,
    run,
    write,
)
from tests.emulated.raw_server import Line, Script, serve

MANY = 50
CONNECTIONS = ("new", "reused")
TRANSPORTS: tuple[Literal["session", "lean"], ...] = ("session", "lean")
SAMPLE = 7
"""Every so manieth cell runs by default: a prime, so that all columns take their turns."""
SLOW_SAMPLE = 29


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    fault: Fault
    operation: Operation
    connection: str
    count: int
    transport: Literal["session", "lean"]

    @property
    def effect(self) -> Effect:
        return self.fault.effect_on(self.operation)

    @property
    def struck(self) -> int:
        """Return how many requests of the operation pass before the one that is struck."""
        return self.count // 2 if self.operation in ("insert", "update") else 0

    @property
    def rule(self) -> dict[str, Any]:
        return {**self.fault.rule, "operations": [self.operation], "after": self.struck, "times": 1}

    def __str__(self) -> str:
        return f"{self.fault.name}-{self.operation}-{self.connection}-{self.count}-{self.transport}"


def all_cells() -> list[Cell]:
    cells = itertools.starmap(Cell, itertools.product(FAULTS, OPERATIONS, CONNECTIONS, (1, MANY), TRANSPORTS))
    return [
        cell
        for cell in cells
        if cell.operation in cell.fault.operations and not (cell.fault.needs_others and cell.count == 1)
    ]


def sampled() -> list[Any]:
    """Mark what is left to the soak."""
    quick = [cell for cell in all_cells() if not cell.fault.is_slow]
    slow = [cell for cell in all_cells() if cell.fault.is_slow]
    chosen = {str(cell) for cell in (*quick[::SAMPLE], *slow[::SLOW_SAMPLE])}
    return [
        pytest.param(cell, id=str(cell), marks=() if str(cell) in chosen else pytest.mark.soak) for cell in quick + slow
    ]


def options_of(cell: Cell, url: str) -> dict[str, Any]:
    return {
        "rate": Rate(1000.0),
        "base_url": url,
        "concurrency": 1,
        "max_records": MANY,
        "transport": cell.transport,
        "ambiguous": None if cell.operation == "query" else "hold",
        "timeout_seconds": 2.0 if cell.fault.is_slow else 20.0,
        "settle_seconds": 0.1,
    }


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "ASK_AGAIN_SECONDS", 0.1)


def new_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no connection be used twice: the session's way where its hook is missing, the lean one's where all are too old."""
    monkeypatch.setattr(connector, "HAS_REUSE_HOOK", False)
    monkeypatch.setattr(lean, "KEEPALIVE_SECONDS", -1.0)


QUESTIONS_OF_A_PROOF = 1
"""By key, about the record that was created first."""


# --- a load with one fault ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("cell", sampled())
async def test_cell(cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if cell.connection == "new":
        new_connections(monkeypatch)
    with running(plan_of()) as emulator:
        if cell.operation == "query":
            await look_up(cell, emulator, tmp_path)
            return
        if cell.operation == "update":
            await run(emulator, INSERT, write(tmp_path / "rows", records_of(cell.count)), tmp_path / "rows.run")
        if cell.fault.script is None:
            emulator.set_faults(*plan_of(cell.rule).faults)
            before = emulator.journal.requests
            report = await load_cell(cell, emulator, tmp_path, emulator.base_url)
            unread = report.requests - (emulator.journal.requests - before)
            assert unread in ((0, 1) if cell.fault.is_stray else (0,))
        else:
            async with proxy(cell, emulator) as url:
                report = await load_cell(cell, emulator, tmp_path, url)
        await settled(emulator)
        judge(cell, emulator, tmp_path / "run", report)


async def load_cell(cell: Cell, emulator: Emulator, folder: Path, url: str) -> Report:
    targets: dict[str, OzariInsert | OzariUpdate | CanbusAdd] = {
        "insert": INSERT,
        "update": OzariUpdate(TABLE, match=("fcode",)),
        "add": CanbusAdd("loader"),
    }
    records = records_of(cell.count, "Code" if cell.operation == "add" else "fcode")
    if cell.operation == "update":
        records = [record | {"name": f"new {number}", "step": number} for number, record in enumerate(records, 1)]
    source = write(folder / "source", records)
    return await run(emulator, targets[cell.operation], source, folder / "run", **options_of(cell, url))


async def settled(emulator: Emulator) -> None:
    """Wait until every request stands in the journal and nothing is to be written any more for one whose client has gone."""
    for _ in range(1000):
        # One that is still being delayed is counted already, though the emulator may not know yet that its client has gone.
        if not emulator.pending_commits and len(list(emulator.journal)) >= emulator.journal.requests:
            break
        await asyncio.sleep(0.01)
    # A commit is taken off the list before it is done: let the emulator's own loop turn once more.
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), emulator.loop))


@dataclass(frozen=True)
class Expected:
    """How a cell must end. Lines are those of the source; `requests` are those of the cell's operation."""

    requests: int
    good: frozenset[int]
    without_id: frozenset[int] = frozenset()
    rejected: tuple[tuple[int, str], ...] = ()
    ambiguous: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()
    reason: str | None = None


def expectation(cell: Cell) -> Expected:
    """Derive the end from the effect. One struck request is one line, or all of them where they share one request."""
    every = frozenset(range(1, cell.count + 1))
    is_shared = cell.operation == "add"
    hit = every if is_shared else frozenset({cell.struck + 1})
    requests = 1 if is_shared else cell.count
    match cell.effect:
        case Done(has_id):
            return Expected(requests, every, without_id=frozenset() if has_id else hit, held=every)
        case Doubt(is_applied):
            return Expected(requests, every - hit, ambiguous=hit, held=every if is_applied else every - hit)
        case Again():
            return Expected(requests + 1, every, held=every)
        case Refused() if len(hit) > 1:
            return Expected(requests + 2, every, held=every)  # halved; the halves meet no fault
        case Refused(code):
            return Expected(requests, every - hit, rejected=tuple((line, code) for line in hit), held=every - hit)
        case Stops(reason, is_doubtful):
            before = frozenset() if is_shared else frozenset(range(1, cell.struck + 1))
            is_applied = cell.fault.rule.get("commit") == "before"
            held = before | (hit if is_applied else frozenset())
            doubtful = hit if is_doubtful else frozenset()
            return Expected(1 if is_shared else cell.struck + 1, before, ambiguous=doubtful, held=held, reason=reason)


def held_lines(cell: Cell, emulator: Emulator) -> list[int]:
    """Return the lines that the target holds, each as often as it holds it."""
    if cell.operation == "update":
        return sorted(
            int(row["name"].removeprefix("new ")) for row in emulator.rows(TABLE) if row["name"].startswith("new ")
        )
    name = "Code" if cell.operation == "add" else "fcode"
    return sorted(int(row[name][1:]) for row in emulator.rows(APP if cell.operation == "add" else TABLE))


def judge(cell: Cell, emulator: Emulator, directory: Path, report: Report) -> None:
    expected = expectation(cell)
    crossed = frozenset(ambiguous_of(directory)) - expected.ambiguous
    if cell.fault.is_stray and len(crossed) == 1 and min(crossed) > cell.struck + 1:
        held = expected.held - (crossed - frozenset(held_lines(cell, emulator)))
        requests = len(facts(emulator, cell.operation))
        expected = Expected(requests, expected.good - crossed, ambiguous=expected.ambiguous | crossed, held=held)
    assert (report.state, report.reason) == (("stopped", expected.reason) if expected.reason else ("finished", None))
    if cell.fault.script is None:
        assert len(facts(emulator, cell.operation)) - is_late(cell) == expected.requests
    # How every record ended, as the log has it.
    given = {line: record_id for (_, line), record_id in ids_of(directory).items()}
    if cell.operation == "update":
        assert given == {}
        assert report.updated == len(expected.good)
    else:
        assert given.keys() == expected.good
        assert {line for line, record_id in given.items() if record_id is None} == expected.without_id
        assert (report.created, report.ids_unknown) == (len(expected.good), len(expected.without_id))
    assert rejects_of(directory) == dict(expected.rejected)
    assert report.rejected == len(expected.rejected)
    assert set(ambiguous_of(directory)) == expected.ambiguous
    if expected.reason is None:
        assert report.ambiguous == len(expected.ambiguous)
        assert report.lines == cell.count
    assert report.exit_code == (4 if expected.reason else 3 if expected.rejected or expected.ambiguous else 0)
    assert (report.throttled > 0) == (cell.fault.rule.get("status") == 429 or "503 with" in cell.fault.name)
    # What the target holds is what was said of it: nothing lost, nothing doubled, each id its own line's.
    assert held_lines(cell, emulator) == sorted(expected.held)
    rows = {row["_id"]: row["Code"] for row in emulator.rows(APP)} if cell.operation == "add" else {}
    rows |= {row["fid"]: row.get("fcode") for row in emulator.rows(TABLE)} if cell.operation == "insert" else {}
    assert {line: rows[found] for line, found in given.items() if found is not None} == {
        line: f"K{line}" for line, found in given.items() if found is not None
    }


def is_late(cell: Cell) -> int:
    """A late commit stands in the journal as a second fact of one request."""
    return cell.fault.rule.get("kind") == "late_commit"


# --- look-ups -----------------------------------------------------------------------------------------------------------


async def look_up(cell: Cell, emulator: Emulator, folder: Path) -> None:
    """Lose the answers of so many inserts, every second one, and let the fault strike the first question about them."""
    step = 1 if cell.count == 1 else 2
    total = cell.count * step
    lost = {"kind": "close", "operations": ["insert"], "every": step, "times": cell.count}
    # Not the question about the endpoint itself, nor that by which a created record proves the key.
    first = {"after": 1} if cell.count == 1 else {"after": 0, "body_contains": f'"K{step}"'}
    if cell.count > 1 and cell.fault.rule.get("when") == "headers":  # such a fault comes before the body was read
        first = {"after": QUESTIONS_OF_A_PROOF + 1}
    emulator.set_faults(*plan_of(lost, cell.rule | first).faults)
    source = write(folder / "source", records_of(total))
    target = OzariInsert(TABLE, key="fcode")
    with mock.patch.object(comparing, "FIRST_RECORDS", 0):  # reading the first ones back is a question of its own
        report = await run(emulator, target, source, folder / "run", **options_of(cell, emulator.base_url))
    await settled(emulator)
    questions = len(facts(emulator, "query")) - is_late(cell)
    directory = folder / "run"
    assert report.requests - emulator.journal.requests in ((0, 1) if cell.fault.is_stray else (0,))
    assert len(facts(emulator, "insert")) <= total  # nothing was sent twice
    assert len({row["fcode"] for row in emulator.rows(TABLE)}) == len(emulator.rows(TABLE))
    match cell.effect:
        case Stops(reason):
            assert (report.state, report.reason, report.exit_code) == ("stopped", reason, 4)
            assert len(ambiguous_of(directory)) >= 1
            assert set(ids_of(directory).values()) <= {row["fid"] for row in emulator.rows(TABLE)}
            return
        case Refused():
            assert report.ambiguous >= 1
            assert report.created + report.ambiguous == total
            assert len(ambiguous_of(directory)) == report.ambiguous
        case _:
            assert (report.state, report.created, report.ambiguous, report.rejected) == ("finished", total, 0, 0)
            assert report.exit_code == 0
    assert len(emulator.rows(TABLE)) == len(facts(emulator, "insert")) == total
    names = {row["fid"]: row["fcode"] for row in emulator.rows(TABLE)}
    assert {names[found] for found in ids_of(directory).values()} == {f"K{line}" for _, line in ids_of(directory)}
    assert all(names[found] == f"K{line}" for (_, line), found in ids_of(directory).items())
    if cell.count == 1:
        # About the endpoint, about the record, and once more where no answer was learnt.
        assert questions == (3 if isinstance(cell.effect, Doubt | Again) else 2)


# --- what the emulator cannot do: a raw proxy in front of it ----------------------------------------------------------------

LONG_HEADER = b"HTTP/1.1 201 Created\r\nX: " + b"y" * 20_000 + b"\r\n\r\n"
MANY_HEADERS = b"HTTP/1.1 201 Created\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n"
MARKS = {"insert": b"POST /integration/", "update": b"PATCH /integration/", "add": b"POST /api/"}


@contextlib.asynccontextmanager
async def proxy(cell: Cell, emulator: Emulator) -> AsyncIterator[str]:
    """Pass requests on to the emulator, but for the one that the script strikes."""
    seen = itertools.count()

    async def passed_on(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
        try:
            writer.write(data.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            answer = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
        return answer.replace(b"\r\nConnection: close", b"")

    async def script(line: Line) -> None:
        while True:
            head = await line.head()
            lengths = [value for value in head.lower().split(b"\r\n") if value.startswith(b"content-length:")]
            size = int(lengths[0].partition(b":")[2]) if lengths else 0
            is_struck = head.startswith(MARKS[cell.operation]) and next(seen) == cell.struck
            if not is_struck:
                await line.send(await passed_on(head + await line.reader.readexactly(size)))
                continue
            await SCRIPTS[cell.fault.script or ""](line, head, size, passed_on)
            return

    forward: Script = script
    async with serve(forward) as server:
        yield server.url


async def half_close(line: Line, head: bytes, size: int, passed_on: Any) -> None:
    line.writer.write_eof()
    await passed_on(head + await line.reader.readexactly(size))


def says(change: Callable[[bytes], bytes]) -> Callable[..., Awaitable[None]]:
    """Commit, and send something else than the answer."""

    async def script(line: Line, head: bytes, size: int, passed_on: Any) -> None:
        await line.send(change(await passed_on(head + await line.reader.readexactly(size))))

    return script


async def reset_in_head(line: Line, head: bytes, size: int, passed_on: Any) -> None:
    line.reset()


SCRIPTS: dict[str, Callable[..., Awaitable[None]]] = {
    "half close, then commit": half_close,
    "a long header": says(lambda _: LONG_HEADER),
    "many headers": says(lambda _: MANY_HEADERS),
    "junk behind the answer": says(lambda answer: answer + b"junk\r\n\r\n"),
    "reset in the head": reset_in_head,
    "interim answer first": says(lambda answer: b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer),
    "two answers in one segment": says(lambda answer: answer + answer),
}


def test_the_matrix_is_as_large_as_it_says() -> None:
    assert len(FAULTS) >= 40
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len({str(cell) for cell in all_cells()}) == len(all_cells()) >= 480
    for operation, connection, count, transport in itertools.product(OPERATIONS, CONNECTIONS, (1, MANY), TRANSPORTS):
        column = (operation, connection, count, transport)
        faults = [
            cell for cell in all_cells() if (cell.operation, cell.connection, cell.count, cell.transport) == column
        ]
        assert len(faults) >= 40, column
