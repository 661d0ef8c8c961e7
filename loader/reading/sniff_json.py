"""Forms that are JSON, but not one object a line: arrays, indented objects, objects without line ends, scalars. Pure.

Law: a line that is bad in itself is no form. As soon as lines behind it are good objects on their own, the source is NDJSON with
a bad line; only what the first bytes begin and the later ones go on with is a form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import orjson

from loader.reading.sniff_form import OBJECTS, Form, python_lines

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)
_SEPARATED = re.compile(r"[^\w\s{}\"]{1,4}\s*\{")
_SPACE = re.compile(r"[ \t\r\n]*")
_COMMA_LINES = "sed -e 's/^[[:space:]]*\\[//' -e 's/\\][[:space:]]*$//' -e 's/[,;][[:space:]]*$//'"
"""For an array with one object a line. It streams, and keeps the bytes of each object."""
_MEMORY = "it reads the whole file into memory"
LIST_NAMES = (
    "data",
    "items",
    "rows",
    "records",
    "results",
    "value",
    "docs",
    "hits",
    "features",
    "entries",
    "objects",
    "list",
)

_STREAM = (
    "; for a larger one: jq -cn --stream 'fromstream(1|truncate_stream(inputs))', from jq 1.7 on (1.6 changes numbers)"
)

ARRAY = Form("a JSON array", OBJECTS, note=_MEMORY + _STREAM)
ARRAY_BY_LINE = Form("a JSON array, one object a line", _COMMA_LINES)
EMPTY_ARRAY = Form("an empty JSON array", note="there is nothing in it to load")
ARRAY_OF_VALUES = Form(
    "a JSON array of values that are no objects",
    python_lines('json.dumps({"FIELD":r},ensure_ascii=False)', rows="json.load(sys.stdin)"),
    note="put your field's name for FIELD",
)
ARRAYS_BY_LINE = Form(
    "one JSON array a line",
    python_lines("json.dumps(dict(zip(sys.argv[1:],json.loads(r))),ensure_ascii=False)") + " FIELD1 FIELD2",
    note="name the fields in the order of the columns",
)
COMMA_LINES = Form("objects with commas between them", _COMMA_LINES)
ARRAY_OF_ARRAYS = Form(
    "a JSON array of arrays",
    python_lines("json.dumps(dict(zip(sys.argv[1:],r)),ensure_ascii=False)", rows="json.load(sys.stdin)")
    + " FIELD1 FIELD2",
    note="name the fields in the order of the columns",
)
TEXT_BEHIND = Form("objects with other text behind each", OBJECTS, note=_MEMORY)
INDENTED = Form("indented JSON", OBJECTS, note=_MEMORY)
JOINED = Form("JSON objects without line ends between them", OBJECTS, note=_MEMORY)
RECORD_SEPARATED = Form("a JSON text sequence (RFC 7464)", OBJECTS, note=_MEMORY)
TEXTS = Form("JSON inside of JSON texts", "jq -r .")
SCALARS = Form(
    "JSON values that are no objects",
    "sed -e 's/^/{\"FIELD\":/' -e 's/$/}/'",
    note="put your field's name for FIELD",
)


def good_object(line: bytes) -> bool:
    """Say whether a line is an object that could be a record."""
    try:
        return type(orjson.loads(line)) is dict
    except orjson.JSONDecodeError:
        return False


def value_end(text: str, start: int) -> int | None:
    """Find where the object or array that begins at `start` ends; None: behind the text."""
    depth = 0
    for match in _TOKEN.finditer(text, start):
        first = match[0][0]
        if first in "{[":
            depth += 1
        elif first in "}]":
            depth -= 1
            if depth <= 0:
                return match.end()
    return None


def json_form(text: str, lines: Sequence[bytes], *, is_whole: bool) -> Form | None:
    """Name a form by its beginning. `lines`: those of the text that are whole and not blank."""
    text = text.lstrip(" \t\r\n")
    if text.startswith("\x1e"):
        return RECORD_SEPARATED
    if text.startswith("["):
        return _array(text, lines, is_whole=is_whole)
    if text.startswith("{"):
        return _object(text, lines, is_whole=is_whole)
    return _scalars(lines, is_whole=is_whole)


def _array(text: str, lines: Sequence[bytes], *, is_whole: bool) -> Form | None:
    first = _after_space(text, 1)
    if text[first : first + 1] == "]" and not text[first + 1 :].strip() and is_whole:
        return EMPTY_ARRAY
    if text[first : first + 1] != "{":
        return _array_of_values(text, lines, is_whole=is_whole)
    end = value_end(text, first)
    if end is None:
        return ARRAY if not is_whole or "\n" in text[first:].strip() else None
    behind = _after_space(text, end)
    if behind >= len(text):
        return None if is_whole else ARRAY
    if text[behind] not in ",]":
        return None  # the lines behind it are no elements
    has_lines = "\n" not in text[first:end] and len(lines) > 1 and text[behind] == ","
    if has_lines and re.fullmatch(r"[ \t\r]*\n[ \t]*", text[behind + 1 : _after_space(text, behind + 1)]):
        return ARRAY_BY_LINE
    if text[behind] == "]" and len(lines) > 1 and all(map(good_object, lines[1:3])):
        return None  # an array in the first line alone
    return ARRAY


def _array_of_values(text: str, lines: Sequence[bytes], *, is_whole: bool) -> Form | None:
    arrays = [line for line in lines[:20] if _kind(line) is list]
    if len(arrays) > 1 and len(arrays) == len(lines[:20]):
        return ARRAYS_BY_LINE
    try:
        values = json.loads(text) if is_whole else None
    except (ValueError, RecursionError):
        return None
    if not values or len(values) < 2:
        return None
    return ARRAY_OF_ARRAYS if isinstance(values[0], list) else ARRAY_OF_VALUES


def _object(text: str, lines: Sequence[bytes], *, is_whole: bool) -> Form | None:
    end = value_end(text, 0)
    if end is None:
        is_open = "\n" in text.strip() and not any(map(good_object, lines[:20]))
        return _indented(text, None) if is_open and _opens(text) else None
    return _behind_object(text, end, lines, is_whole=is_whole)


def _behind_object(text: str, end: int, lines: Sequence[bytes], *, is_whole: bool) -> Form | None:
    """Name a form by what follows its first object, which ends at `end`."""
    behind = _after_space(text, end)
    try:
        found = json.loads(text[:end])
    except (ValueError, RecursionError):
        return None
    has_line_end = "\n" in text[:end]
    if "\n" in text[end:behind] and not has_line_end:
        return None  # a line of its own, and bad in itself
    if behind >= len(text):
        return _indented(text[:end], found) if has_line_end else None
    if any(map(good_object, lines[1:20])) and not has_line_end:
        return _two_lines(lines) if is_whole else None
    if text[behind] == "{":
        return _indented(text[:end], found) if has_line_end else JOINED
    if text[behind] in ",;" and text[_after_space(text, behind + 1) :][:1] == "{":
        return INDENTED if has_line_end else COMMA_LINES if len(lines) > 1 and _commas(lines) else JOINED
    if not has_line_end and _SEPARATED.match(text, behind):
        return JOINED
    return TEXT_BEHIND if len(lines) > 1 and all(map(_has_text_behind, lines[:20])) else None


def _has_text_behind(line: bytes) -> bool:
    text = line.decode(errors="replace").strip()
    end = value_end(text, 0) if text.startswith("{") else None
    return end is not None and end < len(text) and good_object(text[:end].encode())


def _commas(lines: Sequence[bytes]) -> bool:
    return all(good_object(line.rstrip(b" \t\r").rstrip(b",;")) for line in lines[:20])


def _two_lines(lines: Sequence[bytes]) -> Form | None:
    """Name a short list: every line but the last ends with a comma."""
    is_list = all(line.rstrip(b" \t\r").endswith((b",", b";")) for line in lines[:-1]) and _commas(lines)
    return COMMA_LINES if is_list and good_object(lines[-1]) else None


def _opens(text: str) -> bool:
    """Say whether an object goes on in the next line as JSON does: a name in quotes, or the beginning of a value."""
    first, _, rest = text.partition("\n")
    is_cut_well = first.rstrip().endswith(("{", ",", "[", ":"))
    return is_cut_well and rest.lstrip()[:1] in set('"{[]}-0123456789tfn')


def _indented(text: str, found: object) -> Form:
    """Name indented JSON; if it is one object around a list of records, the list is what is wanted."""
    name = None
    if isinstance(found, dict):
        lists = [
            key for key, value in found.items() if isinstance(value, list) and value and isinstance(value[0], dict)
        ]
        name = lists[0] if len(lists) == 1 else next((key for key in lists if key.lower() in LIST_NAMES), None)
    else:
        match = re.search(r'^\s*"(' + "|".join(LIST_NAMES) + r')"\s*:\s*\[\s*\{', text, re.MULTILINE | re.IGNORECASE)
        name = match[1] if match else None
    return INDENTED if name is None else list_of(name)


def list_of(name: str) -> Form:
    """Name an object whose member is the list of records.

    Numbers are passed on as texts between marks, and are written as they were.
    """
    mark = '"\\ue000"'
    command = (
        "python3 -X utf8 -c 'import json,sys;f=lambda t:" + mark + "+t+" + mark + ";"
        '[print(json.dumps(r,ensure_ascii=False).replace("\\"\\ue000","").replace("\\ue000\\"","")) '
        "for r in json.load(sys.stdin,parse_float=f,parse_int=f)[sys.argv[1]]]' " + _quoted(name)
    )
    return Form(f"one JSON document with the records in {json.dumps(name)[:60]}", command)


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)


def _scalars(lines: Sequence[bytes], *, is_whole: bool) -> Form | None:
    kinds = [_kind(line) for line in lines[:20]]
    if not kinds or (len(kinds) == 1 and not is_whole) or not set(kinds) <= {str, int, float, bool, type(None)}:
        return None
    if (
        str in kinds
        and all(kind is str for kind in kinds)
        and all(_is_nested(orjson.loads(line)) for line in lines[:20])
    ):
        return TEXTS
    return SCALARS if len(kinds) > 1 else None


def _is_nested(text: str) -> bool:
    return _kind(text.encode("utf-8", "replace")) in {dict, list}


def _kind(line: bytes) -> type | None:
    """Return the type of a line's value; `object` (no JSON) stays apart from null."""
    try:
        return type(orjson.loads(line))
    except orjson.JSONDecodeError:
        return object


def _after_space(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start
