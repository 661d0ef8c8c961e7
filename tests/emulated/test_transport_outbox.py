"""What leaves at the end of a turn, and what does not: over real sockets, each watched from its other end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from loader.transport.attempt import Attempt
from loader.transport.batched_writes import Outbox
from loader.transport.pool import ROUND, WatchedProtocol

DATA = b"POST / HTTP/1.1\r\n\r\n"


@dataclass
class Pair:
    """A connection: ours, and the other end."""

    protocol: WatchedProtocol
    other: socket.socket

    def arrived(self) -> bytes:
        """Return what has come there; b"" where nothing has, or where it has ended."""
        try:
            return self.other.recv(65536)
        except BlockingIOError:
            return b""


@pytest.fixture
def others() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    yield sockets
    for one in sockets:
        one.close()


async def connected(others: list[socket.socket], *, is_used: bool = True) -> Pair:
    ours, other = socket.socketpair()
    other.setblocking(False)
    others.append(other)
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(lambda: WatchedProtocol(loop), sock=ours)
    protocol.is_used = is_used
    return Pair(protocol, other)


def attempt(pair: Pair, *, is_alone: bool = False) -> Attempt:
    """Begin an attempt on a connection."""
    one = Attempt(b"", asyncio.get_running_loop(), is_alone=is_alone)
    one.begin(pair.protocol)
    return one


async def test_nothing_leaves_before_the_end_of_the_turn(others: list[socket.socket]) -> None:
    pair = await connected(others)
    one = attempt(pair)
    Outbox(asyncio.get_running_loop()).put(one, pair.protocol, DATA)
    assert (one.is_sent, one.is_uploaded, pair.arrived()) == (False, False, b"")
    await asyncio.sleep(0)
    assert (one.is_sent, one.is_uploaded, pair.arrived()) == (True, True, DATA)
    assert one.sent_at > 0
    pair.protocol.abort()


async def test_more_than_a_round_leaves_in_one_turn(others: list[socket.socket]) -> None:
    outbox = Outbox(asyncio.get_running_loop())
    pairs = [await connected(others) for _ in range(2 * ROUND + 1)]
    for pair in pairs:
        outbox.put(attempt(pair), pair.protocol, DATA)
    await asyncio.sleep(0)
    assert [pair.arrived() for pair in pairs] == [DATA] * len(pairs)
    for pair in pairs:
        pair.protocol.abort()


async def test_nothing_leaves_for_an_attempt_that_is_over(others: list[socket.socket]) -> None:
    pair = await connected(others)
    one = attempt(pair)
    Outbox(asyncio.get_running_loop()).put(one, pair.protocol, DATA)
    one.is_over = True
    await asyncio.sleep(0)
    assert (one.is_sent, pair.arrived()) == (False, b"")
    pair.protocol.abort()


@pytest.mark.parametrize("what", ["speaks", "ends", "is closed"])
async def test_nothing_leaves_on_a_connection_that_is_not_as_it_was(what: str, others: list[socket.socket]) -> None:
    good, bad = await connected(others), await connected(others)
    outbox, fine, turned_away = Outbox(asyncio.get_running_loop()), attempt(good), attempt(bad)
    outbox.put(turned_away, bad.protocol, DATA)
    outbox.put(fine, good.protocol, DATA)
    if what == "speaks":
        bad.other.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    elif what == "ends":
        bad.other.shutdown(socket.SHUT_WR)
    else:
        bad.protocol.close()
    await asyncio.sleep(0)
    assert (turned_away.is_sent, turned_away.was_turned_away(), bad.arrived()) == (False, True, b"")
    assert bad.protocol.transport is None
    assert (fine.is_sent, good.arrived()) == (True, DATA)
    good.protocol.abort()


async def test_a_new_connection_is_not_asked_but_its_failure_turns_nobody_away(others: list[socket.socket]) -> None:
    pair = await connected(others, is_used=False)
    one = attempt(pair)
    pair.protocol.close()
    Outbox(asyncio.get_running_loop()).put(one, pair.protocol, DATA)
    await asyncio.sleep(0)
    assert (one.is_sent, one.was_turned_away()) == (False, False)


async def test_a_connection_that_carries_one_request_alone_carries_no_other(others: list[socket.socket]) -> None:
    pair, outbox = await connected(others, is_used=False), Outbox(asyncio.get_running_loop())
    first, second = attempt(pair, is_alone=True), attempt(pair)
    outbox.put(first, pair.protocol, DATA)
    await asyncio.sleep(0)
    outbox.put(second, pair.protocol, DATA)
    await asyncio.sleep(0)
    assert (first.is_sent, second.is_sent, second.was_turned_away()) == (True, False, True)
    assert pair.arrived() == DATA
