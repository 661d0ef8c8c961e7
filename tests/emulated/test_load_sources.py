"""Plain loads of every shape of source: each good line is created exactly once, and each bad one is listed with its number."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loader import CanbusAdd, OzariInsert, OzariUpdate
from loader.emulator import running
from tests.emulated.loading import (
    ADD,
    APP,
    INSERT,
    TABLE,
    audit,
    closes,
    command,
    facts,
    ids_of,
    keyed,
    plan_of,
    records_of,
    rejects_of,
    rows_of,
    run,
    told,
    write,
)
from tests.unit.reading.bad_lines import BAD_LINES, SUSPICIOUS_GOOD_LINES
from tests.unit.reading.encoders import COMPRESSORS
from tests.unit.reading.left_open import generators_left_open

STAMPED = OzariInsert(TABLE, stamp="fstamp")
COUNT = 60
LINES = [json.dumps(record).encode() for record in records_of(COUNT)]
PLAIN = b"\n".join(LINES) + b"\n"

FORMS: dict[str, tuple[bytes, Callable[[int], int]]] = {
    # name: the bytes of the source, and the physical line of the n-th record
    "plain": (PLAIN, lambda n: n),
    "no final newline": (PLAIN[:-1], lambda n: n),
    "byte order mark": (b"\xef\xbb\xbf" + PLAIN, lambda n: n),
    "CRLF": (PLAIN.replace(b"\n", b"\r\n"), lambda n: n),
    "blank lines": (b"\n \t\n" + b"\n\r\n".join(LINES) + b"\n\n", lambda n: 2 * n + 1),
    "gzip": (gzip.compress(PLAIN), lambda n: n),
    "gzip in two members": (gzip.compress(PLAIN[:100]) + gzip.compress(PLAIN[100:]), lambda n: n),
    "zstd": (COMPRESSORS["zstd"](PLAIN), lambda n: n),
    "byte order mark, CRLF, gzip": (gzip.compress(b"\xef\xbb\xbf" + PLAIN.replace(b"\n", b"\r\n")), lambda n: n),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", [INSERT, ADD], ids=["insert", "add"])
async def test_every_form_of_source_is_loaded(tmp_path: Path, target: OzariInsert | CanbusAdd, form: str) -> None:
    data, place = FORMS[form]
    source = tmp_path / "source"
    source.write_bytes(data)
    with running() as emulator:
        report = await run(emulator, target, source, tmp_path / "run", max_records=7)
        assert closes(report)
        assert (report.created, report.exit_code) == (COUNT, 0)
        assert report.skipped_blank == (COUNT + 2 if form == "blank lines" else 0)
        assert audit(emulator, tmp_path / "run", {place(n): f"K{n}" for n in range(1, COUNT + 1)}) == []


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_source_is_gone_on_with(tmp_path: Path, form: str) -> None:
    data, place = FORMS[form]
    source = tmp_path / "source"
    source.write_bytes(data)
    with running() as emulator:
        for limit in (1, 20, 7):
            await run(emulator, INSERT, source, tmp_path / "run", max_lines=limit)
        report = await run(emulator, INSERT, source, tmp_path / "run")
        assert closes(report)
        assert (report.created, len(facts(emulator, "insert"))) == (COUNT, COUNT)
        assert audit(emulator, tmp_path / "run", {place(n): f"K{n}" for n in range(1, COUNT + 1)}) == []


async def test_a_limit_closes_the_source_that_it_leaves(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(COUNT))
    with running() as emulator, generators_left_open() as left:
        report = await run(emulator, INSERT, source, tmp_path / "run", max_lines=COUNT // 2)
    assert report.created == COUNT // 2
    assert left == []


async def test_several_sources_are_gone_on_with(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"part{n}", records_of(100)[25 * n : 25 * n + 25]) for n in range(4)]
    with running() as emulator:
        for limit in (10, 30, 10):
            await run(emulator, STAMPED, parts, tmp_path / "run", max_lines=limit)
        report = await run(emulator, STAMPED, parts, tmp_path / "run")
        assert closes(report)
        assert (report.lines, report.created, len(facts(emulator, "insert"))) == (100, 100, 100)
        for index in range(4):
            expected = {line: f"K{25 * index + line}" for line in range(1, 26)}
            assert audit(emulator, tmp_path / "run", expected, source=index) == []
        stamps = [row["fstamp"].partition("-")[2] for row in emulator.rows(TABLE)]
        assert sorted(stamps) == [f"{index}x{line:09d}" for index in range(4) for line in range(1, 26)]


@pytest.mark.parametrize("target", [INSERT, ADD], ids=["insert", "add"])
async def test_several_sources_are_one_run(tmp_path: Path, target: OzariInsert | CanbusAdd) -> None:
    first = write(tmp_path / "a", records_of(30))
    second = tmp_path / "b"
    second.write_bytes(gzip.compress(b'{"fcode":"X1"}\nbroken\n\n{"fcode":"X2"}'))
    with running() as emulator:
        report = await run(emulator, target, [first, second], tmp_path / "run")
        assert closes(report)
        assert (report.lines, report.created, report.rejected, report.skipped_blank) == (34, 32, 1, 1)
        assert audit(emulator, tmp_path / "run", keyed(30)) == []
        assert audit(emulator, tmp_path / "run", {1: "X1", 4: "X2"}, source=1) == []
    listed = rows_of(command("rejects", tmp_path / "run"))
    assert [(row["source"], row["line"], row["code"], row["record"]) for row in listed] == [(1, 2, "json", "broken")]


async def test_what_the_vendor_shows_is_what_arrives(tmp_path: Path) -> None:
    shown = {
        "fname": "Acme Ltd",
        "fcity": "Haifa",
        "fphone": "04-1234567",
        "femail": "info@acme.co.il",
        "fda": "2026-03-26",
    }
    element = {
        "System_Create_User": "admin",
        "Text": "text",
        "Number": "1234",
        "Table": [{"Text_2": "a", "Text_3": "b"}, {"Text_2": "c"}],
    }
    with running(plan_of(canbus={"apps": [{"items": {"Table": {"type": "Table"}}}]})) as emulator:
        report = await run(emulator, OzariInsert("tcust"), write(tmp_path / "a", [shown]), tmp_path / "a.run")
        assert (report.created, report.target, report.table) == (1, "ozari insert", "tcust")
        (row,) = emulator.rows("tcust")
        assert ids_of(tmp_path / "a.run") == {(0, 1): row["fid"]}
        assert {name: row[name] for name in shown} == shown
        # The line's own user stays; a line without one gets --user's.
        report = await run(emulator, ADD, write(tmp_path / "b", [element, {"Text": "x"}]), tmp_path / "b.run")
        assert (report.created, len(facts(emulator, "add"))) == (2, 1)
        first, second = emulator.rows(APP)
        assert {name: first[name] for name in element if name in first} == {
            n: v for n, v in element.items() if n in first
        }
        assert (first["Table"], second["Text"]) == (element["Table"], "x")
        assert list(ids_of(tmp_path / "b.run").values()) == [first["_id"], second["_id"]]


def _bad_source(good: str) -> tuple[bytes, dict[int, str], dict[int, str]]:
    """Put the bad lines among 1,000 good ones, evenly; return the data, the bad lines' codes, the good lines' values."""
    lines: list[bytes] = []
    codes, values = {}, {}
    step = 1000 // len(BAD_LINES)
    bad = iter(BAD_LINES)
    for number in range(1, 1001):
        lines.append(json.dumps({good: f"K{number}"}).encode())
        values[len(lines)] = f"K{number}"
        if number % step == 0 and (line := next(bad, None)) is not None:
            lines.append(line.data)
            codes[len(lines)] = line.code
    assert len(codes) == len(BAD_LINES)
    return b"\n".join(lines), codes, values


@pytest.mark.parametrize("target", [INSERT, ADD, STAMPED], ids=["insert", "add", "stamped"])
async def test_bad_lines_are_listed_and_their_neighbours_load(tmp_path: Path, target: OzariInsert | CanbusAdd) -> None:
    data, codes, values = _bad_source("fcode")
    source = tmp_path / "source"
    source.write_bytes(data)
    with running() as emulator:
        report = await run(emulator, target, source, tmp_path / "run", max_records=50)
        assert closes(report)
        assert (report.created, report.rejected, report.exit_code) == (1000, len(codes), 3)
        assert report.lines == len(values) + len(codes)
        assert audit(emulator, tmp_path / "run", values) == []
    assert rejects_of(tmp_path / "run") == codes
    # What is printed by --records is what stood in the source, byte for byte, and may be mended and loaded.
    done = command("rejects", tmp_path / "run", "--records")
    source_lines = data.split(b"\n")
    assert done.stdout.split(b"\n")[:-1] == [source_lines[number - 1] for number in codes]


@pytest.mark.parametrize("target", [INSERT, ADD], ids=["insert", "add"])
async def test_suspicious_good_lines_arrive_unchanged(tmp_path: Path, target: OzariInsert | CanbusAdd) -> None:
    good = dict(SUSPICIOUS_GOOD_LINES)
    names_it_refuses = {"colon in a key", "empty key", "keys that differ in normal form"}
    if isinstance(target, OzariInsert):
        good = {name: data for name, data in good.items() if name not in names_it_refuses}
    source = tmp_path / "source"
    source.write_bytes(b"\n".join(good.values()))
    with running() as emulator:
        report = await run(emulator, target, source, tmp_path / "run")
        assert closes(report)
        assert (report.created, report.rejected) == (len(good), 0), rejects_of(tmp_path / "run")
        rows = {row.get("fid", row.get("_id")): row for row in emulator.rows(TABLE if target is INSERT else APP)}
        for (_, line), given in ids_of(tmp_path / "run").items():
            sent = json.loads(list(good.values())[line - 1])
            assert {name: rows[given][name] for name in sent} == sent


async def test_an_over_long_line_is_skipped(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b'{"fcode":"K1"}\n{"fcode":"' + b"x" * 300_000 + b'"}\n{"fcode":"K2"}\n')
    with running() as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run", max_line_bytes=1000)
        assert closes(report)
        assert rejects_of(tmp_path / "run") == {2: "too_long"}
        assert audit(emulator, tmp_path / "run", {1: "K1", 3: "K2"}) == []


REFUSED_HERE = [
    # target, line, code: everything that can be checked locally is refused locally
    (INSERT, {"my-field": 1}, "field_name"),
    (INSERT, {"fid": 5}, "fid"),
    (INSERT, {}, "empty"),
    (STAMPED, {"fcode": "a", "fstamp": "mine"}, "stamp"),
    (OzariUpdate(TABLE), {"filters": {}, "fields": {"a": 1}}, "empty"),
    (OzariUpdate(TABLE), {"filters": {"a": 1}, "fields": {}}, "empty"),
    (OzariUpdate(TABLE), {"filters": {"a": 1}, "fields": {"fid": 1}}, "fid"),
    (OzariUpdate(TABLE), {"filters": {"a": 1}}, "object"),
    (OzariUpdate(TABLE, match=("a",)), {"b": 1}, "empty"),
    (OzariUpdate(TABLE, match=("a",)), {"a": 1}, "empty"),
    (CanbusAdd(), {"Code": "x"}, "user"),
    (CanbusAdd(user="loader", stamp="Stamp"), {"Stamp": "x"}, "stamp"),
]


@pytest.mark.parametrize(("target", "line", "code"), REFUSED_HERE, ids=lambda value: getattr(value, "name", None))
async def test_what_can_be_checked_here_is_never_sent(
    tmp_path: Path, target: OzariInsert | OzariUpdate | CanbusAdd, line: dict[str, object], code: str
) -> None:
    with running() as emulator:
        report = await run(emulator, target, write(tmp_path / "source", [line]), tmp_path / "run")
        assert closes(report)
        assert (report.rejected, report.exit_code) == (1, 3)
        assert facts(emulator, "insert", "update", "add") == []
    assert rejects_of(tmp_path / "run") == {1: code}


def test_the_command_says_the_same(tmp_path: Path) -> None:
    source = write(tmp_path / "source.ndjson", records_of(40))
    with running() as emulator:
        words = (
            "ozari",
            "insert",
            source,
            "--table",
            TABLE,
            "--key",
            "fcode",
            "--base-url",
            emulator.base_url,
            "--json",
        )
        done = command(*words)
        report = told(done)
        directory = tmp_path / "source.ndjson.ozari-tcity.run"
        assert (done.returncode, report["created"], report["state"]) == (0, 40, "finished")
        assert Path(report["run"]) == directory
        assert audit(emulator, directory, keyed(40)) == []
        ids = rows_of(command("ids", directory))
        data = source.read_bytes()
        assert [(row["line"], row["key"]) for row in ids] == [(n, f"K{n}") for n in range(1, 41)]
        assert all(data[row["offset"] :].startswith(b'{"fcode": "%b"' % row["key"].encode()) for row in ids)
        table = command("ids", directory, "--format", "csv").stdout.decode().splitlines()
        assert table[0] == "line,offset,id,key"
        assert table[1:] == [f"{row['line']},{row['offset']},{row['id']},{row['key']}" for row in ids]
        # A finished run that is repeated sends nothing.
        requests = emulator.journal.requests
        again = command(*words)
        assert (again.returncode, told(again)["created"], emulator.journal.requests) == (0, 40, requests)


def test_a_rehearsal_sends_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(PLAIN + b"broken\n\n")
    with running() as emulator:
        words = ("ozari", "insert", source, "--table", TABLE, "--base-url", emulator.base_url, "--dry-run", "--json")
        done = command(*words)
        assert done.returncode == 3
        assert emulator.journal.requests == 0
        assert told(done)["lines"] == COUNT + 2
