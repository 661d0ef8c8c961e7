"""Call the emulator's handlers as the server would, without a socket: both APIs, and a clock that stands until it is moved."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from loader.emulator.engine import Engine
from loader.emulator.faults import Fault
from loader.emulator.journal import Journal
from loader.emulator.plan import Plan
from loader.emulator.routes import read_target
from loader.emulator.switches import CanbusApp, CanbusItem, CanbusSwitches, OzariSwitches
from loader.emulator.tables import Tables
from loader.emulator.wire import Answer, Call

BEARER = b"Bearer emulator-token"
CREDENTIALS = {
    "tenant_id": "emulator",
    "app_id": "emulator-app",
    "api_key": "emulator-key",
    "api_secret": "emulator-secret",
}
NOW = 1_700_000_000.0


class World:
    """Both APIs over tables in memory."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.now = NOW
        self.tables = Tables()
        self.journal = Journal(1000)
        self.engine = Engine(plan or Plan(), self.tables, self.journal, lambda: self.now, lambda: self.now)

    def call(self, method: str, path: str, body: Any = None, authorization: bytes | None = BEARER) -> tuple[int, Any]:
        """Carry out one call; the answer's JSON is read, a page comes as bytes."""
        answer = self.answer(method, path, body, authorization)
        try:
            return answer.status, orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            return answer.status, answer.body

    def answer(self, method: str, path: str, body: Any = None, authorization: bytes | None = BEARER) -> Answer:
        """Carry out one call."""
        return self.engine.commit(self.engine.admit(make_call(method, path, body, authorization)))

    def canbus(self, method: str, path: str, **members: Any) -> tuple[int, Any]:
        """Carry out one Canbus call with the default credentials."""
        return self.call(method, path, {**CREDENTIALS, **members}, None)

    def add(self, *elements: dict[str, Any], user: str = "loader") -> list[dict[str, Any]]:
        """Create Canbus records and give back the results."""
        return self.add_with_status(*elements, user=user)[1]

    def add_with_status(self, *elements: dict[str, Any], user: str = "loader") -> tuple[int, list[dict[str, Any]]]:
        """Create Canbus records and give back status and results."""
        add = [{"System_Create_User": user, **element} for element in elements]
        status, body = self.canbus("POST", "/api/records", add=add)
        return status, body["results"]


def make_call(method: str, path: str, body: Any = None, authorization: bytes | None = BEARER) -> Call:
    """Make a call; a body that is not bytes is written as JSON."""
    data = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
    headers = {b"host": b"127.0.0.1"} | ({} if authorization is None else {b"authorization": authorization})
    name, where, query, route = read_target(method.encode(), path.encode())
    return Call(name, where, query, route, headers, data)


def ozari_world(**switches: Any) -> World:
    """Make a world with some of Ozari's switches set."""
    return World(Plan(ozari=OzariSwitches(**switches)))


def canbus_world(
    *, items: dict[str, CanbusItem] | None = None, app: dict[str, Any] | None = None, **switches: Any
) -> World:
    """Make a world with some of Canbus' switches and the items of its app set."""
    apps = (CanbusApp(items=items or {}, **(app or {})),)
    return World(Plan(canbus=CanbusSwitches(apps=apps, **switches)))


def fault_world(*rules: Fault, **parts: Any) -> World:
    """Make a world with fault rules."""
    return World(msgspec.structs.replace(Plan(**parts), faults=rules))
