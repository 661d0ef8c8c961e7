"""Who else has a say in a record's way: what is in doubt is handed over, and each record may be looked at before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from loader.model import Record, Rejected


class TakesDoubts(Protocol):
    """Takes over records whose request may have been applied: the reconciler."""

    def doubt(
        self, records: Sequence[Record], reason: str, status: int | None = None, age_seconds: float = 0.0
    ) -> None:
        """Take over records. `status` is that of the answer, if there was one; `age_seconds`: how long ago it was lost."""
        ...

    def refused(self, records: Sequence[Record], reason: str) -> None:
        """Take over records whose second sending was refused, perhaps because the first one was applied."""
        ...


class Guard(Protocol):
    """Looks at each record before it is sent (`--exact`)."""

    async def refusal(self, record: Record) -> Rejected | None:
        """Say why a record is not to be sent; None: it may be, unless the run is stopping."""
        ...
