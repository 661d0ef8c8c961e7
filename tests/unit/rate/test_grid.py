"""Rate finding against simulated limiters: a sample of the grid, or all of it with LOADER_RATE_GRID=all (`make soak`)."""

from __future__ import annotations

import os

import pytest

from tests.unit.rate.scenarios import grid, misses
from tests.unit.rate.simulation import simulate

SAMPLE = (
    "steady: fixed 100/s 0.05s",
    "steady: bucket01 20/s 0.005s",
    "steady: leaky 100/s 0.05s",
    "close by: leaky1 5/s 0.001s",
    "close by: leaky1 250/s 0.001s",
    "steady jittery: sliding 100/s 0.05s sigma 0.25",
    "steady slow: fixed 100/s 0.5s",
    "steady 5/s: fixed 5/s 0.05s",
    "Retry-After absurd: bucket1 100/s 0.05s",
    "Retry-After honest: sliding 20/s 0.05s",
    "halved: fixed 100/s 0.05s",
    "halved: bucket1 20/s 0.05s",
    "halved: bucket01 6/s 0.05s",
    "halved: bucket01 500/s 0.05s",
    "doubled: fixed 100/s 0.05s",
    "doubled: bucket1 20/s 0.05s",
    "rejects count: fixed 100/s 0.05s",
    "stalls: bucket1 20/s 0.05s",
    "minutes: fixed60 10/s 0.05s",
    "minutes: bucket60 1/s 0.5s",
    "rejects count slow: bucket1 20/s 0.5s",
    "knee: 16 workers 16/s 0s",
)
SEEDS = 5
MUST_MEET = 0.98
"""The share of judged runs; 0.99 is met. The studied design met 0.73 of all on its own grid (rate.md section 4)."""

CASES = {case.scenario.name: case for case in grid()}


@pytest.mark.parametrize("name", SAMPLE)
def test_sample(name: str) -> None:
    seen = simulate(CASES[name].scenario, seed=1)
    assert CASES[name].is_judged
    assert misses(CASES[name], seen) == [], seen


def test_the_same_seed_gives_the_same_outcome() -> None:
    scenario = CASES["steady jittery: fixed 20/s 0.05s sigma 0.25"].scenario
    assert simulate(scenario, 4) == simulate(scenario, 4)
    assert simulate(scenario, 4) != simulate(scenario, 5)


def test_latency_stays_low_in_front_of_a_few_workers() -> None:
    assert simulate(CASES["knee: 4 workers 4/s 0s"].scenario, seed=1).latency < 0.15


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.environ.get("LOADER_RATE_GRID") != "all", reason="LOADER_RATE_GRID=all runs the whole grid")
def test_the_whole_grid() -> None:
    missed = [
        f"{case.scenario.name} seed {seed}: {wrong} {outcome}"
        for case in CASES.values()
        if case.is_judged
        for seed in range(SEEDS)
        if (wrong := misses(case, outcome := simulate(case.scenario, seed)))
    ]
    runs = SEEDS * sum(case.is_judged for case in CASES.values())
    assert len(missed) <= (1 - MUST_MEET) * runs, "\n".join(missed)
