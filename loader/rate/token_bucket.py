"""A fixed rate, the one that the user gave, as a token bucket. aiolimiter is used here and nowhere else.

After a 429 all traffic pauses, the rate is lowered and climbs back slowly, and one request goes ahead of the others, as a canary.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from math import inf
from typing import Any

from aiolimiter import AsyncLimiter

from loader.model import new_tuple
from loader.rate.admission import MIN_WAIT_SECONDS, AdmissionQueue
from loader.rate.signals import Signal, Success, Throttled, Ticket
from loader.runtime import Runtime

LATENESS_SECONDS = 0.004
"""How late a timer may be before the bucket overflows and the rate suffers: one wait of 2 ms, and 2 ms of delay."""
DEFAULT_BURST_SECONDS = 0.05
JITTER = 0.1
CUT_FACTOR = 0.85
MAX_CUT_FACTOR = 0.5
SOON_SECONDS = 10.0
"""A 429 within this time after the last pause: that cut was too small. The next one goes down to what the target took since."""
CLIMB_FACTOR = 1.05
CLIMB_SECONDS = 10.0
MAX_CLIMB_SECONDS = 300.0
"""After each 429 the climb back waits twice as long, so that a rate the target refuses is not tried every ten seconds."""
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 60.0
CANARY_SECONDS = 5.0
"""How long all others wait for the answer to the canary, before another canary goes."""
CANARY_POLL_SECONDS = 0.02
MAX_BLOCK = 16
"""Tokens taken from the limiter in one call. One call a token would cost more than everything else about a ticket."""
STRAY_AFTER = 250
"""A 429 after so many requests that the target took: one in so many comes by jitter, and is no reason to go slower."""
STRAY_PAUSE_SECONDS = 0.1
MAX_RETRY_AFTER_SECONDS = 90.0
"""A longer one says nothing about pacing (rate.md 3.2); our own growing pauses apply instead."""


class FixedThrottle:
    """A token bucket: in no window of one second more than rate + burst, and the mean within 0.5 % while there is work.

    A bucket of one token loses a little with each late timer. So it is made deeper by what may be lost that way, and drips
    slower by the same amount: depth + one second's drip stays rate + burst.

    The judge is `_full_at`, plain arithmetic: it alone decides when a ticket may go. The AsyncLimiter is the witness: each
    ticket takes a token from it too, and it has one whenever `_full_at` says so.
    """

    def __init__(self, runtime: Runtime, rate_per_second: float, burst: float | None = None) -> None:
        self._clock = runtime.clock
        self._draw = runtime.draw
        self._queue = AdmissionQueue(runtime, self._grant, self.answered)
        self._number = 0
        asked = max(1.0, rate_per_second * DEFAULT_BURST_SECONDS) if burst is None else max(1.0, float(burst))
        self._depth = max(asked, 1 + LATENESS_SECONDS * rate_per_second)
        # Tokens a second: the user's, and the present one, lower after a 429.
        self._top_drip = rate_per_second - (self._depth - asked)
        self._drip = self._top_drip
        self._shown_per_drip = rate_per_second / self._top_drip
        self._limiter = AsyncLimiter(self._depth, self._depth / self._drip)
        # When the bucket will be full again if nothing is taken. The limiter cannot be asked how long to wait, and its own
        # waiting would set a timer too short for uvloop. Tokens are taken from it in blocks beforehand, into the pocket,
        # only to save calls: that lets no ticket go earlier.
        self._full_at = -inf
        self._block = min(MAX_BLOCK, int(self._depth / 4))
        self._pocket = 0
        self._is_limiter_old = False
        self._in_flight = 0
        # Until when nothing goes except through the queue: infinity while a canary is to go, or is out.
        self._barred_until = -inf
        self._canary: Ticket | None = None
        self._cut_at = -inf
        # How many requests the target took since the last cut.
        self._taken = 0
        self._climb_at = inf
        self._climb_seconds = CLIMB_SECONDS
        self._next_pause = FIRST_PAUSE_SECONDS

    def answered(self, ticket: Ticket, signal: Signal) -> None:
        self._in_flight -= 1
        if ticket is self._canary:
            self._canary = None
        if type(signal) is Success:
            self._took(ticket.at > self._cut_at)
        elif type(signal) is Throttled:
            if signal.is_pause or (ticket.at > self._cut_at and self._taken >= STRAY_AFTER):
                self._pause_only(signal)
            else:
                self._slow_down(ticket, signal.retry_after)

    def succeeded(self, tickets: Sequence[Ticket], seconds: Sequence[float]) -> None:
        del seconds  # a fixed rate does not depend on latency
        self._in_flight -= len(tickets)
        if self._canary in tickets:
            self._canary = None
        self._took(sum([ticket[1] > self._cut_at for ticket in tickets]))

    def _took(self, count: int) -> None:
        """Take note of `count` requests that were sent after the last cut and that the target took."""
        if not count:
            return
        self._taken += count
        if self._barred_until == inf:
            self._flow_again()
        self._next_pause = FIRST_PAUSE_SECONDS
        if self._drip < self._top_drip:
            self._climb()

    def pause(self, seconds: float) -> None:
        self._queue.pause(seconds)
        self._barred_until = max(self._barred_until, self._queue.paused_until)

    def forgive(self, rate_per_second: float) -> None:
        """Go back to the user's rate: what was taken for 429s since had another cause."""
        del rate_per_second
        self._climb_seconds = CLIMB_SECONDS
        self._set_drip(self._top_drip)
        if self._barred_until == inf:
            self._flow_again()

    def describe(self) -> str:
        return f"{self.rate_per_second:.4g}/s"

    @property
    def rate_per_second(self) -> float:
        return self._drip * self._shown_per_drip

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def limited_by_rate_seconds(self) -> float:
        return self._queue.waited_seconds

    async def admit(self, *, is_first: bool = False) -> Ticket:
        return self.admit_now() or await self._queue.admit(is_first=is_first)

    def admit_now(self) -> Ticket | None:
        if not self._queue.is_empty:
            return None
        now, full_at, drip = self._clock(), self._full_at, self._drip
        if now < self._barred_until:
            return None
        # As `_tokens`, written out: this is what nearly every request of a session asks.
        if not self._pocket or self._is_limiter_old or (full_at > now and (full_at - now) * drip > self._depth - 1):
            tickets = self._give(1, now)
            return tickets[0] if tickets else None
        self._pocket -= 1
        self._full_at = (max(now, full_at)) + 1 / drip
        self._number += 1
        self._in_flight += 1
        return new_tuple(Ticket, (self._number, now, drip * self._shown_per_drip))

    def admit_many(self, count: int) -> Sequence[Ticket]:
        if not self._queue.is_empty or (now := self._clock()) < self._barred_until:
            return ()
        return self._give(count, now)

    def _grant(self, wanted: int, now: float) -> tuple[Sequence[Ticket], float]:
        goes_alone = self._barred_until == inf
        if goes_alone and self._canary is not None and now < self._canary.at + CANARY_SECONDS:
            return (), CANARY_POLL_SECONDS
        tickets = self._give(1 if goes_alone else wanted, now)
        if goes_alone and tickets:
            self._canary = tickets[0]
        # A microsecond more, or rounding could cost another round.
        seconds = 0.0 if tickets else (1 - self._tokens(now)) / self._drip + 1e-6
        return tickets, max(seconds, MIN_WAIT_SECONDS)

    def _give(self, wanted: int, now: float) -> Sequence[Ticket]:
        """Give as many tickets as there are tokens."""
        if self._is_limiter_old:
            self._renew(now)
        count = min(wanted, int(self._tokens(now) + 1e-9))
        if count < 1 or not self._take(count):
            return ()
        self._full_at = max(self._full_at, now) + count / self._drip
        first = self._number + 1
        self._number += count
        self._in_flight += count
        rate = self.rate_per_second
        return [new_tuple(Ticket, (number, now, rate)) for number in range(first, first + count)]

    def _take(self, count: int) -> bool:
        """Take tokens from the pocket, then from the limiter, and refill the pocket. False if the limiter has too few."""
        missing = count - self._pocket
        if missing <= 0:
            self._pocket -= count
            return True
        for block in (self._block, 0):
            if self._limiter.has_capacity(missing + block):
                _at_once(self._limiter.acquire(missing + block))
                self._pocket = block
                return True
        return False

    def _tokens(self, now: float) -> float:
        return self._depth - max(0.0, self._full_at - now) * self._drip

    def _renew(self, now: float) -> None:
        """Replace the limiter by one of the present rate that is as empty as the old one, so that no second burst comes."""
        missing = min(self._depth, self._depth - self._tokens(now))  # the limiter knows no debt, not even of rounding
        self._limiter = AsyncLimiter(self._depth, self._depth / self._drip)
        _at_once(self._limiter.acquire(missing))
        self._pocket = 0
        self._is_limiter_old = False

    def _set_drip(self, drip: float) -> None:
        now = self._clock()
        missing = self._depth - self._tokens(now)
        self._drip = drip
        self._full_at = now + missing / drip
        self._is_limiter_old = True

    def _pause_only(self, signal: Throttled) -> None:
        """Wait for the time named, or a moment; the rate stays."""
        asked = signal.retry_after
        self.pause(asked if asked is not None and 0 < asked <= MAX_RETRY_AFTER_SECONDS else STRAY_PAUSE_SECONDS)
        self._cut_at, self._taken = self._clock(), 0

    def _slow_down(self, ticket: Ticket, retry_after: float | None) -> None:
        now = self._clock()
        is_new = ticket.at > self._cut_at
        if is_new:
            self._set_drip(self._drip * self._cut_factor(now))
        asked = retry_after if retry_after is not None and 0 < retry_after <= MAX_RETRY_AFTER_SECONDS else None
        if asked is not None:
            self.pause(asked)
        if not is_new:
            return
        if asked is None:
            self.pause(self._next_pause * (1 + JITTER * self._draw()))
            self._next_pause = min(2 * self._next_pause, MAX_PAUSE_SECONDS)
        self._cut_at = now
        self._taken = 0
        self._barred_until = inf
        self._climb_at = self._queue.paused_until + self._climb_seconds
        self._climb_seconds = min(2 * self._climb_seconds, MAX_CLIMB_SECONDS)

    def _flow_again(self) -> None:
        """Let all go after a canary's success. The bucket starts empty: perhaps it was the burst that the target refused."""
        self._barred_until = self._queue.paused_until
        self._full_at = self._clock() + self._depth / self._drip
        self._is_limiter_old = True

    def _cut_factor(self, now: float) -> float:
        seconds = now - self._queue.paused_until
        if seconds > SOON_SECONDS:
            return CUT_FACTOR
        taken_per_second = self._taken / max(seconds, MIN_WAIT_SECONDS)
        return min(CUT_FACTOR, max(MAX_CUT_FACTOR, taken_per_second / self.rate_per_second))

    def _climb(self) -> None:
        now = self._clock()
        if now < self._climb_at:
            return
        self._climb_at = now + CLIMB_SECONDS
        self._set_drip(min(self._drip * CLIMB_FACTOR, self._top_drip))


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for. Errors: RuntimeError if it waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("the limiter makes a token wait that is due")
