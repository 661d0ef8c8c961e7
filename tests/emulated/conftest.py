"""What the tests over sockets share: the side of TLS that a server has, the loops of the contract suite, and the count of
killed processes at the end.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.emulated.crash_trials import KILLS
from tests.emulated.raw_server import server_tls


@pytest.fixture(params=[False, True], ids=["raw", "tls"])
def tls(request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    """The server's side: a row must end alike over a bare socket and inside TLS."""
    return server_tls() if request.param else None


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the transports' contract on the command's loop too where LOADER_LOOPS says so (`make contract`)."""
    own = {"asyncio": asyncio.new_event_loop}
    is_contract = "LOADER_LOOPS" in os.environ and item.path.name.startswith("test_transport")
    return own | {"uvloop": uvloop.new_event_loop} if is_contract else own


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the crash suite; with several workers each has its own, and nothing is printed."""
    if KILLS:
        figures = ", ".join(f"{count} {what}" for what, count in sorted(KILLS.items()))
        terminalreporter.write_line(f"crash suite: {figures}")
