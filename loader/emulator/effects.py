"""What a fault does to an answer: from the right answer to the bytes that leave and the way the connection ends.

Pure: no socket, no clock. `server` writes the bytes and ends the connection as the effect says. The failures are those of
reliability.md 2.2; the numbers in the comments are its rows.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias

from loader.emulator.canbus.handler import reorder
from loader.emulator.faults import (
    Close,
    Cut,
    Echo,
    ExtraAnswer,
    Fault,
    Form,
    Malformed,
    Reset,
    Results,
    StatusFault,
    Trickle,
)
from loader.emulator.values import dumps
from loader.emulator.wire import HTML, JSON, Answer, write_answer

Ending: TypeAlias = Literal["keep", "close", "reset", "hang"]

INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\n"
WARNING = b"<br />\n<b>Warning</b>:  Undefined array key 3 in <b>/srv/api/record.php</b> on line <b>71</b><br />\n"
PLAUSIBLE = Answer(200, b'{"success":true,"authen":"OK","results":[]}' + b" " * 80)
"""The answer that a cut begins and does not finish, when the request was not carried out."""


class Stray(NamedTuple):
    """Bytes that leave on a connection when nobody asked for them."""

    data: bytes
    seconds: float
    is_last: bool


class Effect(NamedTuple):
    """What the client gets: `data`, then `drips` one by one, then the connection's end; a stray answer may follow later.

    `late_seconds`: the rows are written that long after.
    """

    data: bytes = b""
    ending: Ending = "keep"
    drips: tuple[bytes, ...] = ()
    drip_seconds: float = 0.0
    is_endless: bool = False
    stray: Stray | None = None
    late_seconds: float | None = None


def status_answer(rule: StatusFault, records: int, ids: tuple[int | str, ...], default: Answer) -> Answer:
    """Make the answer of a status fault. Without a body of its own it is what the API says to that status."""
    headers = []
    if rule.retry_after is not None:
        headers.append((b"Retry-After", rule.retry_after.encode()))
    if rule.location is not None:
        headers.append((b"Location", rule.location.encode()))
    body, kind = default.body, JSON
    if rule.content == "html":
        page = f"<html><head><title>{rule.status}</title></head><body><h1>{rule.status}</h1></body></html>\n"
        body, kind = page.encode(), HTML
    elif rule.content == "empty":
        body = b""
    return Answer(rule.status, body if rule.body is None else rule.body.encode(), records, ids, kind, tuple(headers))


def cut_answer(rule: Cut, answer: Answer) -> Effect:
    """Send part of the answer (rows 24 to 28)."""
    whole = write_answer(answer)
    head, _, body = whole.partition(b"\r\n\r\n")
    if rule.part == "headers":
        return Effect(head[: len(head) * 2 // 3], rule.ending)
    half = body[: max(1, len(body) // 2)]
    if rule.framing == "chunked":
        head = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
        half = b"%x\r\n%b" % (len(body), half)
    elif rule.framing == "close":
        head = head.replace(b"Content-Length: %d" % len(body), b"Connection: close")
    return Effect(head + b"\r\n\r\n" + half, rule.ending)


def extra_answer(rule: ExtraAnswer, data: bytes, *, is_last: bool) -> Effect:
    """Send one answer too many (rows 41 to 44)."""
    if is_last:
        return Effect(data, "close")
    if rule.answer == "junk":
        return Effect(data + b"junk behind the answer\r\n", "close")
    stray = data if rule.answer == "copy" else write_answer(Answer(408, b""), is_last=True)
    return Effect(data, stray=Stray(stray, rule.milliseconds / 1000.0, rule.answer == "408"))


def malformed_answer(rule: Malformed, answer: Answer) -> Effect:
    """Break the answer (rows 28, 30 and 31)."""
    whole = write_answer(answer)
    head, _, body = whole.partition(b"\r\n\r\n")
    length = b"Content-Length: %d" % len(body)
    match rule.change:
        case "status_line":
            head = head.replace(b"HTTP/1.1 ", b"HTTP/1.1 two hundred and ", 1)
        case "header":
            head += b"\r\nX-Bad: \x00"
        case "two_lengths":
            head += b"\r\nContent-Length: %d" % (len(body) + 1)
        case "short_length":
            head = head.replace(length, b"Content-Length: %d" % (len(body) // 2))
        case "chunk_size":
            head, body = head.replace(length, b"Transfer-Encoding: chunked"), b"xyz\r\n" + body
        case "gzip":
            head += b"\r\nContent-Encoding: gzip"
        case "not_json":
            return Effect(write_answer(Answer(answer.status, b"<html>OK</html>", content_type=HTML)))
    return Effect(head + b"\r\n\r\n" + body, "close")


def other_form(rule: Form, answer: Answer) -> Answer:
    """Give the right answer in a form that nobody asked for."""
    encoding = {"gzip": b"gzip", "deflate": b"deflate", "raw_deflate": b"deflate", "other": b"x-own"}.get(rule.as_)
    if encoding is not None:
        bits = {"gzip": 31, "deflate": 15}.get(rule.as_, -15)
        packer = zlib.compressobj(wbits=bits)
        body = packer.compress(answer.body) + packer.flush()
        return answer._replace(body=body, headers=(*answer.headers, (b"Content-Encoding", encoding)))
    if rule.as_ == "bom":
        return answer._replace(body=b"\xef\xbb\xbf" + answer.body)
    around = (WARNING, b"") if rule.as_ == "warning" else (b"<html><body><pre>", b"</pre></body></html>\n")
    return answer._replace(body=around[0] + answer.body + around[1], content_type=HTML)


def trickled_answer(rule: Trickle, answer: Answer) -> Effect:
    """Send the answer slower than anybody waits for (row 29)."""
    seconds = rule.milliseconds / 1000.0
    if rule.of == "interim":
        return Effect(INTERIM, "hang", (INTERIM,), seconds, is_endless=True)
    whole = write_answer(answer)
    start = len(whole) - len(answer.body)
    return Effect(whole[:start], "keep", tuple(bytes([byte]) for byte in answer.body), seconds)


def change_results(rule: Results, answer: Answer, random: Random) -> Answer:
    """Change the list of results of a Canbus answer."""
    body = _object(answer.body)
    if body is None or not isinstance(body.get("results"), list):
        return answer
    body["results"] = reorder(body["results"], rule.change, random)
    return answer._replace(body=dumps(body))


def null_ids(answer: Answer) -> Answer:
    """Take the ids out of an answer: Ozari's `insertedId`, and those of Canbus' created elements."""
    body = _object(answer.body)
    if body is None:
        return answer
    if "insertedId" in body:
        body["insertedId"] = None
    results = body.get("results")
    for result in results if isinstance(results, list) else ():
        result.pop("id", None)
    return answer._replace(body=dumps(body))


def change_echo(change: str, answer: Answer) -> Answer:
    """Change the values in Ozari's echo, as a server does that re-reads what it stored."""
    body = _object(answer.body)
    if body is None or not isinstance(body.get("fields"), dict):
        return answer
    fields = body["fields"]
    if change in _BY_VALUE:
        body["fields"] = {name: _BY_VALUE[change](value) for name, value in fields.items()}
    elif change == "drop":
        fields.popitem()
    elif change == "extra":
        fields["flastmodify"] = "2026-03-26 08:00:00"
    elif change == "reversed":
        body["fields"] = dict(reversed(fields.items()))
    return answer._replace(body=dumps(body))


_BY_VALUE: dict[str, Callable[[Any], Any]] = {
    "trim": lambda value: value.strip() if isinstance(value, str) else value,
    "text": lambda value: value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False),
    "blank_null": lambda value: None if value == "" else value,
    "upper": lambda value: value.upper() if isinstance(value, str) else value,
}


def foreign_answer(rule: Echo, answer: Answer, before: Answer | None) -> Answer:
    """Give the answer of another request, or change the echo of this one."""
    if rule.change != "foreign":
        return change_echo(rule.change, answer)
    return answer._replace(body=before.body) if before is not None else answer


def ending_of(fault: Fault) -> Ending:
    """Say how a connection ends that gets no answer."""
    match fault:
        case Reset():
            return "reset"
        case Close():
            return "close"
        case _:
            return "hang"


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)  # keeps integers past 64 bits
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
