from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.model import Rejected
from loader.reading.parsing import BLANK, cut, members, parse, text_of
from tests.unit.reading.bad_lines import BAD_LINES, SUSPICIOUS_GOOD_LINES, BadLine


def test_the_corpus_has_its_size() -> None:
    assert len(BAD_LINES) >= 70
    assert len({line.data for line in BAD_LINES}) == len(BAD_LINES)
    assert not any(b"\n" in line.data for line in BAD_LINES)


@pytest.mark.parametrize("line", BAD_LINES, ids=[line.name for line in BAD_LINES])
def test_bad_line_is_refused_with_its_code(line: BadLine) -> None:
    refused = parse(line.data.strip(BLANK))
    assert isinstance(refused, Rejected)
    assert (refused.stage, refused.code) == ("parse", line.code)
    assert refused.message
    assert refused.message.isascii()
    assert refused.message.isprintable()
    assert len(refused.message) < 150


@pytest.mark.parametrize("data", SUSPICIOUS_GOOD_LINES.values(), ids=SUSPICIOUS_GOOD_LINES)
def test_suspicious_line_is_good(data: bytes) -> None:
    fields = parse(data)
    assert type(fields) is dict
    assert list(fields) == list(json.loads(data))


@pytest.mark.parametrize(
    "data, words",
    [
        (b'{"a":1,}', "column 7"),
        (b'{"a":"\xff"}', "byte 7"),
        (b'{"a":1}\0', "column 8"),
        (b'{"a":1,"b":NaN}', "column 12"),
        (b'{"a":1,"b":NaN}', '"b" is NaN, which no target takes'),
        (b'{"a":{"b":[1,{"c":-Infinity}]}}', '"a.b[1].c" is -Infinity'),
        (b'{"a":1e400}', '"a" is past the largest double'),
        (b'{"a":"say \\\\"hi\\\\""}', "backslashes look doubled: export with `psql -At` or `mysql --raw`"),
        (b"null", "null, not an object"),
        (b"[1]", "an array, not an object"),
        (b"false", "a boolean, not an object"),
        (b'{"user":1,"user":2}', '"user"'),
        (b'{"\\u001b[2J":1,"\\u001b[2J":2}', '"\\x1b[2J"'),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
    ],
)
def test_message_says_where_and_what(data: bytes, words: str) -> None:
    refused = parse(data)
    assert isinstance(refused, Rejected)
    assert words in refused.message


def test_message_holds_no_more_than_an_excerpt_of_a_key() -> None:
    name = "k" * 100_000
    refused = parse(json.dumps({name: "secret"})[:-1].encode() + b',"' + name.encode() + b'":"secret"}')
    assert isinstance(refused, Rejected)
    assert refused.code == "duplicate_key"
    assert "k" * 40 + "..." in refused.message
    assert "k" * 41 not in refused.message
    assert "secret" not in refused.message


def test_depth_is_a_choice() -> None:
    data = b'{"a":{"b":{"c":1}}}'
    assert type(parse(data, max_depth=3)) is dict
    assert isinstance(parse(data, max_depth=2), Rejected)


def test_a_broken_line_of_escapes_takes_linear_time() -> None:
    # Quadratic work on these 4 MiB would run into the suite's time limit.
    assert isinstance(parse(b'{"a":"' + b'\\"' * (2 << 20)), Rejected)


# --- duplicates, against an oracle that shares no code ----------------------------------------------------------------

_blanks = st.text(" \t\r", max_size=2)
_key = st.sampled_from(["a", "b", "", "a:b", "\\u0061", "\\u003a", "x\\u003Ay", '\\"', "\\\\", "http:", ":", "a "])
_text = st.sampled_from(
    ["", "x", ":", '\\":', "12:30", "\\u003a", "\\u003A", "{", "[1]", '\\",\\"a\\":1', "\\\\", " :", "\t"]
)
_scalar = st.one_of(
    st.sampled_from(["null", "true", "0", "-1.5e3", "18446744073709551616"]),
    _text.map(lambda text: f'"{text}"'.replace("\t", "")),
)


def _spaced(parts: list[str], opening: str, closing: str, blank: str) -> str:
    return opening + blank + f"{blank},{blank}".join(parts) + blank + closing


def _object(inner: st.SearchStrategy[str], min_size: int = 0) -> st.SearchStrategy[str]:
    member = st.tuples(_key, _blanks, _blanks, inner).map(lambda m: f'"{m[0]}"{m[1]}:{m[2]}{m[3]}')
    return st.tuples(st.lists(member, min_size=min_size, max_size=5), _blanks).map(
        lambda p: _spaced(p[0], "{", "}", p[1])
    )


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    array = st.tuples(st.lists(inner, max_size=3), _blanks).map(lambda p: _spaced(p[0], "[", "]", p[1]))
    return _object(inner) | array


_line = _object(st.recursive(_scalar, _nested, max_leaves=6), min_size=1)


def _has_duplicate(text: str) -> bool:
    found = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(len(pairs) != len(dict(pairs)))
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return any(found)


@given(_line)
def test_duplicates_are_found_and_nothing_else_is(text: str) -> None:
    parsed = parse(text.encode())
    if _has_duplicate(text):
        assert isinstance(parsed, Rejected)
        assert parsed.code == "duplicate_key"
    else:
        assert parsed == json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits))


@given(st.binary(max_size=60) | st.text('{}[]":,\\ u0061eE.+-aNnull', max_size=40).map(str.encode))
def test_parse_is_total(data: bytes) -> None:
    parsed = parse(data.strip(BLANK) or b"x")
    assert type(parsed) is dict or isinstance(parsed, Rejected)


# --- cuts ---------------------------------------------------------------------------------------------------------------


@given(_line.filter(lambda text: not _has_duplicate(text)))
def test_members_are_the_spans_of_the_object(text: str) -> None:
    data = text.encode()
    found = members(data)
    decoded = json.loads(text)
    assert [member.name for member in found] == list(decoded)
    for member in found:
        assert json.loads(data[member.key_start : member.key_end]) == member.name
        value = data[member.value_start : member.value_end]
        assert value.strip() == value
        assert json.loads(value) == decoded[member.name]
        assert data[member.key_end : member.value_start].strip(b" \t\r") == b":"


@given(
    _line.filter(lambda text: not _has_duplicate(text)), st.sets(st.sampled_from(["a", "b", "", ":", '"', "a:b", "\\"]))
)
def test_cut_loses_and_changes_nothing(text: str, names: set[str]) -> None:
    data = text.encode()
    named, rest = cut(data, names)
    spans = {member.name: data[member.key_start : member.value_end] for member in members(data)}
    assert named == b"{" + b",".join(span for name, span in spans.items() if name in names) + b"}"
    assert rest == b"{" + b",".join(span for name, span in spans.items() if name not in names) + b"}"
    decoded = json.loads(text)
    assert json.loads(named) == {name: value for name, value in decoded.items() if name in names}
    assert json.loads(rest) == {name: value for name, value in decoded.items() if name not in names}


def test_cut_keeps_values_byte_for_byte() -> None:
    data = b'{ "id" : 18446744073709551616, "a":1.000 ,"b" : "\\u0041", "c":{"id": [ 1 ]} }'
    assert cut(data, ["id", "c"]) == (
        b'{"id" : 18446744073709551616,"c":{"id": [ 1 ]}}',
        b'{"a":1.000,"b" : "\\u0041"}',
    )
    assert cut(b'{"a":1}', ["a"]) == (b'{"a":1}', b"{}")
    assert cut(b'{"\\u00e9":1,"b":2}', ["\u00e9"]) == (b'{"\\u00e9":1}', b'{"b":2}')


@pytest.mark.parametrize(
    "value, text",
    [
        (b'"C-17"', "C-17"),
        (b'"\\u0043-17"', "C-17"),
        (b'""', ""),
        (b"17", "17"),
        (b"-17", "-17"),
        (b"18446744073709551615", "18446744073709551615"),
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
        (b"1.50", "1.50"),
        (b"1e2", "1e2"),
        (b"true", None),
        (b"null", None),
        (b"[1]", None),
        (b'{"a":1}', None),
    ],
)
def test_text_of_a_key(value: bytes, text: str | None) -> None:
    data = b'{"x":[1,{"key":2}],"key" : ' + value + b" }"
    fields = parse(data)
    assert type(fields) is dict
    assert text_of(fields, data, "key") == text
    assert text_of(fields, data, "absent") is None


def test_long_strings_are_cut_at_no_great_cost_of_memory() -> None:
    data = b'{"a":"' + b'\\"' * (2 << 20) + b'","b":1}'
    assert cut(data, ["b"])[0] == b'{"b":1}'
    assert [member.name for member in members(data)] == ["a", "b"]
