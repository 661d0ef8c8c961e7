"""Ids that go backwards: the target went back to an earlier state, and gives ids once more that the log holds for other lines.

On the good path an answer's ids lie above all that were known when the execution began: one comparison. Only those that do not
are looked up in the log.
"""

from __future__ import annotations

from collections.abc import Sequence

from loader.checkpoint import CheckpointLog
from loader.checkpoint.reader import KnownIds
from loader.model import Created, Halt, Outcome, RecordId, Resend

SPREAD = 20_000
"""Ids of one execution come in disorder, but not more than this apart: requests in flight, and ids that a server keeps ahead."""
VAIN_TEXTS = 20
"""Ids that are texts may have no order. After so many look-ups that found nothing they are not compared any more."""
WORD = "if all this is as it should be, `--trust-log` goes on by the log"


class OlderIds:
    """Compares new ids with the known ones. `furthest`: the first new number must not lie above it; None: it may."""

    def __init__(self, log: CheckpointLog, known: KnownIds | None = None, furthest: int | None = None) -> None:
        self._log = log
        self._known = known
        self._floor = known.highest if known is not None and known.highest is not None else 0
        self._text_floor = (0, "") if known is None or known.highest_text is None else _rank(known.highest_text)
        self._furthest = furthest
        self._vain = 0

    def are_new(self, ids: Sequence[RecordId]) -> bool:
        """Say whether all of some ids are beyond doubt."""
        try:
            low, high = min(ids), max(ids)  # type: ignore[type-var]  # of one kind, as a rule
        except (TypeError, ValueError):
            return all(record_id is None for record_id in ids)
        if isinstance(low, str):
            return _rank(low) > self._text_floor or self._vain >= VAIN_TEXTS
        if not isinstance(low, int) or not isinstance(high, int):
            return True
        if self._furthest is not None:
            if low > self._furthest:
                return False
            self._furthest = None
        is_new = low > self._floor
        self._floor = max(self._floor, high - SPREAD)
        return is_new

    def are_outcomes_new(self, outcomes: Sequence[Outcome | Resend]) -> bool:
        """Say it of an answer; of one with many ids the first tells, since they were given together."""
        first = next((one.id for one in outcomes if isinstance(one, Created) and one.id is not None), None)
        return first is None or self.are_new([first])

    async def contradiction(self, outcomes: Sequence[Outcome | Resend]) -> tuple[Halt | None, bool]:
        """Say what ids prove that are not new, and whether the log holds one of them. Errors: LogDamaged."""
        ids = [one.id for one in outcomes if isinstance(one, Created) and one.id is not None]
        held = await self._log.find_ids(ids)
        if held:
            one = next(record_id for record_id in ids if record_id in held)
            message = f"the target gives the id {one} again, which the log holds for another line: it went back"
            return Halt("answers", message, f"see whether a backup of the target was put back; {WORD}"), True
        numbers = [record_id for record_id in ids if isinstance(record_id, int)]
        self._vain += len(numbers) < len(ids)
        lowest = self._known.lowest if self._known is not None else None
        if numbers and lowest is not None and min(numbers) < lowest:
            message = f"ids go backwards: {min(numbers)} comes after {self._floor}; the run's first one was {lowest}"
            return Halt("answers", message, f"see whether the table was emptied or put back; {WORD}"), False
        if numbers and self._furthest is not None and min(numbers) > self._furthest:
            return too_far(min(numbers), self._floor), False
        return None, False


def too_far(found: int, known: int) -> Halt:
    """Say that the target holds more than the log can explain."""
    message = (
        f"the target's ids go up to {found}, and the log knows of none above {known}: it may be older than the target"
    )
    hint = (
        f"see whether a backup of the run directory was put back; if others wrote these rows, {WORD.partition(', ')[2]}"
    )
    return Halt("answers", message, hint)


def _rank(text: str) -> tuple[int, str]:
    return len(text), text
