"""The library as another program uses it: awaited, iterated over, slowly, cancelled, told of credentials or not."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from loader import (
    Ambiguous,
    CanbusAdd,
    Created,
    Done,
    Load,
    LoaderError,
    OzariInsert,
    Rate,
    Rejected,
    Updated,
    api,
    load,
)
from loader.emulator import Emulator, running
from tests.emulated.loading import (
    CANBUS,
    ENVIRONMENT,
    INSERT,
    OZARI,
    QUICK,
    TABLE,
    UNIQUE,
    ambiguous_of,
    audit,
    closes,
    facts,
    keyed,
    plan_of,
    records_of,
    write,
)

COUNT = 200
SLOW = {"kind": "latency", "milliseconds": 20, "operations": ["insert"]}
STAMPED = OzariInsert(TABLE, stamp="fstamp")


def begin(
    emulator: Emulator, source: Path, directory: Path, target: OzariInsert = INSERT, rate: float = 5000.0
) -> Load:
    options = replace(QUICK, base_url=emulator.base_url, rate=Rate(rate))
    return load(source, target, run=directory, options=options, credentials=OZARI)


async def test_nothing_happens_before_it_is_awaited(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(COUNT))
    with running() as emulator:
        loading = begin(emulator, source, tmp_path / "run")
        await asyncio.sleep(0.05)
        assert (emulator.journal.requests, (tmp_path / "run").exists(), loading.report) == (0, False, None)
        report = await loading
        assert closes(report)
        assert (report.created, loading.report) == (COUNT, report)
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []


async def test_credentials_and_addresses_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "source.ndjson", records_of(5))
    with running() as emulator:
        for name, value in (
            ENVIRONMENT | {"OZARI_BASE_URL": emulator.base_url, "CANBUS_BASE_URL": emulator.base_url}
        ).items():
            monkeypatch.setenv(name, value)
        report = await load(str(source), INSERT)
        assert (report.created, Path(report.run)) == (5, tmp_path / "source.ndjson.ozari-tcity.run")
        report = await load([source], CanbusAdd("loader"))
        assert (report.created, Path(report.run)) == (5, tmp_path / "source.ndjson.canbus-emulator.run")
    monkeypatch.delenv("OZARI_TOKEN")
    with pytest.raises(LoaderError, match="OZARI_TOKEN"):
        await load(str(source), INSERT, run=tmp_path / "other")


async def test_every_outcome_comes_once_and_is_in_the_log(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, records_of(COUNT))
    with source.open("ab") as file:
        file.write(b"broken\n\n")
    lost = {"kind": "close", "operations": ["insert"], "every": 20}
    with running(plan_of(lost)) as emulator:
        loading = begin(emulator, source, tmp_path / "run", OzariInsert(TABLE, key=None))
        seen: list[Done] = [done async for done in loading]
        report = loading.report
        assert report is not None
        assert closes(report)
        assert sorted(done.line for done in seen) == list(range(1, COUNT + 2))
        kinds = [type(done.outcome) for done in seen]
        assert (kinds.count(Created), kinds.count(Ambiguous), kinds.count(Rejected)) == (
            report.created,
            report.ambiguous,
            report.rejected,
        )
        data = source.read_bytes()
        assert all(data[done.offset :].split(b"\n")[0] for done in seen)
        rows = {row["fid"]: row["fcode"] for row in emulator.rows(TABLE)}
        created = [done for done in seen if isinstance(done.outcome, Created)]
        assert all(rows[done.outcome.id] == f"K{done.line}" for done in created if isinstance(done.outcome, Created))
        # Once more: nothing is left to do, so no outcome comes.
        again = begin(emulator, source, tmp_path / "run")
        assert [done async for done in again] == []
        assert again.report is not None
        assert again.report.created == report.created


async def test_a_key_comes_with_its_outcome(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(20))
    with running() as emulator:
        seen = [done async for done in begin(emulator, source, tmp_path / "run", OzariInsert(TABLE, key="fcode"))]
        assert {done.line: done.key for done in seen} == keyed(20)
        assert not any(isinstance(done.outcome, Updated) for done in seen)


async def test_a_slow_consumer_holds_the_load_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While outcomes pile up no more is read, so memory stays bounded; when they are taken, it goes on to its end."""
    monkeypatch.setattr(api, "MAX_QUEUED", 50)
    count = 2_000
    source = write(tmp_path / "source", records_of(count))
    with running() as emulator:
        taken = 0
        async for _ in begin(emulator, source, tmp_path / "run", rate=50_000.0):
            taken += 1
            if taken == 1:
                held = -1
                while held != emulator.journal.committed:  # until nothing moves any more
                    held = emulator.journal.committed
                    await asyncio.sleep(0.4)
                assert held < 500
        assert taken == count
        assert audit(emulator, tmp_path / "run", keyed(count)) == []


async def test_a_consumer_that_leaves_stops_the_load_and_it_resumes(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(COUNT))
    with running(plan_of(SLOW)) as emulator:
        loading = begin(emulator, source, tmp_path / "run", rate=300.0)
        outcomes = aiter(loading)
        async with contextlib.aclosing(outcomes):
            async for done in outcomes:
                if done.line >= 40:
                    break
        sent = len(facts(emulator, "insert"))
        await asyncio.sleep(0.2)
        assert len(facts(emulator, "insert")) == sent < COUNT
        assert ambiguous_of(tmp_path / "run") == []  # what was in flight was waited for
        report = await begin(emulator, source, tmp_path / "run")
        assert closes(report)
        assert (report.created, report.ambiguous) == (COUNT, 0)
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []
        assert len(facts(emulator, "insert")) == COUNT


@pytest.mark.parametrize("target", [INSERT, STAMPED], ids=["plain", "stamped"])
async def test_a_cancelled_load_leaves_a_run_that_resumes(tmp_path: Path, target: OzariInsert) -> None:
    source = write(tmp_path / "source", records_of(COUNT))
    with running(plan_of(SLOW)) as emulator:
        task = asyncio.ensure_future(begin(emulator, source, tmp_path / "run", target, rate=300.0)._run())
        async with asyncio.timeout(60):
            while emulator.journal.committed < 40:
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ambiguous_of(tmp_path / "run") == []
        report = await begin(emulator, source, tmp_path / "run", target)
        assert closes(report)
        assert (report.created, report.ambiguous) == (COUNT, 0)
        assert audit(emulator, tmp_path / "run", keyed(COUNT)) == []
        assert len(facts(emulator, "insert")) == COUNT


async def test_two_loads_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", records_of(100)), write(tmp_path / "b", records_of(100, "Code"))
    with running(plan_of(canbus=UNIQUE)) as emulator:
        options = replace(QUICK, base_url=emulator.base_url, max_records=7)
        target = CanbusAdd("loader", key="Code", is_unique=True)
        other = load(second, target, run=tmp_path / "b.run", options=options, credentials=CANBUS)
        reports = await asyncio.gather(begin(emulator, first, tmp_path / "a.run")._run(), other._run())
        assert [report.created for report in reports] == [100, 100]
        assert audit(emulator, tmp_path / "a.run", keyed(100)) == []
        assert audit(emulator, tmp_path / "b.run", keyed(100), "Code") == []


async def test_a_rehearsal_needs_no_credentials(tmp_path: Path) -> None:
    source = write(tmp_path / "source", records_of(COUNT))
    report = await load(source, INSERT, run=tmp_path / "run", is_dry_run=True)
    assert (report.lines, report.created, report.is_dry_run, report.requests) == (COUNT, COUNT, True, COUNT)


async def test_what_cannot_begin_is_an_error_with_a_hint(tmp_path: Path) -> None:
    options = replace(QUICK, base_url="http://127.0.0.1:9")
    with pytest.raises(LoaderError) as refused:
        await load(tmp_path / "nothing", INSERT, run=tmp_path / "run", options=options, credentials=OZARI)
    assert refused.value.exit_code == 5
    assert refused.value.hint
    assert not (tmp_path / "run" / "run.json").exists()
