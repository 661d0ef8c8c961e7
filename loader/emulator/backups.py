"""A target that goes back: all tables as they were at an earlier time, or their first rows only.

What the handlers remember of the rows is theirs: `Engine.read_tables` makes them begin anew afterwards.
"""

from __future__ import annotations

import sqlite3

from loader.emulator.tables import Tables


class Backup:
    """All tables as they were when it was made."""

    def __init__(self, tables: Tables) -> None:
        self._copy = sqlite3.connect(":memory:", check_same_thread=False)
        with tables.lock:
            tables.flush()
            tables.connection.backup(self._copy)

    def put_back(self, tables: Tables) -> None:
        """Let the tables be as they were: rows, columns and the numbering of new rows."""
        with tables.lock:
            tables.flush()
            self._copy.backup(tables.connection)
            for table in tables.opened():
                table.reopen()

    def close(self) -> None:
        """Forget the copy."""
        self._copy.close()


def keep_first(tables: Tables, rows: int) -> None:
    """Delete all but the first rows of each table; the numbering goes back with them."""
    with tables.lock:
        for table in tables.opened():
            table.delete([row.id for row in table.select("1", (), offset=rows)])
            table.reopen()
