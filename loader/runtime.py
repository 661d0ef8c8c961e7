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

RUN_ID_LENGTH = 10
"""36^9 * 26: two runs of one table never share a stamp, and a stamp with 20 digits of line number stays under 32 characters."""


def new_run_id() -> str:
    """Draw a run id: a letter, then letters and digits, all lower-case."""
    alphabet = string.ascii_lowercase + string.digits
    return secrets.choice(string.ascii_lowercase) + "".join(secrets.choice(alphabet) for _ in range(RUN_ID_LENGTH - 1))


def utc_text() -> str:
    """Say the wall-clock time, for people: `2026-11-22T09:30:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a run takes from the machine. `clock` is monotonic seconds; `draw` is uniform in [0, 1)."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random
    cpu_clock: Callable[[], float] = time.process_time
    wall_time: Callable[[], str] = utc_text
    new_run_id: Callable[[], str] = new_run_id
