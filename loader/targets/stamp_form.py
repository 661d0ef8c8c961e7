"""How the numbers in a run's stamps are written. Cheap to import: run.json and the registry need it without the stamps."""

from __future__ import annotations

from dataclasses import dataclass

LINE_DIGITS = 9
"""With a run id of ten characters that makes a stamp of twenty: spare fields are often no longer."""


@dataclass(frozen=True, slots=True)
class StampForm:
    """How the numbers of a run's stamps are written; it stands in run.json. `line_digits` 0: the form of earlier versions.

    `source_digits` 0: the run has one source, whose number is left out.
    """

    source_digits: int = 0
    line_digits: int = 0

    @property
    def is_even(self) -> bool:
        """Say whether all stamps of the run have one length."""
        return self.line_digits > 0


EARLIER_FORM = StampForm()


def form_for(sources: int) -> StampForm:
    """Return the form of a new run's stamps."""
    return StampForm(len(str(sources - 1)) if sources > 1 else 0, LINE_DIGITS)
