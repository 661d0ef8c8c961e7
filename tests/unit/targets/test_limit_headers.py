"""Limit headers: every form that is about, and whatever else a server may send."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.delivery.breaker import Breaker
from loader.delivery.sender import Sender
from loader.emulator.limits import Limits
from loader.emulator.switches import RateLimit
from loader.model import Request, Response
from loader.rate.throttle import AutoThrottle, Throttled
from loader.runtime import Runtime
from loader.targets.limit_headers import Said, read_limits
from loader.transport.base import Follow
from tests.unit.virtual_loop import loop_runtime, run_virtual

DATE = {"date": "Sun, 22 Nov 2026 10:00:00 GMT"}


@pytest.mark.parametrize(
    "headers, said",
    [
        ({"x-ratelimit-limit": "100", "x-ratelimit-remaining": "7", "x-ratelimit-reset": "30"}, Said(100, 7, 30)),
        ({"x-rate-limit-limit": "100", "x-rate-limit-remaining": "7", "x-rate-limit-reset": "3.5"}, Said(100, 7, 3.5)),
        (
            {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "7", "x-ratelimit-reset": "1795341630", **DATE},
            Said(100, 7, 30),
        ),
        (
            {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "7", "ratelimit-reset": "30"},
            Said(100, 7, 30, 60),
        ),
        ({"ratelimit": "limit=100, remaining=7, reset=30"}, Said(100, 7, 30)),
        ({"ratelimit": "limit=100, remaining=7, reset=30", "ratelimit-policy": "100;w=60"}, Said(100, 7, 30, 60)),
        ({"ratelimit": '"default";r=7;t=30', "ratelimit-policy": '"default";q=100;w=60'}, Said(100, 7, 30, 60)),
        ({"ratelimit": '"default";r=7', "ratelimit-policy": '"default";q=100;w=60'}, Said(100, 7, 60, 60)),
        ({"ratelimit": '"default";r=7;t=30'}, None),
        ({"x-ratelimit-limit": "100", "x-ratelimit-remaining": "7", "x-ratelimit-reset": "1795341630"}, None),
        ({"x-ratelimit-limit": "100"}, None),
        ({"x-ratelimit-limit": "0", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, None),
        ({"x-ratelimit-limit": "many", "x-ratelimit-remaining": "7", "x-ratelimit-reset": "30"}, None),
        ({"x-ratelimit-limit": "100", "x-ratelimit-remaining": "-1", "x-ratelimit-reset": "30"}, None),
        ({"retry-after": "7"}, None),
    ],
)
def test_every_form(headers: dict[str, str], said: Said | None) -> None:
    assert read_limits(headers) == said


@given(
    st.dictionaries(
        st.sampled_from(["ratelimit", "ratelimit-policy", "ratelimit-limit", "x-ratelimit-limit"])
        | st.sampled_from(
            ["x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit-remaining", "ratelimit-reset", "date"]
        ),
        st.text(max_size=30) | st.from_regex(r"(limit|r|reset|q|w|t)=?[0-9.;, =rtqw\"]{0,20}", fullmatch=True),
    )
)
def test_nothing_raises_and_what_is_read_makes_sense(headers: dict[str, str]) -> None:
    said = read_limits(headers)
    assert said is None or (said.limit > 0 and 0 <= said.remaining <= said.limit and said.reset_seconds >= 0)


@pytest.mark.parametrize(
    "style, kind, per_minute, share",
    [
        ("x", "window", 600.0, 0.95),
        ("separate", "window", 600.0, 0.95),
        ("fields", "window", 600.0, 0.95),
        ("policy", "window", 600.0, 0.95),
        (
            "policy",
            "sliding",
            600.0,
            0.85,
        ),  # what remains of a sliding window is no plain measure, so it keeps a distance
        ("policy", "bucket", 1200.0, 0.95),
    ],
)
def test_auto_goes_by_what_the_emulator_says(
    style: Literal["x", "separate", "fields", "policy"],
    kind: Literal["window", "sliding", "bucket"],
    per_minute: float,
    share: float,
) -> None:
    """No 429 at all, and nearly the whole limit; a window of a minute would cost many to find."""
    limits = Limits(RateLimit(kind=kind, per_minute=per_minute, headers=style))
    refused: list[float] = []

    class Target:
        async def send(self, request: Request, follow: Follow | None = None) -> Response:
            del request, follow
            now = asyncio.get_running_loop().time()
            is_admitted = limits.take("", "", now).is_admitted
            headers = {name.decode().lower(): value.decode() for name, value in limits.headers("", "", now)}
            await asyncio.sleep(0.05)
            if not is_admitted:
                refused.append(now)
            return Response(201 if is_admitted else 429, headers, b"{}", True, True, 0.05)

        def drop_idle(self) -> None:
            raise AssertionError

        async def close(self) -> None:
            """Nothing is open."""

    async def main() -> int:
        channel = Sender(Target(), AutoThrottle(loop_runtime(draw=lambda: 0.5)), Breaker(Runtime()))
        count = 0

        async def work() -> None:
            nonlocal count
            while True:
                await channel.send(Request("POST", "/", b""), is_record=True)
                count += 1

        tasks = [asyncio.create_task(work()) for _ in range(16)]
        await asyncio.sleep(180)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert "headers" in channel.throttle.describe()
        return count

    count = run_virtual(main())
    assert not refused
    assert count >= share * 180 * per_minute / 60


def test_a_429_all_the_same_cuts_and_holds() -> None:
    async def main() -> tuple[float, float]:
        throttle = AutoThrottle(loop_runtime(), 50)
        ticket = await throttle.admit()
        throttle.follow_headers(6000, 5000, 60, 60)
        before = throttle.rate_per_second
        throttle.answered(ticket, Throttled(None))
        throttle.follow_headers(6000, 4999, 60, 60)
        return before, throttle.rate_per_second

    before, after = run_virtual(main())
    assert after < before
