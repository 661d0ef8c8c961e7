"""PLANS.md: each example is a plan, and no word that a plan may use is missing."""

from __future__ import annotations

import re
import subprocess
import sys
import typing
from pathlib import Path

import msgspec
import pytest

from loader.emulator import columns, faults, switches
from loader.emulator.plan import parse_plan

TEXT = (Path(faults.__file__).parent / "PLANS.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
KINDS = typing.get_args(faults.Fault)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_plan(example: str) -> None:
    parse_plan(example.encode())


def test_the_examples_are_there() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize(
    "kind",
    [*KINDS, switches.RateLimit, columns.OzariField, columns.OzariTable, switches.CanbusFilter],
    ids=lambda kind: kind.__name__,
)
def test_every_word_has_its_place(kind: type[msgspec.Struct]) -> None:
    names = {field.name for field in msgspec.structs.fields(kind)} - {"labels", "order"}
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", TEXT)] == []
    tag = kind.__struct_config__.tag
    assert tag is None or f'"{tag}"' in TEXT


def test_the_command_prints_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loader", "emulator", "--plan-words"], capture_output=True, timeout=60, check=True
    )
    assert done.stdout.decode() == TEXT
