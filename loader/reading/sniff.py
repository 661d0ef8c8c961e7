"""Is this NDJSON? Decided from the beginning of a source, behind the decompression, before its first record leaves. Pure.

Law: a good NDJSON file is never refused. A first line that is a good object, and no wrapper of another tool, ends the question;
everything else has to be recognised, or is read as lines, whose bad ones are rejected one by one.

`Beginning` serves streams: it is fed until it knows. Nothing is lost by waiting, since only a whole good line could leave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from loader.errors import SourceError
from loader.reading.parsing import DOUBLED
from loader.reading.sniff_form import Form, hint_of, message_of

HEAD_BYTES = 64 * 1024
"""Decides. A longer first line is judged by its beginning."""
WATCHED_LINES = 20
"""Of standard input, while none is a good object."""
BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r"


def examine(head: bytes, *, is_whole: bool) -> Form | None:
    """Name the form of a source by its beginning; None: lines of JSON, or nothing that is known here.

    `is_whole`: the source ends behind `head`.
    """
    data = head.removeprefix(BOM)
    lines = [line for line in _whole_lines(data, is_whole=is_whole) if line.strip(_BLANK)]
    first = _object_of(lines[0]) if lines else None
    if first is not None:
        return _among_objects(first, lines)
    if not data.strip():
        return None
    return _other(head, data, lines, is_whole=is_whole)


def cautions(head: bytes, name: str, *, is_whole: bool) -> tuple[str, ...]:
    """Say what a user should know of a source that is loaded all the same."""
    lines = [line for line in _whole_lines(head.removeprefix(BOM), is_whole=is_whole) if line.strip(_BLANK)]
    if not lines:
        return (f"{name} is empty: there is nothing to load",) if is_whole else ()
    found: list[str] = []
    first = _object_of(lines[0])
    if b"$" in lines[0] and first is not None:
        from loader.reading.sniff_tools import extended_json

        member = extended_json(first)
        if member is not None:
            found.append(
                f'{name} holds MongoDB\'s extended JSON: {member!a} of line 1 is an object like {{"$oid":...}}, and is sent so'
            )
    if first is not None and is_whole and len(lines) == 1 and len(first) < 12:
        from loader.reading.sniff_tools import list_in

        member = list_in(first)
        if member is not None:
            found.append(f"{name} is one object with a list of objects in {member!a}: it is sent as one record")
    if b"\\\\" in head:
        from loader.reading.backslashes import looks_doubled

        number = looks_doubled(lines)
        if number is not None:
            found.append(
                f"{name}, line {number:,}: {DOUBLED}; or it means a backslash and a letter: look at it before you load"
            )
    return tuple(found)


def is_plainly_lines(head: bytes | bytearray) -> bool:
    """Say whether the beginning is certain to be lines of objects, so that nothing more has to be seen."""
    for line in _whole_lines(head.removeprefix(BOM), is_whole=False):
        if line.strip(_BLANK):
            return _object_of(line) is not None
    return False


def refusal(form: Form, name: str, path: str | None, kind: str = "plain") -> SourceError:
    """Make the error that names a form and the command that makes lines of it."""
    return SourceError(message_of(form, name), hint_of(form, path, kind))


def examined(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Pass on the pieces of standard input until its beginning shows that it is not NDJSON. Errors: SourceError.

    A good first line ends the question at once. A line that is bad in itself is handed on too: nobody sends it, and a pipe may be
    silent behind it for hours. What begins like JSON or is no text waits for more, up to WATCHED_LINES or the end.
    """
    head = bytearray()
    passed = 0
    rest = iter(pieces)
    for piece in rest:
        head += piece
        if b"\n" not in piece and len(head) < HEAD_BYTES:
            continue
        is_decided = len(head) >= HEAD_BYTES or head.count(b"\n") > WATCHED_LINES or is_plainly_lines(head)
        _refuse(bytes(head), name, is_whole=False)
        if is_decided or not _may_go_on(head):
            yield bytes(head[passed:])
            passed = len(head)
        if is_decided:
            yield from rest
            return
    _refuse(bytes(head), name, is_whole=True)
    if passed < len(head):
        yield bytes(head[passed:])


def _may_go_on(head: bytearray) -> bool:
    """Say whether this may be the beginning of JSON over several lines, or of something that is no text."""
    start = bytes(head).removeprefix(BOM).lstrip(_BLANK + b"\n")
    return start.startswith((b"[", b"{", b'"', b"\x1e")) or b"\0" in start


def _refuse(head: bytes, name: str, *, is_whole: bool) -> None:
    form = examine(head, is_whole=is_whole)
    if form is not None:
        raise refusal(form, name, None)


def _whole_lines(data: bytes | bytearray, *, is_whole: bool) -> list[bytes]:
    lines = bytes(data).split(b"\n")
    return lines if is_whole else lines[:-1]


def _object_of(line: bytes) -> dict[str, object] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if type(value) is dict else None


def _among_objects(first: dict[str, object], lines: list[bytes]) -> Form | None:
    """Look at lines whose first is a good object."""
    from loader.reading.sniff_tools import wrapper_of

    form = wrapper_of(first, (_object_of(lines[1]) or {}) if len(lines) > 1 else {})
    if form is not None:
        return form
    return _in_the_texts(lines)


def _in_the_texts(lines: list[bytes]) -> Form | None:
    """Look for faults of the whole file in the texts of its lines."""
    joined = b"\n".join(lines)
    if b'\\\\"' in joined:
        from loader.reading.backslashes import doubled_form

        form = doubled_form(lines)
        if form is not None:
            return form
    if not _is_utf8(joined):
        from loader.reading.sniff_text import not_utf8

        return not_utf8(lines)
    return None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _other(head: bytes, data: bytes, lines: list[bytes], *, is_whole: bool) -> Form | None:
    """Look at what does not begin with a good object."""
    from loader.reading.sniff_json import good_object, json_form
    from loader.reading.sniff_magic import binary_form, unknown_binary, wide_encoding
    from loader.reading.sniff_text import text_form

    has_good = any(map(good_object, lines[:200]))
    form = None if has_good else wide_encoding(head)
    form = form or binary_form(head)
    if form is not None:
        return form
    text = data.decode(errors="replace")
    form = _in_the_texts(lines) or json_form(text, lines, is_whole=is_whole)
    return form or (None if has_good else unknown_binary(head)) or text_form(text, lines)
