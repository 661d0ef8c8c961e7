"""What the log relies on of a disk, asked of every disk that there is: the real one, the simulator's, and the one of these tests.

A row is a promise of `Storage` or `File`. A disk that breaks one would let the log pass tests that a real machine fails.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest

from loader.checkpoint.storage import BytesFile, DiskStorage, File, Storage, append_all, copy_aside
from tests.simulation.disk import Disk, LossyStorage
from tests.unit.checkpoint.conftest import FakeDisk

Promise: TypeAlias = Callable[[Storage], None]


def make(storage: Storage, name: str, data: bytes) -> File:
    file = storage.create(name)
    assert append_all(file, data) == (len(data), None)
    return file


def content(storage: Storage, name: str) -> bytes:
    with closing(storage.open(name, is_writable=False)) as file:
        return file.read(0, file.size())


# --- files ----------------------------------------------------------------------------------------------------------------


def a_new_file_is_empty(storage: Storage) -> None:
    file = storage.create("a")
    assert (file.size(), file.read(0, 10)) == (0, b"")


def what_is_appended_is_read_at_once_and_by_others(storage: Storage) -> None:
    file, other = storage.create("a"), storage.open("a")
    assert 1 <= file.append(b"x") <= 1
    assert append_all(other, memoryview(b"yz").tobytes()) == (2, None)
    assert append_all(file, b"!") == (1, None)
    assert [one.read(0, 9) for one in (file, other)] == [b"xyz!", b"xyz!"]
    assert [one.size() for one in (file, other)] == [4, 4]


def a_read_is_shorter_only_at_the_end(storage: Storage) -> None:
    file = make(storage, "a", bytes(range(256)) * 1024)
    assert file.read(0, 200_000) == (bytes(range(256)) * 1024)[:200_000]
    assert file.read(256 * 1024 - 3, 10) == b"\xfd\xfe\xff"
    assert file.read(256 * 1024, 10) == file.read(2**40, 10) == file.read(5, 0) == b""


def a_cut_file_goes_on_at_its_new_end(storage: Storage) -> None:
    file = make(storage, "a", b"0123456789")
    file.truncate(4)
    assert file.size() == 4
    assert append_all(file, b"x") == (1, None)
    assert content(storage, "a") == b"0123x"


def a_file_is_closed_more_than_once(storage: Storage) -> None:
    file = make(storage, "a", b"x")
    file.sync()
    file.close()
    file.close()
    assert content(storage, "a") == b"x"


# --- locks ----------------------------------------------------------------------------------------------------------------


def one_holder_has_the_lock_until_it_closes(storage: Storage) -> None:
    holder, rival = storage.create("a"), storage.open("a")
    assert holder.lock()
    assert holder.lock()  # it has it
    assert not rival.lock()
    rival.close()  # a POSIX lock would go with any descriptor of the process
    third = storage.open("a")
    assert not third.lock()
    holder.close()
    assert third.lock()


def a_lock_is_of_the_file_and_not_of_its_name(storage: Storage) -> None:
    old, new = storage.create("a"), storage.create("b")
    assert old.lock()
    assert new.lock()
    storage.rename("b", "a")
    rival = storage.open("a")
    assert not rival.lock()
    old.close()
    assert not rival.lock()


# --- names ----------------------------------------------------------------------------------------------------------------


def a_name_is_made_once(storage: Storage) -> None:
    make(storage, "a", b"x")
    with pytest.raises(FileExistsError):
        storage.create("a")
    assert content(storage, "a") == b"x"


def a_name_that_is_not_there_is_said(storage: Storage) -> None:
    for is_writable in (True, False):
        with pytest.raises(FileNotFoundError):
            storage.open("a", is_writable=is_writable)
    storage.remove("a")


def a_file_takes_the_place_of_another(storage: Storage) -> None:
    old, new = make(storage, "a", b"old"), make(storage, "b", b"new")
    assert storage.is_current("a", old)
    assert storage.is_current("b", new)
    storage.rename("b", "a")
    assert content(storage, "a") == b"new"
    assert old.read(0, 9) == b"old"  # who has it open goes on reading it
    assert storage.is_current("a", new)
    assert not storage.is_current("a", old)
    with pytest.raises(FileNotFoundError):
        storage.open("b")


def a_removed_file_is_nobodys(storage: Storage) -> None:
    file = make(storage, "a", b"x")
    storage.remove("a")
    assert not storage.is_current("a", file)
    again = storage.create("a")
    assert not storage.is_current("a", file)
    assert storage.is_current("a", again)


def room_is_reserved_and_given_back(storage: Storage) -> None:
    storage.reserve("a", 4096)
    storage.reserve("a", 4096)
    storage.open("a", is_writable=False).close()
    storage.sync()
    storage.remove("a")
    storage.remove("a")
    with pytest.raises(FileNotFoundError):
        storage.open("a")


def copies_stand_beside_each_other(storage: Storage) -> None:
    with closing(make(storage, "a", b"x" * 3000)) as file:
        names = [copy_aside(storage, "a", file) for _ in range(2)]
    assert names == ["a.damaged", "a.damaged-1"]
    assert [content(storage, name) for name in names] == [b"x" * 3000] * 2


PROMISES: list[Promise] = [
    a_new_file_is_empty,
    what_is_appended_is_read_at_once_and_by_others,
    a_read_is_shorter_only_at_the_end,
    a_cut_file_goes_on_at_its_new_end,
    a_file_is_closed_more_than_once,
    one_holder_has_the_lock_until_it_closes,
    a_lock_is_of_the_file_and_not_of_its_name,
    a_name_is_made_once,
    a_name_that_is_not_there_is_said,
    a_file_takes_the_place_of_another,
    a_removed_file_is_nobodys,
    room_is_reserved_and_given_back,
    copies_stand_beside_each_other,
]


def never(why: str) -> None:
    raise AssertionError(why)


def lossy(folder: Path) -> LossyStorage:
    return LossyStorage(Disk(folder, random.Random(1), lambda *_: None), never, None, 0.0)


STORAGES: dict[str, Callable[[Path], Storage]] = {
    "disk": DiskStorage,
    "simulated": lossy,
    "fake": lambda _: FakeDisk(),
}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("name", STORAGES)
def test_a_storage_keeps_its_promises(tmp_path: Path, name: str, promise: Promise) -> None:
    promise(STORAGES[name](tmp_path))


# --- the power goes -------------------------------------------------------------------------------------------------------


def lose_power(name: str, folder: Path, seed: int) -> tuple[Storage, Callable[[], Storage]]:
    """Return a disk, and what cuts its power and gives what is left."""
    if name == "fake":
        fake = FakeDisk()

        def cut_fake() -> Storage:
            fake.cut_power(random.Random(seed))
            return fake

        return fake, cut_fake
    folder.mkdir()
    storage = LossyStorage(Disk(folder, random.Random(seed), lambda *_: None), never, None, 0.0)

    def cut() -> Storage:
        storage.kill()
        storage.disk.cut_power()
        return LossyStorage(storage.disk, never, None, 0.0)

    return storage, cut


@pytest.mark.parametrize("name", ["simulated", "fake"])
def test_what_was_synced_survives_the_power_and_what_was_not_may_go(tmp_path: Path, name: str) -> None:
    """The disks that lose something lose no more than a real one may."""
    left: set[tuple[bool, bool]] = set()
    for seed in range(40):
        storage, cut = lose_power(name, tmp_path / str(seed), seed)
        log, new = make(storage, "a", b"kept"), make(storage, "b", b"new")
        log.sync()
        new.sync()
        storage.sync()
        append_all(log, b"open" * 100)
        storage.rename("b", "c")
        make(storage, "d", b"unnamed").sync()
        after = cut()
        assert content(after, "a").startswith(b"kept")
        names = []
        for one in "bcd":
            try:
                names.append((one, content(after, one)))
            except FileNotFoundError:
                continue
        assert [held for held in names if held[0] != "d"] in ([("b", b"new")], [("c", b"new")])
        assert all(data == b"unnamed" for one, data in names if one == "d")
        left.add((len(content(after, "a")) == 404, ("c", b"new") in names))
    assert len(left) == 4  # both may be lost, or either, or none


# --- bytes in memory ------------------------------------------------------------------------------------------------------


def test_bytes_are_read_like_a_file_and_never_changed(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4
    real = make(DiskStorage(tmp_path), "a", data)
    held: File = BytesFile(data)
    assert held.size() == real.size()
    for offset, size in ((0, 10), (1000, 100), (1024, 10), (5, 0), (2**40, 1)):
        assert held.read(offset, size) == real.read(offset, size)
    with pytest.raises(PermissionError):
        held.truncate(0)
    assert isinstance(append_all(held, b"x")[1], PermissionError)
    assert not held.lock()
    held.sync()
    held.close()
    held.close()
    assert held.read(0, 2000) == data
