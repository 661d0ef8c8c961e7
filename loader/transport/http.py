"""What both transports share: which address a path leads to, how long an attempt may take, how much of an answer is read.

It owns the time of an attempt. One timer watches all attempts of a transport: they have the same time to live, so the one
that began first is due first. That is cheaper than two timers a request, and stricter: the whole attempt is covered,
from before the connect to the last byte of the answer, uploads and trickles included.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import aiohttp
from yarl import URL

from loader.errors import UsageError

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

MAX_ANSWER_BYTES = 1024 * 1024
MAX_ANSWER_BYTES_PER_RECORD = 200
"""A Canbus result of one record is about 40 bytes; five times that leaves room (reliability.md 2.4)."""

ECHOED_SHARE = 3
"""An answer may repeat what was sent, and escape it: `\\u3042` is twice the bytes of its character, `\\u00e9` three times."""

MAX_CONNECT_SECONDS = 10.0
MAX_CACHED_PATHS = 64
"""A target has a handful of paths; a look-up with a query string must not fill the memory."""

JOINED_BYTES = 16 * 1024
"""Up to here copying a body behind its head is cheaper than a second write."""

SLICE_BYTES = 256 * 1024
"""Larger bodies are handed over in slices, each drained, so that the loop does not copy 8 MiB at once."""

NOT_OURS = "the address is not below the base URL"
TIMED_OUT = "TimeoutError"

_CLOCK_TICK_SECONDS = 0.001  # uvloop's timers are whole milliseconds, and may fire that much early
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", re.ASCII)


def build_url(base_url: str, path: str) -> URL | None:
    """Build the URL of a path, or return None where the path could climb, leave the origin or come out changed."""
    segments = path.partition("?")[0].lower().replace("%2e", ".").replace("%2f", "/").split("/")
    if _PATH.fullmatch(path) is None or "." in segments or ".." in segments:
        return None
    base = URL(base_url, encoded=True)
    url = URL(base_url + path, encoded=True)
    is_below = url.origin() == base.origin() and url.raw_path_qs == base.raw_path.rstrip("/") + path
    return url if is_below and url.user is None and url.password is None else None


def head_fields(url: URL, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the header fields of every request, but for the length. Errors: UsageError where one would end its line."""
    fields = {
        "host": ("Host", url.host_port_subcomponent or ""),
        "accept": ("Accept", "*/*"),
        "accept-encoding": ("Accept-Encoding", "identity"),
        "user-agent": ("User-Agent", "loader"),
        "content-type": ("Content-Type", "application/json"),
    }
    fields |= {name.lower(): (name, value) for name, value in headers.items()}
    if not all(text.isprintable() for field in fields.values() for text in field):
        raise UsageError(
            "a header holds a character that is none", "look at the credentials: is there a line end in one?"
        )
    return dict(fields.values())


def max_answer_bytes(max_records: int) -> int:
    """Return how long an answer may be, for requests of so many records, beside what it repeats of them (`ECHOED_SHARE`)."""
    return MAX_ANSWER_BYTES + MAX_ANSWER_BYTES_PER_RECORD * max_records


def timeouts_of(seconds: float) -> aiohttp.ClientTimeout:
    """Set the times for the way to a connection. The whole attempt, and with it the time between two reads, is the deadline's.

    `connect` covers DNS and the wait for a free connection, `sock_connect` does not (reliability.md 0.5).
    """
    connect = min(MAX_CONNECT_SECONDS, seconds)
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect)


async def read_capped(content: StreamReader, max_bytes: int) -> tuple[bytes, bool]:
    """Read a body up to the cap, and say whether that was all of it. A body that is cut keeps what came of it.

    Errors: none but CancelledError. Where it was not all, the connection must not be used again.
    """
    body = b""
    try:
        body = await content.readany()
        while not content.at_eof():
            if len(body) > max_bytes:
                return body[:max_bytes], False
            body += await content.readany()
    except asyncio.CancelledError:
        raise
    except Exception:  # noqa: BLE001 -- the status is known, and nothing else can be learnt
        return body, False
    return body, len(body) <= max_bytes


class Attempt(Protocol):
    """One sending of one request, as its deadline sees it."""

    due: float

    def expire(self) -> None:
        """End it, now."""
        ...


class Deadlines:
    """Watches attempts that may all take the same time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        # In the order in which they began, so the first is due first.
        self._waiting: dict[Attempt, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, *attempts: Attempt) -> None:
        """Watch attempts from now on; one that is watched has all its time again."""
        due = self._loop.time() + self._seconds
        waiting = self._waiting
        for attempt in attempts:
            attempt.due = due
            waiting.pop(attempt, None)
            waiting[attempt] = None
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)

    def end(self, attempt: Attempt) -> None:
        """Watch it no longer."""
        self._waiting.pop(attempt, None)

    def close(self) -> None:
        """Put the timer away."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time() + _CLOCK_TICK_SECONDS
        while self._waiting:
            first = next(iter(self._waiting))
            if first.due > now:
                self._timer = self._loop.call_at(first.due, self._look)
                return
            del self._waiting[first]
            first.expire()
