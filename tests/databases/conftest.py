"""One server of each kind for the whole session, a database of its own for each trial, and the table of figures at the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest

from tests.databases.servers import Instance, own_folder, running_mariadb, running_postgresql
from tests.databases.trials import FIGURES, Database, table

_NUMBERS = count(1)


def pytest_configure() -> None:
    """Let SIGTERM end the session as Ctrl-C does, so that no server is left behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def instances() -> Iterator[dict[str, Instance]]:
    """Run both servers, or take the one that the environment names."""
    given = os.environ.get("LOADER_EMULATOR_DATABASE", "")
    kind = {"mysql": "mariadb", "postgres": "postgresql"}.get(given.partition("://")[0], given.partition("://")[0])
    with ExitStack() as stack:
        found = {}
        for name, start in (("mariadb", running_mariadb), ("postgresql", running_postgresql)):
            if name == kind:
                url, _, first = given.rpartition("/")
                found[name] = Instance(name, url, first)
            else:
                found[name] = stack.enter_context(start(stack.enter_context(own_folder())))
        yield found


@pytest.fixture(params=["mariadb", "postgresql"])
def database(request: pytest.FixtureRequest, instances: dict[str, Instance]) -> Iterator[Database]:
    """Make a database for one trial, and drop it."""
    with made(instances[request.param]) as database:
        yield database


@pytest.fixture
def mariadb(instances: dict[str, Instance]) -> Iterator[Database]:
    """Make one in MariaDB, for what PostgreSQL does not have."""
    with made(instances["mariadb"]) as database:
        yield database


@contextmanager
def made(instance: Instance) -> Iterator[Database]:
    """Make a database for the length of a block."""
    name = f"loader_trial_{os.getpid()}_{next(_NUMBERS)}"
    server = instance.connect()
    server.change(f"CREATE DATABASE {name}")
    try:
        yield Database(instance.kind, f"{instance.url}/{name}")
    finally:
        force = " WITH (FORCE)" if instance.kind == "postgresql" else ""
        server.change(f"DROP DATABASE {name}{force}")
        server.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each trial counted, as the table of benchmarks/README.md."""
    if FIGURES:
        terminalreporter.write_line("")
        for line in table():
            terminalreporter.write_line(line)
