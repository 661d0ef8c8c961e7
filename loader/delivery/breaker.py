"""Whether the target is well: the circuit breaker, the patience, and the first record after an outage.

It opens when nothing succeeds any more, and probes with the harmless preflight call, never with records. When a probe is
answered well, one record goes alone; its success closes the breaker. Giving up makes no outcome: it stops the run, which can be
resumed. A 429 is not a fault (the throttle deals with it), but it is not a good answer either, so patience counts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from loader.runtime import Runtime

FAULTS_TO_OPEN = 5
"""Faults in a row, without one good answer between them, that open the breaker: a lost connection or two is daily life."""
FIRST_PROBE_SECONDS = 1.0
MAX_PROBE_SECONDS = 30.0
"""One probe in half a minute loads nobody, and an outage of hours is noticed as over soon enough."""
MAX_UNWATCHED_SECONDS = 5.0
"""`bad_seconds` is asked for a few times a second; a process that did not for so long stood still (Ctrl-Z, a frozen machine)."""

Probe = Callable[[], Awaitable[bool]]


class Breaker:
    """Closed: all go. Open: nobody goes, a probe asks. Half-open: one record goes alone."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._state: Literal["closed", "open", "half_open"] = "closed"
        self._faults_in_a_row = 0
        self.last_fault = ""
        """What the last answer that was none said, safe to show."""
        self.lone_faults = 0
        """Records in a row that went alone, after a good probe, and met a fault."""
        self._probe_seconds = FIRST_PROBE_SECONDS
        self._bad_since: float | None = None
        self._unasked_since: float | None = None
        self._watched_at: float | None = None
        self._is_permit_out = False
        self._may_go = asyncio.Event()
        self._opened = asyncio.Event()

    @property
    def is_closed(self) -> bool:
        """Say whether all may go."""
        return self._state == "closed"

    @property
    def is_open(self) -> bool:
        """Say whether records are held back."""
        return self._state == "open"

    def bad_seconds(self) -> float:
        """Return how long the target has given no good answer, counted from the first bad one; 0.0 while it is well.

        Time in which the process stood still does not count: nobody was asked. To be called a few times a second.
        """
        self._forgive_sleep()
        since = [at for at in (self._bad_since, self._unasked_since) if at is not None]
        return self._runtime.clock() - min(since) if since else 0.0

    def _forgive_sleep(self) -> None:
        now = self._runtime.clock()
        slept = now - self._watched_at if self._watched_at is not None else 0.0
        self._watched_at = now
        if slept > MAX_UNWATCHED_SECONDS:
            self._bad_since = None if self._bad_since is None else min(self._bad_since + slept, now)
            self._unasked_since = None if self._unasked_since is None else min(self._unasked_since + slept, now)

    def was_asked(self, *, is_answered: bool) -> None:
        """Take note of a question. Only unanswered ones count against the patience: an answered one says nothing of records."""
        if is_answered:
            self._unasked_since = None
        elif self._unasked_since is None:
            self._unasked_since = self._runtime.clock()

    async def pass_through(self) -> bool:
        """Wait until a request may be sent. True: only one record of it, alone."""
        while self._state != "closed":
            if self._state == "half_open" and not self._is_permit_out:
                self._is_permit_out = True
                return True
            self._may_go.clear()
            await self._may_go.wait()
        return False

    def succeeded(self) -> None:
        """Take note of a good answer to a record's request (a refusal of the record is one)."""
        self._faults_in_a_row = self.lone_faults = 0
        self._bad_since = None
        if self._state == "half_open":
            self._state = "closed"
            self._probe_seconds = FIRST_PROBE_SECONDS
            self._may_go.set()

    def was_blameless(self) -> None:
        """Take note that a record was refused for the faults that it met: they spoke of it, not of the target."""
        self._bad_since = None
        self._probe_seconds = FIRST_PROBE_SECONDS

    def was_throttled(self) -> None:
        """Take note of an answer that is neither good nor a fault."""
        if self._bad_since is None:
            self._bad_since = self._runtime.clock()
        if self._state == "half_open":
            self._is_permit_out = False
            self._may_go.set()

    def failed(self, *, is_repeated: bool = False) -> None:
        """Take note of a fault: no answer, or a 5xx. `is_repeated`: of a record that met one before, which says nothing new."""
        self.was_throttled()
        if is_repeated:
            return
        self._faults_in_a_row += 1
        self.lone_faults += self._state == "half_open"
        if self._state == "half_open" or (self._state == "closed" and self._faults_in_a_row >= FAULTS_TO_OPEN):
            self._state = "open"
            self._opened.set()

    def distrust(self, openings: int) -> None:
        """Open for answers that are not the API's, though each may look like a success: the `openings`-th time in a row."""
        self.was_throttled()
        self._probe_seconds = min(FIRST_PROBE_SECONDS * 2.0 ** (openings - 1), MAX_PROBE_SECONDS)
        self._state = "open"
        self._opened.set()

    async def run(self, probe: Probe) -> None:
        """Probe whenever the breaker opens, until the target is well again. Ends by being cancelled."""
        while True:
            await self._opened.wait()
            await self._runtime.sleep(self._probe_seconds * (0.5 + self._runtime.draw()))
            self._probe_seconds = min(self._probe_seconds * 2, MAX_PROBE_SECONDS)
            if await probe():
                self._opened.clear()
                self._state = "half_open"
                self._is_permit_out = False
                self._may_go.set()
