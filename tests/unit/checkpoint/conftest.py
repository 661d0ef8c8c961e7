"""A disk that forgets: what was written is there until the power goes; what was synced is there afterwards.

Every operation is counted, so that a test can let the disk refuse the n-th one, or stop the process there: from then on
nothing reaches the disk, which is all that a crash means to it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from loader.checkpoint import Sizes, Tools
from loader.checkpoint.tools import Worker

SECTOR = 64  # small, so that small logs have several
_T = TypeVar("_T")


class Node:
    """A file: what can be read now, and what would be left after a power loss."""

    def __init__(self) -> None:
        self.data = b""
        self.durable = b""
        self.owner: object = None


class FakeFile:
    def __init__(self, disk: FakeDisk, node: Node) -> None:
        self.disk = disk
        self.node = node
        self.life = disk.life

    def size(self) -> int:
        return len(self.node.data)

    def read(self, offset: int, size: int) -> bytes:
        return self.node.data[offset : offset + size]

    def append(self, data: bytes | memoryview) -> int:
        self.disk.operate("append")
        self.check()
        count = len(data) if self.disk.short_writes is None else self.disk.short_writes.randint(1, len(data))
        room = self.disk.room()
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = min(count, room)
        self.node.data += bytes(data[:count])
        return count

    def check(self) -> None:
        """The descriptors of a dead process write nothing."""
        if self.life != self.disk.life:
            raise OSError(errno.EBADF, "the process that held this is dead")

    def sync(self) -> None:
        self.disk.operate("sync")
        self.check()
        self.node.durable = self.node.data

    def truncate(self, size: int) -> None:
        self.disk.operate("truncate")
        self.check()
        self.node.data = self.node.data[:size]

    def lock(self) -> bool:
        if self.node.owner not in (None, self):
            return False
        self.node.owner = self
        return True

    def close(self) -> None:
        if self.node.owner is self:
            self.node.owner = None


class FakeDisk:
    """One directory. `stop_at`: the number of the operation from which on nothing reaches the disk any more."""

    def __init__(self) -> None:
        self.names: dict[str, Node] = {}
        self.durable_names: dict[str, Node] = {}
        self.pending: list[tuple[str, str, str]] = []
        self.operations: list[str] = []
        self.stop_at: int | None = None
        self.fail: dict[int, int] = {}
        self.capacity: int | None = None
        self.reserved = 0
        self.short_writes: random.Random | None = None
        self.life = 0

    def operate(self, name: str) -> None:
        at = len(self.operations)
        self.operations.append(name)
        if self.stop_at is not None and at >= self.stop_at:
            raise OSError(errno.EIO, "the machine has stopped")
        if at in self.fail:
            raise OSError(self.fail[at], os.strerror(self.fail[at]))

    def room(self) -> int:
        if self.capacity is None:
            return 2**40
        return self.capacity - self.reserved - sum(len(node.data) for node in self.names.values())

    def create(self, name: str) -> FakeFile:
        self.operate("create")
        if name in self.names:
            raise FileExistsError(name)
        self.names[name] = Node()
        self.pending.append(("create", name, ""))
        return FakeFile(self, self.names[name])

    def open(self, name: str, *, is_writable: bool = True) -> FakeFile:
        del is_writable
        if name not in self.names:
            raise FileNotFoundError(name)
        return FakeFile(self, self.names[name])

    def is_current(self, name: str, file: Any) -> bool:
        return self.names.get(name) is file.node

    def rename(self, old: str, new: str) -> None:
        self.operate("rename")
        self.names[new] = self.names.pop(old)
        self.pending.append(("rename", old, new))

    def remove(self, name: str) -> None:
        self.operate("remove")
        if self.names.pop(name, None):
            self.pending.append(("remove", name, ""))
        if name == "checkpoint.ballast":
            self.reserved = 0

    def reserve(self, name: str, size: int) -> None:
        self.operate("reserve")
        self.names.setdefault(name, Node())
        self.reserved = size if self.capacity is None else min(size, self.capacity // 4)

    def sync(self) -> None:
        self.operate("sync names")
        self.durable_names = dict(self.names)
        self.pending = []

    # --- the end of the process, and of the power -----------------------------------------------------------------------

    def kill(self) -> None:
        """The process is dead: locks are free, everything written can be read."""
        for node in self.names.values():
            node.owner = None
        self.stop_at, self.fail = None, {}
        self.operations = []
        self.life += 1

    def cut_power(self, draw: random.Random) -> None:
        """The machine is dead: what was not synced is there or not, by sector, with zeros or noise in its place."""
        names = dict(self.durable_names)
        created = {name: node for name, node in self.names.items() if name not in names}
        for kind, old, new in self.pending[: draw.randint(0, len(self.pending))]:
            if kind == "create" and old in created:
                names[old] = created[old]
            elif kind == "rename" and old in names:
                names[new] = names.pop(old)
            elif kind == "rename" and self.names.get(new) is not None:
                names[new] = self.names[new]
            elif kind == "remove":
                names.pop(old, None)
        for node in set(names.values()) | set(self.names.values()):
            node.data = node.durable = self._after_loss(node, draw)
        self.names, self.durable_names, self.pending = names, dict(names), []
        self.kill()

    @staticmethod
    def _after_loss(node: Node, draw: random.Random) -> bytes:
        if not node.data.startswith(node.durable):  # a truncation that was not synced
            return draw.choice([node.data, node.durable])
        size = len(node.durable)
        length = draw.choice([size, len(node.data), draw.randint(size, len(node.data))])
        data = bytearray(node.data[:length])
        if draw.random() < 0.5:
            for at in range(size - size % SECTOR, length, SECTOR):
                if draw.random() < 0.3:
                    start, end = max(at, size), min(at + SECTOR, length)
                    noise = draw.randbytes(end - start) if draw.random() < 0.5 else bytes(end - start)
                    data[start:end] = noise
        return bytes(data)


class Inline(Worker):
    """A worker without threads, so that operations have one order."""

    def __call__(self, work: Callable[[], _T], /) -> Awaitable[_T]:
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - whatever the work raises belongs to who waits for it
            future.set_exception(error)
        return future

    def close(self) -> None:
        pass


class Later(Inline):
    """A worker that takes its time: the work is done a few turns of the loop later, as in a thread, but in one order."""

    def __call__(self, work: Callable[[], _T], /) -> Awaitable[_T]:
        async def wait() -> _T:
            for _ in range(5):
                await asyncio.sleep(0)
            return await Inline.__call__(self, work)

        return asyncio.ensure_future(wait())


SMALL = Sizes(fold_lines=8, amended_lines=2, snapshot_bytes=400, rotate_bytes=4000, close_bytes=1500)


@pytest.fixture
def disk() -> FakeDisk:
    return FakeDisk()


@pytest.fixture
def slow_tools(tools: Tools) -> Tools:
    """The same, with other work going on while a worker works."""
    return replace(tools, new_worker=Later)


@pytest.fixture
def tools(disk: FakeDisk) -> Tools:
    """Everything small, and nothing real."""
    return Tools(storage=disk, clock=lambda: "2025-01-01T00:00:00+00:00", new_worker=Inline, sizes=SMALL)
