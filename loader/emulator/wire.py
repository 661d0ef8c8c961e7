"""The nouns of the emulator: a call as it came, the answer to it, and the answer as bytes.

Nothing here knows an API, a socket or a fault. A header name is always lower case. The body of a call may hold credentials, so
that a call shows neither its headers nor its body in repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Literal, NamedTuple, TypeAlias

Api: TypeAlias = Literal["ozari", "canbus", "none"]
Operation: TypeAlias = Literal[
    "auth", "languages", "tables", "fields", "insert", "update", "bulk", "query",
    "add", "edit", "delete", "list", "get", "metadata",
    "unknown",
]  # fmt: skip

JSON = b"application/json; charset=utf-8"
HTML = b"text/html; charset=utf-8"


class Route(NamedTuple):
    """What a method and a path ask for. `table` is the name as it stands in the path, not yet checked."""

    api: Api
    operation: Operation
    table: str = ""
    is_wrong_method: bool = False


@dataclass(slots=True)
class Call:
    """One request, read whole."""

    method: str
    path: str
    query: str
    route: Route
    headers: dict[bytes, bytes] = field(repr=False)
    body: bytes = field(repr=False)
    peer: str = "127.0.0.1"
    is_last: bool = False


class Answer(NamedTuple):
    """What a handler says. `records` counts those of the request; `ids` are the rows it created, in order."""

    status: int
    body: bytes
    records: int = 0
    ids: tuple[int | str, ...] = ()
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


@lru_cache(maxsize=256)
def _head(status: int, content_type: bytes) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    return b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: " % (status, phrase.encode(), content_type)


def write_answer(answer: Answer, *, is_last: bool = False) -> bytes:
    """Write an answer as HTTP/1.1. `is_last` announces that the connection ends with it."""
    head = _head(answer.status, answer.content_type)
    if not answer.headers and not is_last:
        return b"%b%d\r\n\r\n%b" % (head, len(answer.body), answer.body)
    more = b"".join(b"\r\n%b: %b" % header for header in answer.headers)
    if is_last:
        more += b"\r\nConnection: close"
    return b"%b%d%b\r\n\r\n%b" % (head, len(answer.body), more, answer.body)


def html_page(status: int, text: str) -> Answer:
    """Answer as a web server in front of the API would: a page, not the API's JSON."""
    page = f"<!DOCTYPE html>\n<html><head><title>Error</title></head><body><pre>{text}</pre></body></html>\n"
    return Answer(status, page.encode(), content_type=HTML)
