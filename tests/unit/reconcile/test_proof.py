"""The proof of a unique item asks first what the created record holds: a stamp that was cut would make two records one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loader.delivery.breaker import Breaker
from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.errors import RunStopped
from loader.model import Created, NoResponse, Record, Request, Response
from loader.rate.throttle import FixedThrottle
from loader.reconcile.proof import TakesBack, UniqueProof
from loader.runtime import Runtime
from loader.settings import CanbusAdd, CanbusCredentials, Secret
from loader.targets.registry import build_target
from loader.targets.stamp_form import form_for

CREDENTIALS = CanbusCredentials("acme", Secret("app-1"), Secret("key-12345678901"), Secret("secret-12345678"))
STAMP = "txc3rgjmdh-000000001"
RECORD = Record(0, 1, 0, json.dumps({"Stamp": STAMP, "System_Create_User": "u"}).encode(), STAMP)
REFUSED = {"authen": "OK", "results": [{"result": "7012"}]}


class Answers:
    """A transport that shows one row, and refuses every other record as a duplicate."""

    def __init__(self, shown: Any) -> None:
        self.shown = shown
        self.methods: list[str] = []

    async def send(self, request: Request, follow: object = None) -> Response | NoResponse:
        del follow
        self.methods.append(request.method)
        return Response(200, {}, json.dumps(self.shown if request.method == "GET" else REFUSED).encode())

    def drop_idle(self) -> None: ...

    async def close(self) -> None: ...


def row(**values: Any) -> dict[str, Any]:
    return {"authen": "OK", "results": [{"result": "0", "id": "a1", "data": [{"_id": "a1", **values}]}]}


async def prove(shown: Any, settings: CanbusAdd) -> tuple[bool, Stop, list[str]]:
    runtime, stop, transport = Runtime(), Stop(), Answers(shown)
    target = build_target(settings, CREDENTIALS, "txc3rgjmdh", form=form_for(1))
    assert isinstance(target, TakesBack)
    sender = Sender(transport, FixedThrottle(runtime, 1000.0, None), Breaker(runtime))
    is_proved = await UniqueProof(target, sender, stop, runtime, 0.1).prove(RECORD, Created("a1"))
    return is_proved, stop, transport.methods


@pytest.mark.parametrize("held", [STAMP[:13], STAMP.upper(), STAMP + "  ", None, 7])
async def test_a_stamp_that_is_stored_otherwise_stops_the_run_before_a_second_sending(held: Any) -> None:
    is_proved, stop, methods = await prove(row(Stamp=held), CanbusAdd("u", stamp="Stamp", is_unique=True))
    assert (is_proved, methods) == (False, ["GET"])
    assert isinstance(stop.error, RunStopped)
    assert f"the stamp '{STAMP}' is stored as" in stop.error.message
    assert "room for 20 characters" in stop.error.hint


@pytest.mark.parametrize(
    "shown",
    [
        row(Stamp=STAMP),
        row(Name="without the item"),
        {"authen": "OK", "results": [{"result": "0", "id": "a2", "data": [{"_id": "a2", "Stamp": "another's"}]}]},
        {"authen": "OK", "results": [{"result": "1001", "id": "a1", "data": []}]},
        {"authen": "OK", "results": []},
        {"authen": "OK"},
        [],
    ],
)
async def test_what_is_not_shown_proves_nothing(shown: Any) -> None:
    is_proved, _, methods = await prove(shown, CanbusAdd("u", stamp="Stamp", is_unique=True))
    assert (is_proved, methods) == (True, ["GET", "POST"])


async def test_a_key_of_the_users_is_not_compared() -> None:
    is_proved, _, methods = await prove(row(Stamp="x"), CanbusAdd("u", key="Stamp", is_unique=True))
    assert (is_proved, methods) == (True, ["POST"])
