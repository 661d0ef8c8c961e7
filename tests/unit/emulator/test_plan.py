"""The plan as a file: what it may say, and how it says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from loader.emulator.faults import Cut, Latency, Reset, StatusFault
from loader.emulator.plan import Plan, PlanError, parse_plan, read_plan

TOML = b"""
seed = 7

[ozari]
query = "off_html"
rate_limit = { kind = "bucket", per_second = 20, burst = 5, retry_after = "none" }

[ozari.tables.tmine]
label = "Mine"
fields = [{ name = "code", is_unique = true }, { name = "secret", is_visible = false }]

[canbus]
is_atomic = true
apps = [{ items = { Key = { is_unique = true }, Num = { type = "Number", minimum = 1 } } }]

[[faults]]
kind = "reset"
operations = ["insert", "add"]
probability = 0.01
when = "before"

[[faults]]
kind = "latency"
milliseconds = 50
sigma = 0.5

[[faults]]
kind = "status"
status = 503
retry_after = "3"
times = 2

[[faults]]
kind = "cut"
part = "headers"
"""


def test_toml_says_everything() -> None:
    plan = parse_plan(TOML)
    assert (plan.seed, plan.ozari.query, plan.canbus.is_atomic) == (7, "off_html", True)
    assert plan.ozari.rate_limit is not None
    assert (plan.ozari.rate_limit.kind, plan.ozari.rate_limit.burst) == ("bucket", 5)
    assert [field.is_unique for field in plan.ozari.tables["tmine"].fields] == [True, False]
    assert plan.canbus.apps[0].items["Num"].minimum == 1
    assert plan.faults == (
        Reset(operations=("insert", "add"), probability=0.01, when="before"),
        Latency(milliseconds=50, sigma=0.5),
        StatusFault(status=503, retry_after="3", times=2),
        Cut(part="headers"),
    )


def test_json_and_empty() -> None:
    data = b'{"seed":3,"faults":[{"kind":"hang","every":10}]}'
    plan = parse_plan(data, is_json=True)
    assert (plan.seed, plan.faults[0].every, plan.faults[0].kind) == (3, 10, "hang")
    assert parse_plan(b"") == parse_plan(b"{}", is_json=True) == Plan()


@pytest.mark.parametrize(
    "text, place, what",
    [
        ("sede = 1", "the plan itself", "sede"),
        ("seed = 'x'", "seed", "int"),
        ("[ozari]\nquerry = 'on'", "ozari", "querry"),
        ("[ozari]\nquery = 'of'", "ozari.query", "of"),
        ("[ozari]\ncheck_order = ['auth']", "ozari", "check_order"),
        ("[ozari.rate_limit]\nkind = 'window'", "ozari.rate_limit", "exactly one"),
        ("[ozari.rate_limit]\nper_second = 1\nper_minute = 1", "ozari.rate_limit", "exactly one"),
        ("[ozari.rate_limit]\nper_second = 0", "ozari.rate_limit.per_second", "> 0"),
        ("[[faults]]\nkind = 'reset'\nwhen = 'late'", "faults[0].when", "late"),
        ("[[faults]]\nkind = 'rest'", "faults[0].kind", "rest"),
        ("[[faults]]\nwhen = 'after'", "faults[0]", "kind"),
        ("[[faults]]\nkind = 'hang'\n[[faults]]\nkind = 'close'\nprobability = 2", "faults[1].probability", "<= 1"),
        ("[[faults]]\nkind = 'hang'\noperations = ['isnert']", "faults[0].operations[0]", "isnert"),
        ("[[faults]]\nkind = 'status'\nstatus = 503\nis_early = true\ncommit = 'before'", "faults[0]", "early"),
        ("[[faults]]\nkind = 'hang'\nwhen = 'headers'\nbody_contains = 'x'", "the plan itself", "body_contains"),
        ("[canbus]\napps = []", "canbus", "at least one"),
        ("[canbus]\ntime_pattern = '('", "canbus", "regular expression"),
        ("[[canbus.apps]]\nitems = { A = { pattern = '[' } }", "canbus.apps[0].items[...]", "regular expression"),
    ],
)
def test_error_names_file_and_place(text: str, place: str, what: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(text.encode(), name="my.toml")
    assert str(caught.value).startswith(f"my.toml: {place}: ")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    "data, is_json", [(b"seed = = 1", False), (b"{", True), (b"\xff", False), (b"\xff", True), (b"[1]", True)]
)
def test_what_is_no_plan(data: bytes, is_json: bool) -> None:
    with pytest.raises(PlanError, match=r"my\.plan: "):
        parse_plan(data, name="my.plan", is_json=is_json)


def test_file_is_read_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("seed = 5")
    (tmp_path / "b.JSON").write_text('{"seed": 6}')
    assert read_plan(tmp_path / "a.toml").seed == 5
    assert read_plan(str(tmp_path / "b.JSON")).seed == 6
    with pytest.raises(PlanError, match=r"none\.toml: cannot be read: No such file"):
        read_plan(tmp_path / "none.toml")
