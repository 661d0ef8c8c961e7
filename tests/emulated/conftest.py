"""What the tests over sockets share: the side of TLS that a server has, and the count of killed processes at the end."""

from __future__ import annotations

import ssl

import pytest

from tests.emulated.crash_trials import KILLS
from tests.emulated.raw_server import server_tls


@pytest.fixture(params=[False, True], ids=["raw", "tls"])
def tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    """The server's side: a row must end alike over a bare socket and inside TLS."""
    return server_tls() if request.param else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the crash suite; with several workers each has its own, and nothing is printed."""
    if KILLS:
        figures = ", ".join(f"{count} {what}" for what, count in sorted(KILLS.items()))
        terminalreporter.write_line(f"crash suite: {figures}")
