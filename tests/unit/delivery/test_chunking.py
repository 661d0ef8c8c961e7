"""Chunks by count and by exact bytes: nothing lost, nothing reordered, no body larger than it may be."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.delivery.chunking import Chunker, halve
from loader.model import Chunk, Record


def record(size: int, number: int = 1) -> Record:
    return Record(0, number, 0, b"x" * size)


def body_bytes(chunk: Chunk, overhead: int) -> int:
    """Encode for real, as a target does."""
    return len(b"e" * overhead + b",".join(record.data for record in chunk.records))


def feed_all(chunker: Chunker, records: list[Record]) -> list[Chunk]:
    chunks = [chunk for one in records if (chunk := chunker.feed(one))]
    last = chunker.flush()
    return [*chunks, last] if last else chunks


@given(
    sizes=st.lists(st.integers(0, 40), max_size=60),
    overhead=st.integers(0, 30),
    max_records=st.integers(1, 10),
    max_bytes=st.integers(1, 120),
)
def test_the_arithmetic_of_bytes(sizes: list[int], overhead: int, max_records: int, max_bytes: int) -> None:
    records = [record(size, number) for number, size in enumerate(sizes)]
    chunks = feed_all(Chunker(overhead, max_records, max_bytes), records)
    assert [one for chunk in chunks for one in chunk.records] == records
    for chunk in chunks:
        assert 1 <= len(chunk.records) <= max_records
        assert len(chunk.records) == 1 or body_bytes(chunk, overhead) <= max_bytes
    # No chunk was closed early: the next record would not have fitted.
    for chunk, following in pairwise(chunks):
        joined = Chunk((*chunk.records, following.records[0]))
        assert len(joined.records) > max_records or body_bytes(joined, overhead) > max_bytes


@given(
    sizes=st.lists(st.integers(0, 40), max_size=60),
    overhead=st.integers(0, 30),
    max_records=st.integers(1, 10),
    max_bytes=st.integers(1, 120),
)
def test_packing_all_at_once_is_feeding_one_by_one(
    sizes: list[int], overhead: int, max_records: int, max_bytes: int
) -> None:
    records = [record(size, number) for number, size in enumerate(sizes)]
    waiting, rest = records[: len(records) // 3], records[len(records) // 3 :]
    one, other = (Chunker(overhead, max_records, max_bytes, in_doubt=True) for _ in range(2))
    expected = feed_all(one, records)
    packed = [chunk for one_record in waiting if (chunk := other.feed(one_record)) is not None]
    packed += other.pack(rest)
    assert packed == expected
    assert other.pack([]) == []


def test_a_chunk_that_is_exactly_full_goes_at_once() -> None:
    chunker = Chunker(10, 100, 10 + 3 + 1 + 3)
    assert chunker.feed(record(3)) is None
    full = chunker.feed(record(3))
    assert full is not None
    assert body_bytes(full, 10) == 17
    assert chunker.flush() is None


def test_one_byte_too_many_begins_a_new_chunk() -> None:
    chunker = Chunker(10, 100, 16)
    assert chunker.feed(record(3, 1)) is None
    assert chunker.feed(record(3, 2)) == Chunk((record(3, 1),))
    assert chunker.flush() == Chunk((record(3, 2),))


def test_a_record_that_is_too_large_goes_alone() -> None:
    chunker = Chunker(10, 100, 20)
    assert chunker.feed(record(50, 1)) == Chunk((record(50, 1),))
    assert chunker.feed(record(1, 2)) is None
    assert chunker.feed(record(50, 3)) == Chunk((record(1, 2),))
    assert chunker.feed(record(1, 4)) == Chunk((record(50, 3),))
    assert chunker.flush() == Chunk((record(1, 4),))


def test_the_count_alone_fills_a_chunk() -> None:
    chunker = Chunker(0, 2, 1000)
    assert chunker.feed(record(1, 1)) is None
    assert chunker.feed(record(1, 2)) == Chunk((record(1, 1), record(1, 2)))
    assert chunker.flush() is None


def test_chunks_of_doubt_say_so() -> None:
    chunker = Chunker(0, 2, 1000, in_doubt=True)
    chunker.feed(record(1))
    assert chunker.flush() == Chunk((record(1),), in_doubt=True)


@pytest.mark.parametrize("limits", [(0, 10), (10, 0)])
def test_a_chunk_has_room_for_something(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Chunker(0, *limits)


@given(count=st.integers(2, 50), in_doubt=st.booleans())
def test_halves(*, count: int, in_doubt: bool) -> None:
    chunk = Chunk(tuple(record(1, number) for number in range(count)), in_doubt)
    first, second = halve(chunk)
    assert [*first.records, *second.records] == [*chunk.records]
    assert 0 <= len(first.records) - len(second.records) <= 1
    assert first.in_doubt is second.in_doubt is in_doubt


def test_one_record_has_no_halves() -> None:
    with pytest.raises(ValueError, match="cannot be halved"):
        halve(Chunk((record(1),)))
