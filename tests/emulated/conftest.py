"""Says at the end of a session how many processes the crash suite killed, for the table of suites. No fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.emulated.crash_trials import KILLS

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures; with several workers each has its own, and nothing is printed."""
    if KILLS:
        figures = ", ".join(f"{count} {what}" for what, count in sorted(KILLS.items()))
        terminalreporter.write_line(f"crash suite: {figures}")
