"""Ozari as the emulator has it: the vendor's exchanges, and every switch of what the vendor does not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loader.emulator.columns import OzariField, OzariTable
from loader.emulator.switches import CHECKS
from tests.unit.emulator.calls import World, ozari_world

EXCHANGES = json.loads(Path(__file__).with_name("exchanges_ozari.json").read_text(encoding="utf-8"))
RECORDS = "/integration/tables/tcust/records"
SINGLE = f"{RECORDS}/single"
QUERY = "/integration/tables/tcust/query"


def insert(world: World, **fields: Any) -> tuple[int, Any]:
    return world.call("POST", RECORDS, {"fields": fields})


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange["what"] for exchange in EXCHANGES])
def test_vendor_exchange(exchange: dict[str, Any]) -> None:
    world = World()
    for row in exchange.get("rows", ()):
        assert insert(world, **row)[0] == 201
    token = exchange.get("token", "Bearer emulator-token")
    method, path, body = exchange["request"]
    status, answer = world.call(method, path, body, token and token.encode())
    assert status == exchange["status"]
    if "answer" in exchange:
        assert answer == exchange["answer"]
    else:
        assert list(answer) == exchange["keys"]
        assert answer["success"] is True
        member, keys = exchange["element"]
        assert answer[member]
        assert all(list(element) == keys for element in answer[member])


def test_echo_repeats_the_request_byte_for_byte() -> None:
    fields = b'{ "a": 1e2, "b":12345678901234567890123, "c":"\\u00e9" ,"d":0.1000}'
    answer = World().answer("POST", RECORDS, b'{"other":1, "fields":' + fields + b"}")
    assert answer.body.endswith(b'"fields":' + fields + b"}")


def test_values_come_back_as_they_were_sent() -> None:
    world = World()
    fields = {
        "t": "x\u0000y",
        "n": 12,
        "f": 0.5,
        "b": True,
        "z": None,
        "l": [1, {"a": [False]}],
        "o": {},
        "e": "",
        "big": 2**63,
    }
    insert(world, **fields)
    row = world.tables.rows("tcust")[0]
    assert {name: row[name] for name in fields} == fields
    assert row["b"] is True
    status, answer = world.call("POST", QUERY, {"select": list(fields)})
    assert (status, answer["records"]) == (200, [fields])


def test_integer_past_64_bits_is_kept() -> None:
    world = World()
    world.call("POST", RECORDS, b'{"fields":{"a":123456789012345678901234567890,"b":[123456789012345678901]}}')
    row = world.tables.rows("tcust")[0]
    assert (row["a"], row["b"]) == (123456789012345678901234567890, [123456789012345678901])


def test_only_visible_fields_are_listed_in_order() -> None:
    fields = (
        OzariField(name="b", order=2),
        OzariField(name="h", is_visible=False),
        OzariField(name="a", order=1, label="A"),
    )
    world = ozari_world(tables={"tx": OzariTable(fields=fields), "tempty": OzariTable()})
    answer = world.call("GET", "/integration/tables/tx/fields")[1]
    assert answer["fields"] == [{"name": "a", "label": "A", "order": 1}, {"name": "b", "label": "b", "order": 2}]
    assert world.call("GET", "/integration/tables/tempty/fields") == (
        200,
        {"success": True, "table": "tempty", "fields": []},
    )


def test_table_label_follows_the_language_and_falls_back() -> None:
    world = ozari_world(tables={"tx": OzariTable(label="X", labels={"en": "Ex"}), "ty": OzariTable()})

    def label(query: str, name: str) -> str:
        tables = world.call("GET", f"/integration/tables{query}")[1]["tables"]
        return str(next(table["label"] for table in tables if table["name"] == name))

    assert label("?lang=en", "tx") == "Ex"
    assert label("?lang=xx", "tx") == label("", "tx") == "X"
    assert label("", "ty") == "ty"


def test_hidden_columns_can_be_written_and_read() -> None:
    world = World()
    insert(world, fstamp="s1")
    answer = world.call("POST", QUERY, {"select": ["fid", "fstamp", "flastmodify"]})[1]
    assert answer["records"] == [{"fid": 1, "fstamp": "s1", "flastmodify": "2023-11-14 22:13:20"}]


def test_unknown_path_and_method_are_not_found() -> None:
    for method, path in (
        ("GET", RECORDS),
        ("DELETE", RECORDS),
        ("GET", "/integration/nothing"),
        ("POST", "/integration/tables/a/b/c"),
    ):
        status, answer = World().call(method, path)
        assert (status, answer["success"]) == (404, False)
        assert answer["error"] != "Table not found"


# --- switches ---------------------------------------------------------------------------------------------------------


def test_any_table() -> None:
    path = "/integration/tables/tnew/records"
    assert World().call("POST", path, {"fields": {"a": 1}})[0] == 404
    world = ozari_world(any_table=True)
    assert world.call("POST", path, {"fields": {"a": 1}})[1]["insertedId"] == 1
    assert [row["a"] for row in world.tables.rows("tnew")] == [1]


def test_unknown_column() -> None:
    assert insert(World(), other="x")[0] == 201
    world = ozari_world(unknown_column="500")
    assert insert(world, other="x") == (500, {"success": False, "error": "Unknown column 'other' in 'field list'"})
    assert insert(world, fname="x", fstamp="hidden")[0] == 201
    assert world.call("PATCH", SINGLE, {"filters": {"other": 1}, "fields": {"fname": "y"}})[0] == 500


@pytest.mark.parametrize("bad_data, status", [("500", 500), ("400", 400), ("accept", 201)])
def test_bad_data(bad_data: str, status: int) -> None:
    fields = (
        OzariField(name="code", is_unique=True, max_length=3),
        OzariField(name="name", is_required=True),
    )
    world = ozari_world(bad_data=bad_data, tables={"tcust": OzariTable(fields=fields)})
    assert insert(world, code="abc", name="n")[0] == 201
    assert insert(world, code="abcd", name="n")[0] == status
    assert insert(world, code="x")[0] == status
    assert insert(world, code="abc", name="n")[0] == status
    assert len(world.tables.rows("tcust")) == (4 if bad_data == "accept" else 1)


def test_unique_column_knows_updates() -> None:
    world = ozari_world(tables={"tcust": OzariTable(fields=(OzariField(name="code", is_unique=True),))})
    insert(world, code="a")
    insert(world, code="b")
    assert world.call("PATCH", SINGLE, {"filters": {"code": "b"}, "fields": {"code": "a"}})[0] == 500
    assert world.call("PATCH", SINGLE, {"filters": {"code": "b"}, "fields": {"code": "b"}})[0] == 200
    assert world.call("PATCH", SINGLE, {"filters": {"code": "b"}, "fields": {"code": "c"}})[0] == 200
    assert insert(world, code="b")[0] == 201
    assert insert(world, code="c")[0] == 500


def test_nested_value() -> None:
    assert insert(World(), a=[1])[0] == 201
    assert insert(ozari_world(nested_value="500"), a=[1])[0] == 500


def test_inserted_id_and_status() -> None:
    world = ozari_world(inserted_id="null", insert_status=200)
    assert insert(world, a="x") == (200, {"success": True, "table": "tcust", "insertedId": None, "fields": {"a": "x"}})
    assert [row["fid"] for row in world.tables.rows("tcust")] == [1]


@pytest.mark.parametrize(
    "echo, expected",
    [
        ("trim", {"a": "x", "n": 1, "e": ""}),
        ("text", {"a": " x ", "n": "1", "e": ""}),
        ("blank_null", {"a": " x ", "n": 1, "e": None}),
    ],
)
def test_echo(echo: str, expected: dict[str, Any]) -> None:
    assert insert(ozari_world(echo=echo), a=" x ", n=1, e="")[1]["fields"] == expected


def test_query_off() -> None:
    status, answer = ozari_world(query="off_json").call("POST", QUERY, {})
    assert (status, answer["success"]) == (404, False)
    assert "Table not found" not in answer["error"]
    status, page = ozari_world(query="off_html").call("POST", QUERY, {})
    assert status == 404
    assert page.startswith(b"<!DOCTYPE html>")
    assert b"Table not found" not in page


def test_closed_table() -> None:
    world = ozari_world(tables={"tusers": OzariTable(is_closed=True)})
    assert world.call("POST", "/integration/tables/tusers/query", {}) == (
        403,
        {"success": False, "error": "This table is not readable through the integration API"},
    )


def test_touch_unchanged() -> None:
    world = ozari_world(touch_unchanged=True)
    insert(world, fname="a")
    world.now += 100
    assert world.call("PATCH", SINGLE, {"filters": {"fname": "a"}, "fields": {"fname": "a"}})[1]["updated"] == 1
    assert world.tables.rows("tcust")[0]["flastmodify"] == "2023-11-14 22:15:00"


def test_read_delay() -> None:
    world = ozari_world(read_delay_seconds=5.0)
    insert(world, fname="a")
    world.now += 4
    insert(world, fname="b")
    assert world.call("POST", QUERY, {})[1]["total"] == 0
    world.now += 1
    assert [row["fname"] for row in world.call("POST", QUERY, {})[1]["records"]] == ["a"]
    world.now += 4
    assert world.call("POST", QUERY, {})[1]["total"] == 2


def test_max_body_bytes() -> None:
    world = ozari_world(max_body_bytes=30)
    assert insert(world, a="x")[0] == 201
    assert insert(world, a="x" * 30)[0] == 413


def test_malformed_body() -> None:
    for body in (b"", b"{", b"[]", b'{"fields":{"a":1}', b'{"fields":{"a":\xff}}', b'{"fields":{"a":"\\ud800"}}'):
        assert World().call("POST", RECORDS, body)[0] == 400
    assert ozari_world(malformed_status=500).call("POST", RECORDS, b"{")[0] == 500


def test_check_order() -> None:
    bad = ("POST", "/integration/tables/t-x/records", {"fields": {"my-field": 1, "fid": 2}}, b"Bearer no")
    errors = {
        "auth": "Invalid token",
        "table_name": "Invalid table name",
        "fields": "Invalid field name: my-field",
        "primary_key": "Cannot set primary key column: fid",
        "table": "Table not found",
    }
    for first, error in errors.items():
        order = (first, *(check for check in CHECKS if check != first))
        assert ozari_world(check_order=order).call(*bad)[1]["error"] == error


@pytest.mark.parametrize("collation, matched", [("exact", [0, 0, 1]), ("loose", [1, 1, 1])])
def test_collation(collation: str, matched: list[int]) -> None:
    world = ozari_world(collation=collation)
    insert(world, key="Ab")
    seen = []
    for value in ("ab", "AB  ", "Ab"):
        filters = {"and": [{"field": "key", "op": "in", "value": [value]}]}
        seen.append(world.call("POST", QUERY, {"filters": filters})[1]["total"])
        status, _ = world.call("PATCH", SINGLE, {"filters": {"key": value}, "fields": {"fnote": "n"}})
        assert (status == 200) is bool(seen[-1])
    assert seen == matched


def test_too_many_columns_is_a_database_error() -> None:
    world = World()
    assert insert(world, **{f"c{number}": "x" for number in range(1890)})[0] == 201
    assert insert(world, **{f"d{number}": "x" for number in range(20)}) == (
        500,
        {"success": False, "error": "Too many columns"},
    )
    assert len(world.tables.rows("tcust")) == 1


def test_deep_values_are_kept_up_to_a_depth_and_refused_beyond() -> None:
    world = World()
    assert world.call("POST", RECORDS, b'{"fields":{"a":' + b"[" * 190 + b"]" * 190 + b"}}")[0] == 201
    assert world.call("POST", QUERY, {"select": ["a"]})[0] == 200
    assert len(world.tables.rows("tcust")) == 1
    for depth in (300, 1000, 5000):
        assert world.call("POST", RECORDS, b'{"fields":{"a":' + b"[" * depth + b"]" * depth + b"}}")[0] == 400
