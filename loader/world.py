"""The outside of a run as one value: clock, sleep, random draw, storage and the way to the target.

Everything that a run takes from the machine comes through here, so that a test can hand in a world of its own. Nothing
below `pipeline` asks the operating system for the time or for chance by itself. The disk of the log is one more part of
it, which `open_run` takes as the log's own `Tools`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import string
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from loader.model import NoResponse, Request, Response

RUN_ID_LENGTH = 10
"""36^9 * 26: two runs of one table never share a stamp, and a stamp with 20 digits of line number stays under 32 characters."""


def new_run_id() -> str:
    """Draw a run id: a letter, then letters and digits, all lower-case."""
    alphabet = string.ascii_lowercase + string.digits
    return secrets.choice(string.ascii_lowercase) + "".join(secrets.choice(alphabet) for _ in range(RUN_ID_LENGTH - 1))


def utc_text() -> str:
    """Say the wall-clock time, for people: `2026-11-22T09:30:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Follow(Protocol):
    """Says what follows an answer. Contract: neither call raises.

    Of all answers that came in one turn of the event loop, each is handed over before the first request is asked for: so
    they can be dealt with together.
    """

    def take(self, response: Response) -> None:
        """Take a whole answer."""
        ...

    def next(self) -> Request | None:
        """Return what goes next; None: nothing. To be called once for each answer that was taken."""
        ...


class Transport(Protocol):
    """What sends a request. Contract: at most one copy of it leaves the process, and never to another origin."""

    async def send(self, request: Request, follow: Follow | None = None) -> Response | NoResponse:
        """Send the request and read its answer. Errors: none but CancelledError.

        `follow` saves the way back to whoever sent, and the one from there; a transport need not ask it. It is asked only where
        the answer was whole; what it returns is sent at once like any request, on the same connection or on another. Returned
        is the reply to the last one.
        """
        ...

    def drop_idle(self) -> None:
        """Let no connection that is open now carry another request, because an answer came that belongs to another one."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """What a run takes from the machine. `clock` is monotonic seconds; `draw` is uniform in [0, 1).

    `new_transport` takes the arguments of `transport.SessionTransport`; None: that one.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random
    cpu_clock: Callable[[], float] = time.process_time
    wall_time: Callable[[], str] = utc_text
    new_run_id: Callable[[], str] = new_run_id
    new_transport: Callable[..., Transport] | None = None
