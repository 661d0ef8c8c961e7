"""The emulator's description names what the emulator serves and nothing else; `make schema` holds the rest of it to its word."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

import loader.emulator
from loader.emulator.routes import find_route
from loader.emulator.wire import Operation
from tests.unit.emulator.calls import canbus_world, ozari_world

OPENAPI = json.loads(Path(loader.emulator.__file__).with_name("openapi.json").read_text())
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
EXCHANGES = [
    exchange
    for name in ("exchanges_ozari.json", "exchanges_canbus.json")
    for exchange in json.loads(Path(__file__).with_name(name).read_text())
]
OF_THE_SHELL = {404}
"""What a path that nobody knows answers is described nowhere."""


def described() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in OPENAPI["paths"].items()
        for method, operation in item.items()
    }


@pytest.mark.parametrize("path", OPENAPI["paths"])
@pytest.mark.parametrize("method", METHODS)
def test_a_path_is_described_as_it_is_served(path: str, method: str) -> None:
    route = find_route(method, path.replace("{table}", "tcust"))
    operation = described().get((method, path))
    assert (operation or {}).get("operationId", "unknown") == route.operation
    assert operation is None or operation["tags"] == [route.api]


def test_every_operation_of_the_emulator_is_described() -> None:
    operations = [operation["operationId"] for operation in described().values()]
    assert sorted(operations) == sorted(set(get_args(Operation)) - {"unknown"})


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["what"])
def test_a_documented_exchange_has_a_described_status(exchange: dict[str, Any]) -> None:
    method, path, _ = exchange["request"]
    path = re.sub(r"/tables/[^/]+/", "/tables/{table}/", path.partition("?")[0])
    operation = described().get((method, path))
    if operation is None:
        assert exchange["status"] in OF_THE_SHELL | {405}
    else:
        assert str(exchange["status"]) in operation["responses"]


def test_every_reference_leads_somewhere() -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(OPENAPI)))
    assert names == set(OPENAPI["components"]["schemas"])


# --- what schemathesis found ------------------------------------------------------------------------------------------------


def test_failures_answer_with_the_status_of_their_own_operation() -> None:
    world = canbus_world()
    stranger = {"_id": "x", "System_Update_User": "loader", "System_Delete_User": "loader"}
    assert world.canbus("PATCH", "/api/records", update=[stranger])[0] == 200
    assert world.canbus("DELETE", "/api/records", delete=[stranger])[0] == 200
    assert world.canbus("POST", "/api/records", add=[{}])[0] == 201


def test_a_405_names_the_methods_that_there_are() -> None:
    answer = canbus_world().answer("TRACE", "/api/records")
    assert (answer.status, answer.headers) == (405, ((b"Allow", b"GET, POST, PATCH, DELETE"),))
    assert canbus_world().answer("PUT", "/api/records/detail").headers == ((b"Allow", b"GET"),)


def test_20_and_20_point_0_are_one_number() -> None:
    assert canbus_world().canbus("GET", "/api/records", record_list={"start": 0.0, "number": 20.0})[0] == 200
    assert canbus_world().canbus("GET", "/api/records", record_list={"start": 0.5})[0] == 400
    assert ozari_world().call("POST", "/integration/tables/tcust/query", {"page": 1.0, "per_page": 20.0})[0] == 200
    for page in (1.5, True, "1"):
        assert ozari_world().call("POST", "/integration/tables/tcust/query", {"page": page})[0] == 400


@pytest.mark.parametrize("number", [b"9" * 30, b"-" + b"9" * 30, b"1e300"])
def test_numbers_that_no_database_holds(number: bytes) -> None:
    world = ozari_world()
    world.call("POST", "/integration/tables/tcust/records", {"fields": {"n": 5}})
    for field in (b"fid", b"n"):
        for op in (b"gt", b"lte", b"eq", b"neq"):
            body = b'{"filters":{"and":[{"field":"%b","op":"%b","value":%b}]}}' % (field, op, number)
            status, answer = world.call("POST", "/integration/tables/tcust/query", body)
            assert status == 200
            is_below = number.startswith(b"-")
            assert answer["total"] == {b"gt": int(is_below), b"lte": int(not is_below), b"eq": 0, b"neq": 1}[op]
    if not number.startswith(b"-"):
        status, answer = world.call("POST", "/integration/tables/tcust/query", b'{"page":%b}' % number)
        assert (status, answer["total"], answer["records"]) == (200, 1, [])


@pytest.mark.parametrize("way", ["single", "bulk"])
@pytest.mark.parametrize("value", [[1], {}, {"a": 1}])
def test_a_filter_is_a_scalar(way: str, value: object) -> None:
    body = {"filters": {"fcode": value}, "fields": {"fname": "x"}}
    status, answer = ozari_world().call("PATCH", f"/integration/tables/tcust/records/{way}", body)
    assert (status, answer["success"]) == (400, False)
