"""Clocks that lie, jump and stand still (reliability.md 4.2 L): what a run does hangs on none but the one that only goes on.

The clock on the wall is shown and never reckoned with. A date in Retry-After is measured by the target's own clock. A process
that stood still, for however long, goes on: it neither floods the target nor believes that the target was away.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from unittest import mock

import pytest

import loader
from loader.emulator import parse_plan
from loader.settings import Rate
from tests.simulation.cases import Case, draw_case
from tests.simulation.network import Outage, Weather
from tests.simulation.test_found import CANBUS, OPTIONS, case_of, trouble
from tests.simulation.trace import CHANCE
from tests.simulation.worlds import NOON, Lives, Result, run_case

STRIDE = 1 if int(os.environ.get("LOADER_SEEDS", "0")) > 1000 else 5
KINDS = ["insert", "update", "add"]
DAY = timedelta(days=1)
SHOWN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|\+00:00)")
EPOCH, DUSK = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
RETRY_AFTER_CAP_SECONDS = 300.0
ONE_AND_A_REPEAT = 2
"""Executions of a run that was never stopped: the harness repeats the finished command."""
READERS = {"time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.strftime", "datetime.now", "datetime.today",
           "datetime.utcnow", "date.today"}  # fmt: skip


def jumping(draw: Random, *steps: timedelta) -> Callable[[Lives], datetime]:
    """Make a clock that shows another time whenever somebody looks."""
    return lambda _: NOON + draw.choice(steps)


def back(step: timedelta) -> Callable[[Lives], datetime]:
    """Make a clock that only goes back."""
    shown = [NOON]

    def look(_: Lives) -> datetime:
        shown[0] -= step
        return shown[0]

    return look


WALLS: dict[str, Callable[[], Callable[[Lives], datetime]]] = {
    "a day on or back": lambda: jumping(Random(1), DAY, -DAY),
    "summer time begins and ends": lambda: jumping(Random(2), timedelta(0), timedelta(hours=1)),
    "only back": lambda: back(timedelta(seconds=1)),
    "the first and the last day": lambda: jumping(Random(3), EPOCH - NOON, DUSK - NOON),
}


# --- the clock on the wall ----------------------------------------------------------------------------------------------


def told(case: Case) -> list[str]:
    """Return all that disk, network and target saw, without the times that were written down for people."""
    result = run_case(case, is_kept=True)
    assert not result.wrong
    return [SHOWN.sub("", CHANCE.sub("", line)) for line in result.log]


@pytest.mark.parametrize("seed", range(1, 31, STRIDE * 2))
def test_the_clock_on_the_wall_is_only_shown(seed: int) -> None:
    case = draw_case(seed)
    expected = told(case)
    for name, new_clock in WALLS.items():
        with mock.patch.object(Lives, "wall_time", new_clock()):
            assert told(case) == expected, name


def test_nobody_looks_at_the_wall_but_to_show_it() -> None:
    """The clocks of a run come from `World` and `Tools`; the emulator is another process' world."""
    package = Path(str(loader.__file__)).parent
    readers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in READERS
    }
    assert {name for name in readers if not name.startswith("emulator/")} == {"runtime.py", "checkpoint/tools.py"}


# --- Retry-After --------------------------------------------------------------------------------------------------------

SKEWS = {
    "right": 0.0,
    "a day slow": -86400.0,
    "a day fast": 86400.0,
    "in 1990": -36.9 * 365 * 86400,
    "in 2090": 63.1 * 365 * 86400,
}


def limited(kind: str) -> Case:
    """A target that admits five requests a second and says by a date when to come back."""
    limit = {"kind": "window", "per_second": 5, "retry_after": "http_date"}
    plan = {"canbus": {**CANBUS, "rate_limit": limit}, "ozari": {"rate_limit": limit}}
    options = replace(OPTIONS, rate=Rate(50.0), max_records=2)
    return replace(case_of(kind, 30), plan=parse_plan(json.dumps(plan).encode(), is_json=True), options=options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_date_to_come_back_at_is_measured_by_the_targets_own_clock(kind: str) -> None:
    results = {}
    for name, skew in SKEWS.items():
        with mock.patch.object(
            Lives, "target_time", lambda lives, skew=skew: NOON.timestamp() + skew + lives.loop.time()
        ):
            result = run_case(limited(kind))
            assert not result.wrong, name
            results[name] = (result.seconds, result.counts["requests"])
    assert len(set(results.values())) == 1, results


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "value, floor_seconds",
    [
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        ("86400", RETRY_AFTER_CAP_SECONDS),
        ("1000000000", RETRY_AFTER_CAP_SECONDS),
        ("1e9", 0.0),
        ("9" * 400, 0.0),
        ("-3", 0.0),
        ("soon", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),  # without a Date beside it a date says nothing
        ("Fri, 31 Dec 9999 23:59:59 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Sun, 32 Foo 2026 99:99:99 GMT", 0.0),
    ],
)
def test_whatever_retry_after_says_the_run_waits_a_bounded_time(status: int, value: str, floor_seconds: float) -> None:
    rule = {"kind": "status", "status": status, "retry_after": value, "operations": ["insert"], "after": 3, "times": 1}
    result = run_case(case_of("insert", faults=[rule]))
    usual = run_case(case_of("insert")).seconds
    assert not result.wrong
    assert result.counts["executions"] == ONE_AND_A_REPEAT
    # A 503 may have been applied: it is asked about, and what it says to wait counts for nothing.
    lower, upper = (floor_seconds if status == 429 else 0.0), floor_seconds + 120.0
    assert lower <= result.seconds - usual <= upper


# --- a process that stands still ----------------------------------------------------------------------------------------


def times_of(result: Result, word: str) -> list[float]:
    """Return when something happened."""
    return [float(line.partition(" ")[0]) for line in result.log if f"('{word}'" in line]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_stands_still_for_two_timeouts_goes_on(kind: str) -> None:
    case = replace(case_of(kind, 40), options=replace(OPTIONS, rate=Rate(20.0), max_records=2))
    for step in range(0, 20, STRIDE):
        result = run_case(replace(case, troubles=(trouble("stall", seconds=0.05 + 0.1 * step, moment=2 / 3),)))
        assert not result.wrong, step
        assert result.counts["executions"] == ONE_AND_A_REPEAT, step


@pytest.mark.parametrize("weather", ["refused", "silent", "503", "429"])
@pytest.mark.parametrize("kind", KINDS)
def test_time_in_which_the_process_stood_still_costs_no_patience(kind: str, weather: str) -> None:
    """It asked nobody meanwhile, so nobody failed to answer: as with a laptop whose lid was closed in an outage."""
    options = replace(OPTIONS, rate=Rate(20.0), max_records=2, timeout_seconds=60.0, patience_seconds=120.0)
    case = replace(case_of(kind, 40), options=options, weather=Weather(0.02, outages=(Outage(0.5, 5.0, weather),)))
    for step in range(0, 10, STRIDE):
        result = run_case(replace(case, troubles=(trouble("stall", seconds=0.6 + 0.4 * step, moment=0.99),)))
        assert not result.wrong, step
        assert result.counts["executions"] == ONE_AND_A_REPEAT, step


def busiest_second(result: Result) -> int:
    times = times_of(result, "send")
    return max(sum(at <= other < at + 1.0 for other in times) for at in times)


@pytest.mark.parametrize("rate", [Rate(20.0), Rate(None, 20.0)], ids=["fixed", "auto"])
def test_a_process_that_stood_still_does_not_make_up_for_it(rate: Rate) -> None:
    """What it might have sent meanwhile is not saved up: no second brings more than it would have brought anyway."""
    case = replace(case_of("insert", 200), options=replace(OPTIONS, rate=rate, burst=5, concurrency=16))
    most = 25 if rate.per_second else 1.1 * busiest_second(run_case(case, is_kept=True))
    for step in range(0, 5, 2):
        stall = trouble("stall", seconds=1.0 + 0.3 * step, moment=0.99)
        result = run_case(replace(case, troubles=(stall,)), is_kept=True)
        assert not result.wrong, step
        assert busiest_second(result) <= most, step
