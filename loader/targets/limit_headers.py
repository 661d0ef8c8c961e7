"""Limit headers: what a target says of its own limit, in each of the forms that are about.

RateLimit with RateLimit-Policy (IETF httpapi drafts 3 to 10), RateLimit-Limit and its kin (drafts 0 to 6), X-RateLimit-Limit and
its kin (no standard: Reset is seconds from now, or a time of day in seconds). Total: what cannot be read says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from loader.targets.answers import read_date

_FAMILIES = ("ratelimit", "x-ratelimit", "x-rate-limit")
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_POLICY = re.compile(r"(?:q=)?([0-9]{1,12})\s*;(?:[^,]*;)?\s*w=([0-9]{1,9})")
_PARAMETER = re.compile(r"(?:^|[;,])\s*(limit|remaining|reset|r|t)=\"?([0-9]{1,12}(?:\.[0-9]{1,9})?)")
_TIME_OF_DAY = 1e9
"""A Reset beyond is seconds since 1970: no window is thirty years long."""
MAX_WINDOW_SECONDS = 86_400.0


class Said(NamedTuple):
    """`limit` requests a window of `window_seconds` (None: not named); `remaining` of them in the next `reset_seconds`."""

    limit: float
    remaining: float
    reset_seconds: float
    window_seconds: float | None = None
    reset_at: float | None = None
    """The time of day of the reset, if it is one: a whole second."""


def read_limits(headers: Mapping[str, str]) -> Said | None:
    """Read the limit out of an answer's headers (names in lower case); None if none is there or none makes sense."""
    for family in _FAMILIES:
        if family + "-limit" in headers or (family == "ratelimit" and family in headers):
            said = _read(family, headers)
            if said is not None and said.limit > 0 and 0 <= said.reset_seconds <= MAX_WINDOW_SECONDS:
                return said
    return None


def _read(family: str, headers: Mapping[str, str]) -> Said | None:
    reset_at = None
    policy = _POLICY.search(headers.get("ratelimit-policy", "") or headers.get(family + "-limit", ""))
    window = float(policy[2]) if policy and 0 < float(policy[2]) <= MAX_WINDOW_SECONDS else None
    if family in headers:
        found = {name: float(value) for name, value in _PARAMETER.findall(headers[family])}
        limit = found.get("limit", float(policy[1]) if policy else None)
        remaining, reset = found.get("remaining", found.get("r")), found.get("reset", found.get("t", window))
    else:
        limit, remaining, reset = (_number(headers, f"{family}-{name}") for name in ("limit", "remaining", "reset"))
    if reset is not None and reset > _TIME_OF_DAY:
        # Measured against the answer's own Date, so that no clock of ours is believed.
        sent = read_date(headers.get("date", "").strip())
        reset_at, reset = reset, max(reset - sent.timestamp(), 0.0) if sent is not None else None
    if limit is None or remaining is None or reset is None:
        return None
    return Said(limit, min(remaining, limit), reset, window, reset_at)


def _number(headers: Mapping[str, str], name: str) -> float | None:
    found = _NUMBER.match(headers.get(name, "").strip())
    return float(found[0]) if found else None
