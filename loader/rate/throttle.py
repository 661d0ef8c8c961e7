"""How fast requests are admitted: every request to the target takes a ticket here, directly before it is sent.

There are two kinds. `FixedThrottle` keeps the rate that the user gave, as a token bucket. `AutoThrottle` keeps the rate that
the finder finds, evenly paced. After a 429 both pause all traffic, lower the rate, and send one request ahead of the others, as
a canary. Neither knows requests, targets or HTTP: the caller reports how each ticket's request ended, lost ones too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from loader.rate.adaptive import AutoThrottle
from loader.rate.signals import Failed, Signal, Success, Throttled, Ticket
from loader.rate.token_bucket import FixedThrottle

__all__ = ["AutoThrottle", "Failed", "FixedThrottle", "Signal", "Success", "Throttle", "Throttled", "Ticket"]


class Throttle(Protocol):
    """What admits requests. Contract: the caller answers each ticket exactly once; no answer raises."""

    async def admit(self, *, is_first: bool = False) -> Ticket:
        """Wait until one request may be sent; with `is_first`, ahead of all others. Call it directly before sending."""
        ...

    def admit_now(self) -> Ticket | None:
        """Return a ticket if one is due and nobody waits. None means only: await `admit`."""
        ...

    def admit_many(self, count: int) -> Sequence[Ticket]:
        """Return up to `count` tickets, under the same conditions as `admit_now`."""
        ...

    def answered(self, ticket: Ticket, signal: Signal) -> None:
        """Take note of how the request of a ticket ended."""
        ...

    def succeeded(self, tickets: Sequence[Ticket], seconds: Sequence[float]) -> None:
        """Take note of many requests at once that the target took; `seconds` are their latencies."""
        ...

    def pause(self, seconds: float) -> None:
        """Admit nothing for this long. A shorter pause does not end a longer one."""
        ...

    def forgive(self, rate_per_second: float) -> None:
        """Go back to a rate: what was taken for 429s since had another cause."""
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
        """Return for how long somebody waited for admission; several who wait at the same time count once."""
        ...
