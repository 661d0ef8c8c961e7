"""The preflight: asked patiently before the first record, and once whenever the target has to be probed."""

from __future__ import annotations

import asyncio

import pytest

from loader.errors import RunStopped
from loader.model import NoResponse, Response
from loader.pipeline.preflight import FIRST_CONTACT_SECONDS, FOREIGN_SECONDS, Preflight
from loader.report.waiting import Waiting, Waits
from loader.targets.base import Identity
from tests.unit.delivery.delivering import OZARI
from tests.unit.delivery.memory_run import MemoryRun
from tests.unit.virtual_loop import in_virtual_time

WELL = Response(200, {}, b'{"success":true,"company":"Acme"}')
BUSY = Response(503, {}, b"")
REFUSED = Response(401, {}, b'{"success":false,"error":"bad token"}')
BLOCKED = Response(403, {"content-type": "text/html"}, b"Request blocked")
PAGE = Response(200, {"content-type": "text/html"}, b"<h1>It works!</h1>")
NOBODY = NoResponse(is_sent=False, error="ClientConnectorError: Connection refused", poor_hint="look at the port")
LOST = NoResponse(is_sent=True, error="the connection was lost")
EXPIRED = NoResponse(is_sent=False, error="the certificate has expired", fatal_hint="renew it")

Reply = Response | NoResponse


async def asking(*replies: Reply, patience_seconds: float = 900.0) -> tuple[Preflight, MemoryRun]:
    """Let the target reply so, one after another, the last reply for good."""
    left = list(replies)
    run = await MemoryRun.begin(reply_to=lambda _: left.pop(0) if len(left) > 1 else left[0])
    return Preflight(run.sender, OZARI, run.stop, run.runtime, patience_seconds), run


def asked_at(run: MemoryRun) -> list[float]:
    return [round(at, 3) for at, _ in run.replies.sent]


@in_virtual_time
async def test_a_good_answer_says_who_we_are() -> None:
    preflight, run = await asking(WELL)
    assert await preflight.identify() == Identity("Acme", "ozari:Acme")
    assert asked_at(run) == [0.0]
    assert run.sender.breaker.bad_seconds() == 0.0


@in_virtual_time
async def test_without_a_good_answer_it_is_asked_again_after_growing_waits_of_half_a_minute_at_most() -> None:
    preflight, run = await asking(BUSY, LOST, BUSY, LOST, BUSY, LOST, BUSY, LOST, WELL)
    assert await preflight.identify() is not None
    assert asked_at(run) == [0, 1, 3, 7, 15, 31, 61, 91, 121]


@pytest.mark.parametrize("reply, why", [(BUSY, "503"), (LOST, "the connection was lost")])
@in_virtual_time
async def test_the_patience_ends_and_the_last_answer_is_reported(reply: Reply, why: str) -> None:
    preflight, run = await asking(reply, patience_seconds=10.0)
    with pytest.raises(RunStopped) as stopped:
        await preflight.identify()
    assert stopped.value.reason == "patience"
    assert stopped.value.message.startswith("the target cannot be reached: ")
    assert why in stopped.value.message
    assert asked_at(run) == [0, 1, 3, 7, 15]


@pytest.mark.parametrize("reply, reason", [(REFUSED, "credentials"), (EXPIRED, "patience")])
@in_virtual_time
async def test_what_no_later_attempt_can_mend_stops_the_run_at_once(reply: Reply, reason: str) -> None:
    preflight, run = await asking(reply)
    with pytest.raises(RunStopped) as stopped:
        await preflight.identify()
    assert (stopped.value.reason, asked_at(run)) == (reason, [0.0])


@pytest.mark.parametrize(
    "reply, words, hint",
    [(NOBODY, "the target: connection refused", "look at the port"), (PAGE, "text/html: It works!", "--base-url")],
)
@in_virtual_time
async def test_where_it_hardly_gets_better_the_run_stops_within_a_minute(reply: Reply, words: str, hint: str) -> None:
    preflight, run = await asking(reply)
    with pytest.raises(RunStopped) as stopped:
        await preflight.identify()
    assert run.runtime.clock() == FIRST_CONTACT_SECONDS
    assert words in stopped.value.message
    assert hint in stopped.value.hint


@pytest.mark.parametrize("replies", [[NOBODY, BUSY, BUSY, BUSY, BUSY, BUSY, BUSY, WELL], [NOBODY, PAGE, NOBODY, WELL]])
@in_virtual_time
async def test_what_gets_better_is_waited_for(replies: list[Reply]) -> None:
    preflight, _ = await asking(*replies)
    assert await preflight.identify() is not None


@in_virtual_time
async def test_while_it_waits_it_says_for_what_since_when_and_until_when() -> None:
    preflight, run = await asking(LOST)
    waits = Waits(run.runtime.clock)
    preflight = Preflight(run.sender, OZARI, run.stop, run.runtime, 900.0, "api.example", waits)
    task = asyncio.create_task(preflight.identify())
    await asyncio.sleep(5)
    assert waits.current == Waiting("cannot reach api.example: the connection was lost; trying again", 0.0, 900.0)
    run.stop.interrupt(2)
    await task
    assert waits.current is None


@in_virtual_time
async def test_a_probe_that_a_firewall_refuses_stops_the_run_only_if_that_lasts() -> None:
    preflight, run = await asking(BLOCKED)
    assert await preflight.is_well() is False
    await asyncio.sleep(FOREIGN_SECONDS - 1)
    assert await preflight.is_well() is False
    assert not run.stop.is_requested
    await asyncio.sleep(1)
    assert await preflight.is_well() is False
    assert run.stop.error is not None
    assert "Request blocked" in run.stop.error.message


@pytest.mark.parametrize("interrupt", [True, False])
@in_virtual_time
async def test_a_stop_ends_the_wait(*, interrupt: bool) -> None:
    preflight, run = await asking(BUSY)
    task = asyncio.create_task(preflight.identify())
    await asyncio.sleep(40)
    asked = len(run.replies.sent)
    if interrupt:
        run.stop.interrupt(2)
    else:
        run.stop.fail(RunStopped("patience", "no good answer", "look"))
    assert await asyncio.wait_for(task, 0.1) is None
    assert len(run.replies.sent) == asked


@pytest.mark.parametrize(
    "reply, is_well, is_stopped",
    [(WELL, True, False), (BUSY, False, False), (LOST, False, False), (REFUSED, False, True), (EXPIRED, False, True)],
)
@in_virtual_time
async def test_a_probe_is_one_question_and_a_refusal_stops_the_run(
    *, reply: Reply, is_well: bool, is_stopped: bool
) -> None:
    preflight, run = await asking(reply)
    assert await preflight.is_well() is is_well
    assert (run.stop.is_requested, len(run.replies.sent)) == (is_stopped, 1)


@in_virtual_time
async def test_a_run_that_stops_probes_no_more() -> None:
    preflight, run = await asking(WELL)
    run.stop.interrupt(2)
    assert await preflight.is_well() is False
    assert run.replies.sent == []


@pytest.mark.parametrize("reply", [BUSY, LOST])
@in_virtual_time
async def test_a_question_without_a_good_answer_counts_against_the_patience(reply: Reply) -> None:
    preflight, run = await asking(reply, WELL)
    await preflight.is_well()
    run.sender.breaker.bad_seconds()
    await asyncio.sleep(3)
    assert run.sender.breaker.bad_seconds() == 3.0
    await preflight.is_well()
    assert run.sender.breaker.bad_seconds() == 0.0
