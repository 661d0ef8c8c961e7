"""The transports' contract is whole: all 48 rows of reliability.md 2.2, for a stock session and for every transport.

What is collected is asked, not what is written: a test that was renamed, or a case that was taken out, is a missing row here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.emulated.transport_contract import CONTRACT, TRANSPORTS

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "tests" / "emulated").glob("test_transport*.py"))
STOCK = ROOT / "tests" / "emulated" / "test_aiohttp_rows.py"
WITHOUT_TLS = {1, 2, 3, 4, 5, 6, 7, 8, 9}
"""Rows that end before there is a peer to speak TLS with."""
TLS_ALONE = {10, 11, 12, 13, 14, 15}


def collected(*paths: Path) -> list[tuple[str, list[str]]]:
    """Return every case as the name of its test and the words of its parameters."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    found = re.findall(r"::(\w+)(?:\[(.*)\])?$", done.stdout, re.MULTILINE)
    return [(name, words.split("-")) for name, words in found]


@pytest.fixture(scope="module")
def transports() -> list[tuple[str, list[str]]]:
    return collected(*MODULES)


@pytest.fixture(scope="module")
def stock() -> list[tuple[str, list[str]]]:
    return collected(STOCK)


def cases_of(entry: str, cases: list[tuple[str, list[str]]]) -> list[list[str]]:
    name, _, word = entry.removesuffix("]").partition("[")
    return [words for found, words in cases if found == name and (not word or word in words)]


def test_there_are_48_rows() -> None:
    assert list(CONTRACT) == list(range(1, 49))


@pytest.mark.parametrize("row", CONTRACT)
def test_a_row_is_shown(row: int, stock: list[tuple[str, list[str]]], transports: list[tuple[str, list[str]]]) -> None:
    of_stock = [entry for entry in CONTRACT[row] if cases_of(entry, stock)]
    ours = [entry for entry in CONTRACT[row] if cases_of(entry, transports)]
    assert of_stock
    assert ours
    assert set(CONTRACT[row]) == {*of_stock, *ours}
    wires = [()] if row in WITHOUT_TLS | TLS_ALONE else [("raw",), ("tls",)]
    for entry in ours:
        for transport in TRANSPORTS:
            for wire in wires:
                assert [words for words in cases_of(entry, transports) if {transport, *wire} <= set(words)], entry
