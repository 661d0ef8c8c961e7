"""Requests of a session that leave at the end of a turn of the event loop, together.

Each task has its request ready somewhere in the turn. Written there and then, each would wake a target that has gone to sleep
since the one before, and that is charged to the sender: 62 us of CPU a request on this machine's loopback instead of 55. And
all connections can be asked by one system call, right before, whether they have said anything (another 4 us).

Laws:
- A request counts as sent from the moment before its first byte is handed over, and nothing is handed over before.
- Nothing is written for an attempt that is over, nor to a connection that is closed, or has said something while it was idle
  (`connector`). Such an attempt is turned away: certainly not sent.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeAlias

from loader.transport.pool import ROUND, WatchedProtocol, talking


class Leaving(Protocol):
    """One sending of one request, as far as it is about leaving."""

    is_over: bool
    """Nobody waits for it any more."""
    is_sent: bool
    is_uploaded: bool

    def leave(self) -> None:
        """Note that it leaves, now."""
        ...


Waiting: TypeAlias = tuple[Leaving, WatchedProtocol, bytes]


class Outbox:
    """What is to leave at the end of this turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Waiting] = []

    def put(self, attempt: Leaving, protocol: WatchedProtocol, data: bytes) -> None:
        """Let a whole request leave on a connection. What becomes of it shows in the attempt's marks, and in what comes."""
        if not self._waiting:
            self._loop.call_soon(self._let_go)
        self._waiting.append((attempt, protocol, data))

    def _let_go(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), ROUND):
            self._let_some_go([entry for entry in waiting[start : start + ROUND] if not entry[0].is_over])

    def _let_some_go(self, some: list[Waiting]) -> None:
        usable = [entry for entry in some if entry[1].may_be_used()]
        loud = talking([protocol for _, protocol, _ in usable if protocol.is_used])
        for attempt, protocol, data in usable:
            if protocol.descriptor not in loud:
                _write(attempt, protocol, data)
        if len(usable) < len(some) or loud:
            for attempt, protocol, _ in some:
                if not attempt.is_sent:
                    protocol.close()  # the attempt learns it from the loss


def _write(attempt: Leaving, protocol: WatchedProtocol, data: bytes) -> None:
    attempt.leave()
    transport = protocol.transport
    assert transport is not None  # noqa: S101 -- it may be used; this tells mypy
    try:
        transport.write(data)
    except Exception as error:  # noqa: BLE001 -- raised where the answer is waited for
        protocol.set_exception(error)
        transport.abort()
    else:
        attempt.is_uploaded = True
