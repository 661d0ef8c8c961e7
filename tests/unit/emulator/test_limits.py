"""The four kinds of limit, held against a count of what they let through, and the answers they give."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.emulator.limits import new_limiter
from loader.emulator.plan import Plan
from loader.emulator.switches import CanbusApp, CanbusSwitches, OzariSwitches, RateLimit
from tests.unit.emulator.calls import CREDENTIALS, NOW, World

PROBE = ("GET", "/integration/auth/test")


def limited(**limit: Any) -> World:
    return World(Plan(ozari=OzariSwitches(rate_limit=RateLimit(**limit))))


def statuses(world: World, count: int) -> list[int]:
    return [world.call(*PROBE)[0] for _ in range(count)]


gaps = st.lists(st.floats(0, 0.5), min_size=1, max_size=200)


@given(gaps)
def test_sliding_window_never_admits_more_in_any_second(waits: list[float]) -> None:
    limiter = new_limiter(RateLimit(kind="sliding", per_second=5))
    now, admitted = 0.0, []
    for wait in waits:
        now += wait
        if limiter.take(now).is_admitted:
            admitted.append(now)
    assert all(later - first >= 1.0 for first, later in zip(admitted, admitted[5:], strict=False))


@given(gaps)
def test_window_counts_by_the_clock(waits: list[float]) -> None:
    limiter = new_limiter(RateLimit(kind="window", per_second=3))
    now, counts = 0.0, dict.fromkeys(range(200), 0)
    for wait in waits:
        now += wait
        answer = limiter.take(now)
        assert answer.is_admitted is (counts[int(now)] < 3)
        counts[int(now)] += answer.is_admitted
        if not answer.is_admitted:
            assert answer.seconds == pytest.approx(int(now) + 1 - now)


@given(gaps)
def test_bucket_admits_its_burst_and_its_rate(waits: list[float]) -> None:
    limiter = new_limiter(RateLimit(kind="bucket", per_second=4, burst=2))
    now, admitted = 0.0, 0
    for wait in waits:
        now += wait
        admitted += limiter.take(now).is_admitted
    assert admitted <= 2 + 4 * (now - waits[0]) + 1e-6


def test_refused_request_is_admitted_after_the_time_it_was_told() -> None:
    for kind in ("window", "sliding", "bucket", "leaky"):
        limiter = new_limiter(RateLimit(kind=kind, per_second=2, burst=2))
        now = 100.0
        while (answer := limiter.take(now)).is_admitted:
            now += 0.001
        assert not limiter.take(now + answer.seconds - 0.01).is_admitted, kind
        assert limiter.take(now + answer.seconds + 0.01).is_admitted, kind


def test_leaky_bucket_makes_wait_then_refuses() -> None:
    limiter = new_limiter(RateLimit(kind="leaky", per_second=10, burst=3))
    answers = [limiter.take(5.0) for _ in range(6)]
    assert [answer.is_admitted for answer in answers] == [True, True, True, True, False, False]
    assert [round(answer.seconds, 3) for answer in answers[:4]] == [0.0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize("kind", ["sliding", "bucket"])
def test_rejects_count(kind: Any) -> None:
    def admitted(*, rejects_count: bool) -> int:
        limiter = new_limiter(RateLimit(kind=kind, per_second=5, burst=5, rejects_count=rejects_count))
        return sum(limiter.take(step / 100).is_admitted for step in range(1000))

    assert admitted(rejects_count=False) >= 50
    assert admitted(rejects_count=True) <= 10


def test_rates_below_one_a_window() -> None:
    limiter = new_limiter(RateLimit(per_second=0.5))
    assert [limiter.take(now).is_admitted for now in (0.0, 1.9, 2.0, 3.9, 4.0)] == [True, False, True, False, True]


def test_minute_window() -> None:
    world = limited(per_minute=3)
    assert statuses(world, 4) == [200, 200, 200, 429]
    world.now += 60
    assert statuses(world, 4) == [200, 200, 200, 429]


def test_refusal_is_counted_and_writes_nothing() -> None:
    world = limited(per_second=1, status=503)
    path = "/integration/tables/tcust/records"
    assert [world.call("POST", path, {"fields": {"a": "x"}})[0] for _ in range(3)] == [201, 503, 503]
    assert (world.journal.throttled, len(world.tables.rows("tcust"))) == (2, 1)


@pytest.mark.parametrize(
    "kind, header", [("none", None), ("exact", b"0.600"), ("rounded_up", b"1"), ("fixed", b"86400")]
)
def test_retry_after(kind: Any, header: bytes | None) -> None:
    world = limited(per_second=1, retry_after=kind)
    world.now = NOW + 0.4
    world.call(*PROBE)
    answer = world.answer(*PROBE)
    assert answer.status == 429
    assert dict(answer.headers).get(b"Retry-After") == header


def test_retry_after_as_a_date() -> None:
    world = limited(per_minute=1, retry_after="http_date")
    world.call(*PROBE)
    headers = dict(world.answer(*PROBE).headers)
    until, sent = (headers[name].decode() for name in (b"Retry-After", b"Date"))
    assert until.endswith("GMT")
    assert 0 < (parsedate_to_datetime(until) - parsedate_to_datetime(sent)).total_seconds() <= 61
    assert 0 < parsedate_to_datetime(until).timestamp() - NOW <= 61


def test_absurd_retry_after() -> None:
    world = limited(per_second=1, retry_after="fixed", retry_after_seconds=-5)
    world.call(*PROBE)
    assert dict(world.answer(*PROBE).headers)[b"Retry-After"] == b"-5"


def test_scope_of_canbus_is_the_table() -> None:
    def world(scope: Any) -> World:
        apps = (CanbusApp(), CanbusApp(app_id="second"))
        return World(Plan(canbus=CanbusSwitches(apps=apps, rate_limit=RateLimit(per_second=1, scope=scope))))

    def ask(one: World) -> list[int]:
        bodies: list[dict[str, Any]] = [
            {**CREDENTIALS, "app_id": name, "metadata": {}} for name in ("emulator-app", "second", "second")
        ]
        return [one.call("GET", "/api/records/metadata", body)[0] for body in bodies]

    assert ask(world("table")) == [200, 200, 429]
    assert ask(world("tenant")) == [200, 429, 429]
    assert ask(world("ip")) == [200, 429, 429]


def test_canbus_refusal_is_authen_ng() -> None:
    world = World(Plan(canbus=CanbusSwitches(rate_limit=RateLimit(per_second=1))))
    world.canbus("GET", "/api/records/metadata", metadata={})
    assert world.canbus("GET", "/api/records/metadata", metadata={}) == (429, {"authen": "NG"})
    assert world.call(*PROBE)[0] == 200
