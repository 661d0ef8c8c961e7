"""The ids of the last answers: an answer that gives one of them again is a copy of an earlier answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from loader.model import Created, Outcome, RecordId, Resend

REMEMBERED_ANSWERS = 4096
"""At least; about twice as many at most."""


class GivenIds:
    """Remembers the ids of the last answers. An answer that gives one of them again is a copy of an earlier answer.

    One id of each answer is enough, since a copy repeats all of them. A copy comes soon, or not at all.
    """

    def __init__(self) -> None:
        self._last: set[RecordId] = set()
        self._before: set[RecordId] = set()

    def is_copy(self, outcomes: Sequence[Outcome | Resend]) -> bool:
        """Say whether an answer gives an id that another gave; remember it, if not."""
        given = first_id(outcomes)
        return given is not None and not self.take_new((given,))

    def take_new(self, ids: Sequence[RecordId]) -> bool:
        """Say whether none of some ids, each of an answer of its own, was given by another one; remember them, if so."""
        new = set(ids)
        if len(new) < len(ids) or not new.isdisjoint(self._last) or not new.isdisjoint(self._before):
            return False
        self._last |= new
        if len(self._last) >= REMEMBERED_ANSWERS:
            self._before, self._last = self._last, set()
        return True


def first_id(outcomes: Sequence[Outcome | Resend]) -> RecordId:
    """Return the first id that an answer gives, or None."""
    ids = (outcome.id for outcome in outcomes if isinstance(outcome, Created) and outcome.id is not None)
    return next(ids, None)
