"""What follows the answers of one turn: all are taken before the first request is asked for."""

from __future__ import annotations

import asyncio

import pytest

from loader.model import Request, Response
from loader.transport.batched_answers import Relay

ANSWER = Response(201, {}, b"{}", is_complete=True, is_upload_complete=True)
REQUEST = Request("POST", "/records", b"{}")


class Noting:
    """Notes what it is told and asked, with its name."""

    def __init__(self, name: str, events: list[str]) -> None:
        self._name = name
        self._events = events

    def take(self, response: Response) -> None:
        assert response is ANSWER
        self._events.append(f"take {self._name}")

    def next(self) -> Request | None:
        self._events.append(f"next {self._name}")
        return REQUEST


async def test_all_of_a_turn_are_taken_before_the_first_is_asked() -> None:
    relay, events = Relay(asyncio.get_running_loop()), list[str]()
    followings = await asyncio.gather(*(relay.next(Noting(name, events), ANSWER) for name in "abc"))
    assert followings == [REQUEST] * 3
    assert events == ["take a", "take b", "take c", "next a", "next b", "next c"]


async def test_another_turn_is_another_round() -> None:
    relay, events = Relay(asyncio.get_running_loop()), list[str]()
    for name in "ab":
        assert await relay.next(Noting(name, events), ANSWER) is REQUEST
    assert events == ["take a", "next a", "take b", "next b"]


async def test_the_answer_of_a_cancelled_task_is_not_taken() -> None:
    relay, events = Relay(asyncio.get_running_loop()), list[str]()
    tasks = [asyncio.create_task(relay.next(Noting(name, events), ANSWER)) for name in "ab"]
    asyncio.get_running_loop().call_soon(tasks[0].cancel)  # once both wait, before their turn ends
    replies = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(replies[0], asyncio.CancelledError)
    assert replies[1] is REQUEST
    assert events == ["take b", "next b"]


@pytest.mark.parametrize("step", ["take", "next"])
async def test_an_error_is_raised_for_the_one_alone(step: str) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    relay, events = Relay(asyncio.get_running_loop()), list[str]()
    bad = Noting("bad", events)
    setattr(bad, step, fail)
    replies = await asyncio.gather(
        relay.next(bad, ANSWER), relay.next(Noting("good", events), ANSWER), return_exceptions=True
    )
    assert isinstance(replies[0], ZeroDivisionError)
    assert replies[1] is REQUEST
    assert events[-1] == "next good"
