"""The real disk: modes, links, locks between processes, limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loader.checkpoint import read_state
from loader.checkpoint.storage import DiskStorage, append_all

CHILD = """
import asyncio, sys, resource, signal
from pathlib import Path
from loader.checkpoint import CheckpointLog, Spot
from loader.model import Window
from loader.errors import LoaderError
from loader.model import Created

async def main(directory, mode, limit):
    try:
        if mode == "create":
            log = await CheckpointLog.create(directory, "k3j9abcdef", {})
        else:
            log = await CheckpointLog.open(directory, "k3j9abcdef")
    except (LoaderError, FileExistsError) as error:
        print(type(error).__name__, flush=True)
        return
    print("held", flush=True)
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    said = 0
    try:
        for line in range(log.state.last_intent_end(0)[0], 10**9, 4):
            await log.intend([Window(0, line, line + 4, line, line + 4, 1)])
            print(line, flush=True)
            log.settle([Spot(0, at, at) for at in range(line, line + 4)], [Created(at) for at in range(line, line + 4)])
            await asyncio.sleep(0)
            if limit is None:
                sys.stdin.readline()
                await log.close()
                break
    except LoaderError as error:
        await log.close()
        print(type(error).__name__, flush=True)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None))
"""


def start(directory: Path, mode: str, *limit: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(directory), mode, *limit]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout
    return child.stdout.readline().strip()


def end(child: subprocess.Popen[str]) -> None:
    child.communicate("\n", timeout=60)


def test_of_many_processes_one_holds_the_run(tmp_path: Path) -> None:
    children = [start(tmp_path, "create") for _ in range(4)]
    try:
        said = [first_line(child) for child in children]
        assert said.count("held") == 1, said
        assert set(said) <= {"held", "FileExistsError"}
        rivals = [start(tmp_path, "open") for _ in range(3)]
        children += rivals
        assert [first_line(child) for child in rivals] == ["LogLocked"] * 3
    finally:
        for child in children:
            end(child)


def test_a_killed_holder_frees_the_run_and_a_stopped_one_keeps_it(tmp_path: Path) -> None:
    holder = start(tmp_path, "create")
    assert [first_line(holder), first_line(holder)] == ["held", "1"]
    holder.send_signal(signal.SIGSTOP)
    rival = start(tmp_path, "open")
    assert first_line(rival) == "LogLocked"
    end(rival)
    holder.kill()
    end(holder)
    heir = start(tmp_path, "open")
    assert first_line(heir) == "held"
    end(heir)
    assert read_state(tmp_path).executions == 2


def test_a_file_that_may_not_grow_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    for number, limit in enumerate(range(2000, 12000, 2500)):
        directory = tmp_path / str(number)
        directory.mkdir()
        child = start(directory, "create", str(limit))
        out, _ = child.communicate("\n" * 9, timeout=60)
        said = out.split()
        assert said[-1] == "LogStorageFailed"
        state = read_state(directory)
        assert state.last_intent_end(0)[0] >= int(said[-2]) + 4
        assert state.counts.created >= int(said[-2]) - 4
        heir = start(directory, "open")
        assert first_line(heir) == "held"
        end(heir)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    os.umask(os.umask(0) & ~0o777)
    storage = DiskStorage(tmp_path)
    file = storage.create("a")
    assert append_all(file, b"x" * 100) == (100, None)
    file.close()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        storage.create("a")
    (tmp_path / "a").chmod(0o620)
    with pytest.raises(PermissionError):
        storage.open("a")
    (tmp_path / "a").chmod(0o600)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for opening in (storage.open, storage.create):
        with pytest.raises(OSError, match="b"):
            opening("b")
    (tmp_path / "c").mkdir()
    with pytest.raises(OSError, match="c"):
        storage.open("c")


def test_a_ballast_holds_real_blocks(tmp_path: Path) -> None:
    storage = DiskStorage(tmp_path)
    storage.reserve("ballast", 100_000)
    storage.reserve("ballast", 100_000)
    status = (tmp_path / "ballast").stat()
    assert status.st_size == 100_000
    assert status.st_blocks * 512 >= 100_000
    storage.remove("ballast")
    storage.remove("ballast")


def test_short_writes_go_on_where_they_stopped() -> None:
    class Short:
        def __init__(self) -> None:
            self.data = b""

        def append(self, data: bytes | memoryview) -> int:
            self.data += bytes(data[:3])
            if len(self.data) > 12:
                raise OSError(28, "full")
            return len(data[:3])

    file = Short()
    assert append_all(file, b"0123456789") == (10, None)  # type: ignore[arg-type]  # all that append_all asks for
    assert file.data == b"0123456789"
    done, error = append_all(file, b"abc")  # type: ignore[arg-type]  # all that append_all asks for
    assert done == 0
    assert error is not None
    assert error.errno == 28
