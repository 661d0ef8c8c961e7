"""What a text that was kept proves of another."""

from __future__ import annotations

import pytest

from loader.reconcile.kinds_of_text import extent_of


@pytest.mark.parametrize(
    "proved, wanted",
    [
        ("Ab-12", "Ab-12"),
        ("Ab-12", "B7"),
        ("Ab-12", "ab"),
        ("Ab-12", "-"),
        ("1234", "99"),
        ("007", "12"),
        ("כפר סבא", "סבא"),
        ("Ab_12 x"[:2] + ".1", "a@1"),
        (" x ", "x"),
    ],
)
def test_a_text_covers_shorter_ones_of_its_kinds(proved: str, wanted: str) -> None:
    assert extent_of(proved).covers(extent_of(wanted))


@pytest.mark.parametrize(
    "proved, wanted",
    [
        ("ab12", "ab123"),  # longer
        ("ab12", "AB12"),  # a column may fold case
        ("AB12", "ab12"),
        ("Ab12", "12"),  # a number may be written in another form, or be lost in its column
        ("12", "007"),
        ("1234", "1.0"),
        ("123", "1e2"),
        ("x-y", "2026-1-5"),
        ("xyz", "x y"),
        ("x yz", "xy "),  # trimmed
        ("x yz", " xy"),
        ("x-yz", "x'y"),
        ("x-yz", "x%y"),
        ("x-yz", "x\\y"),
        ("abcd", "abcé"),
        ("éabc", "e\u0301bc"),  # decomposed
        ("éabc", "Éabc"),
        ("カナカナ", "かな"),
        ("カナカナ", "ｶﾅ"),
        ("漢字漢字", "𠮷"),  # four bytes
        ("abcd", "a\tb"),
        ("aaaa", "éé"),
    ],
)
def test_it_covers_no_others(proved: str, wanted: str) -> None:
    assert not extent_of(proved).covers(extent_of(wanted))


def test_length_counts_in_characters_and_in_bytes() -> None:
    assert extent_of("éa").covers(extent_of("aé"))
    assert not extent_of("éab").covers(extent_of("ééa"))
