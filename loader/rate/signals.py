"""The nouns of admission: the ticket for one request, and how its request ended. Plain values."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class Ticket(NamedTuple):
    """The right to send one request now. `number` counts from 1, `at` is when it was given, `rate` the rate in force then."""

    number: int
    at: float
    rate: float


class Success(NamedTuple):
    """The target took the request. `seconds` is the latency of this attempt alone, no wait in it."""

    seconds: float


class Throttled(NamedTuple):
    """The target said: too fast. `retry_after` is in seconds, if it named a time.

    `is_pause`: it named a time, but whether the rate is the cause is not known: all wait, and the rate stays.
    """

    retry_after: float | None = None
    is_pause: bool = False


class Failed(NamedTuple):
    """The request ended in any other way, or was never sent. It says nothing about the rate, as far as is known (`overload`)."""


Signal: TypeAlias = Success | Throttled | Failed
