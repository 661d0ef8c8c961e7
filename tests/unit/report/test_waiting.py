"""What is said of a wait: for what, since when, until when."""

from __future__ import annotations

import pytest

from loader.report.waiting import LEAST_SECONDS, Waiting, Waits

NOW = "2026-11-22T09:59:50Z"


@pytest.mark.parametrize(
    "waiting, text",
    [
        (Waiting("the source"), "the source"),
        (Waiting("x", since=100.0), "x"),  # it has only begun
        (Waiting("x", since=40.0), "x; for 60 s"),
        (Waiting("x", until=110.0), "x; until 10:00:00 UTC"),
        (Waiting("x", until=100.0), "x"),
        (Waiting("x", 40.0, 99_999.0), "x; for 60 s, until 2026-11-23 13:44:49 UTC"),
    ],
)
def test_the_text_of_a_wait(waiting: Waiting, text: str) -> None:
    assert waiting.text(100.0, NOW) == text


def test_a_clock_without_a_date_says_how_long() -> None:
    assert Waiting("x", until=130.0).text(100.0, "noon") == "x; for 30 s more"


def test_the_last_wait_that_is_not_over_counts_once_it_has_lasted() -> None:
    now = [0.0]
    waits = Waits(lambda: now[0])
    seen = []
    with waits.on("a", 60.0):
        seen.append(waits.current)
        now[0] = LEAST_SECONDS
        seen.append(waits.current)
        with waits.on("b"):
            now[0] = 5.0
            seen.append(waits.current)
        seen.append(waits.current)
    seen.append(waits.current)
    assert seen == [None, Waiting("a", 0.0, 60.0), Waiting("b", LEAST_SECONDS), Waiting("a", 0.0, 60.0), None]
