"""What all answers share: Retry-After in its forms, foreign text made plain, values compared."""

from __future__ import annotations

from typing import Any

import pytest

from loader.model import Response
from loader.redaction import Redactor
from loader.settings import Secret
from loader.targets.answers import read_object, retry_after_seconds
from loader.targets.values import as_text, is_alike, is_equal

SENT = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("999999999999", 1e9),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Mon, 07 Nov 1994 08:49:37 GMT", 86400.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:60 GMT", 1e9),
        ("", None),
        ("-5", None),
        ("+5", None),
        ("1e9", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("9" * 400, None),
        ("5, 6", None),
        ("soon", None),
        ("Sun, 32 Nov 1994 08:50:37 GMT", None),
        ("Sun, 06 Foo 1994 08:50:37 GMT", None),
        ("Sun, 06 Nov 1994 25:50:37 GMT", None),
        ("Sun, 06 Nov 1994 0:0:0:0: GMT", None),
        ("Sun, 06 Nov 0000 08:50:37 GMT", None),
        ("Sun, 06 Nov 1994 08:50:37 +0900", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": value, "date": SENT}) == seconds


@pytest.mark.parametrize("headers", [{}, {"retry-after": SENT}, {"retry-after": SENT, "date": "today"}, {"date": SENT}])
def test_without_a_date_to_measure_by_a_date_says_nothing(headers: dict[str, str]) -> None:
    assert retry_after_seconds(headers) is None


def test_plain_text_has_no_secret_no_escape_and_an_end() -> None:
    plain = Redactor(map(Secret, ("abc", "abcdef", 'q"\\', "")))
    assert plain("1abcdef2abc3") == "1***2***3"
    assert plain('x q"\\ y') == "x *** y"
    assert plain('x q\\"\\\\ y') == "x *** y"
    assert plain("\x1b[2J\r\nשלום\u202e") == "\\x1b[2J\\r\\nשלום\\u202e"
    assert plain("\ud800") == "\\ud800"
    assert len(plain("y" * 300)) < 210
    # A secret across the place where the text is cut must not leave its first half behind.
    assert "abc" not in plain("z" * 197 + "abcdef")
    assert "abc" not in repr(plain)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"5", b'"x"', b"{", b'{"a":1}x', b'\xff{"a":1}', b'{"a":\xff}', b"[" * 5000]
)
def test_what_is_no_object(body: bytes) -> None:
    assert read_object(Response(200, {}, body)) is None


@pytest.mark.parametrize(
    "value, text",
    [
        ("x", "x"),
        ("", ""),
        (5, "5"),
        (5.0, "5"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (True, "true"),
        (None, None),
        ([1], None),
    ],
)
def test_values_as_text(value: Any, text: str | None) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize(
    "one, other, equal, alike",
    [
        ("5", 5, True, True),
        ("05", 5, False, True),
        ("5.00", 5, False, True),
        (" x", "x", False, True),
        ("Straße", "STRASSE", False, True),
        ("é", "E", False, True),
        ("が", "か", False, True),
        ("x", "y", False, False),
        ("-", "-", True, True),
        (None, "", False, True),
        ([1], [1], True, True),
        ([1], [2], False, True),
        (True, "true", True, True),
    ],
)
def test_values_compared(one: Any, other: Any, equal: bool, alike: bool) -> None:
    assert is_equal(one, other) is equal
    assert is_alike(one, other) is alike
    assert is_equal(other, one) is equal
    assert is_alike(other, one) is alike
