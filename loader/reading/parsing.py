"""A line's bytes -> a checked object, and raw pieces cut out of it. Pure.

Owns: what counts as a good line (reliability.md 4.4) and every cut through raw JSON. It must not re-encode a value:
what is sent is what was read. It knows no target; field names, keys and users belong to the targets.

How `parse` stays near the cost of orjson alone: orjson validates, but accepts duplicate keys (the last one wins silently) and
nesting up to 1,024 levels. Both are ruled out by counting colons. A raw line has one colon per member plus those inside
strings. The decoded object has at most as many members, and its strings at most as many colons. So if the raw count equals the
decoded count, nothing was dropped. Only a line that fails the count is parsed again, slowly and exactly.

How the cuts work: they trust that `parse` has validated the object, so a small pattern per member is enough.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import orjson

from loader.model import Rejected

BLANK = b" \t\r\n"
"""JSON's white space; `parse` wants `line.strip(BLANK)`. Other control characters are no white space."""
MAX_DEPTH = 64

# `number in data` takes 30 ns on 250 bytes, `b"[" in data` 200 (measured, 3.11).
_COLON, _BRACKET, _BACKSLASH = map(ord, ":[\\")
_EXCERPT_CHARACTERS = 40
_ESCAPED_COLON = b"\\u003"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SIMPLE = _STRING + rb"|[^][{}\", \t\r\n]++"
_MEMBER = re.compile(rb"[ \t\r\n,{]*(" + _STRING + rb")[ \t\r\n]*:[ \t\r\n]*(" + _SIMPLE + rb")?")
_FLAT_MEMBER = re.compile(rb"(" + _STRING + rb")([ \t\r\n]*+:[ \t\r\n]*+(?:" + _SIMPLE + rb"))")
# The closing quote is optional: in a broken line, an open string must not be tried again at each of its escaped quotes.
_STRUCTURE = re.compile(_STRING + rb"?+|[][{}]")
_OPENING = b"{["


class Member(NamedTuple):
    """A top-level member as spans of the line: the key with its quotes, and the value without white space around it."""

    name: str
    key_start: int
    key_end: int
    value_start: int
    value_end: int


def parse(data: bytes, max_depth: int = MAX_DEPTH) -> dict[str, Any] | Rejected:
    """Decode a stripped, non-empty line, or say why it is refused. `max_depth` >= 2; the object itself is level 1."""
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return _explain(data, error.msg, error.pos + 1, max_depth)
    if type(fields) is not dict:
        return _refuse("object", f"the line is {_kind_of(fields)}, not an object")
    colons = data.count(_COLON)
    # Every colon is a top-level member's: no object inside has one, and without arrays nothing nests deeper than 2.
    if colons == len(fields) and _BRACKET not in data and colons:
        return fields
    if not fields:
        return _refuse("empty", "the object has no members")
    return _inspect(data, fields, colons, max_depth) or fields


def members(data: bytes) -> list[Member]:
    """Find the top-level members of a validated object, in source order."""
    return list(_members(data))


def cut(data: bytes, names: Collection[str]) -> tuple[bytes, bytes]:
    """Cut a validated object in two: the members of these names, and the rest. Both keep source order and raw bytes."""
    named: list[bytes] = []
    rest: list[bytes] = []
    is_flat = _BRACKET not in data and data.find(b"{", 1) < 0
    pairs = _FLAT_MEMBER.findall(data) if is_flat else _pairs(data)
    if _BACKSLASH in data:
        for key, tail in pairs:
            (named if _name_of(key) in names else rest).append(key + tail)
    else:
        keys = {b'"' + name.encode() + b'"' for name in names}
        for key, tail in pairs:
            (named if key in keys else rest).append(key + tail)
    return b"{" + b",".join(named) + b"}", b"{" + b",".join(rest) + b"}"


def text_of(fields: dict[str, Any], data: bytes, name: str) -> str | None:
    """Return the text of a member used as a key, or None if it is missing or cannot be one.

    The text of a string is itself; that of a number is its raw digits, taken from the line if orjson made a float of it (as it
    does of integers past 64 bits). null, true, false, arrays and objects are no keys.
    """
    value = fields.get(name)
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return next((data[m.value_start : m.value_end].decode() for m in _members(data) if m.name == name), None)
    return None


# --- the cuts -------------------------------------------------------------------------------------------------------


def _members(data: bytes) -> Iterator[Member]:
    position = 0
    while match := _MEMBER.match(data, position):
        key_start, key_end = match.span(1)
        value_start, value_end = match.span(2)
        if value_start < 0:
            value_start = match.end()
            value_end = _end_of_nested(data, value_start)
        yield Member(_name_of(data[key_start:key_end]), key_start, key_end, value_start, value_end)
        position = value_end


def _pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(data[m.key_start : m.key_end], data[m.key_end : m.value_end]) for m in _members(data)]


def _name_of(key: bytes) -> str:
    name: str = orjson.loads(key)
    return name


def _end_of_nested(data: bytes, start: int) -> int:
    depth = 0
    for match in _STRUCTURE.finditer(data, start):
        first = data[match.start()]
        if first in _OPENING:
            depth += 1
        elif first in b"}]":
            depth -= 1
            if not depth:
                return match.end()
    return len(data)


# --- what orjson lets pass ------------------------------------------------------------------------------------------


def _inspect(data: bytes, fields: dict[str, Any], colons: int, max_depth: int) -> Rejected | None:
    has_few_levels = _BRACKET not in data and data.find(b"{", 1) < 0
    if not has_few_levels and data.count(b"{") + data.count(b"[") > max_depth and _depth_of(data) > max_depth:
        return _refuse("depth", f"nested deeper than {max_depth} levels")
    # Encoding again is the quickest way to count the colons of the decoded object; the bytes are thrown away. Only the escape
    # \u003a hides a colon from the raw count, so a line with it is parsed exactly.
    if orjson.dumps(fields).count(_COLON) == colons and (_BACKSLASH not in data or _ESCAPED_COLON not in data):
        return None
    return _find_duplicate(data)


def _find_duplicate(data: bytes) -> Rejected | None:
    found: list[str] = []

    def check(pairs: list[tuple[str, Any]]) -> None:
        names: set[str] = set()
        for name, _ in pairs:
            if name in names:
                found.append(name)
            names.add(name)

    # Numbers are kept as text: int() refuses more than 4,300 digits, and none is needed here.
    json.loads(data.decode(), object_pairs_hook=check, parse_int=str, parse_float=str)
    return _refuse("duplicate_key", f"the key {_excerpt(found[0])} stands twice in one object") if found else None


def _depth_of(data: bytes) -> int:
    depth = deepest = 0
    for match in _STRUCTURE.finditer(data):
        first = data[match.start()]
        if first in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"}]":
            depth -= 1
    return deepest


# --- why a line is refused ------------------------------------------------------------------------------------------


def _refuse(code: str, message: str) -> Rejected:
    return Rejected("parse", code, message)


def _explain(data: bytes, reason: str, column: int, max_depth: int) -> Rejected:
    """Explain why orjson refused a line. `reason` is one of orjson's fixed texts and holds no data."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return _refuse("utf8", f"not UTF-8 at byte {error.start + 1}")
    if _depth_of(data) > max_depth:
        return _refuse("depth", f"nested deeper than {max_depth} levels")
    if text.startswith("\ufeff"):
        return _refuse("json", "a byte order mark may stand only at the start of the source")
    if "\0" in text:
        return _refuse("json", f"NUL byte at column {text.index(chr(0)) + 1}; is the source UTF-16?")
    if _has_infinite_number(text):
        return _refuse("number", f"a number at column {column} is not finite or too large for any target")
    return _refuse("json", f"{reason} at column {column}")


def _has_infinite_number(text: str) -> bool:
    """Say whether the only fault of a line is NaN, Infinity or a number past the largest double."""
    found: list[str] = []

    def check(number: str) -> None:
        if float(number) in (float("inf"), float("-inf")):
            found.append(number[:1])

    try:
        json.loads(text, parse_constant=found.append, parse_float=check, parse_int=check)
    except (ValueError, RecursionError):
        return False
    return bool(found)


def _kind_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "a number"


def _excerpt(name: str) -> str:
    """Escape a key name, so that it is harmless in a terminal or a log, and shorten it."""
    text = ascii(name[: _EXCERPT_CHARACTERS + 1])[1:-1]
    return f'"{text[:_EXCERPT_CHARACTERS]}..."' if len(text) > _EXCERPT_CHARACTERS else f'"{text}"'


def raw_value(data: bytes, name: str) -> bytes:
    """Return a top-level member's value as its raw bytes; null if it is missing."""
    return next((data[m.value_start : m.value_end] for m in members(data) if m.name == name), b"null")
