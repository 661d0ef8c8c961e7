"""When the log is synced: at once where somebody waits, one sync at a time, and never beside a swap of the file."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from loader.checkpoint.format import Note
from loader.checkpoint.storage import LOG
from loader.checkpoint.tools import Worker
from loader.checkpoint.writer import SYNC_SECONDS, Writer
from loader.errors import LogStorageFailed
from tests.unit.checkpoint.conftest import FakeDisk

_T = TypeVar("_T")


class Gate(Worker):
    """A worker whose work ends when it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.waiting: list[asyncio.Future[None]] = []
        self.is_gone = False

    def __call__(self, work: Callable[[], _T], /) -> Awaitable[_T]:
        if self.is_gone:
            raise RuntimeError("no thread can be had")
        self.begun += 1
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(gate)

        async def wait() -> _T:
            await gate
            return work()

        return asyncio.ensure_future(wait())

    def open(self) -> None:
        self.waiting.pop(0).set_result(None)

    def close(self) -> None:
        """Nothing is held open."""


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def writer(disk: FakeDisk, gate: Gate) -> Writer:
    return Writer(disk, disk.create(LOG), 7, 1, gate)


def note(n: int) -> Note:
    return Note(n=n, s=0, name="name", value=n)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_waits_is_told_when_what_he_wrote_is_durable_and_not_before(writer: Writer, gate: Gate) -> None:
    writer.append([note(1)])
    first = asyncio.create_task(writer.durable())
    await turns()
    writer.append([note(2)])  # while the sync runs: it may have come too late for it
    second = asyncio.create_task(writer.durable())
    await turns()
    assert gate.begun == 1
    gate.open()
    await turns()
    assert first.done()
    assert not second.done()
    assert (gate.begun, writer.synced_n) == (2, 1)
    gate.open()
    await second
    assert writer.synced_n == 2


async def test_nobody_waits_for_what_is_durable(writer: Writer, gate: Gate) -> None:
    await writer.durable()
    assert gate.begun == 0


async def test_what_nobody_waits_for_is_synced_soon(writer: Writer, gate: Gate) -> None:
    writer.append([note(1)])
    await asyncio.sleep(0)
    assert gate.begun == 0
    await asyncio.sleep(2 * SYNC_SECONDS)
    assert gate.begun == 1
    gate.open()
    await turns()
    assert writer.synced_n == 1


async def test_no_sync_begins_while_the_file_is_held(writer: Writer, gate: Gate) -> None:
    writer.append([note(1)])
    async with writer.held():
        waiting = asyncio.create_task(writer.durable())
        await asyncio.sleep(2 * SYNC_SECONDS)
        assert gate.begun == 0
        assert not waiting.done()
    assert gate.begun == 1
    gate.open()
    await waiting


async def test_who_holds_the_file_waits_for_the_sync_that_runs(writer: Writer, gate: Gate) -> None:
    writer.append([note(1)])
    waiting = asyncio.create_task(writer.durable())
    await turns()

    async def hold() -> int:
        async with writer.held():
            return writer.synced_n

    holding = asyncio.create_task(hold())
    await turns()
    assert not holding.done()
    gate.open()
    assert await holding == 1
    await waiting


async def test_what_is_called_behind_a_sync_is_called_once_for_each(writer: Writer, gate: Gate) -> None:
    seen: list[int] = []
    writer.start(lambda: seen.append(writer.synced_n))
    for n in (1, 2):
        writer.append([note(n)])
        waiting = asyncio.create_task(writer.durable())
        await turns()
        gate.open()
        await waiting
    assert seen == [1, 2]


async def test_what_goes_wrong_behind_a_sync_is_told(writer: Writer, gate: Gate) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    writer.start(fail)
    writer.append([note(1)])
    waiting = asyncio.create_task(writer.durable())
    await turns()
    gate.open()
    await waiting
    await turns()
    assert isinstance(writer.failure, ZeroDivisionError)
    assert writer.failure is not None


async def test_a_failed_sync_is_told_to_all_and_never_tried_again(writer: Writer, gate: Gate, disk: FakeDisk) -> None:
    writer.append([note(1)])
    first = asyncio.create_task(writer.durable())
    await turns()
    writer.append([note(2)])
    second = asyncio.create_task(writer.durable())
    await turns()
    disk.fail[len(disk.operations)] = errno.EIO
    gate.open()
    for waiting in (first, second):
        with pytest.raises(LogStorageFailed):
            await waiting
    await asyncio.sleep(2 * SYNC_SECONDS)
    await writer.close()
    assert (gate.begun, writer.synced_n) == (1, 0)


async def test_nobody_waits_for_ever_where_no_thread_can_be_had(writer: Writer, gate: Gate) -> None:
    gate.is_gone = True
    writer.append([note(1)])
    with pytest.raises(RuntimeError, match="no thread can be had"):
        await asyncio.wait_for(writer.durable(), 5)
    assert writer.failure is not None
    await writer.close()


async def test_closing_syncs_what_is_left_and_nothing_begins_behind_it(writer: Writer, gate: Gate) -> None:
    writer.append([note(1)])
    closing = asyncio.create_task(writer.close())
    await turns()
    assert gate.begun == 1
    gate.open()
    await closing
    assert writer.synced_n == 1
    await asyncio.sleep(2 * SYNC_SECONDS)
    assert gate.begun == 1
