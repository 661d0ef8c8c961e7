"""Numbers as people type them: counts, rates, sizes, times and limits.

Pure functions from text to a value; each error names the option and shows the forms that are accepted.
"""

from __future__ import annotations

import math
import re

from loader.errors import UsageError
from loader.settings import Rate, RejectLimit

NUMBER = r"(?P<number>[0-9]+(?:\.[0-9]+)?)"
SIZE_UNITS = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
SIZE = re.compile(NUMBER + r" ?(?P<unit>[A-Za-z]*)", re.ASCII)
RATE = re.compile(NUMBER + r"(?:/(?P<unit>s|sec|min|m))?", re.ASCII)
TIME_UNITS = {"": 1, "s": 1, "min": 60, "m": 60, "h": 3600}
TIME = re.compile(NUMBER + r" ?(?P<unit>s|min|m|h|)", re.ASCII)
MAX_COUNT = 10**15
"""Far beyond every sensible value, and small enough for arithmetic anywhere."""


def parse_count(option: str, text: str, minimum: int = 1) -> int:
    """Read a whole number of at least `minimum`."""
    digits = text.strip().replace("_", "")
    if not re.fullmatch(r"[0-9]{1,15}", digits, re.ASCII) or not minimum <= int(digits) <= MAX_COUNT:
        raise UsageError(
            f"{option} {text!r} is not a whole number from {minimum}", f"for example {option} {max(minimum, 10)}"
        )
    return int(digits)


def parse_rate(option: str, text: str) -> Rate:
    """Read a rate: `200`, `200/s`, `600/min`, `auto`, `auto:200`."""
    head, colon, start = text.strip().partition(":")
    if head.lower() == "auto":
        return Rate(start_per_second=_per_second(option, start) if colon else None)
    return Rate(per_second=_per_second(option, text.strip()))


def parse_size(option: str, text: str) -> int:
    """Read a number of bytes: `8388608`, `8MiB`, `8MB`."""
    match = SIZE.fullmatch(text.strip())
    factor = SIZE_UNITS.get(match["unit"].lower()) if match else None
    if match is None or factor is None or not 1 <= float(match["number"]) * factor <= MAX_COUNT:
        raise UsageError(
            f"{option} {text!r} is not a size", f"for example {option} 8MiB, {option} 8MB or {option} 8388608"
        )
    return int(float(match["number"]) * factor)


def parse_seconds(option: str, text: str, *, may_be_zero: bool = False) -> float:
    """Read a time in seconds: `60`, `0.5`, `15min`."""
    match = TIME.fullmatch(text.strip().lower())
    value = float(match["number"]) * TIME_UNITS[match["unit"]] if match else math.nan
    if not (value > 0 or (may_be_zero and value == 0)) or value > MAX_COUNT:
        kind = "a time in seconds" if may_be_zero else "a time in seconds above 0"
        raise UsageError(f"{option} {text!r} is not {kind}", f"for example {option} 60, {option} 0.5 or {option} 15min")
    return value


def parse_reject_limit(option: str, text: str) -> RejectLimit:
    """Read a limit of rejected records: `500` or `2%`."""
    number = text.strip().removesuffix("%").strip()
    if not text.strip().endswith("%"):
        return RejectLimit(count=parse_count(option, text, minimum=0))
    if not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", number, re.ASCII) or float(number) > 100:
        raise UsageError(
            f"{option} {text!r} is not a share from 0% to 100%", f"for example {option} 2% or {option} 500"
        )
    return RejectLimit(percent=float(number))


def parse_statuses(option: str, text: str) -> tuple[int, ...]:
    """Read HTTP statuses that refuse: `503`, `503,403`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[45][0-9]{2}", part, re.ASCII) for part in parts):
        raise UsageError(
            f"{option} {text!r} is not a status from 400 to 599", f"for example {option} 503 or {option} 503,403"
        )
    return tuple(sorted({int(part) for part in parts}))


def _per_second(option: str, text: str) -> float:
    match = RATE.fullmatch(text)
    value = float(match["number"]) / (60 if (match["unit"] or "s").startswith("m") else 1) if match else 0.0
    if not 0 < value <= MAX_COUNT:
        raise UsageError(
            f"{option} {text!r} is not a rate above 0",
            f"for example {option} 200, {option} 200/s, {option} 600/min, {option} auto or {option} auto:200",
        )
    return value
