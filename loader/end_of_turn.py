"""What is collected in one turn of the event loop, to be dealt with together at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class EndOfTurn(Generic[Item]):
    """Calls `act` once a turn, with all that was added in it. What `act` adds is for the next turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[list[Item]], None]) -> None:
        self._loop = loop
        self._act = act
        self._items: list[Item] = []

    def add(self, item: Item) -> None:
        if not self._items:
            self._loop.call_soon(self._end)
        self._items.append(item)

    def _end(self) -> None:
        items, self._items = self._items, []
        self._act(items)
