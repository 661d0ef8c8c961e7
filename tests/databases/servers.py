"""Private instances of MariaDB and PostgreSQL: own data directory, own port on loopback, ended by their process id.

LOADER_EMULATOR_DATABASE=mariadb://… or postgresql://… names a server that runs already, in place of the private one of
its kind; its user must be allowed to create databases.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.emulator.columns import OzariDatabase
from loader.emulator.databases.mariadb import MariaDb
from loader.emulator.databases.postgresql import PostgreSql
from loader.emulator.databases.server import Server
from loader.emulator.ozari.store import RowsError

START_SECONDS = 60.0
USER = "loader"


@dataclass(frozen=True)
class Instance:
    """A running server. `url` lacks the database's name."""

    kind: str
    url: str
    first_database: str

    def connect(self, database: str = "") -> Server:
        """Connect beside the emulator. Errors: RowsError."""
        url = f"{self.url}/{database or self.first_database}"
        if self.kind == "mariadb":
            return MariaDb(url, OzariDatabase(), counts_matched=False)
        return PostgreSql(url)


@contextmanager
def own_folder() -> Iterator[Path]:
    """Make a folder for one server. Not one of pytest's: those are shut to other users, and a server may run as one."""
    with tempfile.TemporaryDirectory(prefix="loader-databases-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@contextmanager
def running_mariadb(folder: Path) -> Iterator[Instance]:
    """Run a MariaDB."""
    data, port, password = folder / "mariadb", free_port(), secrets.token_hex(8)
    data.mkdir()
    owner = ["--user=root"] if os.geteuid() == 0 else []
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", *owner]
    subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
    first = folder / "first.sql"
    first.write_text(
        f"CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{password}';\nGRANT ALL ON *.* TO {USER}@'127.0.0.1';\n"
        f"SET PASSWORD FOR root@localhost = PASSWORD('{password}');\n"
    )
    command = [
        *(program("mariadbd"), "--no-defaults", f"--datadir={data}", f"--socket={folder}/mariadb.sock", *owner),
        *(f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve", f"--init-file={first}"),
        *("--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", f"--pid-file={folder}/mariadb.pid"),
    ]
    with child(command, folder / "mariadb.log"):
        instance = Instance("mariadb", f"mariadb://{USER}:{password}@127.0.0.1:{port}", "mysql")
        wait_for(instance)
        yield instance


@contextmanager
def running_postgresql(folder: Path) -> Iterator[Instance]:
    """Run a PostgreSQL; as root it runs as the user that its package made, since it refuses root."""
    data, port, password = folder / "postgresql", free_port(), secrets.token_hex(8)
    data.mkdir()
    given = folder / "password"
    given.write_text(password)
    identity: Mapping[str, Any] = {}
    if os.geteuid() == 0:
        identity = {"user": "postgres", "group": "postgres", "extra_groups": []}
        for path in (data, given):
            shutil.chown(path, "postgres", "postgres")
    initdb = [program("initdb"), "-D", str(data), "-U", USER, f"--pwfile={given}", "--auth=scram-sha-256", "-E", "UTF8"]
    subprocess.run([*initdb, "--locale=C.UTF-8", "--no-sync"], check=True, capture_output=True, cwd="/", **identity)
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with child([program("postgres"), "-D", str(data), *options], folder / "postgresql.log", identity):
        instance = Instance("postgresql", f"postgresql://{USER}:{password}@127.0.0.1:{port}", "postgres")
        wait_for(instance)
        yield instance


@contextmanager
def child(command: Sequence[str], log: Path, identity: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Run a server for the length of a block."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/", **identity or {})
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(instance: Instance) -> None:
    """Wait until a server lets us in."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            instance.connect().close()
        except RowsError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def free_port() -> int:
    """Find a free port on loopback."""
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return int(link.getsockname()[1])


def program(name: str) -> str:
    """Find a server's program: Debian keeps them off the usual path."""
    folders = [
        "/usr/sbin",
        "/usr/local/sbin",
        *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
    ]
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise FileNotFoundError(f"{name} is not here: `make databases` installs it")
    return found
