"""What people read: numbers with separators, and foreign text that can do nothing to a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.redaction import escape
from loader.report import wording


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain", "plain"),
        ("שלום 東京 éé", "שלום 東京 éé"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("one\nerror: two", "one\\nerror: two"),
        ("\x9b2J", "\\x9b2J"),
        ("abc\u202egnp", "abc\\u202egnp"),
        ("a\ud800b", "a\\ud800b"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_foreign_text_is_shown_and_harmless(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(st.text())
def test_escaped_text_is_one_printable_line(text: str) -> None:
    shown = escape(text, None)
    assert "\n" not in shown
    assert "\x1b" not in shown
    shown.encode("utf-8")


def test_long_text_is_cut() -> None:
    assert escape("x" * 500) == "x" * 200 + "..."
    assert escape("x" * 500, None) == "x" * 500


@pytest.mark.parametrize(
    "number, text", [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (48_112_233, "45.9 MiB"), (3 * 2**40, "3.0 TiB")]
)
def test_sizes(number: int, text: str) -> None:
    assert wording.size(number) == text


@pytest.mark.parametrize(
    "number, text", [(0.04, "0.0 s"), (9.94, "9.9 s"), (61.2, "61 s"), (125, "2 min 05 s"), (7800, "2 h 10 min")]
)
def test_times(number: float, text: str) -> None:
    assert wording.seconds(number) == text


def test_counts_and_rates() -> None:
    assert wording.count(171075) == "171,075"
    assert wording.counted(1, "retry", "retries") == "1 retry"
    assert wording.counted(2, "retry", "retries") == "2 retries"
    assert wording.rate(2795.4) == "2,795"
    assert wording.rate(0.5) == "0.5"
