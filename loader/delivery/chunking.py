"""Records into chunks: by count, and by the exact bytes of the encoded body.

A chunker is pushed: `feed` takes one record and returns a chunk once one is full, `flush` returns what is left. It keeps the
order. The bytes of a body are the target's overhead plus the records' data plus one comma between neighbours; nothing is
encoded to find that out. A record that is too large by itself makes a chunk of its own: the target decides.
It knows nothing of locks: two records that may not be in flight together must not be fed to one chunker.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from loader.columns import RecordBlock
from loader.model import Chunk, Record

_data_of = attrgetter("data")


def bytes_of(records: Sequence[Record]) -> int:
    """Add up the bytes of the records' data."""
    return records.data_bytes if isinstance(records, RecordBlock) else sum(map(len, map(_data_of, records)))


class Chunker:
    """Packs records. Shape: `_bytes` is the size of the body that the waiting records make, commas included."""

    __slots__ = ("_bytes", "_in_doubt", "_max_bytes", "_max_records", "_overhead_bytes", "_waiting")

    def __init__(self, overhead_bytes: int, max_records: int, max_bytes: int, *, in_doubt: bool = False) -> None:
        if max_records < 1 or max_bytes < 1:
            raise ValueError("a chunk holds at least one record and one byte")
        self._overhead_bytes = overhead_bytes
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._in_doubt = in_doubt
        self._waiting: list[Record] = []
        self._bytes = overhead_bytes - 1  # each record brings a comma; the first one's is not there

    def feed(self, record: Record) -> Chunk | None:
        """Take a record; return a chunk once no further record fits, or one that this record no longer fitted into."""
        waiting = self._waiting
        size = self._bytes + len(record.data) + 1
        if size > self._max_bytes and waiting:
            full = Chunk(tuple(waiting), self._in_doubt)
            self._waiting = [record]
            self._bytes = self._overhead_bytes + len(record.data)
            return full
        waiting.append(record)
        self._bytes = size
        if len(waiting) >= self._max_records or size >= self._max_bytes:
            return self.flush()
        return None

    def flush(self) -> Chunk | None:
        """Return the records that wait, or None."""
        if not self._waiting:
            return None
        chunk = Chunk(tuple(self._waiting), self._in_doubt)
        self._waiting = []
        self._bytes = self._overhead_bytes - 1
        return chunk

    def pack(self, records: Sequence[Record]) -> list[Chunk]:
        """Take all of them, and return what they and what waited have become, the last chunk as full as it is."""
        if self._max_records == 1 and not self._waiting:
            return [Chunk((record,), self._in_doubt) for record in records]
        size = self._bytes + bytes_of(records) + len(records)
        if not self._waiting and 0 < len(records) <= self._max_records and size <= self._max_bytes:
            # Nearly always: a window is made to be a chunk.
            return [Chunk(records if isinstance(records, RecordBlock) else tuple(records), self._in_doubt)]
        chunks = [chunk for record in records if (chunk := self.feed(record)) is not None]
        rest = self.flush()
        return [*chunks, rest] if rest is not None else chunks


def halve(chunk: Chunk) -> tuple[Chunk, Chunk]:
    """Cut a chunk of two or more into two, the first at most one record larger. Errors: ValueError for a chunk of one."""
    if len(chunk.records) < 2:
        raise ValueError("a chunk of one cannot be halved")
    middle = (len(chunk.records) + 1) // 2
    return Chunk(chunk.records[:middle], chunk.in_doubt), Chunk(chunk.records[middle:], chunk.in_doubt)
