"""A column and a target as unkind as real ones: what is stored, what equals what, what is seen when, what goes back."""

from __future__ import annotations

from typing import Any

import pytest

from loader.emulator.columns import OzariField, OzariTable
from loader.emulator.faults import GoBack
from loader.emulator.plan import PlanError, parse_plan
from tests.unit.emulator.calls import World, fault_world, make_call, ozari_world

RECORDS = "/integration/tables/tcust/records"
SINGLE = f"{RECORDS}/single"
QUERY = "/integration/tables/tcust/query"


def with_column(**rules: Any) -> World:
    return ozari_world(tables={"tcust": OzariTable(fields=(OzariField(name="f", **rules),))})


def insert(world: World, value: Any, name: str = "f") -> tuple[int, Any]:
    return world.call("POST", RECORDS, {"fields": {name: value}})


def update(world: World, filters: dict[str, Any], **fields: Any) -> tuple[int, int]:
    status, answer = world.call("PATCH", SINGLE, {"filters": filters, "fields": fields})
    return status, answer.get("updated", answer.get("matched"))


def found(world: World, value: Any, op: str = "eq", name: str = "f") -> list[int]:
    filters = {"and": [{"field": name, "op": op, "value": value}]}
    status, answer = world.call("POST", QUERY, {"filters": filters, "sort": [{"field": "fid"}]})
    assert status == 200, answer
    return [row["fid"] for row in answer["records"]]


def held(world: World, name: str = "f") -> list[Any]:
    return [row[name] for row in world.tables.rows("tcust")]


@pytest.mark.parametrize(
    "rules, sent, stored",
    [
        ({"max_length": 3, "is_strict": False}, "שלום", "שלו"),
        ({"max_length": 3, "is_strict": False}, "ab", "ab"),
        ({"max_length": 3, "is_strict": False}, 12345, 12345),
        ({"stored_case": "upper"}, "aé1", "AÉ1"),
        ({"stored_case": "lower"}, "Ann@EXAMPLE.org", "ann@example.org"),
        ({"blanks": "trimmed"}, " a  ", " a"),
        ({"blanks": "padded", "max_length": 4}, "ab", "ab  "),
        ({"type": "integer"}, 1234.50, 1235),
        ({"type": "integer"}, -0.5, -1),
        ({"type": "integer"}, " 12 ", 12),
        ({"type": "integer"}, True, 1),
        ({"type": "integer", "is_strict": False}, "12abc", 12),
        ({"type": "integer", "is_strict": False}, "TXC-1", 0),
        ({"type": "decimal"}, 7, "7.00"),
        ({"type": "decimal"}, "1.005", "1.01"),
        ({"type": "date"}, "2026-1-5", "2026-01-05"),
        ({"type": "date"}, "2026-01-05 08:00:00", "2026-01-05"),
        ({"type": "date", "is_strict": False}, "soon", "0000-00-00"),
        ({"type": "integer"}, None, None),
    ],
)
def test_a_column_keeps_what_it_makes_of_a_value_and_the_answer_does_not_say_so(
    rules: dict[str, Any], sent: Any, stored: Any
) -> None:
    world = with_column(**rules)
    status, answer = insert(world, sent)
    assert (status, answer["fields"]) == (201, {"f": sent})
    assert held(world) == [stored]
    world = with_column(**rules)
    insert(world, None)
    assert update(world, {"fid": 1}, f=sent) == (200, int(sent is not None))
    assert held(world) == [stored]
    assert update(world, {"fid": 1}, f=sent) == (200, 0), "stored alike, so nothing changes"


@pytest.mark.parametrize(
    "rules, sent, error",
    [
        ({"max_length": 3}, "abcd", "Data too long for column 'f' at row 1"),
        ({"type": "integer"}, "12abc", "Incorrect integer value: '12abc' for column 'f' at row 1"),
        ({"type": "date"}, "2026-02-30", "Incorrect date value: '2026-02-30' for column 'f' at row 1"),
    ],
)
def test_a_strict_column_refuses(rules: dict[str, Any], sent: Any, error: str) -> None:
    world = with_column(**rules)
    assert insert(world, sent) == (500, {"success": False, "error": error})
    insert(world, None)
    assert update(world, {"fid": 1}, f=sent)[0] == 500
    assert held(world) == [None]


def test_a_unique_column_compares_what_is_stored() -> None:
    world = with_column(max_length=3, is_strict=False, is_unique=True)
    assert insert(world, "abcd")[0] == 201
    assert insert(world, "abce")[0] == 500


def test_only_a_column_with_a_length_pads() -> None:
    with pytest.raises(PlanError, match="needs max_length"):
        parse_plan(b'[ozari.tables.t]\nfields = [{ name = "f", blanks = "padded" }]')


@pytest.mark.parametrize(
    "folds, stored, asked",
    [
        (("case",), "Straße", "STRASSE"),
        (("accents",), "Café", "Cafe"),
        (("accents",), "ぱぱ", "はは"),
        (("width",), "\uff21\uff22\uff2312", "ABC12"),
        (("kana",), "はなこ", "ハナコ"),
        (("blanks",), "a", "a  "),
        (("case", "blanks"), "Kfar Saba", "kfar saba "),
        (("width", "kana", "case"), "\uff8a\uff85\uff7a", "はなこ"),
    ],
)
def test_folds(folds: tuple[Any, ...], stored: str, asked: str) -> None:
    kind, exact = ozari_world(folds=folds), World()
    for world, matched in ((kind, [1]), (exact, [])):
        insert(world, stored)
        assert found(world, asked) == found(world, [asked], "in") == matched
        assert found(world, asked, "neq") == ([] if matched else [1])
        assert update(world, {"f": asked}, n="x")[0] == (200 if matched else 404)
        assert found(world, stored) == [1]


def test_a_pattern_is_folded_too() -> None:
    world = ozari_world(folds=("case", "accents", "blanks"))
    insert(world, "Café au lait")
    assert found(world, "CAFE%", "like") == found(world, "%LAIT", "like") == [1]
    assert found(world, "CAFE", "like") == []


def test_a_unique_column_folds() -> None:
    world = ozari_world(
        folds=("case", "kana"), tables={"tcust": OzariTable(fields=(OzariField(name="f", is_unique=True),))}
    )
    assert [insert(world, value)[0] for value in ("ハナコ", "はなこ", "A", "a")] == [201, 500, 201, 500]


@pytest.mark.parametrize(
    "asked, leading, forms",
    [
        (1547, [1, 2, 3], [2, 3]),
        ("1547", [2, 3], [2, 3]),
        ("1547abc", [1, 3], [1]),
        (0, [4], []),
        (True, [], []),
    ],
)
def test_number_against_text(asked: Any, leading: list[int], forms: list[int]) -> None:
    for compare, fids in (("leading", leading), ("forms", forms)):
        world = ozari_world(number_compare=compare)
        for value in ("1547abc", "1547", 1547, "abc"):
            insert(world, value)
        assert found(world, asked) == found(world, [asked], "in") == fids


def test_a_column_that_each_change_moves() -> None:
    fields = (OzariField(name="fversion", on_change="count"), OzariField(name="fat", on_change="time"))
    world = ozari_world(tables={"tcust": OzariTable(fields=fields)})
    insert(world, "a")
    assert (held(world, "fversion"), held(world, "fat")) == ([1], ["2023-11-14 22:13:20"])
    world.now += 60
    assert update(world, {"fversion": 1}, f="b") == (200, 1)
    assert update(world, {"fversion": 1}, f="b") == (404, 0), "the change moved what found the row"
    assert update(world, {"fversion": 2}, f="b") == (200, 0)
    assert (held(world, "fversion"), held(world, "fat")) == ([2], ["2023-11-14 22:14:20"])
    assert held(world, "flastmodify") == ["2023-11-14 22:14:20"]


@pytest.mark.parametrize("counted, updated", [("changed", 0), ("matched", 1)])
def test_updated_counts(counted: str, updated: int) -> None:
    world = ozari_world(updated_count=counted)
    insert(world, "a")
    world.now += 60
    assert update(world, {"fid": 1}, f="a") == (200, updated)
    assert held(world, "flastmodify") == ["2023-11-14 22:13:20"]


def test_update_delay() -> None:
    world = ozari_world(update_delay_seconds=5.0)
    insert(world, "a")
    update(world, {"f": "a"}, f="b")
    world.now += 3
    assert update(world, {"f": "b"}, f="c", new="x") == (200, 1), "an update sees the row as it is"
    assert (found(world, "a"), found(world, "b"), found(world, "c")) == ([1], [], [])
    world.now += 2
    assert (found(world, "a"), found(world, "b"), found(world, "c")) == ([], [1], [])
    world.now += 3
    assert (found(world, "a"), found(world, "b"), found(world, "c")) == ([], [], [1])
    assert held(world) == ["c"]


def test_go_back_as_a_fault() -> None:
    world = fault_world(GoBack(keep_rows=2, after=4, times=1))
    for number in range(1, 5):
        insert(world, f"k{number}")
    ticket = world.engine.admit(make_call("POST", RECORDS, {"fields": {"f": "k5"}}))
    world.engine.perform(ticket)
    assert world.tables.rows("tcust") == [
        {"fid": fid, "f": value, "flastmodify": "2023-11-14 22:13:20"}
        for fid, value in ((1, "k1"), (2, "k2"), (3, "k5"))
    ]
    assert world.journal.faults == {"go_back": 1}
