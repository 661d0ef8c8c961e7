"""Canbus as the emulator has it: the vendor's exchanges, every result code, and every switch of what the vendor does not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loader.emulator.plan import Plan
from loader.emulator.switches import CanbusApp, CanbusFilter, CanbusItem, CanbusSwitches, ExtraCode
from tests.unit.emulator.calls import CREDENTIALS, World, canbus_world

EXCHANGES = json.loads(Path(__file__).with_name("exchanges_canbus.json").read_text(encoding="utf-8"))
UNIQUE = {"Key": CanbusItem(is_unique=True)}
RULED = {
    "Req": CanbusItem(is_required=True),
    "Num": CanbusItem(type="Number", minimum=1, maximum=10, ceiling=100),
}


def named(value: Any, first: str) -> Any:
    """Put the first row's id where an exchange asks for it."""
    return json.loads(json.dumps(value).replace("<first>", first))


def nameless(value: Any, ids: set[str]) -> Any:
    """Put a sign where an answer has an id."""
    text = json.dumps(value)
    for one in ids:
        text = text.replace(one, "<id>")
    return json.loads(text)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange["what"] for exchange in EXCHANGES])
def test_vendor_exchange(exchange: dict[str, Any]) -> None:
    world = World()
    ids = [result["id"] for result in world.add(*exchange.get("rows", ()))]
    method, path, members = exchange["request"]
    status, answer = world.canbus(method, path, **named(members, ids[0] if ids else ""))
    assert status == exchange["status"]
    if exchange.get("no_authen"):
        assert "authen" not in answer
        return
    ids += [row["_id"] for row in world.tables.rows("emulator-app")]
    assert nameless(answer, set(ids)) == exchange["answer"]


def codes(world: World, *elements: dict[str, Any]) -> list[str]:
    return [result["result"] for result in world.add(*elements)]


def keys(world: World) -> list[Any]:
    return [row.get("Key") for row in world.tables.rows("emulator-app")]


# --- documented -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item, values, code",
    [
        (CanbusItem(type="Number", minimum=5), ["4", "-1", 4.9], "7001"),
        (CanbusItem(type="Number", maximum=5), ["6", 5.1], "7002"),
        (CanbusItem(type="Number"), ["abc", "1,000", True, [1], "1e5", "１"], "7003"),
        (CanbusItem(type="Number"), ["1" * 16, "-" + "9" * 16], "7004"),
        (CanbusItem(is_required=True), ["", None, []], "7013"),
        (CanbusItem(pattern="[a-z]+"), ["A", "a1", 5], "7014"),
        (CanbusItem(type="Number", ceiling=100), ["101"], "7018"),
        (CanbusItem(type="DateTime"), ["2026-01-01T10:00:00", "x", 5], "7020"),
        (CanbusItem(type="Date"), ["2023-01-01", "2023/1/1", "2023/02/30", "20230101", 20230101], "7021"),
        (CanbusItem(type="Time"), ["8:00", "x"], "7022"),
        (CanbusItem(type="Checkbox"), ["a", {"a": 1}], "7042"),
        (CanbusItem(type="Table"), ["a", ["a"], {"a": 1}], "7042"),
        (CanbusItem(type="Attachment", is_required=True), ["", []], "7042"),
    ],
)
def test_result_code(item: CanbusItem, values: list[Any], code: str) -> None:
    world = canbus_world(items={"It": item})
    assert codes(world, *({"It": value} for value in values)) == [code] * len(values)
    assert world.tables.rows("emulator-app") == []


@pytest.mark.parametrize(
    "item, values",
    [
        (CanbusItem(type="Number", minimum=1, maximum=10), ["1", "10", "5.5", "", None, 7]),
        (CanbusItem(type="Date"), ["2024/02/29", "2023/01/01", ""]),
        (CanbusItem(type="DateTime"), ["2023/01/01 10:00", "2023/01/01 10:00:59"]),
        (CanbusItem(type="Time"), ["08:00", "08:00:01"]),
        (CanbusItem(type="Checkbox"), [["a", "b"], []]),
        (CanbusItem(type="Table"), [[{"Text_2": "x"}], []]),
        (CanbusItem(pattern="[a-z]+"), ["abc", ""]),
    ],
)
def test_good_values(item: CanbusItem, values: list[Any]) -> None:
    world = canbus_world(items={"It": item})
    assert codes(world, *({"It": value} for value in values)) == ["0"] * len(values)
    assert [row["It"] for row in world.tables.rows("emulator-app")] == values


def test_app_link_on_a_table_without_it() -> None:
    assert codes(World(), {"AppLink": "x"}) == ["7042"]
    assert codes(canbus_world(items={"AppLink": CanbusItem(type="AppLink")}), {"AppLink": "x"}) == ["0"]


def test_unique_item_refuses_the_second() -> None:
    world = canbus_world(items=UNIQUE)
    assert codes(world, {"Key": "a"}, {"Key": "b"}) == ["0", "0"]
    assert codes(world, {"Key": "a"}, {"Key": "c"}) == ["7012", "0"]
    assert keys(world) == ["a", "b", "c"]


def test_unique_value_is_free_after_edit_and_delete() -> None:
    world = canbus_world(items=UNIQUE)
    first, second = (result["id"] for result in world.add({"Key": "a"}, {"Key": "b"}))
    edit = {"_id": first, "System_Update_User": "loader", "Key": "b"}
    assert world.canbus("PATCH", "/api/records", update=[edit])[1]["results"] == [{"result": "7012"}]
    assert world.canbus("PATCH", "/api/records", update=[{**edit, "Key": "z"}])[1]["results"][0]["result"] == "0"
    world.canbus("DELETE", "/api/records", delete=[{"_id": second, "System_Delete_User": "loader"}])
    assert codes(world, {"Key": "a"}, {"Key": "b"}, {"Key": "z"}) == ["0", "0", "7012"]


def test_defaults_are_applied_to_the_types_that_have_them() -> None:
    kinds: tuple[Any, ...] = ("Text", "Radio", "Pulldown", "RichText", "Time", "User", "Organization")
    world = canbus_world(items={kind: CanbusItem(type=kind, default="d") for kind in kinds})
    world.add({"Radio": "own"})
    row = world.tables.rows("emulator-app")[0]
    assert {kind: row.get(kind) for kind in ("Text", "Radio", "Pulldown")} == {
        "Text": "d",
        "Radio": "own",
        "Pulldown": "d",
    }
    assert all(row.get(kind) is None for kind in ("RichText", "Time", "User", "Organization"))


def test_users_are_checked_by_element() -> None:
    add = [{"System_Create_User": "loader"}, {"System_Create_User": "x"}, {}, {"System_Create_User": ["loader"]}]
    results = World().canbus("POST", "/api/records", add=add)[1]["results"]
    assert [result["result"] for result in results] == ["0", "32", "7013", "32"]
    world = canbus_world(any_user=True, missing_user_code="32")
    results = world.canbus("POST", "/api/records", add=add)[1]["results"]
    assert [result["result"] for result in results] == ["0", "0", "32", "32"]


def test_ids_are_24_hexadecimal_digits_and_distinct() -> None:
    ids = [result["id"] for result in World().add(*[{}] * 300)]
    assert len(set(ids)) == 300
    assert all(len(one) == 24 and int(one, 16) for one in ids)


def test_get_answers_one_to_one() -> None:
    world = World()
    first, second = (result["id"] for result in world.add({"T": "a"}, {"T": "b"}))
    asked = [second, "nothing", first, second]
    results = world.canbus("GET", "/api/records/detail", records=asked)[1]["results"]
    assert [result["id"] for result in results] == asked
    assert [result["result"] for result in results] == ["0", "1001", "0", "0"]
    assert [[row["T"] for row in result["data"]] for result in results] == [["b"], [], ["a"], ["b"]]


def test_edit_leaves_what_it_does_not_name_and_replaces_sub_tables() -> None:
    world = World()
    one = world.add({"A": "a", "B": True, "T": [{"x": 1}, {"x": 2}]})[0]["id"]
    world.canbus(
        "PATCH", "/api/records", update=[{"_id": one, "System_Update_User": "admin", "A": "z", "T": [{"y": 3}]}]
    )
    row = world.tables.rows("emulator-app")[0]
    expected = {"A": "z", "B": True, "T": [{"y": 3}], "System_Create_User": "loader", "System_Update_User": "admin"}
    assert {name: row[name] for name in expected} == expected


def test_edit_and_delete_of_no_record() -> None:
    world = canbus_world(not_found_code="77")
    edit = {"_id": "x", "System_Update_User": "loader"}
    delete = {"_id": "x", "System_Delete_User": "loader"}
    assert world.canbus("PATCH", "/api/records", update=[edit])[1]["results"] == [{"result": "77"}]
    assert world.canbus("DELETE", "/api/records", delete=[delete])[1]["results"] == [{"result": "77"}]


def test_delete_of_one_record_twice() -> None:
    world = World()
    one = world.add({"A": "a"}, {"A": "b"})[0]["id"]
    delete = {"_id": one, "System_Delete_User": "loader"}
    results = world.canbus("DELETE", "/api/records", delete=[delete, delete])[1]["results"]
    assert [result["result"] for result in results] == ["0", "1001"]
    assert [row["A"] for row in world.tables.rows("emulator-app")] == ["b"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'{"add":[]', b'{"a":"\\ud800"}'])
def test_malformed_body(body: bytes) -> None:
    assert World().call("POST", "/api/records", body) == (400, {"authen": "NG"})


@pytest.mark.parametrize("missing", list(CREDENTIALS))
def test_missing_credential(missing: str) -> None:
    body: dict[str, Any] = {name: value for name, value in CREDENTIALS.items() if name != missing}
    body["add"] = []
    status, answer = World().call("POST", "/api/records", body)
    assert answer == {"authen": "NG"}
    assert status == (401 if missing in ("api_key", "api_secret") else 400)


# --- switches ---------------------------------------------------------------------------------------------------------


def test_atomic_creates_all_or_none() -> None:
    world = canbus_world(items=UNIQUE, is_atomic=True, neighbour_code="99")
    assert codes(world, {"Key": "a"}) == ["0"]
    assert codes(world, {"Key": "b"}, {"Key": "a"}, {"Key": "c"}) == ["99", "7012", "99"]
    assert keys(world) == ["a"]
    assert codes(world, {"Key": "b"}, {"Key": "c"}) == ["0", "0"]


@pytest.mark.parametrize("is_atomic", [False, True])
@pytest.mark.parametrize("sees", [False, True])
def test_unique_within_one_request(is_atomic: bool, sees: bool) -> None:
    world = canbus_world(items=UNIQUE, is_atomic=is_atomic, sees_same_request=sees)
    expected = ["0", "0", "0"] if not sees else ["1", "7012", "1"] if is_atomic else ["0", "7012", "0"]
    assert codes(world, {"Key": "a"}, {"Key": "a"}, {"Key": "b"}) == expected
    assert len(keys(world)) == expected.count("0")


def test_atomic_edit_and_delete() -> None:
    world = canbus_world(is_atomic=True)
    one = world.add({"A": "a"})[0]["id"]
    update = [{"_id": one, "System_Update_User": "loader", "A": "z"}, {"_id": "x", "System_Update_User": "loader"}]
    results = world.canbus("PATCH", "/api/records", update=update)[1]["results"]
    assert [result["result"] for result in results] == ["1", "1001"]
    delete = [{"_id": one, "System_Delete_User": "loader"}, {"_id": "x", "System_Delete_User": "loader"}]
    world.canbus("DELETE", "/api/records", delete=delete)
    assert [row["A"] for row in world.tables.rows("emulator-app")] == ["a"]


def test_status_of_partial_and_total_failure() -> None:
    world = canbus_world(items=RULED, success_status=200, partial_failure_status=207, total_failure_status=400)
    assert world.add_with_status({"Req": "x"})[0] == 200
    assert world.add_with_status({"Req": "x"}, {})[0] == 207
    assert world.add_with_status({}, {})[0] == 400
    assert canbus_world(items=RULED).add_with_status({})[0] == 201


@pytest.mark.parametrize("switch, expected", [("absent", {}), ("null", {"id": None}), ("empty", {"id": ""})])
def test_failed_id(switch: str, expected: dict[str, Any]) -> None:
    assert canbus_world(items=RULED, failed_id=switch).add({}) == [{"result": "7013", **expected}]


def test_result_order() -> None:
    elements = [{"Req": f"{number}"} if number % 3 else {} for number in range(12)]
    kept = codes(canbus_world(items=RULED), *elements)
    assert codes(canbus_world(items=RULED, result_order="reversed"), *elements) == kept[::-1]
    assert codes(canbus_world(items=RULED, result_order="short"), *elements) == kept[:-1]
    assert codes(canbus_world(items=RULED, result_order="long"), *elements) == kept + kept[-1:]
    worlds = [canbus_world(items=RULED, result_order="shuffled") for _ in range(2)]
    shuffled = [codes(world, *elements) for world in worlds]
    assert shuffled[0] == shuffled[1] != kept
    assert sorted(shuffled[0]) == sorted(kept)


@pytest.mark.parametrize("status", [400, 413])
def test_over_a_thousand_records(status: Any) -> None:
    world = canbus_world(over_max_status=status)
    assert world.add_with_status(*[{}] * 1000)[0] == 201
    add = [{"System_Create_User": "loader"}] * 1001
    assert world.canbus("POST", "/api/records", add=add) == (status, {"authen": "NG"})
    assert len(world.tables.rows("emulator-app")) == 1000


@pytest.mark.parametrize("base, status", [(10**6, 413), (2**20, 201)])
def test_megabyte(base: Any, status: int) -> None:
    world = canbus_world(max_megabytes=1, megabyte_bytes=base)
    add = [{"System_Create_User": "loader", "T": "x" * 1_000_000}]
    assert world.canbus("POST", "/api/records", add=add)[0] == status


def test_list_pages() -> None:
    world = canbus_world(list_max=25)
    world.add(*({"N": f"{number:02}"} for number in range(30)))

    def page(**asked: Any) -> tuple[int, int, list[str]]:
        result = world.canbus("GET", "/api/records", record_list=asked)[1]["results"][0]
        assert result["length"] == len(result["records"])
        return result["count"], result["length"], [row["N"] for row in result["records"]]

    assert page() == (30, 20, [f"{number:02}" for number in range(29, 9, -1)])
    assert page(number=100)[1] == 25
    assert page(start=28, number=5) == (30, 2, ["01", "00"])
    bad: list[dict[str, Any]] = [{"start": -1}, {"number": "5"}, {"filter": 1}, {"filter": "unknown"}, {"where": {}}]
    for asked in bad:
        assert world.canbus("GET", "/api/records", record_list=asked)[0] == 400
    refusing = canbus_world(list_max=25, list_over_max="refuse")
    assert refusing.canbus("GET", "/api/records", record_list={"number": 26})[0] == 400


def test_saved_filters() -> None:
    filters = {"mine": CanbusFilter(conditions={"U": "me"}, sort="N", is_descending=False)}
    world = canbus_world(app={"filters": filters, "default_filter": "mine"})
    world.add({"U": "me", "N": "b"}, {"U": "you", "N": "x"}, {"U": "me", "N": "a"})
    for asked in ({"filter": "mine"}, {}):
        result = world.canbus("GET", "/api/records", record_list=asked)[1]["results"][0]
        assert (result["count"], [row["N"] for row in result["records"]]) == (2, ["a", "b"])


def test_unknown_item() -> None:
    one = {"Req": "x", "Other": "y"}
    assert canbus_world(items=RULED).add(one)[0]["result"] == "0"
    ignoring = canbus_world(items=RULED, unknown_item="ignore")
    assert codes(ignoring, one) == ["0"]
    assert "Other" not in ignoring.tables.rows("emulator-app")[0]
    refusing = canbus_world(items=RULED, unknown_item="refuse", unknown_item_code="8000")
    assert codes(refusing, one, {"Req": "x"}) == ["8000", "0"]


def test_json_numbers() -> None:
    assert codes(canbus_world(items=RULED), {"Req": "x", "Num": 5}) == ["0"]
    assert codes(canbus_world(items=RULED, json_numbers=False), {"Req": "x", "Num": 5}, {"Req": "x", "Num": "5"}) == [
        "7003",
        "0",
    ]


def test_blanks_collide() -> None:
    elements: tuple[dict[str, Any], ...] = ({"Key": ""}, {}, {"Key": None})
    assert codes(canbus_world(items=UNIQUE), *elements) == ["0", "0", "0"]
    assert codes(canbus_world(items=UNIQUE, blanks_collide=True), *elements) == ["0", "7012", "7012"]


def test_numbers_compare() -> None:
    items = {"Key": CanbusItem(type="Number", is_unique=True)}
    elements = ({"Key": "1"}, {"Key": "1.0"}, {"Key": 1})
    assert codes(canbus_world(items=items), *elements) == ["0", "0", "7012"]
    assert codes(canbus_world(items=items, numbers_compare="value"), *elements) == ["0", "7012", "7012"]


def test_extra_codes() -> None:
    world = canbus_world(extra_codes=(ExtraCode(code="7999", item="T", pattern="bad.*"),))
    assert codes(world, {"T": "bad one"}, {"T": "good"}, {}) == ["7999", "0", "0"]


def test_error_body() -> None:
    status, page = canbus_world(error_body="html").canbus("GET", "/api/nothing")
    assert status == 404
    assert page.startswith(b"<!DOCTYPE html>")
    assert canbus_world(error_message="no").canbus("POST", "/api/records") == (400, {"authen": "NG", "message": "no"})


def test_wrong_key_status_and_refused_address() -> None:
    assert canbus_world(wrong_key_status=400).canbus("POST", "/api/records", api_key="x")[0] == 400
    assert canbus_world(app={"is_ip_refused": True}).canbus("POST", "/api/records", add=[]) == (403, {"authen": "NG"})


def test_apps_have_rows_of_their_own() -> None:
    apps = (CanbusApp(), CanbusApp(app_id="second", api_key="k", api_secret="s"))
    world = World(Plan(canbus=CanbusSwitches(apps=apps)))
    second = {"app_id": "second", "api_key": "k", "api_secret": "s"}
    status, _ = world.canbus("POST", "/api/records", **second, add=[{"System_Create_User": "loader", "A": "x"}])
    assert status == 201
    assert world.tables.rows("emulator-app") == []
    assert [row["A"] for row in world.tables.rows("second")] == ["x"]


def test_read_delay() -> None:
    world = canbus_world(read_delay_seconds=5.0)
    one = world.add({"A": "a"})[0]["id"]

    def seen() -> tuple[int, str]:
        count = world.canbus("GET", "/api/records", record_list={})[1]["results"][0]["count"]
        return count, world.canbus("GET", "/api/records/detail", records=[one])[1]["results"][0]["result"]

    assert seen() == (0, "1001")
    world.now += 5
    assert seen() == (1, "0")


def test_integer_past_64_bits_is_kept() -> None:
    world = World()
    members = b",".join(b'"%b":"%b"' % (name.encode(), value.encode()) for name, value in CREDENTIALS.items())
    element = b'{"System_Create_User":"loader","n":123456789012345678901,"l":[18446744073709551617]}'
    world.call("POST", "/api/records", b'{%b,"add":[%b]}' % (members, element))
    row = world.tables.rows("emulator-app")[0]
    assert (row["n"], row["l"]) == (123456789012345678901, [18446744073709551617])
