"""When two updates may be of one row: whatever a database's collation, or its reading of numbers and dates, holds equal."""

from __future__ import annotations

from typing import Any

import pytest

from loader.row_lock import NUMBER, NUMBER_AND_MORE, NUMBER_TEXT, TEXT, UNTOLD, ZERO
from loader.targets.row_locks import fold, row_lock

ALIKE: dict[str, list[Any]] = {
    "case": ["Kfar Saba", "KFAR SABA", "kfar saba"],
    "outer and inner blanks": ["kfar saba", " kfar saba ", "kfar saba\t", "kfar  saba", "kfar\u00a0saba", "kfar saba\u3000"],
    "nothing to see": ["abc", "a\u200bbc", "a\u00adbc", "abc\x00", "\ufeffabc", "abc\ufe0f"],
    "kana": ["はなこ", "ハナコ", "ﾊﾅｺ"],
    "voiced kana": ["がっこう", "ガッコウ", "ｶﾞｯｺｳ", "か\u3099つこう"],
    "long vowels": ["ラーメン", "らーめん", "ﾗｰﾒﾝ"],
    "width": ["ABC-12", "ＡＢＣ－１２", "ａｂｃ－１２"],
    "digits of other scripts": ["12", "١٢", "१२", "①②", "１２"],
    "sharp s": ["Straße", "STRASSE", "strase", "STRAẞE"],
    "umlauts": ["Müller", "Mueller", "MULLER", "Mu\u0308ller"],
    "Turkish i": ["Işık", "işik", "ISIK", "İŞİK", "ışık"],
    "strokes": ["Łódź", "Lodz", "łodz"],
    "Danish": ["Århus", "Aarhus", "arhus"],
    "Norwegian": ["Bærøy", "baeroy", "Baroi"],
    "Icelandic": ["Þór", "thor"],
    "French": ["Œuvre", "oeuvre"],
    "ligatures": ["ﬁnal", "final"],
    "combining marks": ["école", "e\u0301cole", "ECOLE"],
    "Hebrew points and final letters": ["שָׁלוֹם", "שלום", "שלומ"],
    "Arabic marks": ["مُحَمَّد", "محمد"],
    "Greek": ["ΟΔΟΣ", "οδος", "οδός"],
    "Cyrillic": ["Ёлка", "елка"],
    "beyond the old character sets": ["a🍣", "a🍺"],
    "numbers": [1547, 1547.0, "1547", " 1547", "01547", "+1547", "1547.00", "1.547e3", "１５４７"],
    "long numbers": [9007199254740993, "9007199254740992", 9007199254740992.0],
    "noughts": [0, -0.0, "0", "-0", "0.00"],
    "dates": ["2026-01-05", "2026-1-5", "2026/01/05", "20260105", 20260105, "2026-01-05 00:00:00", "2026-01-05T00:00:00Z"],
}  # fmt: skip


@pytest.mark.parametrize("what", ALIKE)
def test_values_that_a_database_may_hold_equal_have_one_lock(what: str) -> None:
    locks = {row_lock({"fk": value}, {"name": "x"}).texts for value in ALIKE[what]}
    assert len(locks) == 1, locks


@pytest.mark.parametrize(
    "one, other",
    [
        ("K1", "K2"),
        ("K1", "K11"),
        ("2024-0001", "2024-0002"),
        ("1547", "1547abc"),
        ("はな", "はに"),
        ("שלום", "שלוט"),
        ("吉田", "吉川"),
        (1547, 1548),
        ("a", ""),
        ("12.5", "125"),
    ],
)
def test_values_that_are_told_apart_have_two(one: Any, other: Any) -> None:
    assert row_lock({"fk": one}, {"name": "x"}).texts != row_lock({"fk": other}, {"name": "x"}).texts


@pytest.mark.parametrize("values", [[1547, "1547", "1547abc", "1547 abc", "1547-2"], ["12", "12A"], [0, "0x1"]])
def test_by_number_a_text_is_the_number_that_it_begins_with(values: list[Any]) -> None:
    assert len({row_lock({"fk": value}, {"name": "x"}).numbers for value in values}) == 1


@pytest.mark.parametrize(
    "value, forms",
    [
        (5, NUMBER),
        (0, NUMBER | ZERO),
        (10**400, NUMBER),
        ("5", NUMBER_TEXT),
        ("2026-1-5", NUMBER_TEXT),
        ("5A", NUMBER_AND_MORE),
        ("A5", TEXT),
        ("", TEXT),
        (None, 0),
        (True, 0),
    ],
)
def test_forms(value: Any, forms: int) -> None:
    assert row_lock({"fk": value}, {"name": "x"}).forms == forms


def test_fields_in_any_order_and_case_are_one_set() -> None:
    one = row_lock({"fcode": "K1", "Fcity": "x"}, {"name": "a"})
    assert one == row_lock({"fcity": "x", "FCODE": "k1"}, {"name": "b"})
    assert one.fields == "fcity\nfcode"


@pytest.mark.parametrize("value", [None, True, False])
def test_what_tells_no_row_apart_is_left_out(value: Any) -> None:
    assert row_lock({"fk": "a", "is_open": value}, {"x": 1}) == row_lock({"fk": "a"}, {"x": 1})


def test_an_update_of_its_own_filters_locks_the_row_that_it_makes_too() -> None:
    lock = row_lock({"fk": "A", "n": 1}, {"FK": "B", "x": 1})
    assert lock.texts == (
        *row_lock({"fk": "A", "n": 1}, {"x": 1}).texts,
        *row_lock({"fk": "B", "n": 1}, {"x": 1}).texts,
    )
    assert len(row_lock({"fk": "A"}, {"fk": "a"}).texts) == 1
    assert row_lock({"fk": "A"}, {"fk": None}).forms & UNTOLD


@pytest.mark.parametrize("text", ["", " ", "\x7f", "\ud7ff", "\U0010ffff", "\u0378", "ﷺ" * 3, "a" * 5000])
def test_any_text_can_be_folded(text: str) -> None:
    assert isinstance(fold(text), str)
    assert fold(fold(text)) == fold(text)
