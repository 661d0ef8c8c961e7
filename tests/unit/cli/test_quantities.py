"""Numbers as people type them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.cli import quantities
from loader.errors import UsageError
from loader.settings import Rate, RejectLimit


@pytest.mark.parametrize(
    "text, rate",
    [
        ("200", Rate(200.0)),
        ("200/s", Rate(200.0)),
        ("0.5/s", Rate(0.5)),
        ("600/min", Rate(10.0)),
        ("auto", Rate()),
        ("AUTO:200", Rate(start_per_second=200.0)),
        ("auto:600/min", Rate(start_per_second=10.0)),
    ],
)
def test_rates(text: str, rate: Rate) -> None:
    assert quantities.parse_rate("--rate", text) == rate


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "nan", "inf", "1e3", "200/h", "auto:", "auto:0", "٣", "1 000", "200/s/s"]
)
def test_refused_rates(text: str) -> None:
    with pytest.raises(UsageError, match="--rate"):
        quantities.parse_rate("--rate", text)


@pytest.mark.parametrize(
    "text, number",
    [
        ("8388608", 8388608),
        ("8MiB", 8388608),
        ("8 mib", 8388608),
        ("8MB", 8000000),
        ("1.5KiB", 1536),
        ("512B", 512),
        ("1gib", 2**30),
    ],
)
def test_sizes(text: str, number: int) -> None:
    assert quantities.parse_size("--max-bytes", text) == number


@pytest.mark.parametrize("text", ["", "0", "-8", "8M", "8XB", "MiB", "0.1B"])
def test_refused_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="--max-bytes"):
        quantities.parse_size("--max-bytes", text)


@pytest.mark.parametrize(
    "text, number", [("60", 60), ("0.5", 0.5), ("60s", 60), ("15min", 900), ("15m", 900), ("1h", 3600)]
)
def test_times(text: str, number: float) -> None:
    assert quantities.parse_seconds("--patience", text) == number


def test_zero_seconds_only_where_it_means_something() -> None:
    assert quantities.parse_seconds("--settle", "0", may_be_zero=True) == 0
    with pytest.raises(UsageError):
        quantities.parse_seconds("--timeout", "0")
    with pytest.raises(UsageError):
        quantities.parse_seconds("--settle", "-1", may_be_zero=True)


@pytest.mark.parametrize(
    "text, limit",
    [
        ("0", RejectLimit(0)),
        ("500", RejectLimit(500)),
        ("2%", RejectLimit(percent=2.0)),
        ("100%", RejectLimit(percent=100.0)),
        ("0.5 %", RejectLimit(percent=0.5)),
    ],
)
def test_reject_limits(text: str, limit: RejectLimit) -> None:
    assert quantities.parse_reject_limit("--max-rejects", text) == limit


@pytest.mark.parametrize("text", ["", "%", "101%", "-1", "1.5", "x%"])
def test_refused_reject_limits(text: str) -> None:
    with pytest.raises(UsageError):
        quantities.parse_reject_limit("--max-rejects", text)


@pytest.mark.parametrize("text", ["", "0", "-3", "1.0", "1e3", "9" * 16])
def test_refused_counts(text: str) -> None:
    with pytest.raises(UsageError):
        quantities.parse_count("--limit", text)
    assert quantities.parse_count("--limit", "1_000") == 1000


READERS: list[Callable[[str, str], object]] = [
    quantities.parse_rate,
    quantities.parse_size,
    quantities.parse_seconds,
    quantities.parse_count,
    quantities.parse_reject_limit,
]


@pytest.mark.parametrize("read", READERS)
@given(text=st.text(max_size=12))
def test_any_text_is_a_value_or_a_usage_error(read: Callable[[str, str], object], text: str) -> None:
    try:
        read("--option", text)
    except UsageError as error:
        assert error.hint  # noqa: PT017 - both ways out are right, and each is looked at
