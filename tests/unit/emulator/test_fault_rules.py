"""Which request gets which fault, and what a fault does to an answer. What leaves the socket is shown in tests/emulated."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pytest

from loader.emulator.faults import (
    Close,
    Draws,
    Echo,
    Fault,
    Hang,
    LateCommit,
    Latency,
    NullId,
    Reset,
    Results,
    StatusFault,
)
from loader.emulator.journal import Journal
from loader.emulator.plan import Plan
from tests.unit.emulator.calls import CREDENTIALS, World, fault_world, make_call

RECORDS = "/integration/tables/tcust/records"


def hits(*rules: Fault, count: int = 20, seed: int = 1, body: bytes = b"") -> list[int]:
    """Say which of the requests met a fault, from 1."""
    draws = Draws(rules, Random(seed))
    drawn = [draws.at_request("ozari", "insert", body) for _ in range(count)]
    return [number for number, one in enumerate(drawn, 1) if one.fault is not None]


def send(world: World, fields: dict[str, Any]) -> tuple[int, Any]:
    """Send an insert through the engine as the server does; the status is 0 where no whole answer would leave."""
    ticket = world.engine.admit(make_call("POST", RECORDS, {"fields": fields}))
    effect = world.engine.perform(ticket)
    head, _, body = effect.data.partition(b"\r\n\r\n")
    return (int(head.split()[1]), orjson.loads(body)) if effect.ending == "keep" and head else (0, effect.ending)


# --- drawing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule, expected",
    [
        (Reset(), list(range(1, 21))),
        (Reset(every=5), [5, 10, 15, 20]),
        (Reset(after=17), [18, 19, 20]),
        (Reset(until=3), [1, 2, 3]),
        (Reset(after=2, until=8, every=2), [4, 6, 8]),
        (Reset(after=5, times=2), [6, 7]),
        (Reset(probability=0.0), []),
        (Reset(api="canbus"), []),
        (Reset(operations=("update", "query")), []),
        (Reset(api="ozari", operations=("insert",), times=1), [1]),
        (Reset(body_contains="poison"), []),
    ],
)
def test_rule_hits(rule: Fault, expected: list[int]) -> None:
    assert hits(rule) == expected


def test_probability_is_near_and_repeats() -> None:
    first = hits(Reset(probability=0.1), count=5000)
    assert 400 <= len(first) <= 600
    assert first == hits(Reset(probability=0.1), count=5000)
    assert first != hits(Reset(probability=0.1), count=5000, seed=2)


def test_body_picks_the_record() -> None:
    draws = Draws((StatusFault(status=500, body_contains="poison"),), Random(1))
    bodies = [b"a", b"a poison b", b"poiso", "poison".encode("utf-16"), b"poison"]
    assert [draws.at_request("ozari", "insert", body).fault is not None for body in bodies] == [
        False,
        True,
        False,
        False,
        True,
    ]


def test_first_rule_wins_and_latency_adds() -> None:
    draws = Draws(
        (Latency(milliseconds=10), Reset(every=2), Latency(milliseconds=5, commit="before"), Close()), Random(1)
    )
    one, two = draws.at_request("ozari", "insert", b""), draws.at_request("ozari", "insert", b"")
    assert (one.fault, two.fault) == (Close(), Reset(every=2))
    assert one.delay_seconds == pytest.approx(0.015)
    assert one.is_committed_first


def test_lognormal_latency_has_its_median() -> None:
    draws = Draws((Latency(milliseconds=50, sigma=0.5),), Random(3))
    waits = sorted(draws.at_request("ozari", "insert", b"").delay_seconds for _ in range(2001))
    assert waits[1000] == pytest.approx(0.05, rel=0.1)
    assert waits[0] < 0.02
    assert waits[-1] > 0.12


def test_rules_for_the_headers_are_asked_there_alone() -> None:
    draws = Draws((Hang(when="headers"), Reset(when="after")), Random(1))
    assert draws.at_headers("ozari", "insert") == Hang(when="headers")
    assert draws.at_request("ozari", "insert", b"").fault == Reset(when="after")


# --- acting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Reset, Close, Hang])
@pytest.mark.parametrize("when, rows", [("before", 0), ("after", 1)])
def test_lost_answer(kind: type[Reset | Close | Hang], when: Any, rows: int) -> None:
    world = fault_world(kind(when=when))
    assert send(world, {"a": "x"}) == (0, kind.__name__.lower())
    assert len(world.tables.rows("tcust")) == rows
    fact = world.journal.facts()[0]
    assert (fact.status, fact.ids, fact.fault) == (0, (1,) * rows, kind.__name__.lower())


@pytest.mark.parametrize("commit, rows", [("never", 0), ("before", 1)])
def test_status(commit: Any, rows: int) -> None:
    world = fault_world(StatusFault(status=500, commit=commit, times=1))
    assert send(world, {"a": "x"}) == (500, {"success": False, "error": "Error"})
    assert len(world.tables.rows("tcust")) == rows
    assert send(world, {"a": "y"})[0] == 201
    assert world.journal.committed == rows + 1


def test_status_of_canbus_speaks_its_language() -> None:
    for status, body in (
        (429, {"authen": "NG"}),
        (503, {"message": "Internal Server Error"}),
        (404, {"message": "Not Found"}),
    ):
        world = fault_world(StatusFault(status=status))
        ticket = world.engine.admit(make_call("POST", "/api/records", {**CREDENTIALS, "add": []}))
        assert orjson.loads(world.engine.perform(ticket).data.partition(b"\r\n\r\n")[2]) == body


def test_late_commit_writes_later() -> None:
    world = fault_world(LateCommit(seconds=3))
    ticket = world.engine.admit(make_call("POST", RECORDS, {"fields": {"a": "x"}}))
    effect = world.engine.perform(ticket)
    assert (effect.data, effect.ending, effect.late_seconds) == (b"", "close", 3)
    assert world.tables.rows("tcust") == []
    world.engine.perform_late(ticket)
    assert len(world.tables.rows("tcust")) == 1
    assert [(fact.sequence, fact.ids, fact.fault) for fact in world.journal] == [
        (1, (), "late_commit"),
        (1, (1,), "late_commit"),
    ]
    assert (world.journal.requests, world.journal.committed, world.journal.faults["late_commit"]) == (1, 1, 1)


@pytest.mark.parametrize(
    "change, expected",
    [
        ("trim", {"a": "X", "n": 5, "b": True, "e": ""}),
        ("text", {"a": " X ", "n": "5", "b": "true", "e": ""}),
        ("blank_null", {"a": " X ", "n": 5, "b": True, "e": None}),
        ("drop", {"a": " X ", "n": 5, "b": True}),
    ],
)
def test_echo(change: Any, expected: dict[str, Any]) -> None:
    world = fault_world(Echo(change=change))
    assert send(world, {"a": " X ", "n": 5, "b": True, "e": ""})[1]["fields"] == expected
    assert world.tables.rows("tcust")[0]["a"] == " X "


def test_foreign_echo_is_the_answer_before() -> None:
    world = fault_world(Echo(change="foreign", every=2))
    first = send(world, {"a": "one"})
    assert send(world, {"a": "two"}) == first
    assert [row["a"] for row in world.tables.rows("tcust")] == ["one", "two"]


def test_null_id() -> None:
    world = fault_world(NullId())
    assert send(world, {"a": "x"})[1]["insertedId"] is None
    assert world.journal.facts()[0].ids == (1,)


@pytest.mark.parametrize("change, length", [("short", 4), ("long", 6), ("empty", 0), ("shuffled", 5)])
def test_results(change: Any, length: int) -> None:
    world = fault_world(Results(change=change))
    elements = [{"System_Create_User": "loader", "N": number} for number in range(5)]
    ticket = world.engine.admit(make_call("POST", "/api/records", {**CREDENTIALS, "add": elements}))
    body = orjson.loads(world.engine.perform(ticket).data.partition(b"\r\n\r\n")[2])
    rows = [row["_id"] for row in world.tables.rows("emulator-app")]
    ids = [result["id"] for result in body["results"]]
    assert (len(rows), len(ids)) == (5, length)
    assert set(ids) <= set(rows)
    assert ids != rows


def test_journal_keeps_counts_when_facts_go() -> None:
    world = World(Plan())
    journal = world.engine._journal = Journal(3)
    for number in range(10):
        send(world, {"n": number})
    assert (len(journal), journal.requests, journal.committed, journal.statuses[201]) == (3, 10, 10, 10)
    assert [fact.ids for fact in journal] == [(8,), (9,), (10,)]


def test_journal_holds_no_secret() -> None:
    world = World()
    world.canbus("POST", "/api/records", add=[{"System_Create_User": "loader"}])
    world.call("GET", "/integration/auth/test")
    call = make_call("POST", "/api/records", {**CREDENTIALS})
    text = repr(world.journal.facts()) + repr(call) + repr(world.engine.admit(call))
    assert not any(secret in text for secret in ("emulator-secret", "emulator-key", "emulator-token"))
