"""What is collected in a turn of the loop is dealt with once, together, at its end."""

from __future__ import annotations

import asyncio

from loader.end_of_turn import EndOfTurn


async def test_all_of_a_turn_are_dealt_with_together_and_not_before() -> None:
    seen: list[list[int]] = []
    collected = EndOfTurn[int](asyncio.get_running_loop(), seen.append)
    collected.add(1)
    collected.add(2)
    assert seen == []
    await asyncio.sleep(0)
    assert seen == [[1, 2]]
    collected.add(3)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == [[1, 2], [3]]


async def test_what_is_added_while_they_are_dealt_with_is_for_the_next_turn() -> None:
    seen: list[list[int]] = []

    def act(items: list[int]) -> None:
        seen.append(items)
        if items == [1, 2, 3]:
            collected.add(4)

    collected = EndOfTurn[int](asyncio.get_running_loop(), act)
    for number in (1, 2, 3):
        collected.add(number)
    await asyncio.sleep(0)
    assert seen == [[1, 2, 3]]
    await asyncio.sleep(0)
    assert seen == [[1, 2, 3], [4]]
