"""The emulator as one object: starts and stops the server, and lets tests, the demo and users read what it holds.

`Emulator` lives in a running loop; `EmulatorThread` (or `running`) gives it a thread and a loop of its own, for callers that have
none or keep theirs for the client; `run_emulator` is the whole life of `loader emulator`. It binds to loopback only, unless told
otherwise. `stop` and `start` may alternate: the port and the rows stay, as with a service that was down for a while.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from loader.emulator.backups import Backup
from loader.emulator.engine import Engine, Ticket
from loader.emulator.faults import Fault
from loader.emulator.journal import Journal
from loader.emulator.plan import Plan
from loader.emulator.server import SWEEP_SECONDS, Connection
from loader.emulator.tables import Tables

FLUSH_SECONDS = 0.5
JOURNAL_SIZE = 200_000
BACKLOG = 1024
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Emulator:
    """Both APIs at one address. `database` is ":memory:" or a file; `port` 0 takes any free one."""

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        database: str = ":memory:",
        host: str = "127.0.0.1",
        port: int = 0,
        allow_remote: bool = False,
        journal_size: int = JOURNAL_SIZE,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = "127.0.0.1" if host == "localhost" else host
        if not allow_remote and not _is_loopback(self.host):
            message = f"the emulator serves this machine only, and {host} is not a loopback address"
            raise ValueError(message)
        self.plan = plan if plan is not None else Plan()
        self.port = port
        self.journal = Journal(journal_size)
        self.tables = Tables(database)
        self.engine = Engine(self.plan, self.tables, self.journal)
        self.connections: set[Connection] = set()
        self.lingering: set[Connection] = set()
        self._allow_remote = allow_remote
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._own_hosts: set[bytes] = set()
        self._beat: asyncio.TimerHandle | None = None
        self._swept = 0.0
        self._is_empty = asyncio.Event()

    @property
    def base_url(self) -> str:
        """The address of both APIs, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self._tls else ''}://{host}:{self.port}"

    @property
    def pending_commits(self) -> int:
        """Requests whose rows are still to be written, after their connection was lost."""
        return len(self._timers) + len(self.lingering)

    async def start(self) -> None:
        """Begin to serve."""
        self.loop = asyncio.get_running_loop()
        self._server = await self.loop.create_server(
            lambda: Connection(self), self.host, self.port, ssl=self._tls, backlog=BACKLOG, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._own_hosts.clear()
        self._beat = self.loop.call_later(FLUSH_SECONDS, self._on_beat)

    async def stop(self) -> None:
        """End all connections and write what waits. Late commits that are still to come never will."""
        if self._server is None:
            return
        self._server.close()
        self._is_empty = asyncio.Event()
        if not self.connections:
            self._is_empty.set()
        for connection in (*self.connections, *self.lingering):
            connection.abort()
        self.lingering.clear()
        for timer in tuple(self._timers):
            timer.cancel()
        self._timers.clear()
        if self._beat is not None:
            self._beat.cancel()
        await self._server.wait_closed()
        await self._is_empty.wait()
        self._server = None
        self.tables.flush()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Read a table: Ozari's by its name (with `fid`), Canbus' by the app's id (with `_id`). From any thread.

        Errors: KeyError if there is no such table.
        """
        return self.tables.rows(table)

    def set_faults(self, *rules: Fault) -> None:
        """Put other fault rules in place of the plan's. From any thread."""
        self.engine.set_faults(rules)

    def back_up(self) -> Backup:
        """Copy all rows as they are now. From any thread."""
        return Backup(self.tables)

    def go_back(self, backup: Backup) -> None:
        """Let the service go back to a backup. From any thread, while no request is under way."""
        backup.put_back(self.tables)
        self.engine.read_tables()

    def close(self) -> None:
        """Close the database. Nothing can be read any more."""
        self.tables.close()

    def forget(self, connection: Connection) -> None:
        """Take note that a connection has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._is_empty.set()

    # --- what a connection asks -------------------------------------------------------------------------------------

    def is_own_host(self, host: bytes) -> bool:
        """Say whether a Host header names this server. A page in a browser would bring its own name (DNS rebinding)."""
        if host in self._own_hosts:
            return True
        name = host.decode("latin-1").rsplit(":", 1)[0] if not host.endswith(b"]") else host.decode("latin-1")
        name = name.strip("[]").lower()
        is_own = name in _LOCAL_NAMES or name == self.host or (self._allow_remote and _is_address(name))
        if is_own:
            self._own_hosts.add(host)
        return is_own

    def later(self, seconds: float, ticket: Ticket) -> None:
        """Commit a ticket later, though its connection is lost."""

        def commit() -> None:
            self._timers.discard(timer)
            self.engine.perform_late(ticket)

        timer = self.loop.call_later(seconds, commit)
        self._timers.add(timer)

    def _on_beat(self) -> None:
        self.tables.flush()
        now = self.loop.time()
        if now - self._swept >= SWEEP_SECONDS:
            self._swept = now
            for connection in tuple(self.connections):
                connection.sweep(now, self.plan.keep_alive_seconds)
        self._beat = self.loop.call_later(FLUSH_SECONDS, self._on_beat)


class EmulatorThread:
    """An emulator with a thread and a loop of its own. As a context manager it gives the emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._run, name="emulator", daemon=True)

    def start(self) -> Emulator:
        """Begin to serve; returns once the port is open."""
        self._thread.start()
        self.resume()
        return self.emulator

    def pause(self) -> None:
        """Close the port and end all connections, as a service that goes down."""
        asyncio.run_coroutine_threadsafe(self.emulator.stop(), self._loop).result()

    def resume(self) -> None:
        """Open the same port again."""
        asyncio.run_coroutine_threadsafe(self.emulator.start(), self._loop).result()

    def stop(self) -> None:
        """End the thread. The rows and the journal can still be read."""
        self.pause()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


@contextmanager
def running(plan: Plan | None = None, **options: Any) -> Iterator[Emulator]:
    """Run an emulator in its own thread for the length of a block. Options are those of Emulator."""
    with EmulatorThread(Emulator(plan, **options)) as emulator:
        yield emulator


def run_emulator(plan: Plan, database: str, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `announce` gets one line a call: the address, what to export, and the counts at the end."""
    emulator = Emulator(plan, database=database, host=host, port=port)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_serve(emulator, announce))
    emulator.close()


async def _serve(emulator: Emulator, announce: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    began = time.monotonic()
    async with emulator:
        announce(f"emulator at {emulator.base_url}, Ctrl-C ends it")
        for line in exports(emulator):
            announce(line)
        announce(_users(emulator.plan))
        await stop.wait()
    journal = emulator.journal
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(journal.faults.items())) or "none"
    announce(
        f"{journal.requests} requests in {time.monotonic() - began:.1f} s, {journal.committed} rows created, "
        f"{journal.throttled} throttled, faults: {faults}"
    )


def exports(emulator: Emulator) -> list[str]:
    """Say in shell what the client's environment needs. The values are the plan's own, no real credentials."""
    ozari, canbus = emulator.plan.ozari, emulator.plan.canbus
    app = canbus.apps[0]
    values = {
        "OZARI_BASE_URL": emulator.base_url,
        "OZARI_TOKEN": ozari.token,
        "CANBUS_BASE_URL": emulator.base_url,
        "CANBUS_TENANT_ID": canbus.tenant_id,
        "CANBUS_APP_ID": app.app_id,
        "CANBUS_API_KEY": app.api_key,
        "CANBUS_API_SECRET": app.api_secret,
    }
    return [f"export {name}={value}" for name, value in values.items()]


def _users(plan: Plan) -> str:
    """Say whom Canbus lets create records: of all that a first load needs, the one thing that is no credential."""
    users = plan.canbus.users
    names = "whoever is named" if plan.canbus.any_user else ", ".join(users) or "none"
    return f"users of Canbus: {names}" + (f"; as in: loader canbus add FILE --user {users[0]}" if users else "")


def _new_loop() -> asyncio.AbstractEventLoop:
    """Make a loop: uvloop's, which is a sixth quicker here, or asyncio's own if it is not installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback
