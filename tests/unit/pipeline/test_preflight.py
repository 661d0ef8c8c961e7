"""The preflight: asked patiently before the first record, and once whenever the target has to be probed."""

from __future__ import annotations

import asyncio

import pytest

from loader.errors import RunStopped
from loader.model import NoResponse, Response
from loader.pipeline.preflight import Preflight
from loader.targets.base import Identity
from tests.unit.delivery.delivering import OZARI
from tests.unit.delivery.memory_run import MemoryRun
from tests.unit.virtual_loop import in_virtual_time

WELL = Response(200, {}, b'{"success":true,"company":"Acme"}')
BUSY = Response(503, {}, b"")
REFUSED = Response(401, {}, b'{"error":"bad token"}')
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
