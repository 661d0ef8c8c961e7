"""Rows of another spelling, and values that are stored otherwise than sent: warned of, or with --exact refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loader.emulator import Emulator, running
from tests.emulated.loading import INSERT, TABLE, command, facts, plan_of, records_of, rejects_of, run, told, write

SPELLINGS = [
    ("Kfar Saba", "kfar saba "),
    ("はなこ", "ハナコ"),
    ("ABC12", "ＡＢＣ１２"),
    ("Müller", "muller"),
    ("1547abc", 1547),
]
UNKIND = {"folds": ["case", "accents", "width", "kana", "blanks"], "number_compare": "leading"}


async def fill(emulator: Emulator, tmp_path: Path, records: list[dict[str, Any]]) -> None:
    await run(emulator, INSERT, write(tmp_path / "rows", records), tmp_path / "rows.run", concurrency=1)


def update(emulator: Emulator, source: Path, directory: Path, *more: str) -> Any:
    words = f"ozari update {source} --table {TABLE} --run {directory} --rate 2000 --settle 0.3 --json --progress plain"
    return command(*words.split(), "--base-url", emulator.base_url, *more)


async def test_a_row_of_another_spelling_is_a_warning_with_the_line(tmp_path: Path) -> None:
    good = [{"fcode": f"good {n}", "name": "x"} for n in range(10)]
    lines = good + [{"fcode": asked, "name": "new"} for _, asked in SPELLINGS] + [{"fcode": "Café", "name": "y"}]
    held = [*good, *({"fcode": held, "name": "old"} for held, _ in SPELLINGS), {"fcode": "Café", "name": "z"}]
    with running(plan_of(ozari=UNKIND)) as emulator:
        await fill(emulator, tmp_path, held)
        done = update(emulator, write(tmp_path / "source", lines), tmp_path / "run", "--match", "fcode")
        assert (done.returncode, told(done)["updated"]) == (0, len(lines)), done.stderr.decode()
        warnings = [warning for warning in told(done)["warnings"] if "fcode" in warning]
        wrong = [
            n for n, (_, asked) in enumerate(SPELLINGS, len(good) + 1) if not str(asked).isascii() or asked != "muller"
        ]
        assert [int(warning.split(":")[0].removeprefix("line ")) for warning in warnings] == wrong
        assert "is 'kfar saba ', and the row that it finds holds 'Kfar Saba'" in warnings[0]
        assert "--exact" in warnings[0]
        assert len(facts(emulator, "query")) < 5 + 2 * len(lines)


async def test_the_first_rows_are_compared_whatever_their_filters_look_like(tmp_path: Path) -> None:
    with running(plan_of(ozari=UNKIND)) as emulator:
        await fill(emulator, tmp_path, [{"fcode": "ABC", "name": "old"}])
        source = write(tmp_path / "source", [{"fcode": "abc", "name": "new"}])
        done = update(emulator, source, tmp_path / "run", "--match", "fcode")
        (warning,) = told(done)["warnings"]
        assert warning.startswith("line 1: the filter fcode is 'abc', and the row that it finds holds 'ABC'")


@pytest.mark.parametrize("is_lossy", [False, True])
async def test_with_exact_such_a_line_is_rejected_and_nothing_is_written(tmp_path: Path, is_lossy: bool) -> None:
    lines = [{"fcode": asked, "name": "new"} for _, asked in SPELLINGS] + [{"fcode": "Café", "name": "new"}]
    lines += [{"fcode": "nobody", "name": "new"}]
    held = [*({"fcode": held, "name": "old"} for held, _ in SPELLINGS), {"fcode": "Café", "name": "old"}]
    lost = {"kind": "close", "when": "after", "operations": ["update", "query"], "every": 3}
    with running(plan_of(ozari=UNKIND)) as emulator:
        await fill(emulator, tmp_path, held)
        emulator.set_faults(*plan_of(*([lost] if is_lossy else [])).faults)
        done = update(emulator, write(tmp_path / "source", lines), tmp_path / "run", "--match", "fcode", "--exact")
        assert (done.returncode, told(done)["updated"], told(done)["ambiguous"]) == (3, 1, 0), done.stderr.decode()
        expected = dict.fromkeys(range(1, len(SPELLINGS) + 1), "exact") | {len(lines): "404"}
        assert rejects_of(tmp_path / "run") == expected
        assert {row["fcode"] for row in emulator.rows(TABLE) if row["name"] == "new"} == {"Café"}


async def test_exact_needs_the_query_endpoint_and_is_given_up_by_the_users_word(tmp_path: Path) -> None:
    with running(plan_of(ozari={"query": "off_json"})) as emulator:
        await fill(emulator, tmp_path, records_of(2))
        source = write(tmp_path / "source", [{"fcode": "K1", "name": "new"}])
        done = update(emulator, source, tmp_path / "run", "--match", "fcode", "--exact")
        assert (done.returncode, told(done)["reason"]) == (4, "answers")
        assert not facts(emulator, "update")
        done = command("resume", tmp_path / "run", "--no-exact", "--json")
        assert (done.returncode, told(done)["updated"]) == (0, 1), done.stderr.decode()


def test_exact_is_about_updates(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(1))
    assert command("ozari", "insert", source, "--table", TABLE, "--exact").returncode == 2


TYPED = {
    "tables": {
        TABLE: {
            "fields": [
                {"name": "fcode"},
                {"name": "n", "type": "integer", "is_strict": False},
                {"name": "name", "max_length": 5, "is_strict": False},
                {"name": "price", "type": "decimal", "is_strict": False},
            ]
        }
    }
}


async def test_what_is_stored_otherwise_is_a_warning_by_field(tmp_path: Path) -> None:
    with running(plan_of(ozari=TYPED)) as emulator:
        await fill(emulator, tmp_path, records_of(5))
        lines = [{"fcode": f"K{n}", "n": "12.75", "name": "\x1b[31mlong text", "price": 3.50} for n in range(1, 6)]
        done = update(emulator, write(tmp_path / "source", lines), tmp_path / "run", "--match", "fcode")
        assert (done.returncode, told(done)["updated"]) == (0, 5), done.stderr.decode()
        warnings = told(done)["warnings"]
        assert len(warnings) == 2, warnings
        assert "field n was sent as '12.75' and is stored as 13" in warnings[0]
        assert "field name was sent as '\\x1b[31mlong text' and is stored as '\\x1b[31m'" in warnings[1]


async def test_what_a_created_record_holds_is_compared_too(tmp_path: Path) -> None:
    with running(plan_of(ozari=TYPED)) as emulator:
        source = write(tmp_path / "source", [{"fcode": f"K{n}", "n": 1234.50, "name": "short"} for n in range(5)])
        words = f"ozari insert {source} --table {TABLE} --run {tmp_path / 'run'} --stamp fstamp --json --progress none"
        done = command(*words.split(), "--base-url", emulator.base_url)
        assert (done.returncode, told(done)["created"]) == (0, 5), done.stderr.decode()
        (warning,) = told(done)["warnings"]
        assert "field n was sent as 1234.5 and is stored as 123" in warning


async def test_nothing_is_said_where_all_is_as_sent_or_a_later_update_changed_it(tmp_path: Path) -> None:
    with running(plan_of(ozari={"update_delay_seconds": 0.7})) as emulator:
        await fill(emulator, tmp_path, records_of(3))
        lines = [{"fcode": f"K{1 + n % 3}", "name": f"new {n}", "n": n, "f": n + 0.5, "t": None} for n in range(60)]
        done = update(emulator, write(tmp_path / "source", lines), tmp_path / "run", "--match", "fcode")
        assert (done.returncode, told(done)["updated"], told(done)["warnings"]) == (0, 60, []), done.stderr.decode()
