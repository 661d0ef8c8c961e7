"""What is left over after a run: `status`, `ambiguous`, `rejects`, and `reconcile`, with the user's word and without."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loader import CanbusAdd, OzariInsert, OzariUpdate
from loader.emulator import Emulator, running
from tests.emulated.loading import (
    APP,
    INSERT,
    TABLE,
    UNIQUE,
    ambiguous_of,
    audit,
    closes,
    command,
    facts,
    ids_of,
    keyed,
    plan_of,
    records_of,
    rows_of,
    run,
    told,
    write,
)

COUNT = 60
LOST = {"kind": "close", "operations": ["insert"], "every": 10}
HELD = [10, 20, 30, 40, 50, 60]


async def leave_some(emulator: Emulator, tmp_path: Path, target: OzariInsert = INSERT, **fault: Any) -> Path:
    """Load with every tenth answer lost, and nobody asked: six records are held."""
    emulator.set_faults(*plan_of({**LOST, **fault}).faults)
    source = write(tmp_path / "source", records_of(COUNT))
    report = await run(emulator, target, source, tmp_path / "run", ambiguous="hold", concurrency=1)
    assert closes(report)
    assert (report.created, report.ambiguous, report.exit_code) == (COUNT - 6, 6, 3)
    assert ambiguous_of(tmp_path / "run") == HELD
    emulator.set_faults()
    return tmp_path / "run"


async def tell(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command beside the emulator's loop."""
    return await asyncio.to_thread(command, *words)


async def test_what_is_held_is_shown(tmp_path: Path) -> None:
    with running() as emulator:
        directory = await leave_some(emulator, tmp_path)
    lines = (tmp_path / "source").read_bytes().splitlines(keepends=True)
    listed = rows_of(await tell("ambiguous", directory))
    assert [row["line"] for row in listed] == HELD
    assert all(row["record"].encode() + b"\n" == lines[row["line"] - 1] for row in listed)
    assert all((row["stage"], row["code"]) == ("target", "ambiguous") and row["message"] for row in listed)
    assert (await tell("ambiguous", directory, "--records")).stdout == b"".join(lines[line - 1] for line in HELD)
    status = json.loads((await tell("status", directory, "--json")).stdout)
    assert (status["state"], status["created"], status["ambiguous"], status["in_doubt"]) == (
        "finished",
        COUNT - 6,
        6,
        0,
    )
    text = (await tell("status", directory)).stdout
    assert b"loader reconcile" in text


async def test_accept_counts_them_as_created(tmp_path: Path) -> None:
    with running() as emulator:
        directory = await leave_some(emulator, tmp_path)
        sent = len(facts(emulator, "insert"))
        done = await tell("reconcile", directory, "--accept", "--json")
        assert (done.returncode, told(done)["created"], told(done)["ambiguous"]) == (0, COUNT, 0), done.stderr.decode()
        assert told(done)["ids_unknown"] == 6
        assert len(facts(emulator, "insert")) == sent
    assert [line for (_, line), given in ids_of(directory).items() if given is None] == HELD
    assert ambiguous_of(directory) == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_resend_sends_them_once_more(tmp_path: Path, when: str) -> None:
    with running() as emulator:
        directory = await leave_some(emulator, tmp_path, when=when)
        done = await tell("reconcile", directory, "--resend", "--json")
        assert (done.returncode, told(done)["created"], told(done)["ambiguous"]) == (0, COUNT, 0), done.stderr.decode()
        assert "6 records" in told(done)["bound"]  # may stand twice: it was the user's word
        assert len(emulator.rows(TABLE)) == COUNT + (6 if when == "after" else 0)
        if when == "before":
            assert audit(emulator, directory, keyed(COUNT)) == []


async def test_without_a_word_or_a_key_nothing_is_settled(tmp_path: Path) -> None:
    with running() as emulator:
        directory = await leave_some(emulator, tmp_path)
        sent = len(facts(emulator, "insert", "query", "update"))
        done = await tell("reconcile", directory, "--json")
        assert (done.returncode, told(done)["ambiguous"]) == (3, 6), done.stderr.decode()
        assert len(facts(emulator, "insert", "update")) == sent
        done = await tell("reconcile", directory, "--accept", "--resend")
        assert done.returncode == 2


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_key_that_is_given_only_now_is_asked_by(tmp_path: Path, when: str) -> None:
    """What is found with an id that the log does not hold is ours; the highest id at the start is not known any more."""
    with running() as emulator:
        directory = await leave_some(emulator, tmp_path, when=when)
        done = await tell("reconcile", directory, "--key", "fcode", "--settle", "0.2", "--json")
        report = told(done)
        wrong = audit(emulator, directory, keyed(COUNT))
        assert [text for text in wrong if "held" in text or "of K" in text] == []
        if when == "before":
            assert (done.returncode, report["created"], len(emulator.rows(TABLE))) == (0, COUNT, COUNT), (
                done.stderr.decode()
            )
        else:
            assert len(emulator.rows(TABLE)) == COUNT
            assert report["created"] + report["ambiguous"] == COUNT


async def test_a_stamp_is_asked_by_without_a_word(tmp_path: Path) -> None:
    target = OzariInsert(TABLE, stamp="fstamp")
    with running() as emulator:
        source = write(tmp_path / "source", records_of(COUNT))
        await run(emulator, target, source, tmp_path / "run", max_lines=5)
        emulator.set_faults(*plan_of({**LOST, "every": 7}, {**LOST, "every": 9, "when": "before"}).faults)
        report = await run(emulator, target, source, tmp_path / "run", ambiguous="hold")
        assert report.ambiguous > 10
        emulator.set_faults()
        done = await tell("reconcile", tmp_path / "run", "--settle", "0.2", "--json", "--rate", "500")
        assert (done.returncode, told(done)["created"], told(done)["ambiguous"]) == (0, COUNT, 0), done.stderr.decode()
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []


async def test_canbus_needs_the_word_that_the_key_is_unique(tmp_path: Path) -> None:
    lost = {"kind": "close", "operations": ["add"], "after": 2, "times": 2}
    with running(plan_of(lost, canbus=UNIQUE)) as emulator:
        source = write(tmp_path / "source", records_of(COUNT, "Code"))
        report = await run(emulator, CanbusAdd("loader"), source, tmp_path / "run", max_records=10, concurrency=1)
        assert (report.created, report.ambiguous) == (COUNT - 20, 20)
        done = await tell("reconcile", tmp_path / "run", "--key", "Code", "--settle", "0.2", "--json")
        assert (done.returncode, told(done)["ambiguous"]) == (3, 20), done.stderr.decode()
        assert len(emulator.rows(APP)) == COUNT


async def test_reconcile_reads_no_new_lines(tmp_path: Path) -> None:
    with running(plan_of(LOST)) as emulator:
        source = write(tmp_path / "source", records_of(COUNT))
        report = await run(emulator, INSERT, source, tmp_path / "run", max_lines=30, concurrency=1)
        assert (report.state, report.ambiguous) == ("stopped", 3)
        done = await tell("reconcile", tmp_path / "run", "--accept", "--json")
        assert (told(done)["created"], told(done)["ambiguous"], len(emulator.rows(TABLE))) == (30, 0, 30)
        status = json.loads((await tell("status", tmp_path / "run", "--json")).stdout)
        assert (status["state"], status["created"]) == ("stopped", 30)
        emulator.set_faults()
        report = await run(emulator, INSERT, source, tmp_path / "run")
        assert closes(report)
        assert (report.created, report.exit_code) == (COUNT, 0)
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []


async def test_updates_that_were_held_are_asked_about(tmp_path: Path) -> None:
    with running() as emulator:
        await run(emulator, INSERT, write(tmp_path / "rows", records_of(COUNT)), tmp_path / "rows.run")
        emulator.set_faults(*plan_of({**LOST, "operations": ["update"]}).faults)
        lines = [{"filters": {"fcode": f"K{n}"}, "fields": {"fcode": f"L{n}"}} for n in range(1, COUNT + 1)]
        source = write(tmp_path / "source", lines)
        report = await run(emulator, OzariUpdate(TABLE), source, tmp_path / "run", ambiguous="hold")
        assert (report.updated, report.ambiguous) == (COUNT - 6, 6)
        emulator.set_faults()
        done = await tell("reconcile", tmp_path / "run", "--settle", "0.2", "--json")
        assert (done.returncode, told(done)["updated"], told(done)["created"]) == (0, COUNT, 0), done.stderr.decode()


async def test_an_update_that_is_accepted_counts_as_updated(tmp_path: Path) -> None:
    """Two rows match with the new values, so the question settles nothing, and the user's word does."""
    with running() as emulator:
        records = [*records_of(3), {"fcode": "taken", "name": "t"}]
        await run(emulator, INSERT, write(tmp_path / "rows", records), tmp_path / "rows.run")
        emulator.set_faults(*plan_of({**LOST, "operations": ["update"], "every": 1}).faults)
        source = write(tmp_path / "source", [{"filters": {"fcode": "K1"}, "fields": {"fcode": "taken"}}])
        report = await run(emulator, OzariUpdate(TABLE), source, tmp_path / "run", settle_seconds=0.1)
        assert (report.updated, report.ambiguous, report.exit_code) == (0, 1, 3)
        emulator.set_faults()
        done = await tell("reconcile", tmp_path / "run", "--accept", "--settle", "0.1", "--json")
        assert (done.returncode, told(done)["updated"], told(done)["created"]) == (0, 1, 0), done.stdout.decode()
    assert ids_of(tmp_path / "run") == {}


async def test_rejects_are_printed_as_they_stand_in_the_source(tmp_path: Path) -> None:
    bad = [
        b'{"fcode": "\xff"}\r\n',
        b"  broken  \n",
        b'{"my-field":1}\n',
        b'{"fcode":"\xe2\x82\xac", "fid":1}\r\n',
        b'{"my-field":2}',  # without a line end; what is no JSON would be read again later
    ]
    good = b'{"fcode":"K1"}\r\n'
    source = tmp_path / "source"
    source.write_bytes(b"".join(good + line for line in bad))
    with running() as emulator:
        report = await run(emulator, INSERT, source, tmp_path / "run")
        assert (report.created, report.rejected) == (5, 5)
    done = await tell("rejects", tmp_path / "run", "--records")
    assert done.stdout == b"".join(bad) or done.stdout == b"".join(bad) + b"\n"
    listed = rows_of(await tell("rejects", tmp_path / "run"))
    data = source.read_bytes()
    assert [row["line"] for row in listed] == [2, 4, 6, 8, 10]
    assert [row["code"] for row in listed] == ["utf8", "json", "field_name", "fid", "field_name"]
    assert [row["stage"] for row in listed] == ["parse", "parse", "map", "map", "map"]
    assert all(data[row["offset"] :].startswith(line) for row, line in zip(listed, bad, strict=True))
    assert ("record_base64" in listed[0], listed[0]["record"]) == (True, None)
    assert listed[3]["record"] == '{"fcode":"€", "fid":1}'
