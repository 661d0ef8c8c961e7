"""Answers that belong to another request and cross the next one on its way, where no look at an idle connection can see them.

A raw proxy stands before the emulator. For some requests it gives the last answer of the same connection once more, after the
request was read and before its own answer: off by one, as a proxy does that repeats itself. No record may be lost, doubled or
given another record's id for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from loader import CanbusAdd, OzariInsert, Rate
from loader.emulator import Emulator, running
from loader.model import Request, Response
from loader.reconcile import reconciler as reconcile
from tests.emulated.loading import TABLE, audit, closes, keyed, plan_of, records_of, run, write
from tests.emulated.raw_server import Line, RawServer, answer, serve
from tests.emulated.transport_contract import SMALL, TRANSPORTS, opened

COUNT = 60
ALONE = Request("POST", "/records", b"alone", is_unpooled=True)


@pytest.fixture(params=sorted(TRANSPORTS))
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    made: Callable[..., Any] = TRANSPORTS[request.param]
    return made


@contextlib.asynccontextmanager
async def off_by_one(emulator: Emulator, mark: bytes, every: int) -> AsyncIterator[tuple[RawServer, list[int]]]:
    """Pass everything on; repeat an answer before that of each n-th request whose head has the mark. Also gives their count."""
    crossed: list[int] = []
    seen = 0

    async def script(line: Line) -> None:
        nonlocal seen
        before = b""
        while True:
            request = await line.request()
            reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
            writer.write(request.head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + request.body)
            own = (await reader.read()).replace(b"\r\nConnection: close", b"")
            writer.close()
            if not own:
                return
            seen += mark in request.head
            if before and mark in request.head and seen % every == 0:
                crossed.append(seen)
                await line.send(before)
                await asyncio.sleep(0.002)
            await line.send(own)
            before = own

    async with serve(script) as server:
        yield server, crossed


LOST = {"kind": "close", "when": "after", "operations": ["insert"], "every": 9}


@pytest.mark.parametrize("transport", ["session", "lean"])
@pytest.mark.parametrize("by", ["key", "stamp"])
async def test_a_question_is_never_answered_by_another_ones_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, transport: str
) -> None:
    """By such an answer a record that is there would be absent, and sent again. So each question has a connection of its own."""
    monkeypatch.setattr(reconcile, "ASK_AGAIN_SECONDS", 0.1)
    target = OzariInsert(TABLE, key="fcode") if by == "key" else OzariInsert(TABLE, stamp="fstamp")
    with running(plan_of(LOST)) as emulator:
        async with off_by_one(emulator, b"/query ", 1) as (server, crossed):
            source = write(tmp_path / "source", records_of(COUNT))
            options: dict[str, Any] = {"base_url": server.url, "transport": transport, "settle_seconds": 0.05}
            report = await run(emulator, target, source, tmp_path / "run", rate=Rate(500.0), concurrency=2, **options)
        assert crossed == []  # no question came second on its connection
        assert closes(report)
        assert (report.created, report.ambiguous, report.duplicates) == (COUNT, 0, ())
        assert len(emulator.rows(TABLE)) == COUNT
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []


@pytest.mark.parametrize("transport", ["session", "lean"])
@pytest.mark.parametrize(("is_unique", "every"), [(False, 7), (True, 7), (True, 4), (True, 3)])
async def test_ids_of_another_chunk_are_not_taken(tmp_path: Path, is_unique: bool, every: int, transport: str) -> None:
    """Canbus repeats nothing of a record in its answer; that an id was given before is all there is to see.

    The answer to a record that is sent once more has no id, so it must not be there to be repeated.
    """
    items = {"Code": {"is_unique": True}, "Stamp": {"is_unique": True}}
    with running(plan_of(canbus={"apps": [{"items": items}]})) as emulator:
        async with off_by_one(emulator, b"POST /api/", every) as (server, crossed):
            source = write(tmp_path / "source", records_of(COUNT, "Code"))
            # Only a stamp says that what is refused as a duplicate is the run's own.
            target = (
                CanbusAdd("loader", stamp="Stamp", is_unique=True) if is_unique else CanbusAdd("loader", key="Code")
            )
            options: dict[str, Any] = {"base_url": server.url, "transport": transport, "settle_seconds": 0.05}
            report = await run(
                emulator, target, source, tmp_path / "run", rate=Rate(500.0), concurrency=1, max_records=2, **options
            )
        assert crossed
        assert closes(report)
        assert report.created + report.ambiguous == COUNT
        assert report.ambiguous == (0 if is_unique else 2 * len(crossed))
        assert len(emulator.rows("emulator-app")) == COUNT
        assert audit(emulator, tmp_path / "run", keyed(COUNT), "Code") == []


@pytest.mark.parametrize("transport", ["session", "lean"])
async def test_records_that_equal_each_other_are_told_apart_by_their_ids(tmp_path: Path, transport: str) -> None:
    """The echo of another record is no mismatch where both are the same; its id is."""
    with running(plan_of()) as emulator:
        async with off_by_one(emulator, b"/records ", 7) as (server, crossed):
            source = write(tmp_path / "source", [{"fcode": "K1"}] * COUNT)
            options: dict[str, Any] = {"base_url": server.url, "transport": transport}
            report = await run(
                emulator, OzariInsert(TABLE), source, tmp_path / "run", rate=Rate(500.0), concurrency=1, **options
            )
        assert crossed
        assert (report.created, report.ambiguous) == (COUNT - len(crossed), len(crossed))
        assert len(emulator.rows(TABLE)) == COUNT


# --- the transport's side -----------------------------------------------------------------------------------------------


async def echo(line: Line) -> None:
    while True:
        seen = await line.request()
        await line.send(answer(seen.body))


async def test_an_alone_request_is_the_only_one_on_its_connection(make: Callable[..., Any]) -> None:
    async with serve(echo) as server, opened(make, server.url) as transport:
        for number in range(1, 4):
            reply = await transport.send(ALONE)
            assert isinstance(reply, Response)
            assert reply.body == b"alone"
            assert server.connections == number
        await transport.send(SMALL)
        assert server.connections == 4


async def test_idle_connections_make_room_for_an_alone_request(make: Callable[..., Any]) -> None:
    """They count against the limit in one transport and not in the other; neither may wait for ever."""
    async with serve(echo) as server, opened(make, server.url, concurrency=4) as transport:
        await asyncio.gather(*(transport.send(SMALL) for _ in range(4)))
        for _ in range(6):
            async with asyncio.timeout(20):
                assert isinstance(await transport.send(ALONE), Response)
        replies = await asyncio.gather(
            *(transport.send(ALONE) for _ in range(2)), *(transport.send(SMALL) for _ in range(2))
        )
        assert all(isinstance(reply, Response) for reply in replies)
