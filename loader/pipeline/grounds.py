"""The grounds of what the report says of duplicates: what this execution has checked, and what it had to assume.

Each part that checks something adds a sentence; so does each that cannot check what it relies on. The report shows both.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Grounds:
    """Sentences without a full stop, in the order in which they came; none twice."""

    _checked: dict[str, None] = field(default_factory=dict)
    _assumed: dict[str, None] = field(default_factory=dict)

    def check(self, sentence: str) -> None:
        """Name something that was checked."""
        self._checked[sentence] = None

    def assume(self, sentence: str) -> None:
        """Name something that was taken for true."""
        self._assumed[sentence] = None

    @property
    def checked(self) -> tuple[str, ...]:
        """List what was checked."""
        return tuple(self._checked)

    @property
    def assumed(self) -> tuple[str, ...]:
        """List what was taken for true."""
        return tuple(self._assumed)
