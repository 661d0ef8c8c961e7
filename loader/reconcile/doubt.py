"""What is remembered of records in doubt: since when, how often the server failed on them, and which stand twice."""

from __future__ import annotations

from dataclasses import dataclass, field

from loader.model import Record, RecordId


@dataclass(slots=True)
class Doubt:
    """One ambiguous record. `lost_at` is when its connection died, by the run's clock."""

    record: Record
    reason: str
    lost_at: float
    looks: int = 0


PASSING_STATUSES = frozenset({408, 502, 503, 504})
"""Faults of the way to the target, or of its load. They say nothing of the record that met them."""
PASSING_WEIGHT = 0.6


@dataclass(slots=True)
class Fault:
    """The server errors of one record. The numbers before tell later how many others succeeded and failed meanwhile.

    `weight` adds up how much they speak against the record: where three faults decide, it takes five that pass.
    """

    status: int
    successes_before: int
    failures_before: int = 0
    count: int = 0
    weight: float = 0.0

    def add(self, status: int) -> None:
        """Take in one more."""
        self.status = status
        self.count += 1
        self.weight += PASSING_WEIGHT if status in PASSING_STATUSES else 1.0


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A record that stands in the target more than once."""

    source: int
    number: int
    ids: tuple[RecordId, ...]


@dataclass(slots=True)
class Duplicates:
    """What the report says of duplicates: proved ones, and records that were re-sent blindly by the user's word."""

    proved: list[Duplicate] = field(default_factory=list)
    blind: int = 0
