"""Which transport a load gets, what the lean one asks of the installed aiohttp, and what is its own affair."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

from loader.errors import UsageError
from loader.model import NoResponse, Request, Response
from loader.settings import TransportName
from loader.transport.choose import choose_transport
from loader.transport.http import Deadlines
from loader.transport.lean import LeanTransport
from loader.transport.lean_connection import Exchange
from loader.transport.lean_protocol import Handler, has_working_parts
from loader.transport.session import SessionTransport
from tests.emulated.raw_server import Line, answer, serve
from tests.emulated.transport_contract import HEADERS, LARGE, SHORT, SMALL, opened

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "name, proxy, expected",
    [
        ("auto", None, LeanTransport),
        ("auto", "http://127.0.0.1:8", SessionTransport),
        ("session", None, SessionTransport),
        ("session", "http://127.0.0.1:8", SessionTransport),
        ("lean", None, LeanTransport),
        ("lean", "http://127.0.0.1:8", SessionTransport),
    ],
)
async def test_who_gets_which(name: TransportName, proxy: str | None, expected: type) -> None:
    warnings: list[str] = []
    chosen = choose_transport(name, URL, HEADERS, proxy=proxy, concurrency=1, timeout_seconds=1, warn=warnings.append)
    assert type(chosen) is expected
    assert warnings == []
    await chosen.close()


# --- the parts of the installed aiohttp ----------------------------------------------------------------------------------


async def test_the_installed_parts_work() -> None:
    assert has_working_parts(asyncio.get_running_loop())


def never_ends(_self: StreamReader) -> bool:
    return False


def takes_no_parameters(_self: ResponseHandler) -> None:
    raise AssertionError("not called")


def swallows(_self: ResponseHandler, _data: bytes) -> None:
    """Parse nothing."""


def asks_something_more(self: Any) -> bool:
    return bool(self._should_close or self._is_tired)


@pytest.mark.parametrize(
    "owner, name, broken",
    [
        (StreamReader, "is_eof", never_ends),
        (ResponseHandler, "set_response_params", takes_no_parameters),
        (ResponseHandler, "data_received", swallows),
        (ResponseHandler, "should_close", False),
        (ResponseHandler, "should_close", property(asks_something_more)),
        (ResponseHandler, "set_exception", swallows),
        (Handler, "next_answer", None),
    ],
)
@pytest.mark.parametrize("asked", ["auto", "lean"])
async def test_other_parts_are_found_out_and_the_session_takes_over(
    asked: TransportName, owner: Any, name: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, broken)
        assert not has_working_parts(asyncio.get_running_loop())
        chosen = choose_transport(asked, URL, HEADERS, concurrency=1, timeout_seconds=1, warn=warnings.append)
    assert type(chosen) is SessionTransport
    assert warnings == [
        f"aiohttp {aiohttp.__version__} does not work with the lean transport: requests go through the slower session"
    ]
    await chosen.close()


# --- heads ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\0b", "a\x7f"])
async def test_no_header_can_end_its_line(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        LeanTransport(URL, {"Authorization": value}, concurrency=1, timeout_seconds=1)
    assert value not in str(caught.value)


async def test_both_say_the_same() -> None:
    async def script(line: Line) -> None:
        while True:
            await line.request()
            await line.send(answer())

    requests = (
        SMALL,
        Request("GET", "/a?b=c"),
        Request("GET", "/a", b"{}"),
        Request("DELETE", "/a"),
        Request("PATCH", "/a", b"{}"),
    )
    heads: list[list[tuple[str, list[str]]]] = []
    async with serve(script) as server:
        for make in (SessionTransport, LeanTransport):
            async with opened(make, server.url + "/base") as transport:
                for request in requests:
                    assert isinstance(await transport.send(request), Response)
            seen, server.requests[:] = list(server.requests), []
            heads.append([(one.line, sorted(one.head.decode().lower().split("\r\n")[1:])) for one in seen])
    assert heads[0] == heads[1]


# --- time ----------------------------------------------------------------------------------------------------------------


class Fake:
    """An attempt that notes its end."""

    def __init__(self) -> None:
        self.due = 0.0
        self.ended = asyncio.Event()

    def expire(self) -> None:
        self.ended.set()


async def test_each_attempt_ends_when_it_is_due_and_one_that_has_ended_does_not() -> None:
    deadlines = Deadlines(asyncio.get_running_loop(), 0.05)
    first, second, third = Fake(), Fake(), Fake()
    deadlines.begin(first)
    deadlines.begin(second)
    await asyncio.sleep(0.02)
    deadlines.begin(third)
    deadlines.end(first)
    async with asyncio.timeout(10):
        await second.ended.wait()
        await third.ended.wait()
    assert not first.ended.is_set()
    assert third.due > second.due
    deadlines.close()


async def test_a_connect_that_outlives_the_attempt_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.send(answer())

    async with serve(script) as server, opened(LeanTransport, server.url, timeout_seconds=SHORT) as transport:
        connect = transport._new_connection

        async def slow() -> Any:
            line = await connect()
            await asyncio.sleep(2 * SHORT)
            return line

        monkeypatch.setattr(transport, "_new_connection", slow)
        reply = await transport.send(SMALL)
    assert isinstance(reply, NoResponse)
    assert not reply.is_sent
    assert server.requests == []


async def test_an_upload_that_is_cut_short_leaves_no_task_behind() -> None:
    async def script(line: Line) -> None:
        await line.head()
        await line.send(answer(b"too large", "413 Content Too Large"))
        await line.reader.read()

    async with serve(script) as server, opened(LeanTransport, server.url) as transport:
        before = asyncio.all_tasks()
        reply = await transport.send(LARGE)
        assert isinstance(reply, Response)
        assert not reply.is_upload_complete
        await asyncio.sleep(0.01)
        names = {task.get_coro().__name__ for task in asyncio.all_tasks() - before if task.get_coro() is not None}  # type: ignore[union-attr]  # coroutines have names
    assert Exchange._send_slices.__name__ not in names


async def test_our_own_cancellation_is_not_taken_for_a_timeout() -> None:
    async def script(line: Line) -> None:
        await line.request()
        await line.hang()

    for make in (SessionTransport, LeanTransport):
        async with serve(script) as server, opened(make, server.url, timeout_seconds=SHORT) as transport:
            task = asyncio.create_task(transport.send(SMALL))
            await asyncio.sleep(SHORT / 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # A task that timed out goes on as if nothing had been.
            assert isinstance(await transport.send(SMALL), NoResponse)
            current = asyncio.current_task()
            assert current is not None
            assert not current.cancelling()
