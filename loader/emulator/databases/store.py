"""Where the emulator's rows are: in SQLite, or, for Ozari's tables, in the database that a URL names."""

from __future__ import annotations

from typing import Any

from loader.emulator.backups import keep_first
from loader.emulator.columns import OzariTable
from loader.emulator.databases.rows import DatabaseRows
from loader.emulator.databases.server import Server
from loader.emulator.ozari.store import RowsError
from loader.emulator.switches import OzariSwitches
from loader.emulator.tables import Tables

MARIADB = ("mariadb", "mysql")
POSTGRESQL = ("postgresql", "postgres")


class DatabaseStore:
    """Ozari's tables in a real database. The tables of Canbus stay in `tables`."""

    def __init__(self, server: Server, switches: OzariSwitches, tables: Tables) -> None:
        self._server = server
        self._switches = switches
        self._tables = tables
        self._rows: dict[str, DatabaseRows] = {}

    def open(self, name: str, spec: OzariTable) -> DatabaseRows:
        if name not in self._rows:
            self._rows[name] = DatabaseRows(self._server, name, spec, self._switches)
        return self._rows[name]

    def read_all(self, name: str) -> list[dict[str, Any]] | None:
        return self._rows[name].read_all() if name in self._rows else None

    def keep_first(self, rows: int) -> None:
        keep_first(self._tables, rows)
        for table in self._rows.values():
            table.keep_first(rows)

    def close(self) -> None:
        self._server.close()


def is_url(database: str) -> bool:
    """Say whether a database is named by a URL, and not by a file."""
    return "://" in database


def open_store(url: str, switches: OzariSwitches, tables: Tables) -> DatabaseStore:
    """Connect to a database. Errors: RowsError."""
    kind = url.partition("://")[0]
    server: Server
    try:
        if kind in MARIADB:
            from loader.emulator.databases.mariadb import MariaDb

            server = MariaDb(url, switches.database, counts_matched=switches.updated_count == "matched")
        elif kind in POSTGRESQL:
            from loader.emulator.databases.postgresql import PostgreSql

            server = PostgreSql(url)
        else:
            raise RowsError(f"{kind}:// is no database that the emulator knows: mariadb:// or postgresql://")
    except ImportError as error:
        raise RowsError(f"{error.name} is not installed: pip install 'loader[databases]'") from error
    return DatabaseStore(server, switches, tables)
