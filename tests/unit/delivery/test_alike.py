"""Records that all end alike stop the run, where nothing can be asked about them."""

from __future__ import annotations

import pytest

from loader.delivery.alike import LONE_FAULTS_TO_STOP, RECORDS_TO_STOP, Alike
from loader.delivery.breaker import Breaker
from loader.delivery.stop import Stop
from loader.model import Unknown
from tests.unit.virtual_loop import in_virtual_time, loop_runtime

MISSING = Unknown("the target answered 500: Column fcode cannot be null", 500)


async def count(verdicts: list[Unknown], *, lone_faults: int = LONE_FAULTS_TO_STOP, good_after: int = 10**9) -> Stop:
    breaker, stop = Breaker(loop_runtime()), Stop()
    breaker.lone_faults = lone_faults
    alike = Alike(breaker, stop)
    for number, verdict in enumerate(verdicts, 1):
        alike.add(verdict, 1)
        if number % good_after == 0:
            alike.end_row()
    return stop


@in_virtual_time
async def test_a_handful_that_ends_alike_stops_the_run_with_the_targets_words() -> None:
    stop = await count([MISSING] * RECORDS_TO_STOP)
    assert stop.error is not None
    assert stop.error.message == f"{RECORDS_TO_STOP} records in a row ended alike: {MISSING.reason}"


@pytest.mark.parametrize(
    "verdicts, options",
    [
        ([MISSING] * (RECORDS_TO_STOP - 1), {}),
        ([MISSING, Unknown("the target answered 500: deadlock", 500)] * RECORDS_TO_STOP, {}),
        ([MISSING] * 50, {"good_after": RECORDS_TO_STOP - 1}),
        ([MISSING] * 50, {"lone_faults": LONE_FAULTS_TO_STOP - 1}),  # the probe has not been answered well yet
        ([Unknown("the target answered 503: busy", 503)] * 50, {}),
        ([Unknown("lost")] * 50, {}),
    ],
)
@in_virtual_time
async def test_others_do_not(verdicts: list[Unknown], options: dict[str, int]) -> None:
    assert not (await count(verdicts, **options)).is_requested
