"""Files that are not NDJSON, through the real command: named, exit 5, nothing sent, nothing left behind."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from loader import Report
from loader.emulator import Emulator, running
from loader.errors import SourceError
from loader.settings import RejectLimit
from tests.emulated.loading import INSERT, TABLE, audit, closes, command, facts, run, told
from tests.unit.reading.source_forms import ARRAYS, FORMS, Case

FEW = tuple(
    case for case in FORMS if case.name in {"array of DuckDB", "tar", "indented", "CSV", "bulk of Elasticsearch", "xz"}
)
BEA = b'{"fcode":"Bea","note":"line1\\\\nline2"}\n'
BOB = b'{"fcode":"Bob","note":"say \\\\"hi\\\\""}\n'


def insert(
    emulator: Emulator, source: Path | str, directory: Path, *words: str, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    way = ("--base-url", emulator.base_url, "--progress", "none", "--run", directory, "--rate", "5000/s")
    return command("ozari", "insert", source, "--table", TABLE, *way, *words, given=given)


@pytest.mark.parametrize("case", FEW, ids=lambda case: case.name)
def test_a_file_is_named_before_anything_is_made(tmp_path: Path, case: Case) -> None:
    source = tmp_path / "export"
    source.write_bytes(case.data)
    with running() as emulator:
        for words in ((), ("--dry-run",)):
            done = insert(emulator, source, tmp_path / "run", *words)
            assert done.returncode == 5
            assert case.word.encode() in done.stderr
            assert b"hint: " in done.stderr
        assert emulator.rows(TABLE) == []
        assert facts(emulator, "insert") == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("case", FEW, ids=lambda case: case.name)
def test_a_pipe_is_named_and_its_run_can_be_used_for_what_the_command_makes(tmp_path: Path, case: Case) -> None:
    with running() as emulator:
        done = insert(emulator, "-", tmp_path / "run", "--json", given=case.data)
        report = told(done)
        assert (done.returncode, report["state"], report["lines"]) == (5, "stopped", 0)
        assert case.word in report["message"]
        assert report["hint"].startswith("pipe it through this first: ")
        assert facts(emulator, "insert") == []
        done = insert(emulator, "-", tmp_path / "run", "--json", given=b'{"fcode":"K1"}\n{"fcode":"K2"}\n')
        assert (done.returncode, told(done)["created"]) == (0, 2)
        assert audit(emulator, tmp_path / "run", {1: "K1", 2: "K2"}) == []


async def test_a_run_that_has_begun_is_gone_on_with(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"broken\n" + b'{"fcode":"K2"}\n{"fcode":"K3"}\n')
    with running() as emulator:
        await run(emulator, INSERT, source, tmp_path / "run", max_lines=1)
        report = await run(emulator, INSERT, source, tmp_path / "run")
        assert closes(report)
        assert (report.created, report.rejected) == (2, 1)


async def test_one_bad_source_keeps_the_others_from_being_loaded(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(b'{"fcode":"K1"}\n')
    bad.write_bytes(ARRAYS[0].data)
    with running() as emulator:
        with pytest.raises(SourceError, match="bad is a JSON array"):
            await run(emulator, INSERT, [good, bad], tmp_path / "run")
        assert facts(emulator, "insert") == []


def test_a_url_is_told_as_it_was_typed(tmp_path: Path) -> None:
    with running() as emulator:
        done = insert(emulator, "http://host/a.ndjson", tmp_path / "run")
    assert done.returncode == 5
    assert b"http://host/a.ndjson is a URL" in done.stderr
    assert "curl -fsSL http://host/a.ndjson | loader … - --run DIR".encode() in done.stderr


# --- own refusals -------------------------------------------------------------------------------------------------------


async def load_bad(tmp_path: Path, data: bytes, limit: RejectLimit) -> Report:
    source = tmp_path / "source"
    source.write_bytes(data)
    with running() as emulator:
        return await run(emulator, INSERT, source, tmp_path / "run", max_rejects=limit)


async def test_own_refusals_count_against_the_limit(tmp_path: Path) -> None:
    report = await load_bad(tmp_path, b'{"fcode":"K"}\n' * 500 + b"broken\n" * 300, RejectLimit(count=5))
    assert (report.state, report.reason, report.exit_code) == ("stopped", "rejects", 4)
    assert report.rejected < 300
    assert "line 501: unexpected character" in (report.message or "")


async def test_a_run_of_lines_that_all_fail_stops(tmp_path: Path) -> None:
    report = await load_bad(tmp_path, b"no form that is known\n" * 20_000, RejectLimit())
    assert (report.state, report.reason) == ("stopped", "rejects")
    assert 1000 <= report.rejected < 2000
    assert "line" in (report.message or "")


async def test_rejects_are_grouped_with_their_reason(tmp_path: Path) -> None:
    data = b'{"a":1}\nbroken\n[1]\nbroken\n{"a":NaN}\n'
    report = await load_bad(tmp_path, data, RejectLimit())
    groups = json.loads(report.to_json())["rejects"]
    assert [(group["code"], group["count"], group["line"]) for group in groups] == [
        ("json", 2, 2), ("object", 1, 3), ("number", 1, 5),
    ]  # fmt: skip
    assert "  2 json    line 2: unexpected character" in report.to_text()
    assert '  1 number  line 5: "a" is NaN' in report.to_text()


async def test_a_finished_run_still_says_its_groups(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b'{"fcode":"K1"}\nbroken\n')
    with running() as emulator:
        first = await run(emulator, INSERT, source, tmp_path / "run")
        again = await run(emulator, INSERT, source, tmp_path / "run")
    assert again.finished_at
    assert again.rejects == first.rejects != ()


# --- doubled backslashes ------------------------------------------------------------------------------------------------


async def test_doubled_backslashes_at_the_beginning_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"backslashes are doubled.*line 2") as caught:
        await load_bad(tmp_path, BEA + BOB, RejectLimit())
    assert "sed" in caught.value.hint


async def test_doubled_backslashes_later_stop_the_run_before_the_texts_beside_them_leave(tmp_path: Path) -> None:
    plain = b'{"fcode":"K%06d","note":"nothing in particular"}\n'
    data = b"".join(plain % n for n in range(3000)) + BEA * 5 + BOB + BEA * 5
    source = tmp_path / "source"
    source.write_bytes(data)
    with running() as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run")
        assert (report.state, report.reason, report.exit_code) == ("stopped", "rejects", 4)
        assert "line 3,006" in (report.message or "")
        assert "psql -At" in (report.message or "")
        assert not any(row["fcode"] == "Bea" for row in emulator.rows(TABLE))
        report = await run(emulator, INSERT, source, tmp_path / "run", max_rejects=RejectLimit(percent=100.0))
        assert closes(report)
        assert (report.created, report.rejected) == (3010, 1)
