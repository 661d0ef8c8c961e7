"""What follows an answer: only after a whole one, only on a connection that is as good as a pooled one.

The lean transport goes on at once, on the connection that brought the answer. A session is not asked to: each request is sent by
a call of its own, on any connection from its pool, or a new one. What ends the one that brought the answer does not matter to it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from loader.model import NoResponse, Request, Response
from loader.transport.base import Follow
from loader.transport.lean import LeanTransport
from loader.transport.session import SessionTransport
from tests.emulated.raw_server import Line, answer, serve
from tests.emulated.transport_contract import LARGE, SHORT, TRANSPORTS, opened

Make = Callable[..., Any]
Script = Callable[[Line], object]


class DrivenSession(SessionTransport):
    """A session with what a sender does around it: it asks for the next request itself, and sends that by another call."""

    async def send(self, request: Request, follow: Follow | None = None) -> Response | NoResponse:
        while True:
            reply = await super().send(request, follow)
            if follow is None or request.is_unpooled or isinstance(reply, NoResponse) or not reply.is_whole:
                return reply
            follow.take(reply)
            following = follow.next()
            if following is None:
                return reply
            request = following


@pytest.fixture(params=sorted(TRANSPORTS))
def make(request: pytest.FixtureRequest) -> Make:
    return DrivenSession if request.param == "session" else TRANSPORTS[request.param]


def post(number: int) -> Request:
    return Request("POST", "/records", b'{"n":%d}' % number)


class Following:
    """Asked what goes next: some requests, one after another."""

    def __init__(self, *requests: Request) -> None:
        self.requests = list(requests)
        self.answers: list[bytes] = []

    def take(self, response: Response) -> None:
        self.answers.append(response.body)

    def next(self) -> Request | None:
        return self.requests.pop(0) if self.requests else None


async def echo(line: Line) -> None:
    while True:
        seen = await line.request()
        await line.send(answer(seen.body))


async def test_requests_follow_each_other_on_one_connection(make: Make, tls: ssl.SSLContext | None) -> None:
    following = Following(*map(post, range(2, 200)))
    async with serve(echo, tls) as server, opened(make, server.url) as transport:
        reply = await transport.send(post(1), following)
        assert isinstance(reply, Response)
        assert reply.body == post(199).body
        assert isinstance(await transport.send(post(200)), Response)  # the connection went back to the pool
    assert following.answers == [post(number).body for number in range(1, 200)]
    assert [seen.body for seen in server.requests] == [post(number).body for number in range(1, 201)]
    assert server.connections == 1


async def test_many_may_do_so_at_once(make: Make, tls: ssl.SSLContext | None) -> None:
    followings = [Following(*(post(100 * lane + n) for n in range(2, 40))) for lane in range(4)]
    async with serve(echo, tls) as server, opened(make, server.url) as transport:
        first = [post(100 * lane + 1) for lane in range(4)]
        await asyncio.gather(*(transport.send(one, follow) for one, follow in zip(first, followings, strict=True)))
    for lane, following in enumerate(followings):
        assert following.answers == [post(100 * lane + n).body for n in range(1, 40)]
    assert server.connections == 4


async def test_a_session_asks_nobody(tls: ssl.SSLContext | None) -> None:
    following = Following(post(2))
    async with serve(echo, tls) as server, opened(SessionTransport, server.url) as transport:
        reply = await transport.send(post(1), following)
    assert isinstance(reply, Response)
    assert reply.body == post(1).body
    assert (following.answers, len(following.requests)) == ([], 1)


async def test_all_answers_of_a_turn_are_taken_before_the_first_request_is_asked_for(
    tls: ssl.SSLContext | None,
) -> None:
    class Noting(Following):
        def take(self, response: Response) -> None:
            events.append("take")
            super().take(response)

        def next(self) -> Request | None:
            events.append("next")
            return super().next()

    async def script(line: Line) -> None:
        while True:
            seen = await line.request()
            waiting.append((line, seen.body))
            if len(waiting) == 4:
                for other, body in waiting:
                    other.send_at_once(answer(body))
                waiting.clear()

    events: list[str] = []
    waiting: list[tuple[Line, bytes]] = []
    followings = [Noting(post(10 * lane + 2)) for lane in range(4)]
    async with serve(script, tls) as server, opened(LeanTransport, server.url) as transport:
        first = [post(10 * lane + 1) for lane in range(4)]
        await asyncio.gather(*(transport.send(one, follow) for one, follow in zip(first, followings, strict=True)))
    for lane, following in enumerate(followings):
        assert following.answers == [post(10 * lane + n).body for n in (1, 2)]
    assert events.count("take") == events.count("next") == 8
    # Four answers that were written at once need not come in one turn, but some nearly always do.
    assert "take take" in " ".join(events)


async def closes_without_a_word(line: Line) -> None:
    seen = await line.request()
    line.send_at_once(answer(seen.body))
    line.end_at_once()


async def says_that_it_closes(line: Line) -> None:
    seen = await line.request()
    await line.send(answer(seen.body, extra=b"Connection: close\r\n"))
    await line.request()


async def speaks_http_1_0(line: Line) -> None:
    seen = await line.request()
    await line.send(b"HTTP/1.0 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(seen.body), seen.body))
    await line.request()


async def answers_twice_at_once(line: Line) -> None:
    seen = await line.request()
    await line.send(2 * answer(seen.body))
    await line.request()


async def begins_another_answer(line: Line) -> None:
    seen = await line.request()
    line.send_at_once(answer(seen.body))
    line.send_at_once(answer(b"foreign")[:30])
    await line.request()
    line.send_at_once(answer(b"foreign")[30:])
    await line.hang()


async def compresses(line: Line) -> None:
    seen = await line.request()
    await line.send(answer(seen.body, extra=b"Content-Encoding: gzip\r\n"))
    await line.request()


async def says_too_much(line: Line) -> None:
    await line.request()
    await line.send(answer(b"x" * 2_000_000))
    await line.request()


@pytest.mark.parametrize(
    "script",
    [closes_without_a_word, says_that_it_closes, speaks_http_1_0, answers_twice_at_once, compresses, says_too_much],
)
async def test_nothing_follows_where_the_connection_or_the_answer_is_not_as_it_should_be(
    script: Script, tls: ssl.SSLContext | None
) -> None:
    following = Following(post(2))
    async with serve(script, tls) as server, opened(LeanTransport, server.url) as transport:  # type: ignore[arg-type]  # a coroutine function
        reply = await transport.send(post(1), following)
        assert isinstance(reply, Response)
        assert reply.status == 201
        await asyncio.sleep(0.02)
    assert following.answers == []
    assert [seen.body for seen in server.requests] == [post(1).body]


async def test_the_beginning_of_a_foreign_answer_never_becomes_our_own(make: Make, tls: ssl.SSLContext | None) -> None:
    following = Following(post(2))
    async with serve(begins_another_answer, tls) as server, opened(make, server.url) as transport:
        reply = await transport.send(post(1), following)
        await asyncio.sleep(0.02)
    # It came in time to be seen, or it breaks the answer to what followed; the foreign body is in no answer.
    assert b"foreign" not in b"".join(following.answers)
    assert isinstance(reply, NoResponse) or reply.body == post(1).body
    assert len(server.requests) <= 2


async def test_an_answer_in_pieces_is_read_whole_and_nothing_follows(tls: ssl.SSLContext | None) -> None:
    async def script(line: Line) -> None:
        seen = await line.request()
        whole = answer(seen.body)
        for at in range(0, len(whole), 7):
            await line.send(whole[at : at + 7])
            await asyncio.sleep(0.002)
        await line.hang()

    following = Following(post(2))
    async with serve(script, tls) as server, opened(LeanTransport, server.url) as transport:
        reply = await transport.send(post(1), following)
        assert isinstance(reply, Response)
        assert reply.is_whole
        assert reply.body == post(1).body
    assert [seen.body for seen in server.requests] == [post(1).body]


async def test_interim_answers_are_passed_over(make: Make, tls: ssl.SSLContext | None) -> None:
    async def script(line: Line) -> None:
        while True:
            seen = await line.request()
            await line.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(seen.body))

    following = Following(post(2), post(3))
    async with serve(script, tls) as server, opened(make, server.url) as transport:
        reply = await transport.send(post(1), following)
    assert isinstance(reply, Response)
    assert following.answers == [post(1).body, post(2).body, post(3).body]
    assert len(server.requests) == 3


@pytest.mark.parametrize("ends", ["close", "reset", "garbage"])
async def test_what_follows_and_is_lost_counts_as_sent(ends: str, make: Make, tls: ssl.SSLContext | None) -> None:
    async def script(line: Line) -> None:
        seen = await line.request()
        await line.send(answer(seen.body))
        await line.request()
        if ends == "garbage":
            await line.send(b"nonsense\r\n\r\n")
        elif ends == "reset":
            line.reset()

    following = Following(post(2), post(3))
    async with serve(script, tls) as server, opened(make, server.url) as transport:
        reply = await transport.send(post(1), following)
    assert isinstance(reply, NoResponse)
    assert reply.is_sent
    assert following.answers == [post(1).body]
    assert [seen.body for seen in server.requests] == [post(1).body, post(2).body]


async def test_each_of_them_has_all_the_time_and_no_more(make: Make, tls: ssl.SSLContext | None) -> None:
    async def script(line: Line) -> None:
        for _ in range(4):
            seen = await line.request()
            await asyncio.sleep(SHORT / 2)
            await line.send(answer(seen.body))
        await line.request()
        await line.hang()

    following = Following(*map(post, range(2, 6)))
    async with serve(script, tls) as server, opened(make, server.url, timeout_seconds=SHORT) as transport:
        reply = await transport.send(post(1), following)
    assert reply == NoResponse(is_sent=True, error="TimeoutError")
    assert len(following.answers) == 4
    assert len(server.requests) == 5


async def test_a_large_one_may_follow(make: Make, tls: ssl.SSLContext | None) -> None:
    following = Following(LARGE, post(3))
    async with serve(echo_length, tls) as server, opened(make, server.url) as transport:
        reply = await transport.send(post(1), following)
    assert isinstance(reply, Response)
    assert reply.is_whole
    assert [len(seen.body) for seen in server.requests] == [len(post(1).body), len(LARGE.body), len(post(3).body)]


async def echo_length(line: Line) -> None:
    while True:
        seen = await line.request()
        await line.send(answer(b"%d" % len(seen.body)))


async def test_nothing_follows_an_answer_that_came_before_its_request_was_there(
    make: Make, tls: ssl.SSLContext | None
) -> None:
    async def script(line: Line) -> None:
        await line.head()
        await line.send(answer(b"too large", "413 Content Too Large"))
        await line.reader.read()

    following = Following(post(2))
    async with serve(script, tls) as server, opened(make, server.url) as transport:
        reply = await transport.send(LARGE, following)
    assert isinstance(reply, Response)
    assert not reply.is_upload_complete
    assert following.answers == []


async def test_a_request_that_goes_alone_is_followed_by_nothing(make: Make, tls: ssl.SSLContext | None) -> None:
    following = Following(post(2))
    async with serve(echo, tls) as server, opened(make, server.url) as transport:
        alone = Request("POST", "/records", b"{}", is_unpooled=True)
        assert isinstance(await transport.send(alone, following), Response)
        assert isinstance(await transport.send(post(3)), Response)
    assert following.answers == []
    assert server.connections == 2


async def test_an_address_that_leads_elsewhere_is_not_sent(make: Make, tls: ssl.SSLContext | None) -> None:
    following = Following(Request("POST", "/../records", b"{}"))
    async with serve(echo, tls) as server, opened(make, server.url) as transport:
        reply = await transport.send(post(1), following)
    assert isinstance(reply, NoResponse)
    assert not reply.is_sent
    assert len(server.requests) == 1


async def test_a_connection_that_is_to_be_dropped_carries_nothing_more(make: Make, tls: ssl.SSLContext | None) -> None:
    async with serve(echo, tls) as server, opened(make, server.url) as transport:

        class Dropping(Following):
            def next(self) -> Request | None:
                transport.drop_idle()
                return super().next()

        following = Dropping(post(2))
        await transport.send(post(1), following)
        await transport.send(post(3))
    is_lean = make is not DrivenSession
    # There what was asked for goes once more, and behind it the connection is closed; a session's are all in the pool by then.
    assert following.answers == [post(1).body, post(2).body][: 1 if is_lean else 2]
    assert [seen.body for seen in server.requests] == [post(1).body, post(2).body, post(3).body]
    assert server.connections == (2 if is_lean else 3)


async def test_a_cancelled_task_leaves_a_connection_that_nobody_uses(make: Make, tls: ssl.SSLContext | None) -> None:
    async def script(line: Line) -> None:
        seen = await line.request()
        await line.send(answer(seen.body))
        seen = await line.request()
        if line.server.connections == 1:
            await asyncio.sleep(SHORT)
        await line.send(answer(seen.body))

    following = Following(post(2), post(3))
    async with serve(script, tls) as server, opened(make, server.url) as transport:
        task = asyncio.create_task(transport.send(post(1), following))
        while len(server.requests) < 2:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        reply = await transport.send(post(9))
        assert isinstance(reply, Response)
        assert reply.body == post(9).body
    assert following.answers == [post(1).body]
    assert server.connections == 2


async def test_what_the_callback_cannot_bear_ends_the_exchange() -> None:
    class Failing(Following):
        def next(self) -> Request | None:
            raise RuntimeError

    async with serve(echo) as server, opened(LeanTransport, server.url) as transport:
        reply = await transport.send(post(1), Failing())
        assert isinstance(reply, NoResponse)
        assert reply.is_sent
        assert isinstance(await transport.send(post(2)), Response)
    assert len(server.requests) == 2


@pytest.mark.parametrize("script", [closes_without_a_word, says_that_it_closes, speaks_http_1_0, answers_twice_at_once])
async def test_a_session_goes_on_where_it_can(script: Script, tls: ssl.SSLContext | None) -> None:
    following = Following(post(2), post(3))
    async with serve(script, tls) as server, opened(DrivenSession, server.url) as transport:  # type: ignore[arg-type]  # a coroutine function
        reply = await transport.send(post(1), following)
        assert isinstance(reply, Response)
    assert following.answers == [post(number).body for number in (1, 2, 3)]
    assert [seen.body for seen in server.requests] == following.answers
    assert server.connections == 3


@pytest.mark.parametrize("script", [compresses, says_too_much])
async def test_a_session_goes_on_behind_whole_answers_only(script: Script, tls: ssl.SSLContext | None) -> None:
    following = Following(post(2))
    async with serve(script, tls) as server, opened(DrivenSession, server.url) as transport:  # type: ignore[arg-type]  # a coroutine function
        assert isinstance(await transport.send(post(1), following), Response)
    assert following.answers == []
    assert len(server.requests) == 1
