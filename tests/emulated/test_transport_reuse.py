"""The transport's connections: none that spoke out of turn is used again, nothing is sent twice (rows 37 to 48)."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

from loader.model import NoResponse, Request, Response
from loader.transport.session import SessionTransport
from tests.emulated.raw_server import Line, answer, serve
from tests.emulated.transport_contract import (
    DELETE,
    GET,
    SHORT,
    SMALL,
    TRANSPORTS,
    opened,
)


@pytest.fixture(params=sorted(TRANSPORTS))
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return TRANSPORTS[request.param]


# --- connections that are used again -------------------------------------------------------------------------------------


async def echo(line: Line) -> None:
    """Answer every request with its own body."""
    while True:
        seen = await line.request()
        await line.send(answer(seen.body))


def speak(line: Line) -> None:
    line.send_at_once(answer(b"foreign"))


def time_out(line: Line) -> None:
    line.send_at_once(answer(b"idle", "408 Request Timeout"))
    line.end_at_once()


@pytest.mark.parametrize("do", [Line.end_at_once, speak, time_out], ids=["37 38", "41", "42"])
@pytest.mark.parametrize("is_noticed", [True, False], ids=["noticed", "unread"])
@pytest.mark.parametrize("request_", [SMALL, DELETE], ids=["POST", "DELETE"])
async def test_a_connection_that_spoke_or_ended_while_idle_is_not_used(
    do: Callable[[Line], None],
    is_noticed: bool,
    request_: Request,
    make: Callable[..., Any],
    tls: ssl.SSLContext | None,
) -> None:
    async with serve(echo, tls) as server, opened(make, server.url) as transport:
        assert isinstance(await transport.send(GET), Response)
        do(server.lines[0])
        if is_noticed:
            await asyncio.sleep(0.02)
        second = await transport.send(request_)
    assert isinstance(second, Response), second
    assert (second.status, second.body) == (201, request_.body)
    assert [seen.body for seen in server.requests] == [b"", request_.body]
    assert server.connections == 2


@pytest.mark.parametrize("request_", [SMALL, GET, DELETE], ids=["POST", "GET", "DELETE"])
async def test_row_39_what_was_read_and_lost_on_a_used_connection_is_not_sent_again(
    request_: Request, make: Callable[..., Any], tls: ssl.SSLContext | None
) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer())
        await line.request()

    async with serve(script, tls) as server, opened(make, server.url) as transport:
        await transport.send(SMALL)
        reply = await transport.send(request_)
        await asyncio.sleep(0.05)
    assert reply == NoResponse(is_sent=True, error="ServerDisconnectedError")
    assert len(server.requests) == 2


async def test_the_hook_alone_stops_a_second_sending() -> None:
    async def lose(line: Line) -> None:
        await line.request()

    async with serve(lose) as server, opened(SessionTransport, server.url) as transport:
        transport._session._retry_connection = True
        for request in (DELETE, GET):
            reply = await transport.send(request)
            assert isinstance(reply, NoResponse)
            assert reply.is_sent
    assert len(server.requests) == 2


async def test_row_45_a_late_answer_is_not_given_to_the_next_request(
    make: Callable[..., Any], tls: ssl.SSLContext | None
) -> None:
    async def script(line: Line) -> None:
        seen = await line.request()
        if line.server.connections == 1:
            await asyncio.sleep(2 * SHORT)
        await line.send(answer(seen.body))
        await line.hang()

    async with serve(script, tls) as server, opened(make, server.url, timeout_seconds=SHORT) as transport:
        late = await transport.send(SMALL)
        assert isinstance(late, NoResponse)
        assert late.is_sent
        second = await transport.send(DELETE)
    assert isinstance(second, Response)
    assert second.body == DELETE.body
    assert server.connections == 2


async def test_dropping_closes_idle_connections_and_those_in_use_after_their_answer(
    make: Callable[..., Any], tls: ssl.SSLContext | None
) -> None:
    gate = asyncio.Event()

    async def script(line: Line) -> None:
        while True:
            await line.request()
            if len(line.server.requests) == 3:
                gate.set()
                await asyncio.sleep(0.05)
            await line.send(answer())

    async with serve(script, tls) as server, opened(make, server.url) as transport:
        await asyncio.gather(transport.send(SMALL), transport.send(SMALL))
        assert server.connections == 2
        busy = asyncio.create_task(transport.send(SMALL))
        await gate.wait()
        transport.drop_idle()
        assert isinstance(await busy, Response)
        assert isinstance(await transport.send(SMALL), Response)
    assert server.connections == 3


async def test_connections_that_ended_while_idle_cost_no_attempt(
    make: Callable[..., Any], tls: ssl.SSLContext | None
) -> None:
    """All at once, as when a server is started anew: each request finds another connection, and nothing is sent twice."""
    async with serve(echo, tls) as server, opened(make, server.url) as transport:
        await asyncio.gather(*(transport.send(SMALL) for _ in range(4)))
        for line in server.lines:
            line.end_at_once()
        replies = await asyncio.gather(*(transport.send(SMALL) for _ in range(4)))
    assert [(reply.status, reply.body) for reply in replies] == [(201, SMALL.body)] * 4
    assert (len(server.requests), server.connections) == (8, 8)


async def test_a_server_that_speaks_first_is_not_tried_for_ever(
    make: Callable[..., Any], tls: ssl.SSLContext | None
) -> None:
    async def script(line: Line) -> None:
        await line.send(answer(b"foreign"))
        await line.hang()

    async with serve(script, tls) as server, opened(make, server.url, timeout_seconds=SHORT) as transport:
        await transport.send(SMALL)  # whether its word is there before ours has left is chance, and so is the reply
    assert server.connections == 1


@pytest.mark.parametrize("request_", [SMALL, GET, DELETE], ids=["POST", "GET", "DELETE"])
async def test_where_a_private_part_is_missing_each_connection_is_used_once(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.transport.pool.HAS_REUSE_HOOK", False)
    async with serve(echo) as server, opened(SessionTransport, server.url) as transport:
        await transport.send(GET)
        speak(server.lines[0])
        second = await transport.send(request_)
    assert isinstance(second, Response)
    assert second.body == request_.body
    assert server.connections == 2
    assert [len(seen.body) for seen in server.requests] == [0, len(request_.body)]


# --- cancellation --------------------------------------------------------------------------------------------------------


async def test_row_46_only_cancellation_is_raised(make: Callable[..., Any], tls: ssl.SSLContext | None) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.hang()

    async with serve(script, tls) as server, opened(make, server.url) as transport:
        task = asyncio.create_task(transport.send(SMALL))
        while not server.requests:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(server.requests) == 1


async def test_row_47_an_answer_that_came_while_the_loop_was_blocked_past_the_timeout_is_doubt(
    make: Callable[..., Any],
    tls: ssl.SSLContext | None,
) -> None:
    async def script(line: Line) -> None:
        await line.request()
        # Written, and then the only thread does nothing until the client's time is over.
        line.writer.write(answer())
        time.sleep(2 * SHORT)

    async with serve(script, tls) as server, opened(make, server.url, timeout_seconds=SHORT) as transport:
        reply = await transport.send(SMALL)
    # Which of the two the loop looks at first is its affair; a claim that it was not sent would be wrong.
    assert isinstance(reply, Response) or reply.is_sent
    assert len(server.requests) == 1


async def test_row_47_an_answer_that_came_is_lost_with_its_task(
    make: Callable[..., Any], tls: ssl.SSLContext | None
) -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def script(line: Line) -> None:
        seen = await line.request()
        line.writer.write(answer(seen.body))
        if len(line.server.requests) == 1:
            tasks[0].cancel()  # before the loop has looked at what came

    async with serve(script, tls) as server, opened(make, server.url, concurrency=1) as transport:
        tasks.append(asyncio.create_task(transport.send(SMALL)))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        # Nor is it given to whoever is next.
        second = await transport.send(DELETE)
    assert isinstance(second, Response)
    assert second.body == DELETE.body
    assert (len(server.requests), server.connections) == (2, 2)


async def test_row_48_a_shielded_request_arrives(make: Callable[..., Any], tls: ssl.SSLContext | None) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await asyncio.sleep(0.05)
        await line.send(answer())

    async with serve(script, tls) as server, opened(make, server.url) as transport:
        inner = asyncio.create_task(transport.send(SMALL))
        outer = asyncio.create_task(_shielded(inner))
        await asyncio.sleep(0.02)
        outer.cancel()
        assert isinstance(await inner, Response)
    assert len(server.requests) == 1


async def _shielded(task: asyncio.Task[Any]) -> None:
    await asyncio.shield(task)
