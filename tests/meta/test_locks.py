"""The locks are whole: every pin has hashes, no host is named, and every dependency of pyproject.toml is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / ".ci").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"([a-z0-9-]+)==([^ ;\\]+)(?: ; [^\\]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n")


def normalise(requirement: str) -> str:
    """Return the name of a requirement as a lock writes it."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[._-]+", "-", match[0]).lower()


def pins(lock: Path) -> dict[str, str]:
    return {match[1]: match[2] for match in PIN.finditer(lock.read_text())}


def test_the_locks_are_those_the_makefile_makes() -> None:
    assert [lock.name for lock in LOCKS] == [
        "core.txt",
        "databases.txt",
        "dev.txt",
        "maintain.txt",
        "peers.txt",
        "plots.txt",
        "schema.txt",
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_is_nothing_but_pins_with_hashes(lock: Path) -> None:
    assert PIN.sub("", lock.read_text()) == ""


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_no_host(lock: Path) -> None:
    assert "://" not in lock.read_text()


@pytest.mark.parametrize(
    "name, requirements",
    [
        ("core.txt", PROJECT["project"]["dependencies"]),
        ("core.txt", PROJECT["dependency-groups"]["build"]),
        ("databases.txt", PROJECT["project"]["optional-dependencies"]["databases"]),
        ("dev.txt", PROJECT["project"]["optional-dependencies"]["dev"]),
        ("maintain.txt", PROJECT["dependency-groups"]["maintain"]),
        ("schema.txt", PROJECT["dependency-groups"]["schema"]),
        ("plots.txt", PROJECT["dependency-groups"]["plots"]),
        ("peers.txt", PROJECT["dependency-groups"]["peers"]),
    ],
)
def test_every_dependency_is_locked(name: str, requirements: list[str]) -> None:
    assert {normalise(requirement) for requirement in requirements} <= set(pins(ROOT / ".ci" / name))


@pytest.mark.parametrize("name", ["databases.txt", "dev.txt", "maintain.txt", "plots.txt", "schema.txt"])
def test_tools_do_not_change_what_the_command_runs_on(name: str) -> None:
    assert pins(ROOT / ".ci" / "core.txt").items() <= pins(ROOT / ".ci" / name).items()


def test_no_lock_of_a_tool_that_writes_hosts() -> None:
    assert not [name for name in ("uv.lock", "pylock.toml", "poetry.lock") if (ROOT / name).exists()]


def test_an_audit_that_could_not_ask_fails() -> None:
    """Without `--strict` pip-audit passes where it was told nothing about any package."""
    (recipe,) = re.findall(r"^audit:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "--strict" in recipe
    assert "exit 1" in recipe
