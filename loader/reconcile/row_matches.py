"""Which rows of the target belong to which records, by a text that both have. On disk, so that millions of them cost no memory.

Owns the counting on which `learning` rests: a record has its row only where one record has the text, and one row. Everything
stands in a temporary SQLite database, which the system forgets with the process; it holds keys or stamps and ids, no secret.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, Self, TypeAlias

CREATED: Final = "created"
DOUBTFUL: Final = "doubtful"
Was: TypeAlias = Literal["created", "doubtful"]
MAX_IDS_SHOWN = 8
"""Ids of one record that stands in several rows; more of them tell nobody more."""


class Wanted(NamedTuple):
    """A record whose row is looked for. `text` is its key or stamp, None where it has none."""

    source: int
    number: int
    was: Was
    text: str | None


class Match(NamedTuple):
    """A record and its only row."""

    source: int
    number: int
    was: Was
    id: int | str


class Matches:
    """Records that are looked for, and the rows that were seen. Use it in a `with`."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect("", isolation_level=None)
        self._rows.execute("PRAGMA journal_mode = OFF")
        self._rows.execute("CREATE TABLE wanted (source INTEGER, number INTEGER, was TEXT, text TEXT)")
        self._rows.execute("CREATE INDEX wanted_texts ON wanted (text)")
        # No type for the id: a number stays a number. The key of the table makes a row that comes twice count once.
        self._rows.execute("CREATE TABLE seen (text TEXT, id, PRIMARY KEY (text, id)) WITHOUT ROWID")
        self._rows.execute("CREATE INDEX seen_ids ON seen (id)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def want(self, records: Iterable[Wanted]) -> int:
        """Look for records; return how many."""
        self._rows.execute("BEGIN")
        self._rows.executemany("INSERT INTO wanted VALUES (?, ?, ?, ?)", records)
        self._rows.execute("COMMIT")
        return self._count("SELECT count(*) FROM wanted")

    def among(self, rows: Sequence[tuple[str, int | str]]) -> list[tuple[str, int | str]]:
        """Return those of the rows (text, id) whose text some record has."""
        asked = self._rows.execute
        return [row for row in rows if asked("SELECT 1 FROM wanted WHERE text = ? LIMIT 1", row[:1]).fetchone()]

    def see(self, rows: Iterable[tuple[str, int | str]]) -> None:
        """Take notice of rows (text, id)."""
        self._rows.execute("BEGIN")
        self._rows.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", rows)
        self._rows.execute("COMMIT")

    def single(self) -> Iterator[Match]:
        """Yield the records that have one row alone, which no other record has, by source and line."""
        found = self._rows.execute(
            "SELECT source, number, was, id FROM wanted JOIN seen USING (text)"
            " WHERE (SELECT count(*) FROM wanted AS other WHERE other.text = wanted.text) = 1"
            " AND (SELECT count(*) FROM seen AS other WHERE other.text = seen.text) = 1"
            " AND (SELECT count(*) FROM seen AS other WHERE other.id = seen.id) = 1"
            " ORDER BY source, number"
        )
        yield from map(Match._make, found)

    def several(self) -> Iterator[tuple[Wanted, tuple[int | str, ...]]]:
        """Yield the records that have several rows, with some of the ids, by source and line."""
        found = self._rows.execute(
            "SELECT source, number, was, text FROM wanted"
            " WHERE (SELECT count(*) FROM seen WHERE seen.text = wanted.text) > 1 ORDER BY source, number"
        )
        for row in found:
            wanted = Wanted(*row)
            ids = self._rows.execute("SELECT id FROM seen WHERE text = ? LIMIT ?", (wanted.text, MAX_IDS_SHOWN))
            yield wanted, tuple(one for (one,) in ids)

    def count_several(self) -> int:
        """Count them."""
        return self._count("SELECT count(*) FROM wanted WHERE (SELECT count(*) FROM seen WHERE text = wanted.text) > 1")

    def count_unseen(self) -> int:
        """Count the records that have no row."""
        return self._count("SELECT count(*) FROM wanted WHERE text IS NULL OR text NOT IN (SELECT text FROM seen)")

    def _count(self, sql: str) -> int:
        return int(self._rows.execute(sql).fetchone()[0])
