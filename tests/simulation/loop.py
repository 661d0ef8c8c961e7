"""An event loop whose clock jumps to the next timer, and that no thread and no socket ever touches."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")


class StuckError(Exception):
    """Every task waits for something that never comes."""


class _InstantSelector(selectors.BaseSelector):
    """Instead of waiting, moves the clock. What is registered (the loop's own wake-up pipe) never has anything to say."""

    def __init__(self) -> None:
        self.now = 0.0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError
        self.now += max(0.0, timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, int(fileobj), events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A loop in virtual time. Signals are what `raise_signal` says they are."""

    def __init__(self) -> None:
        self._instant = _InstantSelector()
        super().__init__(self._instant)
        self.signals: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}

    def time(self) -> float:
        return self._instant.now

    def stall_until(self, when: float) -> None:
        """Let time go by in which nothing runs, as when the process is stopped."""
        self._instant.now = max(self._instant.now, when)

    def add_signal_handler(self, sig: int, callback: Callable[[Unpack[Ts]], Any], *args: *Ts) -> None:
        self.signals[sig] = (callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        return self.signals.pop(sig, None) is not None

    def raise_signal(self, sig: int) -> bool:
        """Deliver a signal; False where nobody handles it, which kills."""
        handler = self.signals.get(sig)
        if handler is not None:
            handler[0](*handler[1])
        return handler is not None
