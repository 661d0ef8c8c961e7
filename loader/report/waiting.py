"""What a run waits for, since when and until when: nothing waits in silence. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from loader.report import wording

LEAST_SECONDS = 1.0
"""A shorter wait is over before anybody could read of it."""


@dataclass(slots=True)
class Waiting:
    """One wait. `since` and `until` by the run's clock; `until` None: nobody knows how long."""

    reason: str
    since: float | None = None
    until: float | None = None

    def text(self, now: float, wall_time: str) -> str:
        """Say it: `cannot reach HOST: connection refused; for 12 s, until 09:15:03 UTC`."""
        times = []
        if self.since is not None and now - self.since >= LEAST_SECONDS:
            times.append(f"for {wording.seconds(now - self.since)}")
        if self.until is not None and self.until > now:
            times.append(_moment(wall_time, self.until - now))
        return f"{self.reason}; {', '.join(times)}" if times else self.reason


def _moment(wall_time: str, seconds: float) -> str:
    try:
        at = datetime.fromisoformat(wall_time)
        then = at + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return f"for {wording.seconds(seconds)} more"
    day = then.strftime("%Y-%m-%d ") if then.date() != at.date() else ""
    return f"until {day}{then:%H:%M:%S} UTC"


class Waits:
    """The waits that a part of the run reports while it is in one, before records flow or beside them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: list[Waiting] = []

    @property
    def current(self) -> Waiting | None:
        """Return the last one begun that is not over; None: nobody waits, or not for long enough to say."""
        wait = self._open[-1] if self._open else None
        if wait is None or wait.since is None or self._clock() - wait.since < LEAST_SECONDS:
            return None
        return wait

    @contextmanager
    def on(self, reason: str, seconds: float | None = None) -> Iterator[Waiting]:
        """Report a wait for as long as the block lasts; its reason may be made more exact meanwhile."""
        now = self._clock()
        wait = Waiting(reason, now, None if seconds is None else now + seconds)
        self._open.append(wait)
        try:
            yield wait
        finally:
            self._open.remove(wait)
