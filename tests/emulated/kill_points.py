"""Runs the real command in processes that die at a point that is named in advance: a fork server for the crash tests.

A point stands before and after each call with which the command changes its run directory (open, write, sync, truncate, rename,
remove, reserve) and each request that it sends; `is_torn` lets half of a write happen. They are counted from the process's start,
so that one number names a moment. Nothing in the product knows of this: the calls of `os` and the transport are wrapped here, in
the child.

Each child also notes, in a file outside of the run directory, how much of each file a sync has made durable, and which names a
sync of the directory has: what is not among them a power loss may take (`nursery.lose_power`).

Protocol: one JSON object a line. In: an order (see `nursery.Order`), or {"wait": pid}. Out: {"pid": n}, {"code": n}.
"""

from __future__ import annotations

import errno
import importlib
import itertools
import json
import os
import resource
import signal
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from loader.reading import spool
from loader.transport import lean
from loader.transport import session as transport

REAL = {
    name: getattr(os, name)
    for name in (
        "open", "write", "pwrite", "fdatasync", "fsync", "ftruncate", "replace", "unlink", "posix_fallocate", "close",
    )
}  # fmt: skip


class Points:
    """Counts the points of this process, and ends it at one of them."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.folder = str(order["folder"])
        self.number = 0  # of the last point that was reached
        self._at = order["kill_at"]
        self._is_torn = order["is_torn"]
        self._count = itertools.count(1)
        self._notes = REAL["open"](order["notes"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        REAL["write"](self._notes, b"\n")  # ends what a killed process left of its last note

    def reach(self, what: str) -> bool:
        """Pass a point, or die there. True: die in the middle of what comes next."""
        self.number = number = next(self._count)
        self.note({"point": number, "what": what})
        is_here: bool = number == self._at
        if is_here and not (self._is_torn and what.startswith("write ")):
            die()
        return is_here

    def note(self, value: dict[str, Any]) -> None:
        """Write down what was reached, or what is durable now."""
        REAL["write"](self._notes, json.dumps(value).encode() + b"\n")


def die() -> NoReturn:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


class Disk:
    """The calls of `os` that change the run directory, with a point before and behind each. Other files pass untouched.

    The call behind the point `fail_at` fails with an error by its name; all later ones too where the disk has become read-only.
    "short": a write takes half of what it is given.
    """

    def __init__(self, points: Points, room: int, fail_at: int, fault: str) -> None:
        self._points = points
        self._fail_at = fail_at
        self._fault = fault
        self._room = room  # bytes that the disk still takes, 0 for any number
        self._is_small = room > 0
        self._paths: dict[int, str] = {}  # descriptor -> path, of what lies in the run directory

    def open(self, path: Any, flags: int, *rest: Any, **named: Any) -> int:
        is_ours = isinstance(path, str | Path) and str(path).startswith(self._points.folder)
        is_new = is_ours and bool(flags & os.O_CREAT)
        if is_new:
            self._begin(f"create {path}")
        descriptor: int = REAL["open"](path, flags, *rest, **named)
        self._paths.pop(descriptor, None)
        if is_ours:
            self._paths[descriptor] = str(path)
        if is_new:
            self._points.reach(f"created {path}")
        return descriptor

    def close(self, descriptor: int) -> None:
        self._paths.pop(descriptor, None)
        REAL["close"](descriptor)

    def write(self, descriptor: int, data: bytes, *, call: str, place: tuple[int, ...] = ()) -> int:
        if descriptor not in self._paths:
            return int(REAL[call](descriptor, data, *place))
        if self._begin(f"write {self._paths[descriptor]}"):
            REAL[call](descriptor, bytes(data)[: len(data) // 2], *place)
            die()
        is_short = self._fault == "short" and self._points.number == self._fail_at
        given = bytes(data)[: max(1, len(data) // 2)] if is_short else self._fitting(data)
        wrote: int = REAL[call](descriptor, given, *place)
        self._room -= wrote
        self._points.reach(f"written {self._paths[descriptor]}")
        return wrote

    def _begin(self, what: str) -> bool:
        """Pass the point before a call; fail there if that was ordered. True: die in the middle of the call."""
        is_torn = self._points.reach(what)
        is_here = self._points.number == self._fail_at
        is_read_only = self._fault == "EROFS" and 0 < self._fail_at < self._points.number
        if self._fault != "short" and (is_here or is_read_only):
            number = getattr(errno, self._fault)
            raise OSError(number, os.strerror(number))
        return is_torn

    def _fitting(self, data: bytes) -> bytes:
        """Return what the disk has room for, as a short write does."""
        if not self._is_small:
            return data
        if self._room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return bytes(data)[: self._room]

    def sync(self, descriptor: int, *, call: str) -> None:
        path = self._paths.get(descriptor)
        if path is None:
            REAL[call](descriptor)
            return
        status = os.fstat(descriptor)
        self._points.note({"sync": status.st_ino})
        try:
            self._begin(f"sync {path}")
        except OSError:
            self._points.note({"failed": status.st_ino})
            raise
        status = os.fstat(descriptor)  # before the sync: what is written meanwhile may not be on the disk after it
        is_directory = stat.S_ISDIR(status.st_mode)
        names = [entry.name for entry in Path(path).iterdir()] if is_directory else []
        REAL[call](descriptor)
        self._points.note({"names": names} if is_directory else {"file": status.st_ino, "size": status.st_size})
        self._points.reach(f"synced {path}")

    def change(self, first: Any, *rest: Any, call: str, **named: Any) -> None:
        path = self._paths.get(first) if isinstance(first, int) else str(first)
        is_ours = path is not None and path.startswith(self._points.folder)
        if is_ours:
            self._begin(f"{call} {path}")
            self._room += Path(str(path)).stat().st_size if call == "unlink" and Path(str(path)).exists() else 0
        REAL[call](first, *rest, **named)
        if is_ours:
            self._points.reach(f"{call} done {path}")


def wrap_disk(points: Points, room: int, fail_at: int, fault: str) -> None:
    """Put a `Disk` in the place of `os`."""
    disk = Disk(points, room, fail_at, fault)
    wrapped: dict[str, Callable[..., Any]] = {
        "open": disk.open,
        "close": disk.close,
        "write": lambda descriptor, data: disk.write(descriptor, data, call="write"),
        "pwrite": lambda descriptor, data, offset: disk.write(descriptor, data, call="pwrite", place=(offset,)),
        "fdatasync": partial(disk.sync, call="fdatasync"),
        "fsync": partial(disk.sync, call="fsync"),
    }
    for call in ("ftruncate", "posix_fallocate", "replace", "unlink"):
        wrapped[call] = partial(disk.change, call=call)
    for call, stand_in in wrapped.items():
        setattr(os, call, stand_in)
    spool._SYNC = wrapped["fdatasync"]


def wrap_transport(points: Points) -> None:
    """Put points before a request leaves and after its answer was read, whichever transport carries it."""
    for kind in (transport.SessionTransport, lean.LeanTransport):
        kind.send = pointed(points, kind.send)  # type: ignore[method-assign]  # that is what a point is


def pointed(points: Points, send: Callable[..., Any]) -> Callable[..., Any]:
    """Return a transport's way to send, with the points around it."""

    class Followed:
        def __init__(self, follow: Any) -> None:
            self.follow = follow

        def take(self, response: Any) -> None:
            points.reach("answered")
            self.follow.take(response)

        def next(self) -> Any:
            request = self.follow.next()
            if request is not None:
                points.reach(f"send {request.method} {request.path}")
            return request

    async def sent(self: Any, request: Any, follow: Any = None) -> Any:
        points.reach(f"send {request.method} {request.path}")
        reply = await send(self, request, Followed(follow) if follow is not None else None)
        points.reach("answered")
        return reply

    return sent


def shorten_waits() -> None:
    """Let look-ups that lost their answer be repeated soon: the waits are not what is tested here."""
    from loader.pipeline import preflight, reconcile_setup, shortened_log
    from loader.reconcile import keeping, reconciler

    reconciler.ASK_AGAIN_SECONDS = 0.2
    keeping.ASK_SECONDS = (0.1, 0.1, 0.1, 0.1, 0.1)
    reconcile_setup.ASK_AGAIN_SECONDS = shortened_log.ASK_AGAIN_SECONDS = preflight.FIRST_WAIT_SECONDS = 0.2


def child(order: dict[str, Any]) -> NoReturn:
    """Become the command."""
    for target, path, flags in (
        (0, order["stdin"], os.O_RDONLY),
        (1, order["stdout"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, order["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        os.dup2(os.open(path, flags, 0o600), target)
    os.environ.update(order["environment"])
    if order["file_limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_limit"], order["file_limit"]))
    shorten_waits()
    points = Points(order)
    wrap_disk(points, order["room"], order["fail_at"], order["fault"])
    wrap_transport(points)
    from loader.cli.app import main

    code = main(order["words"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def preload() -> None:
    """Import what every load imports, so that a child starts at once."""
    for name in ("loader.cli.running", "loader.pipeline.pipeline", "loader.runs.rejects"):
        importlib.import_module(name)


def serve() -> None:
    """Take orders until the test has gone."""
    preload()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if pid == 0:
                child(order)
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
