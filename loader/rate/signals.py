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
    """The target said: too fast. `retry_after` is in seconds, if it named a time."""

    retry_after: float | None = None


class Failed(NamedTuple):
    """The request ended in any other way (timeout, reset, 5xx), or was never sent. It says nothing about the rate."""


Signal: TypeAlias = Success | Throttled | Failed
