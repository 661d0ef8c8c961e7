"""The check of many lines at once, against `parse` on each line."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.reading import bulk_check
from loader.reading.bulk_check import BulkCheck
from loader.reading.parsing import BLANK, parse
from tests.unit.reading.bad_lines import BAD_LINES, SUSPICIOUS_GOOD_LINES, BadLine

ROW = b'{"a":1,"b":"x"}\n'
VALUES = st.sampled_from(
    [
        *rb"1 -0 1e5 1E400 -1.5e-400 00 1. .5 +1 nul NaN true null []".split(),
        *rb'"\ud800" "\ud83d\ude00" "\x" "\u003a" "\":" "12:30" ":-)" "{" {"a":1} {"a":1,"a":2} [{"b":{}}] {}'.split(),
        *(b'"\xff"', b'"\xed\xa0\x80"', b'"\xc3\xa9"', b'"\x01"', b'"\x7f"', b'" :"', b'"Tag"', b'{"Tag":1}'),
        *(b"9" * 308, b"9" * 309, b"-" + b"9" * 309, b"9" * 400 + b".0", b"9" * 400 + b"e-200", b"9" * 5000, b"1" * 20),
        *(b"[" * 70 + b"]" * 70, b'{"x":' * 70 + b"1" + b"}" * 70, b"[" * 9000 + b"]" * 9000),
    ]
)
NAMES = st.sampled_from([b'"a"', b'"b"', b'"\\u0061"', b'"Tag"', b'"T\\u0061g"', b'"c:"', b'"c" ', b'"c"\t', b'"\xff"'])


def members(names: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    return b"{" + b",".join(name + b":" + value for name, value in zip(names, values, strict=True)) + b"}\n"


def rows(names: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    values = st.lists(VALUES, min_size=len(names), max_size=len(names))
    return values.map(lambda drawn: members(names, drawn))


USUAL = rows([b'"a"', b'"b"'])
OTHER = st.lists(NAMES, max_size=4).flatmap(rows)


def is_good(line: bytes, forbidden: str = "Tag") -> bool:
    data = line.strip(BLANK)
    fields = parse(data) if data else None
    return type(fields) is dict and forbidden not in fields and line[:1] == b"{" and line[-2:] == b"}\n"


def checked(parts: Sequence[Sequence[bytes]]) -> list[bool]:
    check = BulkCheck(("Tag",))
    return [check.all_good(lines, b"".join(lines)) for lines in parts]


@given(st.lists(st.lists(USUAL | OTHER, min_size=1, max_size=4), min_size=1, max_size=4))
def test_no_line_is_taken_that_parse_would_refuse(parts: list[list[bytes]]) -> None:
    parts = [part for at, part in enumerate(parts) for part in ([ROW], part)[at % 2 :]]  # a layout is known, or none
    for lines, all_good in zip(parts, checked(parts), strict=True):
        assert not all_good or all(map(is_good, lines))


@pytest.mark.parametrize("line", BAD_LINES, ids=[line.name for line in BAD_LINES])
def test_a_bad_line_is_seen_among_good_ones(line: BadLine) -> None:
    bad = line.data + b"\n"
    assert checked([[ROW], [ROW, bad], [bad, ROW], [bad], [ROW]]) == [True, False, False, False, True]


@pytest.mark.parametrize("data", SUSPICIOUS_GOOD_LINES.values(), ids=SUSPICIOUS_GOOD_LINES)
def test_a_suspicious_line_is_taken_for_what_it_is(data: bytes) -> None:
    line = data.strip(BLANK) + b"\n"
    for all_good in checked([[line], [line, line]]):
        assert not all_good or is_good(line)


@pytest.mark.parametrize("shift", range(24))
@pytest.mark.parametrize("sign", [b"", b"-"])
def test_an_integer_past_the_largest_double_is_seen_wherever_it_stands(shift: int, sign: bytes) -> None:
    """The layout's decoder takes it; orjson, and so `parse`, does not."""
    line = members([b'"a"', b'"b"'], [sign + b"9" * 309, b'"' + b"x" * shift + b'"'])
    pad = members([b'"a"', b'"b"'], [b"1", b'"' + b"x" * shift + b'"'])
    assert not is_good(line)
    assert checked([[pad], [pad, line, pad], [line]]) == [True, False, False]


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"a":1,"b":2}\n', b'{"b":"x","a":null}\n'],
        [b'{"a":"12:30","b":"http://x"}\n', b'{"a":":-)","b":"http://x"}\n'],
        [b'{"a":"12:30:00","b":"12:30"}\n'] * 3,
        [b'{"a": "12:30", "b": "x : y"}\n'],
        [b'{"a":[1,{"c":"12:30"}],"b":{}}\n'],
        [b'{"a":"\\"","b":"12:30"}\n'],
        [b'{"a":1}\n', b'{"b":2}\n', b'{"a":1,"b":"x:y"}\n'],
        [b'{"\\"a":1}\n'],
        [b"{" + b",".join(b'"f%d":%d' % (n, n) for n in range(200)) + b"}\n"] * 2,
        [b'{"a":' + b"9" * 308 + b"}\n"],
    ],
)
def test_good_lines_are_taken_together(lines: list[bytes]) -> None:
    assert all(map(is_good, lines))
    assert checked([lines, lines]) == [True, True]


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"a":1,"a":2}\n', b'{"b":2}\n'],  # as many colons as two rows of the layout
        [b'{"a":1,"a" :2,"b":3}\n'],
        [b'{"a":1,"a"\t:2,"b":3}\n'],
        [b'{"a":1,"b":{"c":1,"c":2}}\n'],
        [b'{"a":"12:30","b":3,"b":4}\n'],
        [b'{"a":"x","\\u0061":2,"b":3}\n'],
        [b'{"a":"\\u003a","b":2,"b":3}\n'],
        [b'{"a":1,"b":' + b"[" * 70 + b"]" * 70 + b"}\n"],
    ],
)
def test_what_orjson_lets_pass_is_seen_in_rows_of_a_known_layout(lines: list[bytes]) -> None:
    assert not all(map(is_good, lines))
    assert checked([[ROW], lines, [ROW, *lines]]) == [True, False, False]


@pytest.mark.parametrize(
    "line, is_taken",
    [
        (b'{"a":"Tag"}\n', True),
        (b'{"a":"gaT"}\n', True),
        (b'{"Tag":1}\n', False),
        (b'{"\\u0054ag":1}\n', False),
        (b'{"a":{"Tag":1}}\n', True),
    ],
)
def test_a_name_that_must_be_absent_is_found_as_a_member_only(line: bytes, is_taken: bool) -> None:
    assert checked([[line], [line, line], [b'{"b":1}\n', line]]) == [is_taken] * 3


def test_names_that_a_target_does_not_take_are_seen() -> None:
    check = BulkCheck((), lambda names: "fid" not in names)
    rows = [[b'{"a":1}\n'] * 2, [b'{"a":1,"fid":2}\n'], [b'{"b":1}\n'], [b'{"a":1}\n', b'{"b":1}\n']]
    assert [check.all_good(lines, b"".join(lines)) for lines in rows] == [True, False, True, False]


def test_rows_of_another_table_are_learned_and_mixed_ones_are_not_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned: list[tuple[str, ...]] = []
    make = bulk_check._layout

    def noted(names: tuple[str, ...]) -> bulk_check.Layout | None:
        learned.append(names)
        return make(names)

    monkeypatch.setattr(bulk_check, "_layout", noted)
    first, second = ([json.dumps({name: 1}).encode() + b"\n"] * 2 for name in "ab")
    mixed = [first[0], second[0]]
    check = BulkCheck(())
    for part in [first, first, second, second, *[mixed] * 1000, second]:
        assert check.all_good(part, b"".join(part))
    assert learned[:2] == [("a",), ("b",)]
    assert 3 <= len(learned) <= 12
