"""Whatever the moment at which a load dies, and however often: nothing is lost or doubled, and what cannot be known is listed.

The processes die by kill -9 at the n-th change of their run directory or request (`kill_points`), in the middle of a write, in
the recovery, with answers lost on the way, with what no sync had made durable gone, with the log cut by hand, on either
transport. `make soak` goes through every point.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.emulated import crashing
from tests.emulated.crash_jobs import KINDS, TRANSPORTS
from tests.emulated.crash_trials import Kill, Trial, count_points, crash
from tests.emulated.nursery import Nursery

RECOVERY_POINTS = 60
"""A resume passes about so many before new lines go out."""
RECORD_PATHS = ("/records", "/records/single")
ODDS_OF_FAULTS, ODDS_OF_POWER_LOSS, ODDS_OF_CUT, ODDS_OF_CRASH_IN_RECOVERY = 0.4, 0.5, 0.4, 0.5


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as server:
        yield server


def trials_of(
    name: str, points: list[str], places: list[int], draw: random.Random, transports: Sequence[str] = TRANSPORTS
) -> Iterator[Trial]:
    """Make a trial for each of some points: the first kill is there, all else is drawn. The transports take turns."""
    kind = KINDS[name]
    for seed, at in enumerate(places):
        is_torn = points[at - 1].startswith("write ") and draw.random() < 0.6
        kills = [Kill(at, is_torn)]
        while draw.random() < ODDS_OF_CRASH_IN_RECOVERY:
            kills.append(Kill(draw.randint(1, RECOVERY_POINTS), draw.random() < 0.5))
        yield Trial(
            kind,
            kills,
            seed,
            has_faults=draw.random() < ODDS_OF_FAULTS,
            loses_power=draw.random() < ODDS_OF_POWER_LOSS,
            is_cut=kind.is_stamped and draw.random() < ODDS_OF_CUT,
            transport=transports[seed % len(transports)],
        )


def wrong_of(nursery: Nursery, folder: Path, trials: Iterator[Trial]) -> list[str]:
    """Carry out trials; say what is wrong, each with all that makes it happen again."""
    return [
        f"{trial}: {wrong}"
        for number, trial in enumerate(trials)
        for wrong in crash(nursery, folder / f"trial{number}", trial)
    ]


@pytest.mark.parametrize("name", KINDS)
def test_a_load_survives_kills_at_some_points(nursery: Nursery, tmp_path: Path, name: str) -> None:
    draw = random.Random(name)
    points = count_points(nursery, tmp_path / "whole", KINDS[name])
    places = sorted(draw.sample(range(1, len(points) + 1), 4))
    assert wrong_of(nursery, tmp_path, trials_of(name, points, places, draw)) == []


@pytest.mark.parametrize("name", ["insert-hold", "insert-key", "update", "add-hold"])
def test_what_may_have_left_is_durably_intended(nursery: Nursery, tmp_path: Path, name: str) -> None:
    """Power is lost when the first answers are there: a record whose intent went with it would be sent twice."""
    points = count_points(nursery, tmp_path / "whole", KINDS[name])
    first = next(at for at, what in enumerate(points, 1) if what.startswith("send") and what.endswith(RECORD_PATHS))
    trials = (Trial(KINDS[name], [Kill(first + seed)], seed, loses_power=True) for seed in range(2, 6))
    assert wrong_of(nursery, tmp_path, trials) == []


@pytest.mark.parametrize(
    ("name", "at"), [("insert", 6), ("insert-key", 6), ("insert-key", 40), ("add", 6), ("add", 40)]
)
def test_a_run_that_died_before_anything_was_sent_is_as_good_as_new(
    nursery: Nursery, tmp_path: Path, name: str, at: int
) -> None:
    """What a run learns at its start (the highest fid, the proof) can be learnt by the resume."""
    trials = (Trial(KINDS[name], [Kill(at)] * kills, seed=1, has_faults=True) for kills in (1, 2))
    assert wrong_of(nursery, tmp_path, trials) == []


@pytest.mark.soak
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_load_survives_kills_at_every_point(nursery: Nursery, tmp_path: Path, transport: str, name: str) -> None:
    draw = random.Random(f"{name}, {transport}, every point")
    points = count_points(nursery, tmp_path / "whole", KINDS[name], transport)
    places = list(range(1, len(points) + 1))
    assert wrong_of(nursery, tmp_path, trials_of(name, points, places, draw, [transport])) == []


@pytest.mark.soak
@pytest.mark.parametrize("name", KINDS)
def test_a_load_survives_half_of_every_write(nursery: Nursery, tmp_path: Path, name: str) -> None:
    points = count_points(nursery, tmp_path / "whole", KINDS[name])
    places = [at for at, what in enumerate(points, 1) if what.startswith("write ")]
    trials = (
        Trial(KINDS[name], [Kill(at, is_torn=True)], at, loses_power=at % 2 == 0, transport=TRANSPORTS[number % 2])
        for number, at in enumerate(places)
    )
    assert wrong_of(nursery, tmp_path, trials) == []


@pytest.mark.parametrize("name", ["insert", "insert-no-query", "insert-hold", "update", "add", "add-hold"])
def test_a_longer_load_survives_kills_at_any_moment(nursery: Nursery, tmp_path: Path, name: str) -> None:
    """The log is folded and windows follow each other here, and the moment falls between the points too."""
    draw = random.Random(name)
    kind = KINDS[name]
    trials = [
        Trial(
            kind,
            [Kill(seconds=draw.uniform(0.05, 0.4)) for _ in range(3)],
            seed,
            records=300,
            has_faults=seed == 1,
            loses_power=seed == 0,
            is_cut=kind.is_stamped,
            transport=draw.choice(TRANSPORTS),
        )
        for seed in range(2)
    ]
    assert wrong_of(nursery, tmp_path, iter(trials)) == []


@pytest.mark.soak
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("seed", range(10))
def test_a_long_load_survives_kills_at_any_moment(nursery: Nursery, tmp_path: Path, name: str, seed: int) -> None:
    draw = random.Random(f"{name} {seed}")
    kind = KINDS[name]
    kills = [Kill(seconds=draw.uniform(0.05, 1.5)) for _ in range(draw.randint(1, 6))]
    trial = Trial(
        kind,
        kills,
        seed,
        records=5000,
        has_faults=draw.random() < ODDS_OF_FAULTS,
        loses_power=draw.random() < ODDS_OF_POWER_LOSS,
        is_cut=kind.is_stamped and draw.random() < ODDS_OF_CUT,
        transport=TRANSPORTS[seed % 2],
    )
    assert wrong_of(nursery, tmp_path, iter([trial])) == []


@pytest.mark.parametrize("name", ["insert", "add"])
def test_the_real_command_survives_a_kill(tmp_path: Path, name: str) -> None:
    """As the figures of the soak are made: with a process of its own, imports and all."""
    _, wrong = crashing.crash(tmp_path / "trial", KINDS[name], 300, random.Random(name))
    assert wrong == []
