"""Starts the command in processes that die at named points (`kill_points`); takes from a run what a power loss would.

A `Nursery` is a context manager around one fork server; it has no threads of its own and may serve many tests, one after another.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).parents[2]
HANG_SECONDS = 400.0
"""It only ends what hangs. The longest trials of the soak, whose lost answers are asked for one by one, take a quarter of it."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a child is to do. `kill_at`: the number of the point at which it dies, 0 for none; see `kill_points`.

    `room`: so many bytes may be written into the run directory before the disk is full, 0 for any number; what the ballast
    holds comes on top when it is given back. `file_limit`: RLIMIT_FSIZE. `fail_at`, `fault`: the point whose call fails, and how.
    """

    words: Sequence[str]
    folder: str
    notes: str
    stdin: str
    stdout: str
    stderr: str
    kill_at: int = 0
    is_torn: bool = False
    room: int = 0
    file_limit: int = 0
    fail_at: int = 0
    fault: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


class Nursery:
    """One fork server."""

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("kill_points.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def start(self, order: Order) -> int:
        """Start a child; return its process id."""
        return int(self._ask(asdict(order))["pid"])

    def wait(self, pid: int) -> int:
        """Wait for a child; return its exit code, negative for the signal that ended it."""
        return int(self._ask({"wait": pid}, pid)["code"])

    def run(self, order: Order) -> int:
        """Start a child and wait for it."""
        return self.wait(self.start(order))

    def _ask(self, value: Mapping[str, Any], pid: int | None = None) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(value).encode() + b"\n")
        self._server.stdin.flush()
        if not select.select([self._server.stdout], [], [], HANG_SECONDS)[0]:
            if pid is None:
                raise AssertionError("the fork server does not answer")
            os.kill(pid, signal.SIGKILL)
            self._server.stdout.readline()
            raise AssertionError(f"process {pid} did not end within {HANG_SECONDS:.0f} s")
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer


def notes_in(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what the children noted; a kill may tear the last note of each."""
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)


def syncs_behind_a_failure(notes: Path) -> int:
    """Count the syncs of a file by a process whose sync of it had failed: the second may succeed with the pages lost."""
    failed: set[int] = set()
    count = 0
    for note in notes_in(notes):
        if note.get("point") == 1:
            failed.clear()
        count += note.get("sync") in failed
        if "failed" in note:
            failed.add(note["failed"])
    return count


def points_of(notes: Path) -> list[str]:
    """Return the points that the first child with these notes passed."""
    found: list[str] = []
    for note in notes_in(notes):
        if note.get("point") == 1 and found:
            break
        if "point" in note:
            found.append(note["what"])
    return found


def lose_power(run: Path, notes: Path, draw: random.Random) -> None:
    """Take from every file of a run what no sync has made durable, or part of it; from the directory names that no sync has.

    What is taken is cut off or becomes zeros: the length of a file may survive without its data.
    """
    sizes: dict[int, int] = {}
    names: set[str] = set()
    for note in notes_in(notes):
        if "file" in note:
            sizes[note["file"]] = note["size"]
        names.update(note.get("names", ()))
    for path in sorted(run.iterdir()):
        if path.name not in names and draw.random() < 0.5:
            path.unlink()
            continue
        size = path.stat().st_size
        durable = min(size, sizes.get(path.stat().st_ino, 0))
        if durable < size:
            kept = draw.randint(durable, size)
            os.truncate(path, kept)
            if draw.random() < 0.3:
                os.truncate(path, draw.randint(kept, size))
