"""Waits between attempts: bounded, jittered, never below Retry-After; patience and budget."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.delivery.retry import GiveUp, RetryBudget, RetryPolicy, Schedule, Wait
from loader.model import Retry

FAULT, THROTTLED = Retry("refused"), Retry("throttled", is_throttled=True)
ALMOST_ONE = 1 - 2**-53


def wait(policy: RetryPolicy, attempt: int, retry: Retry, draw: float, *, has_budget: bool = True) -> Wait:
    step = policy.next_step(attempt, retry, 0.0, draw, has_budget=has_budget)
    assert isinstance(step, Wait)
    return step


@pytest.mark.parametrize(
    "retry, ceilings",
    [(FAULT, [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]), (THROTTLED, [1, 2, 4, 8, 16, 32, 60, 60])],
)
def test_each_schedule_doubles_up_to_its_cap(retry: Retry, ceilings: list[float]) -> None:
    policy = RetryPolicy()
    waits = [wait(policy, attempt, retry, ALMOST_ONE).seconds for attempt in range(1, len(ceilings) + 1)]
    assert waits == pytest.approx(ceilings)


def test_the_jitter_is_full() -> None:
    policy = RetryPolicy()
    assert [wait(policy, 3, FAULT, draw).seconds for draw in (0.0, 0.25, 0.5)] == pytest.approx([0.0, 0.05, 0.1])


@given(
    attempt=st.integers(-5, 10**30),
    after=st.none() | st.floats(-1e12, 1e12),
    draw=st.floats(0, 1, exclude_max=True),
    is_throttled=st.booleans(),
    has_budget=st.booleans(),
)
def test_no_wait_is_absurd(
    *, attempt: int, after: float | None, draw: float, is_throttled: bool, has_budget: bool
) -> None:
    policy = RetryPolicy()
    step = wait(policy, attempt, Retry("r", after, is_throttled), draw, has_budget=has_budget)
    assert math.isfinite(step.seconds)
    assert 0 <= step.seconds <= policy.max_retry_after_seconds + 1
    assert step.is_pause is not has_budget
    if after is not None:
        assert step.seconds >= min(max(after, 0), policy.max_retry_after_seconds)


def test_chunks_that_were_told_the_same_time_do_not_come_back_at_once() -> None:
    policy = RetryPolicy()
    told = Retry("throttled", 10.0, is_throttled=True)
    assert wait(policy, 1, told, 0.0).seconds == 10.0
    assert wait(policy, 1, told, 0.9).seconds == pytest.approx(10.9)


def test_a_longer_backoff_of_our_own_is_kept() -> None:
    assert wait(RetryPolicy(), 6, Retry("throttled", 1.0, is_throttled=True), ALMOST_ONE).seconds == pytest.approx(32)


def test_a_spent_budget_is_a_long_pause() -> None:
    step = wait(RetryPolicy(), 1, FAULT, 0.0, has_budget=False)
    assert step == Wait(15.0, is_pause=True)


@pytest.mark.parametrize("bad_seconds, gives_up", [(0.0, False), (899.9, False), (900.0, True), (1e9, True)])
def test_patience(bad_seconds: float, gives_up: bool) -> None:
    step = RetryPolicy().next_step(1, FAULT, bad_seconds, 0.5)
    assert isinstance(step, GiveUp) is gives_up
    if isinstance(step, GiveUp):
        assert "refused" in step.reason


@pytest.mark.parametrize("retry", [FAULT, THROTTLED])
def test_nobody_waits_as_long_as_the_patience_lasts(retry: Retry) -> None:
    # Seed 28820 of the simulation: a pause of 30 s and more outlasted a patience of 20 s, and so every execution gave up.
    policy = RetryPolicy(20.0)
    assert wait(policy, 99, retry, ALMOST_ONE).seconds == pytest.approx(5.0)
    assert wait(policy, 1, retry, ALMOST_ONE, has_budget=False).seconds == pytest.approx(5.0)
    assert wait(policy, 1, retry, 0.0, has_budget=False).seconds == pytest.approx(2.5)


def test_a_schedule_never_overflows() -> None:
    assert Schedule(1e300, 1e308).ceiling_seconds(10**9) == 1e308


def test_the_budget_is_spent_by_faults_and_earned_by_successes() -> None:
    budget = RetryBudget()
    spent = 0
    while budget.spend(is_throttled=False):
        spent += 1
    assert (spent, budget.tokens) == (500 // 14, 500 % 14)
    assert budget.spend(is_throttled=True)
    assert budget.spend(is_throttled=True)
    assert not budget.spend(is_throttled=True)
    assert budget.tokens == 0
    for _ in range(5):
        budget.succeed()
    assert budget.spend(is_throttled=True)
    for _ in range(1000):
        budget.succeed()
    assert budget.tokens == 500
    assert repr(budget) == "RetryBudget(500 of 500)"
