"""Ozari's filter language: every operator against a plain Python reading of it, every limit, every refusal."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.emulator.calls import World, ozari_world

QUERY = "/integration/tables/tcust/query"
ROWS: list[dict[str, Any]] = [
    {"name": "anna", "n": 1, "t": "10"},
    {"name": "Anna", "n": 2, "t": "9"},
    {"name": "bob", "n": 3, "t": None},
    {"name": "50% off", "n": None, "t": "abc"},
    {"name": "", "n": 5, "t": "10"},
]


def filled(**switches: Any) -> World:
    world = ozari_world(**switches)
    for row in ROWS:
        world.call("POST", "/integration/tables/tcust/records", {"fields": row})
    return world


def ask(world: World, **body: Any) -> tuple[int, Any]:
    return world.call("POST", QUERY, body)


def found(world: World, *conditions: Any, word: str = "and") -> list[int]:
    status, answer = ask(world, filters={word: list(conditions)}, sort=[{"field": "fid"}], select=["fid"])
    assert status == 200, answer
    return [record["fid"] for record in answer["records"]]


def condition(field: str, op: str, *value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, **({"value": value[0]} if value else {})}


@pytest.mark.parametrize(
    "one, fids",
    [
        (condition("name", "eq", "anna"), [1]),
        (condition("name", "eq", ""), [5]),
        (condition("name", "neq", "anna"), [2, 3, 4, 5]),
        (condition("n", "eq", 2), [2]),
        (condition("n", "eq", "2"), [2]),
        (condition("t", "eq", 10), [1, 5]),
        (condition("n", "neq", 2), [1, 3, 5]),
        (condition("n", "gt", 2), [3, 5]),
        (condition("n", "gte", 2), [2, 3, 5]),
        (condition("n", "lt", 2), [1]),
        (condition("n", "lte", 2), [1, 2]),
        (condition("fid", "gt", "3"), [4, 5]),
        (condition("fid", "in", ["1", 2]), [1, 2]),
        (condition("t", "gt", "5"), [2, 4]),
        (condition("name", "like", "%nn%"), [1, 2]),
        (condition("name", "like", "anna"), [1]),
        (condition("name", "like", "50\\%%"), [4]),
        (condition("name", "not_like", "%nn%"), [3, 4, 5]),
        (condition("name", "in", ["bob", "anna", "x"]), [1, 3]),
        (condition("name", "not_in", ["bob", "anna"]), [2, 4, 5]),
        (condition("n", "between", [2, 3]), [2, 3]),
        (condition("n", "is_null"), [4]),
        (condition("t", "is_not_null"), [1, 2, 4, 5]),
        (condition("n", "eq", None), []),
        (condition("n", "neq", None), []),
        (condition("never", "is_null"), [1, 2, 3, 4, 5]),
        (condition("never", "eq", "x"), []),
    ],
)
def test_operator(one: dict[str, Any], fids: list[int]) -> None:
    assert found(filled(), one) == fids


def test_groups_nest() -> None:
    world = filled()
    inner = {"and": [condition("name", "eq", "Anna"), condition("n", "eq", 2)]}
    assert found(world, inner, condition("n", "eq", 5), word="or") == [2, 5]
    assert found(world, {"or": [condition("n", "eq", 1), condition("n", "eq", 2)]}, condition("t", "eq", "9")) == [2]


def test_empty_body_is_the_first_page() -> None:
    world = ozari_world()
    for number in range(60):
        world.call("POST", "/integration/tables/tcust/records", {"fields": {"n": number}})
    status, answer = ask(world)
    assert status == 200
    assert (answer["page"], answer["per_page"], answer["total"], len(answer["records"])) == (1, 50, 60, 50)
    assert world.call("POST", QUERY)[1]["total"] == 60
    second = ask(world, page=2, sort=[{"field": "fid"}])[1]
    assert [record["fid"] for record in second["records"]] == list(range(51, 61))
    assert ask(world, page=3)[1]["records"] == []


def test_sort() -> None:
    world = filled()
    answer = ask(world, sort=[{"field": "t", "direction": "desc"}, {"field": "n"}], select=["fid"])[1]
    assert [record["fid"] for record in answer["records"]] == [4, 2, 1, 5, 3]


def test_unsorted_order() -> None:
    def fids(order: str) -> list[int]:
        return [record["fid"] for record in ask(filled(unsorted_order=order))[1]["records"]]

    assert fids("id") == [1, 2, 3, 4, 5]
    assert fids("reversed") == [5, 4, 3, 2, 1]
    assert sorted(fids("random")) == [1, 2, 3, 4, 5]
    assert fids("random") == fids("random") != [1, 2, 3, 4, 5]


def test_limits_are_what_the_page_says() -> None:
    world = filled()
    one = condition("n", "eq", 1)
    assert ask(world, filters={"or": [one] * 50})[0] == 200
    assert ask(world, filters={"or": [one] * 51})[0] == 400
    assert ask(world, filters={"or": [{"and": [one] * 26}, {"and": [one] * 25}]})[0] == 400
    assert ask(world, filters={"and": [condition("n", "in", list(range(200)))]})[0] == 200
    assert ask(world, filters={"and": [condition("n", "in", list(range(201)))]})[0] == 400
    assert ask(world, filters={"and": [condition("n", "in", [])]})[0] == 400
    group: Any = {"and": [one]}
    for depth in range(1, 6):
        assert ask(world, filters=group)[0] == 200, depth
        group = {"or": [group]}
    assert ask(world, filters=group)[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 5},
        {"filters": []},
        {"filters": {}},
        {"filters": {"and": [], "or": []}},
        {"filters": {"and": []}},
        {"filters": {"and": ["x"]}},
        {"filters": {"and": [{"field": "a", "op": "eq"}]}},
        {"filters": {"and": [{"field": "a", "op": "eq", "value": [1]}]}},
        {"filters": {"and": [{"field": "a", "op": "eq", "value": 1, "more": 1}]}},
        {"filters": {"and": [{"field": "a", "op": "like", "value": 1}]}},
        {"filters": {"and": [{"field": "a", "op": "in", "value": "x"}]}},
        {"filters": {"and": [{"field": "a", "op": "in", "value": [{}]}]}},
        {"filters": {"and": [{"field": "a", "op": "is_null", "value": 1}]}},
        {"filters": {"and": [{"field": "a", "op": ["eq"], "value": 1}]}},
        {"filters": {"and": [{"op": "eq", "value": 1}]}},
        {"select": "fid"},
        {"select": ["a-b"]},
        {"sort": "fid"},
        {"sort": [{"field": "fid", "direction": "up"}]},
        {"sort": [{"field": "a b"}]},
        {"sort": [{"field": "fid", "order": "asc"}]},
        {"page": "1"},
        {"page": True},
        {"page": 1.5},
    ],
)
def test_refused(body: dict[str, Any]) -> None:
    status, answer = ask(filled(), **body)
    assert (status, answer["success"]) == (400, False)
    assert answer["error"]


def test_path_of_a_nested_error() -> None:
    filters = {"and": [condition("n", "eq", 1), {"or": [condition("n", "eq", 1), condition("n", "rlike", "x")]}]}
    assert ask(filled(), filters=filters)[1]["error"] == "Unsupported operator in filters.and[1].or[1]: rlike"


def test_page_switches() -> None:
    refusing, clamping = filled(), filled(per_page_over="clamp", page_under="clamp")
    assert ask(refusing, per_page=200)[0] == 200
    assert ask(refusing, per_page=201)[0] == ask(refusing, page=0)[0] == 400
    assert ask(clamping, per_page=1000)[1]["per_page"] == 200
    assert ask(clamping, page=-3)[1]["page"] == 1


def test_unknown_column() -> None:
    filters = {"and": [condition("never", "eq", 1)]}
    for switch, status in (("accept", 200), ("400", 400), ("500", 500)):
        world = filled(query_unknown_column=switch)
        for body in ({"filters": filters}, {"select": ["never"]}, {"sort": [{"field": "never"}]}):
            assert ask(world, **body)[0] == status
        assert ask(world, select=["fid", "flastmodify", "fstamp", "n"])[0] == 200


def test_null_equals() -> None:
    world = filled(null_equals=True)
    assert found(world, condition("n", "eq", None)) == [4]
    assert found(world, condition("n", "neq", None)) == [1, 2, 3, 5]


def test_loose_collation_compares_without_case() -> None:
    world = filled(collation="loose")
    assert found(world, condition("name", "eq", "ANNA ")) == [1, 2]
    assert found(world, condition("name", "like", "ANN%")) == [1, 2]


def test_closed_and_missing_tables_come_before_the_filter() -> None:
    assert World().call("POST", "/integration/tables/tnone/query", {"bad": 1})[0] == 404


def test_a_large_table_is_indexed_and_answers_alike() -> None:
    world = ozari_world()
    for number in range(1200):
        world.call("POST", "/integration/tables/tcust/records", {"fields": {"key": f"k{number}"}})
    keys = [f"k{number}" for number in range(0, 1200, 6)]
    answer = ask(world, filters={"and": [condition("key", "in", keys)]}, per_page=200)[1]
    assert sorted(record["key"] for record in answer["records"]) == sorted(keys)
    plan = world.tables.execute("EXPLAIN QUERY PLAN SELECT * FROM tcust WHERE key IN ('k1', 'k2')").fetchall()
    assert "USING INDEX" in plan[0][-1]
