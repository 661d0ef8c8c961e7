"""How fast requests are admitted: every request to the target takes a ticket here, directly before it is sent.

Two kinds. `FixedThrottle`, in `bucket`: the rate that the user gave, as a token bucket. `AutoThrottle`, in `pacing`: the rate
that `rate` finds, evenly paced. Both pause all traffic after a 429, lower the rate, and let one request go ahead of the others,
as a canary. Neither knows requests, targets or HTTP: the caller says how each ticket ended, lost ones too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from loader.rate.adaptive import AutoThrottle
from loader.rate.admission import Failed, Signal, Success, Throttled, Ticket
from loader.rate.token_bucket import FixedThrottle

__all__ = ["AutoThrottle", "Failed", "FixedThrottle", "Signal", "Success", "Throttle", "Throttled", "Ticket"]


class Throttle(Protocol):
    """What admits requests. Contract: each ticket is answered exactly once."""

    async def admit(self, *, is_first: bool = False) -> Ticket:
        """Wait until one request may be sent, with `is_first` before all others. To be called directly before sending it."""
        ...

    def admit_now(self) -> Ticket | None:
        """Return a ticket where one lies ready and nobody waits; None says nothing but that `admit` is to be awaited."""
        ...

    def admit_many(self, count: int) -> Sequence[Ticket]:
        """Return up to so many tickets, as `admit_now` does."""
        ...

    def answered(self, ticket: Ticket, signal: Signal) -> None:
        """Say how the request of a ticket ended."""
        ...

    def succeeded(self, tickets: Sequence[Ticket], seconds: Sequence[float]) -> None:
        """Say of many requests at once that the target took them, and how soon."""
        ...

    def pause(self, seconds: float) -> None:
        """Admit nothing for this long."""
        ...

    def describe(self) -> str:
        """Say the present rate in a few words."""
        ...

    @property
    def rate_per_second(self) -> float:
        """Return the present rate."""
        ...

    @property
    def in_flight(self) -> int:
        """Return how many tickets are not answered yet."""
        ...

    @property
    def limited_by_rate_seconds(self) -> float:
        """Return for how long somebody waited for admission."""
        ...
