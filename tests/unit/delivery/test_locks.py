"""Locks of updates: by value as long as that tells rows apart, then coarser, and never two ways at once."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from loader.delivery.locks import Locks
from loader.model import Record
from loader.row_lock import RowLock
from loader.targets.row_locks import row_lock


def update(number: int, filters: dict[str, Any], **new: Any) -> Record:
    return Record(0, number, 0, b"{}", None, row_lock(filters, new or {"name": "x"}))


def numbers(locks: Locks, *records: Record) -> list[int]:
    """Acquire in order; return the lines that may go at once."""
    return [record.number for record in records if locks.acquire(record)]


def freed(locks: Locks, record: Record) -> list[int]:
    return [parked.record.number for parked in locks.release(record)]


def test_one_set_of_filter_fields_goes_by_value() -> None:
    locks = Locks()
    records = [update(n, {"k": k}) for n, k in enumerate("abacb", 1)]
    assert numbers(locks, *records) == [1, 2, 4]
    assert freed(locks, records[0]) == [3]
    assert freed(locks, records[1]) == [5]
    assert freed(locks, records[3]) == []
    assert locks.parked == 0


def test_a_second_set_waits_for_all_that_is_out_and_from_then_on_one_goes_at_a_time() -> None:
    locks = Locks()
    first = [update(1, {"k": "a"}), update(2, {"k": "b"}), update(3, {"k": "a"})]
    later = [update(4, {"fid": 7}), update(5, {"k": "c"}), update(6, {"k": "d"})]
    assert numbers(locks, *first, *later) == [1, 2]
    assert (locks.parked, [record.number for record in locks.unsent()]) == (4, [3, 4, 5, 6])
    assert freed(locks, first[1]) == []
    assert freed(locks, first[0]) == [3]
    assert freed(locks, first[2]) == [4]
    assert freed(locks, later[0]) == [5]
    assert numbers(locks, update(7, {"k": "e"})) == []
    assert freed(locks, later[1]) == [6]
    assert freed(locks, later[2]) == [7]


def test_a_number_among_texts_that_begin_with_numbers_goes_by_number_from_then_on() -> None:
    locks = Locks()
    first = [update(1, {"k": "12A"}), update(2, {"k": "12B"}), update(3, {"k": "13"})]
    assert numbers(locks, *first) == [1, 2], "the third is the first number"
    assert freed(locks, first[0]) == []
    assert freed(locks, first[1]) == [3]
    assert numbers(locks, update(4, {"k": "13A"}), update(5, {"k": "14A"}), update(6, {"k": "14"})) == [5]
    assert freed(locks, first[2]) == [4]


def test_texts_that_begin_with_numbers_go_by_value_among_themselves() -> None:
    assert numbers(Locks(), *(update(n, {"k": f"2024-{n:04}"}) for n in range(1, 5))) == [1, 2, 3, 4]


def test_a_nought_may_be_any_text() -> None:
    locks = Locks()
    assert numbers(locks, update(1, {"k": "a"}), update(2, {"k": 0}), update(3, {"k": "b"})) == [1]
    assert freed(locks, update(1, {"k": "a"})) == [2]


def test_an_update_of_its_own_filters_waits_for_the_row_that_it_makes_and_is_waited_for() -> None:
    locks = Locks()
    records = [update(1, {"k": "b"}), update(2, {"k": "a"}, k="b"), update(3, {"k": "a"}), update(4, {"k": "b"})]
    assert numbers(locks, *records) == [1]
    assert freed(locks, records[0]) == [2]
    assert sorted(freed(locks, records[1])) == [3, 4]


def test_other_locks_are_their_own_text() -> None:
    locks = Locks()
    records = [Record(0, n, 0, b"", None, lock) for n, lock in enumerate(("a", "b", "a", None, None), 1)]
    assert numbers(locks, *records) == [1, 2, 4, 5]
    assert freed(locks, records[3]) == []
    assert freed(locks, records[0]) == [3]


def may_be_one_row(one: Record, other: Record) -> bool:
    """Say it by the table's rows: fid N has key K<N>, and updates by fid and by key meet."""
    assert isinstance(one.lock, RowLock)
    assert isinstance(other.lock, RowLock)
    return one.lock.fields != other.lock.fields or not set(one.lock.texts).isdisjoint(other.lock.texts)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_comes_two_that_may_be_of_one_row_are_never_out_together_and_go_in_order(seed: int) -> None:
    draw = Random(seed)
    locks, out, went = Locks(), dict[int, Record](), list[Record]()

    def go(record: Record) -> None:
        assert not any(may_be_one_row(record, other) for other in out.values())
        assert all(other.number < record.number for other in went if may_be_one_row(record, other))
        out[record.number] = record
        went.append(record)

    kinds = draw.choice([["k"], ["k", "fid"], ["k", "moved"], ["k", "moved", "fid"]])
    for number in range(1, 80):
        key = draw.randint(1, 6)
        match draw.choice(kinds):
            case "fid":
                record = update(number, {"fid": key})
            case "moved":
                record = update(number, {"k": f"K{key}"}, k=f"K{draw.randint(1, 6)}")
            case _:
                record = update(number, {"k": f"K{key}"})
        if locks.acquire(record):
            go(record)
        while out and draw.random() < 0.5:
            done = out.pop(draw.choice(list(out)))
            for parked in locks.release(done):
                go(parked.record)
    while out:
        for parked in locks.release(out.pop(draw.choice(list(out)))):
            go(parked.record)
    assert (len(went), locks.parked) == (79, 0)
