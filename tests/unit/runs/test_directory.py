"""run.json: whole or not at all, without a secret, and strict about what may not change."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from loader.checkpoint.format import FORMAT, Header, seal, seed_of
from loader.errors import LogDamaged, LogStorageFailed, RunMismatch, UsageError
from loader.runs import directory as run_directory
from loader.runs.directory import RunInfo, SourceInfo
from loader.runs.matching import check_same
from loader.runs.naming import default_directory
from loader.settings import CanbusAdd, Options, OzariInsert, OzariUpdate, Rate, RejectLimit
from loader.targets.base import Identity
from loader.targets.stamp_form import EARLIER_FORM, StampForm

INFO = RunInfo(
    run="k3jq8x0v1z",
    target="ozari insert",
    origin="https://api.ozari.co.il",
    identity=Identity("acme", "ozari:acme"),
    settings=OzariInsert("tcity", key="fcode", stamp="fstamp"),
    sources=(SourceInfo("/data/cities.ndjson", "../cities.ndjson", {"size": 3, "parts": [1, 2]}),),
    options=Options(rate=Rate(200.0), max_rejects=RejectLimit(percent=1.0), proxy="http://proxy:1"),
    loader="0.1.0",
    created="2026-11-22T09:30:00Z",
)
OTHERS = (
    replace(INFO, target="ozari update", settings=OzariUpdate("tcity", ("a", "b")), identity=None),
    replace(INFO, target="canbus add", settings=CanbusAdd("me", "k", None, is_unique=True)),
)


HEADER = seal(
    Header(n=0, s=-1, format=FORMAT, run=INFO.run, bound=orjson.loads(run_directory.encode(INFO))), seed_of(INFO.run)
)


@pytest.mark.parametrize("info", [INFO, replace(INFO, stamp_form=StampForm(2, 9)), *OTHERS])
def test_what_is_written_is_read_back(tmp_path: Path, info: RunInfo) -> None:
    directory = tmp_path / "a" / "b.run"
    run_directory.write(directory, info)
    assert run_directory.read(directory) == info
    assert run_directory.exists(directory)
    assert [path.name for path in directory.iterdir()] == ["run.json"]


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run_directory.write(tmp_path / "x.run", INFO)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.run" / "run.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "x.run").stat().st_mode) == 0o700


def test_the_table_stands_where_people_look() -> None:
    values = orjson.loads(run_directory.encode(INFO))
    assert (values["format"], values["target"], values["table"]) == (1, "ozari insert", "tcity")


@pytest.mark.parametrize("cut", [0, 1, 40, 200])
def test_damage_is_said(tmp_path: Path, cut: int) -> None:
    run_directory.write(tmp_path, INFO)
    path = tmp_path / "run.json"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(LogDamaged):
        run_directory.read(tmp_path)


@pytest.mark.parametrize(
    "text", [b"[]", b"{}", b'{"format":1}', b'{"format":1,"target":"ozari upsert"}', b"\xff", b"null"]
)
def test_foreign_json_is_damage(text: bytes) -> None:
    with pytest.raises(LogDamaged):
        run_directory.decode(text)


def test_a_newer_format_asks_for_an_update() -> None:
    newer = run_directory.encode(INFO).replace(b'"format": 1', b'"format": 3')
    with pytest.raises(UsageError, match="newer loader"):
        run_directory.decode(newer)


def test_a_run_of_an_earlier_version_says_nothing_of_its_stamps_form() -> None:
    values = orjson.loads(run_directory.encode(replace(INFO, stamp_form=StampForm(1, 9))))
    assert (values["format"], values.pop("stamp_form")) == (2, {"source_digits": 1, "line_digits": 9})
    assert run_directory.decode(orjson.dumps(values | {"format": 1})).stamp_form == EARLIER_FORM


def test_no_such_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such run"):
        run_directory.read(tmp_path / "none.run")


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mother.txt").write_text("dear")
    with pytest.raises(UsageError, match="not a run directory"):
        run_directory.exists(tmp_path / "letters")
    (tmp_path / "file.run").write_text("x")
    with pytest.raises(UsageError, match="not a run directory"):
        run_directory.exists(tmp_path / "file.run")


def test_the_logs_first_line_stands_in_for_run_json(tmp_path: Path) -> None:
    log = tmp_path / "checkpoint.log"
    log.write_bytes(HEADER + b"{")
    assert run_directory.exists(tmp_path)
    assert run_directory.read(tmp_path) == INFO
    damaged = HEADER.replace(b"tcity", b"tcitz")
    log.write_bytes(damaged + b'{"t":"opened"}\n')
    with pytest.raises(LogDamaged, match=r"run\.json"):  # not what the checksum was made of
        run_directory.read(tmp_path)
    log.write_bytes(damaged)
    assert not run_directory.exists(tmp_path)
    (tmp_path / "checkpoint.log").write_text('x\n{"t":"opened"}\n')
    with pytest.raises(LogDamaged, match=r"run\.json"):
        run_directory.read(tmp_path)


def test_what_a_crash_leaves_of_a_beginning_is_a_beginning(tmp_path: Path) -> None:
    directory = tmp_path / "x.run"
    assert not run_directory.exists(directory)
    directory.mkdir()
    assert not run_directory.exists(directory)
    (directory / "run.json.new").write_text("{")
    (directory / "checkpoint.log.new").write_text("{")
    assert not run_directory.exists(directory)
    run_directory.write(directory, INFO)
    assert run_directory.read(directory) == INFO


def test_a_header_without_its_line_end_is_the_beginning_of_one(tmp_path: Path) -> None:
    """A full disk may leave exactly that; taken for a header, it would have no log behind it, and the run could not go on."""
    log = tmp_path / "checkpoint.log"
    for size in range(len(HEADER) + 1):
        log.write_bytes(HEADER[:size])
        assert run_directory.exists(tmp_path) is (size == len(HEADER)), size
    log.write_bytes(HEADER[:-1])
    (tmp_path / "checkpoint.settled").write_bytes(b"something")
    assert run_directory.exists(tmp_path)


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    directory = tmp_path / "x.run"
    directory.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (directory / "run.json.new").symlink_to(victim)
    run_directory.write(directory, INFO)
    assert victim.read_text() == "precious"


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LogStorageFailed):
        run_directory.write(tmp_path / "file" / "x.run", INFO)


@pytest.mark.parametrize(
    "asked, name",
    [
        (replace(INFO, target="ozari update", settings=OzariUpdate("tcity")), "target"),
        (replace(INFO, origin="https://other.example"), "origin"),
        (replace(INFO, settings=OzariInsert("tother", stamp="fstamp")), "table"),
        (replace(INFO, settings=OzariInsert("tcity", stamp="fother")), "stamp"),
        (replace(INFO, settings=OzariInsert("tcity")), "stamp"),
        (replace(INFO, sources=INFO.sources * 2), "number of sources"),
        (replace(INFO, sources=(SourceInfo("-"),)), "source"),
    ],
)
def test_what_may_not_change_is_named(asked: RunInfo, name: str) -> None:
    with pytest.raises(RunMismatch, match=name) as caught:
        check_same(INFO, asked)
    assert caught.value.exit_code == 5
    assert "--run NEW" in caught.value.hint


def test_user_and_match_may_not_change() -> None:
    update, canbus = OTHERS
    with pytest.raises(RunMismatch, match="match: a, b, not a"):
        check_same(update, replace(update, settings=OzariUpdate("tcity", ("a",))))
    with pytest.raises(RunMismatch, match="user: me, not none"):
        check_same(canbus, replace(canbus, settings=CanbusAdd(None, "k", None, is_unique=True)))


def test_what_may_change_does() -> None:
    asked = replace(
        INFO,
        run="other",
        settings=OzariInsert("tcity", key="fother", stamp="fstamp", is_unique=True),
        options=Options(),
        sources=(SourceInfo("/elsewhere/cities.ndjson"),),
        identity=None,
        loader="9",
        created="later",
    )
    check_same(INFO, asked)


def test_other_credentials_are_another_run() -> None:
    run_directory.check_identity(INFO, Identity("acme renamed", "ozari:acme"))
    run_directory.check_identity(replace(INFO, identity=None), Identity("x", "y"))
    with pytest.raises(RunMismatch, match="acme, not for globex"):
        run_directory.check_identity(INFO, Identity("globex", "ozari:globex"))
    with pytest.raises(RunMismatch, match="another app of acme"):
        run_directory.check_identity(INFO, Identity("acme", "other"))


def test_a_run_is_bound_once(tmp_path: Path) -> None:
    free = replace(INFO, identity=None)
    run_directory.write(tmp_path, free)
    bound = run_directory.bind(tmp_path, free, Identity("acme", "1"))
    assert run_directory.read(tmp_path) == bound
    with pytest.raises(RunMismatch):
        run_directory.bind(tmp_path, bound, Identity("globex", "2"))


def test_a_source_is_found_where_it_was_or_beside_the_moved_run(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    source = old / "s.ndjson"
    source.write_text("{}")
    run = old / "s.run"
    info = run_directory.describe_source(str(source), run)
    assert run_directory.locate_source(info, run) == str(source)
    new = old.rename(tmp_path / "new")
    (new / "s.run").mkdir()
    assert Path(run_directory.locate_source(info, new / "s.run")).read_text() == "{}"
    (new / "s.ndjson").unlink()
    assert run_directory.locate_source(info, new / "s.run") == str(source)
    assert run_directory.locate_source(run_directory.describe_source("-", run), run) == "-"


def test_default_names() -> None:
    assert str(default_directory("cities.ndjson", "ozari", "tcity")) == "cities.ndjson.ozari-tcity.run"
    assert str(default_directory("d/p.gz", "canbus", "acme")) == "d/p.gz.canbus-acme.run"
