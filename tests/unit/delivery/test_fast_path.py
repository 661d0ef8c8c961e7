"""The crew: of the answers of a turn each settles its own record, and what follows has its parcel and its token."""

from __future__ import annotations

from collections.abc import Sequence

from loader.delivery.fast_path import FastPath, WorkerSlot
from loader.delivery.queue import QueuedChunk
from loader.model import Request, Response
from tests.unit.delivery.test_worker import Bench, body_of, created


class Turn:
    """Some workers whose requests are out, and the answers that come in one turn."""

    def __init__(self, count: int, out: int, rate: float = 1e6) -> None:
        self.bench = Bench(count, created, rate)
        self.fast_path = FastPath(self.bench.parts, self.bench.delivery)
        self.slots: list[WorkerSlot] = []
        for _ in range(out):
            slot = WorkerSlot(self.fast_path)
            slot.queued = self.bench.queue.take_now()
            slot.is_out = True
            self.slots.append(slot)
        requests = [Request("POST", "/") for _ in range(out)]
        assert self.bench.parts.sender.admit_following(self.slots, requests) == out

    def end(self, *responses: Response) -> list[Request | None]:
        for slot, response in zip(self.slots, responses, strict=True):
            slot.take(response)
        return [slot.next() for slot in self.slots]

    def numbers(self) -> list[int | None]:
        return [number_of(slot.queued) for slot in self.slots]


def number_of(queued: QueuedChunk | None) -> int | None:
    return None if queued is None else queued.chunk.records[0].number


def bodies(requests: Sequence[Request | None]) -> list[bytes | None]:
    return [None if request is None else request.body for request in requests]


async def test_each_answer_settles_its_own_record_and_the_next_ones_follow_in_order() -> None:
    turn = Turn(8, out=3)
    assert bodies(turn.end(created(1), created(2), created(3))) == [body_of(4), body_of(5), body_of(6)]
    assert turn.bench.told.created == [(1, 101), (2, 102), (3, 103)]
    assert turn.numbers() == [4, 5, 6]
    assert all(slot.is_out for slot in turn.slots)
    traffic = turn.bench.parts.sender.traffic
    assert (traffic.requests, traffic.in_flight) == (6, 3)
    assert turn.bench.parts.sender.throttle.in_flight == 3


async def test_an_answer_that_is_another_ones_is_left_to_its_worker() -> None:
    turn = Turn(8, out=3)
    assert bodies(turn.end(created(1), created(3), created(2))) == [body_of(4), None, None]
    assert turn.bench.told.created == [(1, 101)]
    assert turn.numbers() == [4, 2, 3]
    assert [slot.verdict is not None for slot in turn.slots] == [False, True, True]
    assert all(slot.is_out for slot in turn.slots)


async def test_an_answer_that_is_not_good_stands_between_others() -> None:
    turn = Turn(8, out=3)
    busy = Response(503, {}, b"")
    assert bodies(turn.end(created(1), busy, created(3))) == [body_of(4), None, body_of(5)]
    assert turn.bench.told.created == [(1, 101), (3, 103)]
    assert turn.numbers() == [4, 2, 5]
    assert turn.bench.parts.sender.throttle.in_flight == 2


async def test_what_has_no_token_stays_with_its_worker() -> None:
    turn = Turn(8, out=1, rate=0.5)
    assert turn.end(created(1)) == [None]
    assert turn.numbers() == [2]
    assert not turn.slots[0].is_out
    assert turn.bench.parts.sender.traffic.requests == 1


async def test_fewer_records_than_workers() -> None:
    turn = Turn(4, out=3)
    assert bodies(turn.end(created(1), created(2), created(3))) == [body_of(4), None, None]
    assert turn.numbers() == [4, None, None]
    assert [slot.is_out for slot in turn.slots] == [True, False, False]


async def test_a_log_that_is_gone_is_told_to_all_and_nobody_takes_his_record_for_unsent() -> None:
    turn = Turn(8, out=3)
    turn.bench.told.fails_at = 2
    assert turn.end(created(1), created(2), created(3)) == [None, None, None]
    assert [str(slot.error) for slot in turn.slots] == ["the log is gone"] * 3
    assert turn.numbers() == [1, 2, 3]
    assert all(slot.is_out for slot in turn.slots)
    assert turn.bench.waiting() == [4, 5, 6, 7, 8]


async def test_nothing_follows_once_the_work_is_closed() -> None:
    turn = Turn(8, out=2)
    turn.bench.stop.interrupt(2)
    assert turn.end(created(1), created(2)) == [None, None]
    assert turn.bench.told.created == [(1, 101), (2, 102)]
    assert turn.bench.waiting() == [3, 4, 5, 6, 7, 8]


async def test_answers_of_two_turns_are_two_turns() -> None:
    turn = Turn(8, out=2)
    turn.end(created(1), created(2))
    assert bodies(turn.end(created(3), created(4))) == [body_of(5), body_of(6)]
    assert turn.bench.told.created == [(number, 100 + number) for number in range(1, 5)]
