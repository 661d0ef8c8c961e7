"""Many worlds: whatever befalls network, disk and process, nothing is lost, nothing doubled, every id is right.

LOADER_SEEDS says how many; `make simulate` has 20,000. A world that fails is told by its seed, and repeats:
`python -m tests.simulation.explore --show SEED`.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.worlds import run_world

SEEDS = int(os.environ.get("LOADER_SEEDS", "240"))
PARTS = 8


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_promise_is_kept_in_every_world(part: int) -> None:
    wrong = {}
    for seed in range(part, SEEDS, PARTS):
        result = run_world(seed)
        if result.wrong:
            wrong[seed] = result.wrong[:3]
    assert not wrong


def test_a_world_repeats_exactly() -> None:
    for seed in (3, 17, 24, 31):
        first, again = run_world(seed), run_world(seed)
        assert first.digest == again.digest
        assert first.counts == again.counts


def test_a_world_repeats_in_another_process() -> None:
    command = [sys.executable, "-m", "tests.simulation.explore", "--digest", "17"]
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            command, env=os.environ | {"PYTHONHASHSEED": hash_seed}, capture_output=True, check=True, text=True
        )
        assert done.stdout.strip() == run_world(17).digest
