"""A disk that forgets: real files in a folder, of which only what was synced is sure to survive the loss of the power.

The files are real so that every reader of a run directory works on them unchanged. A process reaches them through a
`LossyStorage` of its own: when the process dies, its descriptors are closed (which frees its lock, as the kernel would) and
nothing that it still does reaches the disk.

Every operation is counted and told to `trace`, and the process may be told to die at the n-th one: before it, after it, or
in the middle of a write.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import TypeVar

from loader.checkpoint.storage import DiskFile, DiskStorage, File
from loader.checkpoint.tools import Worker

SECTOR_BYTES = 128
"""Small, so that small logs have several."""
_T = TypeVar("_T")


class Node:
    """A file, whatever its name: what a power loss leaves for sure, and what was last read of it once its name was gone."""

    def __init__(self) -> None:
        self.durable = b""
        self.left = b""


class Disk:
    """One folder, its files, and what of it is durable."""

    def __init__(self, folder: Path, draw: Random, trace: Callable[..., None]) -> None:
        self.folder = folder
        self.trace = trace
        self.names: dict[str, Node] = {}
        self.durable_names: dict[str, Node] = {}
        self.pending: list[tuple[str, str, str, Node]] = []
        self.operations = 0
        self._draw = draw

    def content(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def look(self) -> None:
        """Take notice of files that were removed by other hands than the log's."""
        for name in [name for name in self.names if not (self.folder / name).exists()]:
            del self.names[name]
            self.durable_names.pop(name, None)

    def take_away(self, name: str) -> None:
        """Keep what a file holds before its name is given to another, or to none."""
        if name in self.names:
            self.names[name].left = self.content(name)

    def cut_power(self) -> None:
        """Lose what was not synced: names from the last one on, bytes by sector, with zeros or noise in their place."""
        draw = self._draw
        self.look()
        now = {node: self.content(name) for name, node in self.names.items()}
        names = dict(self.durable_names)
        for kind, old, new, node in self.pending[: int(draw.random() * (len(self.pending) + 1))]:
            match kind:
                case "create":
                    names[old] = node
                case "rename":
                    names.pop(old, None)
                    names[new] = node
                case _:
                    names.pop(old, None)
        for name in self.names.keys() - names.keys():
            (self.folder / name).unlink()
        for name, node in sorted(names.items()):
            data = self._after_loss(now.get(node, node.left), node.durable)
            node.durable = data
            path = self.folder / name
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(data)
        self.names, self.durable_names, self.pending = names, dict(names), []
        self.trace("power", sorted((name, self.content(name)) for name in names))

    def cut_log(self, name: str = "checkpoint.log") -> None:
        """Shorten the log anywhere behind its header, as a restored backup or a careless hand does."""
        self.look()
        if name not in self.names:
            return
        data = self.content(name)
        header = data.find(b"\n") + 1
        if header:
            left = header + int(self._draw.random() * (len(data) - header + 1))
            self.rewrite(name, data[:left])
            self.trace("cut", len(data) - left)

    def rewrite(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)
        self.names[name].durable = data

    def _after_loss(self, data: bytes, durable: bytes) -> bytes:
        """Draw what is left. Draws are shares, so that they repeat although a path or an inode is a digit longer."""
        draw = self._draw
        if not data.startswith(durable):  # a truncation that was not synced
            return draw.choice([data, durable])
        tail = data[len(durable) :]
        share = draw.choice([0.0, 1.0, draw.random()])
        lost = bytearray(tail[: int(share * len(tail))])
        if draw.random() < 0.5:
            noise = Random(draw.random())
            for start in range(0, len(lost), SECTOR_BYTES):
                if noise.random() < 0.3:
                    end = min(start + SECTOR_BYTES, len(lost))
                    lost[start:end] = noise.randbytes(end - start) if noise.random() < 0.5 else bytes(end - start)
        return durable + bytes(lost)


class LossyFile(DiskFile):
    """A file of one process."""

    def __init__(self, storage: LossyStorage, descriptor: int, node: Node, name: str) -> None:
        super().__init__(descriptor)
        self.node = node
        self._name = name
        self._storage = storage
        storage.files.append(self)

    def append(self, data: bytes | memoryview) -> int:
        with self._storage.operation("append", self._name, bytes(data)) as part:
            return super().append(data[:part] if part is not None else data)

    def sync(self) -> None:
        with self._storage.operation("sync", self._name):
            self.node.durable = self.read(0, self.size())

    def truncate(self, size: int) -> None:
        with self._storage.operation("truncate", self._name, size):
            super().truncate(size)


class LossyStorage(DiskStorage):
    """The disk as one process sees it, until that process is dead."""

    def __init__(self, disk: Disk, die: Callable[[str], None], die_at: int | None, moment: float) -> None:
        """`die_at`: the operation at which the process dies; `moment` below 0.3: before it, below 0.6: after it, else amid it."""
        super().__init__(disk.folder)
        self.disk = disk
        self.files: list[LossyFile] = []
        self.is_dead = False
        self._die = die
        self._die_at = die_at
        self._moment = moment
        self._count = 0

    def kill(self) -> None:
        """Let nothing reach the disk any more."""
        self.is_dead = True
        for file in self.files:
            DiskFile.close(file)

    def operation(self, *what: object) -> _Operation:
        self._count += 1
        return _Operation(self, what, self._moment if self._count == self._die_at else None)

    def die(self) -> None:
        self._die("disk")
        raise OSError(errno.EIO, "the process is dead")

    def create(self, name: str) -> DiskFile:
        with self.operation("create", name):
            file = super().create(name)
            node = self.disk.names[name] = Node()
            self.disk.pending.append(("create", name, "", node))
            return LossyFile(self, _moved(file), node, name)

    def open(self, name: str, *, is_writable: bool = True) -> DiskFile:
        if self.is_dead:
            raise OSError(errno.EIO, "the process is dead")
        file = super().open(name, is_writable=is_writable)
        return LossyFile(self, _moved(file), self.disk.names[name], name)

    def is_current(self, name: str, file: File) -> bool:
        if self.is_dead:
            raise OSError(errno.EIO, "the process is dead")
        return super().is_current(name, file)

    def rename(self, old: str, new: str) -> None:
        with self.operation("rename", old, new):
            self.disk.take_away(new)
            super().rename(old, new)
            self.disk.names[new] = self.disk.names.pop(old)
            self.disk.pending.append(("rename", old, new, self.disk.names[new]))

    def remove(self, name: str) -> None:
        with self.operation("remove", name):
            self.disk.take_away(name)
            super().remove(name)
            node = self.disk.names.pop(name, None)
            if node is not None:
                self.disk.pending.append(("remove", name, "", node))

    def reserve(self, name: str, size: int) -> None:
        with self.operation("reserve", name):
            super().reserve(name, 1)  # a simulated disk is never full, and a megabyte a world takes its time
            if name not in self.disk.names:
                node = self.disk.names[name] = Node()
                self.disk.pending.append(("create", name, "", node))

    def sync(self) -> None:
        with self.operation("sync names"):
            self.disk.durable_names = dict(self.disk.names)
            self.disk.pending = []


class _Operation:
    """One operation: refused by a dead process, and perhaps the last of a living one."""

    def __init__(self, storage: LossyStorage, what: tuple[object, ...], moment: float | None) -> None:
        self._storage = storage
        self._what = what
        self._moment = moment

    def __enter__(self) -> int | None:
        storage, moment = self._storage, self._moment
        if storage.is_dead:
            raise OSError(errno.EIO, "the process is dead")
        storage.disk.operations += 1
        storage.disk.trace("disk", *self._what)
        if moment is None:
            return None
        if moment < 0.3:
            storage.die()
        if moment < 0.6 or self._what[0] != "append":
            return None
        size = len(self._what[2]) if isinstance(self._what[2], bytes) else 0
        return max(1, int(size * (moment - 0.6) / 0.4))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._moment is not None and error is None:
            self._storage.die()


def _moved(file: DiskFile) -> int:
    """Take the descriptor over."""
    descriptor, file.descriptor = file.descriptor, -1
    return descriptor


class Aside(Worker):
    """The log's worker without a thread: the work is done some turns of the loop, or some time, later."""

    def __init__(self, draw: Random) -> None:
        self._draw = draw

    def __call__(self, work: Callable[[], _T], /) -> Awaitable[_T]:
        return asyncio.ensure_future(self._run(work))

    async def _run(self, work: Callable[[], _T]) -> _T:
        kind = self._draw.random()
        if kind < 0.5:
            await asyncio.sleep(0)
        elif kind < 0.95:
            await asyncio.sleep(self._draw.expovariate(2000))
        else:
            await asyncio.sleep(self._draw.random() * 0.3)  # a disk that has other things to do
        return work()

    def close(self) -> None:
        """Nothing is held."""


def descriptors() -> int:
    """Count this process's open files."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- the link of the listing's own descriptor is gone by the time a Path is made
