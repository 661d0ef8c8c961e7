"""The transports' contract is whole: all 48 rows of reliability.md 2.2, for a stock session and for every transport.

What is collected is asked, not what is written: a test that was renamed, or a case that was taken out, is a missing row here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.emulated.transport_contract import CONTRACT, TRANSPORTS

ROOT = Path(__file__).resolve().parents[2]
STOCK = "test_aiohttp_rows"
MODULES = sorted((ROOT / "tests" / "emulated").glob("test_transport*.py"))
WITHOUT_WIRES = set(range(1, 16))
"""Rows that end before there is a peer to speak TLS with, and those that are about TLS alone."""


class Case(NamedTuple):
    """One case of a test, with the words of its parameters."""

    module: str
    name: str
    words: frozenset[str]


def collected() -> list[Case]:
    paths = [*map(str, MODULES), str(ROOT / "tests" / "emulated" / f"{STOCK}.py")]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    found = re.findall(r"/(\w+)\.py::(\w+)(?:\[(.*)\])?$", done.stdout, re.MULTILINE)
    return [Case(module, name, frozenset(words.split("-"))) for module, name, words in found]


def cases_of(entry: str, cases: list[Case]) -> list[Case]:
    name, _, word = entry.removesuffix("]").partition("[")
    return [case for case in cases if case.name == name and (not word or word in case.words)]


def holes(row: int, cases: list[Case]) -> list[str]:
    """Say what of a row nothing shows."""
    found = {entry: cases_of(entry, cases) for entry in CONTRACT[row]}
    missing = [f"{row}: no test {entry}" for entry, of_entry in found.items() if not of_entry]
    of_stock = [entry for entry, of_entry in found.items() if any(case.module == STOCK for case in of_entry)]
    ours = found.keys() - set(of_stock)
    if not of_stock or not ours:
        missing.append(f"{row}: only {of_stock or list(ours)}")
    wires: list[set[str]] = [set()] if row in WITHOUT_WIRES else [{"raw"}, {"tls"}]
    for entry in ours:
        for transport in TRANSPORTS:
            for wire in wires:
                if not any({transport, *wire} <= case.words for case in found[entry]):
                    missing.append(f"{row}: {entry} not for {transport} {' '.join(wire)}")
    return missing


def test_there_are_48_rows() -> None:
    assert list(CONTRACT) == list(range(1, 49))


def test_every_row_is_shown() -> None:
    cases = collected()
    assert [hole for row in CONTRACT for hole in holes(row, cases)] == []


def test_a_hole_is_noticed() -> None:
    assert len(holes(16, [])) > 3
    entries = [re.split(r"[\[\]]", entry) for entry in CONTRACT[16]]
    cases = [
        Case(STOCK if "stock" in name else "test_transport", name, frozenset({word[0], transport, wire}))
        for name, *word in entries
        for transport in TRANSPORTS
        for wire in ("raw", "tls")
    ]
    assert holes(16, cases) == []
    assert holes(16, [case for case in cases if not {"lean", "tls"} <= case.words]) != []
    assert holes(16, [case for case in cases if case.module != STOCK]) != []
