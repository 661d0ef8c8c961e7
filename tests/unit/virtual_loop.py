"""An event loop whose clock jumps to the next timer: hours of waiting in milliseconds, the same every time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from loader.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")


class _InstantSelector(selectors.DefaultSelector):
    """Instead of waiting, moves the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "every task waits for something that never comes"
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in virtual time, which begins at zero."""

    def __init__(self) -> None:
        self._instant = _InstantSelector()
        super().__init__(self._instant)

    def time(self) -> float:
        return self._instant.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Let a test run in virtual time."""

    @wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        run_virtual(test(*arguments, **named))

    return run


def loop_runtime(**others: Any) -> Runtime:
    """Make a runtime with the running loop's own clock, which may be a virtual one."""
    return Runtime(**{"clock": asyncio.get_running_loop().time, **others})
