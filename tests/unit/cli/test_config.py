"""Options together: what is built from them, and which combinations cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loader.cli.config import load_settings, resume_settings
from loader.errors import LoaderError, UsageError
from loader.runs import directory as run_directory
from loader.runs.directory import RunInfo
from loader.runs.plan import DryRun, LoadPlan
from loader.settings import CanbusAdd, Options, OzariInsert, OzariUpdate, Rate, RejectLimit

ENVIRON = {
    "OZARI_TOKEN": "token",
    "CANBUS_TENANT_ID": "acme",
    "CANBUS_APP_ID": "app",
    "CANBUS_API_KEY": "key",
    "CANBUS_API_SECRET": "secret",
}


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "cities.ndjson"
    path.write_text("{}\n")
    return str(path)


def build(kind: str, source: str, environ: Mapping[str, str] = ENVIRON, **values: Any) -> LoadPlan | DryRun:
    given = {"sources": (source,), **({} if kind == "canbus add" else {"table": "tcity"}), **values}
    return load_settings(kind, given, environ)


def test_defaults(source: str) -> None:
    settings = build("ozari insert", source)
    assert settings.target == OzariInsert("tcity")
    assert settings.options == Options(base_url="https://api.ozari.co.il")
    assert settings.run_directory == Path(source + ".ozari-tcity.run")
    canbus = build("canbus add", source)
    assert canbus.target == CanbusAdd()
    assert canbus.options.base_url == "https://acme.canbus.com"
    assert canbus.run_directory == Path(source + ".canbus-acme.run")


def test_every_option_reaches_its_setting(source: str, tmp_path: Path) -> None:
    settings = build(
        "ozari insert", source, key="fcode", stamp="fstamp", unique=True, run=str(tmp_path / "r"), rate="600/min", burst="5",
        concurrency="8", ordered=True, limit="10", ambiguous="resend", max_rejects="2%", max_line_bytes="1MiB", timeout="5",
        settle="0", patience="15min", base_url="http://127.0.0.1:8080/", proxy="http://proxy:3128", ca_file=source, no_keep=True,
    )  # fmt: skip
    assert settings.target == OzariInsert("tcity", "fcode", "fstamp", is_unique=True)
    assert settings.run_directory == tmp_path / "r"
    assert settings.options == Options(
        rate=Rate(10.0),
        burst=5,
        concurrency=8,
        is_ordered=True,
        max_lines=10,
        ambiguous="resend",
        max_rejects=RejectLimit(percent=2.0),
        max_line_bytes=2**20,
        timeout_seconds=5,
        settle_seconds=0,
        patience_seconds=900,
        base_url="http://127.0.0.1:8080",
        proxy="http://proxy:3128",
        ca_file=source,
        is_kept=False,
    )
    canbus = build("canbus add", source, user="me@x", max_records="500", max_bytes="1MiB")
    assert (canbus.options.max_records, canbus.options.max_bytes) == (500, 2**20)
    assert canbus.target == CanbusAdd("me@x")
    assert build("ozari update", source, match=("a", "b")).target == OzariUpdate("tcity", ("a", "b"))


@pytest.mark.parametrize(
    "kind, values, part",
    [
        ("ozari insert", {"table": None}, "--table"),
        *[
            ("ozari insert", {"table": table}, "table name")
            for table in ("../../admin", "a?x=1", "tcity\n", "a b", "\u05d0", "a\ud800b", "a" * 65)
        ],
        ("ozari insert", {"key": "a-b"}, "--key"),
        ("ozari insert", {"stamp": ""}, "--stamp"),
        ("ozari insert", {"stamp": "fid"}, "primary key"),
        ("ozari insert", {"key": "f", "stamp": "f"}, "both key and stamp"),
        ("ozari insert", {"unique": True}, "--unique"),
        ("ozari insert", {"ambiguous": "reconcile"}, "--key FIELD or --stamp FIELD"),
        ("ozari update", {"match": ("a", "a")}, "twice"),
        ("ozari update", {"match": ("a b",)}, "--match"),
        ("canbus add", {"ambiguous": "reconcile", "key": "Code"}, "--unique"),
        ("canbus add", {"unique": True}, "--unique"),
        ("canbus add", {"user": " "}, "--user"),
        ("ozari insert", {"base_url": "http://api.example"}, "plain http"),
        ("ozari insert", {"ca_file": "/nowhere.pem"}, "--ca-file"),
        ("ozari insert", {"sources": ("-",)}, "--run"),
        ("ozari insert", {"sources": ("-", "x"), "run": "r"}, "mixed"),
        ("ozari insert", {"run": ""}, "--run"),
        ("ozari insert", {"rate": "0"}, "--rate"),
        ("ozari insert", {"concurrency": "0"}, "--concurrency"),
        ("ozari insert", {"patience": "x"}, "--patience"),
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(source: str, kind: str, values: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(kind, source, **values)
    assert part in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_a_source_named_twice_would_be_loaded_twice(source: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="twice"):
        build("ozari insert", source, sources=(source, f"{tmp_path}/../{tmp_path.name}/cities.ndjson"))


def test_credentials_are_asked_for_before_a_run_begins(source: str) -> None:
    with pytest.raises(UsageError, match="OZARI_TOKEN"):
        build("ozari insert", source, environ={})
    for kind in ("ozari insert", "canbus add"):
        plan = build(kind, source, environ={}, dry_run=True)
        assert isinstance(plan, DryRun)
        assert plan.credentials is None


def test_updates_can_always_be_reconciled(source: str) -> None:
    assert build("ozari update", source, ambiguous="reconcile").options.ambiguous == "reconcile"


def recorded(source: str, directory: Path) -> RunInfo:
    info = RunInfo(
        run="k3jq8x0v1z",
        target="ozari insert",
        origin="http://127.0.0.1:8080",
        identity=None,
        settings=OzariInsert("tcity", stamp="fstamp"),
        sources=(run_directory.describe_source(source, directory),),
        options=Options(rate=Rate(200.0), max_lines=10, concurrency=7, base_url="http://127.0.0.1:8080"),
        loader="0.1.0",
        created="2026-11-22T09:30:00Z",
    )
    run_directory.write(directory, info)
    return info


def test_resume_takes_the_runs_own_values_except_where_told(source: str, tmp_path: Path) -> None:
    directory = tmp_path / "x.run"
    info = recorded(source, directory)
    settings = resume_settings(directory, {"rate": "50/s", "key": "fcode"}, ENVIRON)
    assert settings.sources == (source,)
    assert settings.target == OzariInsert("tcity", "fcode", "fstamp")
    assert settings.options == replace(info.options, rate=Rate(50.0), max_lines=None)
    assert resume_settings(directory, {"limit": "5"}, ENVIRON).options.max_lines == 5


def test_resume_keeps_the_origin_whatever_the_environment_says(source: str, tmp_path: Path) -> None:
    recorded(source, tmp_path / "x.run")
    environ = ENVIRON | {"OZARI_BASE_URL": "https://staging.example"}
    assert resume_settings(tmp_path / "x.run", {}, environ).options.base_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize("values", [{"unique": True, "key": "fstamp"}, {"key": "a-b"}, {"rate": "x"}])
def test_resume_checks_as_a_load_does(source: str, tmp_path: Path, values: dict[str, Any]) -> None:
    recorded(source, tmp_path / "x.run")
    with pytest.raises(UsageError):
        resume_settings(tmp_path / "x.run", values, ENVIRON)


def test_resume_of_an_update_knows_no_unique(source: str, tmp_path: Path) -> None:
    info = recorded(source, tmp_path / "x.run")
    run_directory.write(tmp_path / "x.run", replace(info, target="ozari update", settings=OzariUpdate("tcity")))
    with pytest.raises(UsageError, match="--unique"):
        resume_settings(tmp_path / "x.run", {"unique": True}, ENVIRON)
    assert resume_settings(tmp_path / "x.run", {"key": "fcode"}, ENVIRON).target == OzariUpdate("tcity")


def test_no_such_run_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(LoaderError) as caught:
        resume_settings(tmp_path / "none.run", {}, ENVIRON)
    assert caught.value.exit_code == 2
