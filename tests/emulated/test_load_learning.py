"""`loader reconcile RUN --filter ID`: ids that went with the answer, learnt from a saved list filter of Canbus; never a guess."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loader import CanbusAdd, Report
from loader.cli.config import check_filter, resume_settings
from loader.emulator import Emulator, running
from loader.errors import UsageError
from loader.pipeline.pipeline import run_reconcile
from loader.reconcile.list_filter import Learnt
from loader.reconcile.policy import Decision
from tests.emulated.loading import (
    ADD,
    APP,
    ENVIRONMENT,
    INSERT,
    ambiguous_of,
    audit,
    command,
    facts,
    ids_of,
    keyed,
    plan_of,
    records_of,
    run,
    start,
    told,
    write,
)

COUNT = 60
FILTERS = {
    "all": {"sort": "Code", "is_descending": False},
    "newest": {},
    "none": {"conditions": {"Code": "nowhere"}},
    "bare": {"items": ["name"]},
}
STAMPED = CanbusAdd("loader", stamp="Stamp")
KEYED = CanbusAdd("loader", key="Code")
FOREIGN = "f" * 24
LOST = {"kind": "close", "operations": ["add"], "after": 2, "times": 2}
NULL = {"kind": "null_id", "operations": ["add"], "after": 2, "times": 2}


def plan(*faults: dict[str, Any], **switches: Any) -> Any:
    return plan_of(*faults, canbus={"apps": [{"filters": FILTERS}], **switches})


async def leave(
    emulator: Emulator, tmp_path: Path, target: CanbusAdd, records: list[dict[str, Any]] | None = None
) -> Path:
    """Load in requests of ten, one after another; what the plan's fault does to two of them is left."""
    source = write(tmp_path / "source", records or records_of(COUNT, "Code"))
    await run(emulator, target, source, tmp_path / "run", max_records=10, concurrency=1)
    return tmp_path / "run"


async def learn(directory: Path, filter_id: str, *, decision: Decision | None = None) -> Report:
    """Carry out what `loader reconcile RUN --filter ID` does, without the start of a process."""
    values = {"settle": "0.2", "rate": "500"}
    return await run_reconcile(resume_settings(directory, values, ENVIRONMENT), decision=decision, filter_id=filter_id)


async def tell(directory: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return await asyncio.to_thread(
        command, "reconcile", directory, *words, "--settle", "0.2", "--rate", "500", "--json"
    )


def right(emulator: Emulator, directory: Path, count: int = COUNT) -> list[str]:
    return audit(emulator, directory, keyed(count), "Code")


@pytest.mark.parametrize("target", [STAMPED, KEYED], ids=["stamp", "key"])
async def test_ids_that_went_with_the_answer_are_learnt(tmp_path: Path, target: CanbusAdd) -> None:
    with running(plan(NULL)) as emulator:
        directory = await leave(emulator, tmp_path, target)
        assert list(ids_of(directory).values()).count(None) == 20
        sent = len(facts(emulator, "add"))
        done = await tell(directory, "--filter", "all")
        report = told(done)
        assert (done.returncode, report["created"], report["ids_unknown"], report["ids_learnt"]) == (0, COUNT, 0, 20)
        assert report["learnt"] == f"20 of 20 ids learnt from {COUNT} rows"
        assert len(facts(emulator, "add")) == sent
        assert None not in ids_of(directory).values()
        assert right(emulator, directory) == []
        repeated = await run(emulator, target, tmp_path / "source", directory)
        assert (repeated.ids_unknown, repeated.learnt, repeated.finished_at is None) == (0, None, False)
        again = await learn(directory, "all")
        assert (again.ids_learnt, again.learnt) == (0, "no record lacks an id")
        assert "From the list: no record lacks an id" in again.to_text()


async def test_a_stamp_in_a_row_settles_what_was_ambiguous(tmp_path: Path) -> None:
    with running(plan(LOST)) as emulator:
        directory = await leave(emulator, tmp_path, STAMPED)
        assert len(ambiguous_of(directory)) == 20
        report = await learn(directory, "all")
        assert (report.created, report.ambiguous, report.ids_learnt) == (COUNT, 0, 20)
        assert right(emulator, directory) == []


async def test_a_key_in_a_row_does_not_settle_what_was_ambiguous(tmp_path: Path) -> None:
    """The row may be older than the run, or somebody else's."""
    with running(plan(LOST)) as emulator:
        directory = await leave(emulator, tmp_path, KEYED)
        report = await learn(directory, "all")
        assert (report.created, report.ambiguous, report.ids_learnt) == (COUNT - 20, 20, 0)
        assert (report.learnt or "").endswith("20 cannot be told apart")


async def test_absence_from_a_list_proves_nothing(tmp_path: Path) -> None:
    """A filter that shows no row leaves all as it was; the user's word is for what no row settles."""
    with running(plan({**LOST, "times": 1}, {**LOST, "after": 4, "times": 1, "when": "before"})) as emulator:
        directory = await leave(emulator, tmp_path, STAMPED)
        done = await tell(directory, "--filter", "none")
        assert (done.returncode, told(done)["ambiguous"], told(done)["ids_learnt"]) == (3, 20, 0)
        report = await learn(directory, "all")
        assert (report.ambiguous, report.ids_learnt, len(emulator.rows(APP))) == (10, 10, COUNT - 10)
        assert report.learnt == f"10 of 20 ids learnt from {COUNT - 10} rows: 10 stand in none of them"
        report = await learn(directory, "all", decision="resend")
        assert (report.created, report.ambiguous, len(emulator.rows(APP))) == (COUNT, 0, COUNT)
        assert right(emulator, directory) == []


async def test_what_the_list_shows_is_not_sent_again_by_the_users_word(tmp_path: Path) -> None:
    with running(plan(LOST)) as emulator:
        directory = await leave(emulator, tmp_path, STAMPED)
        report = await learn(directory, "all", decision="resend")
        assert (report.created, report.ambiguous, len(emulator.rows(APP))) == (COUNT, 0, COUNT)


async def test_records_of_a_killed_run_are_found_too(tmp_path: Path) -> None:
    """Their windows stand open: they have no outcome at all yet."""
    with running(plan({"kind": "hang", "operations": ["add"], "after": 3})) as emulator:
        source = write(tmp_path / "source", records_of(COUNT, "Code"))
        run_words = ("--run", str(tmp_path / "run"), "--max-records", "10", "--rate", "500")
        words = ("canbus", "add", source, "--user", "loader", "--stamp", "Stamp", "--base-url", emulator.base_url)
        child = start(*words, *run_words)
        while not emulator.journal.faults["hang"]:
            await asyncio.sleep(0.01)
        child.kill()
        await asyncio.to_thread(child.communicate)
        emulator.set_faults()
        assert ambiguous_of(tmp_path / "run")
        report = await learn(tmp_path / "run", "all")
        held = {row["Code"] for row in emulator.rows(APP)}
        assert (report.created, report.ids_unknown) == (len(held), 0)
        there = {line: code for line, code in keyed(COUNT).items() if code in held}
        assert audit(emulator, tmp_path / "run", there, "Code") == []


async def test_a_record_with_several_rows_gets_none_of_their_ids(tmp_path: Path) -> None:
    records = records_of(COUNT, "Code")
    records[25]["Code"] = "K4"  # the log knows which row is line 4's, so the other one is line 26's
    records[34]["Code"] = records[35]["Code"] = "twice"
    with running(plan(NULL)) as emulator:
        directory = await leave(emulator, tmp_path, KEYED, records)
        emulator.tables.open(APP, "_number").insert({"_id": FOREIGN, "Code": "K28"})
        report = await learn(directory, "all")
        assert (report.ids_learnt, report.ids_unknown) == (17, 3)
        assert "3 in several" in (report.learnt or "")
        ids = ids_of(directory)
        assert [line for (_, line), given in ids.items() if given is None] == [28, 35, 36]
        codes = {row["_id"]: row["Code"] for row in emulator.rows(APP)}
        assert all(codes[given] == records[line - 1]["Code"] for (_, line), given in ids.items() if given)


async def test_a_stamp_in_several_rows_is_told(tmp_path: Path) -> None:
    """The record exists, but which of the rows is its own nobody knows."""
    with running(plan(LOST)) as emulator:
        directory = await leave(emulator, tmp_path, STAMPED)
        row = next(row for row in emulator.rows(APP) if row["Code"] == "K25")
        emulator.tables.open(APP, "_number").insert({**row, "_id": FOREIGN})
        report = await learn(directory, "all")
        assert (report.created, report.ids_unknown, report.ids_learnt) == (COUNT, 1, 19)
        assert set(report.duplicates) == {row["_id"], FOREIGN}
        assert ids_of(directory)[0, 25] is None


@pytest.mark.parametrize(
    "switches",
    [{"list_max": 7}, {"list_max": 10, "list_over_max": "refuse"}, {"list_max": 1, "list_over_max": "refuse"}],
    ids=["cut", "refused", "one by one"],
)
async def test_pages_are_as_long_as_the_target_lets_them_be(tmp_path: Path, switches: dict[str, Any]) -> None:
    failing = {"kind": "status", "status": 500, "operations": ["list"], "after": 5, "times": 1}
    with running(plan(NULL, failing, **switches)) as emulator:
        directory = await leave(emulator, tmp_path, STAMPED)
        report = await learn(directory, "all")
        assert (report.ids_unknown, report.ids_learnt) == (0, 20)
        assert right(emulator, directory) == []


async def test_a_page_that_is_too_long_to_be_read_is_asked_for_in_parts(tmp_path: Path) -> None:
    records = [{**record, "name": "x" * 60_000} for record in records_of(COUNT, "Code")]
    with running(plan(NULL)) as emulator:
        directory = await leave(emulator, tmp_path, STAMPED, records)
        report = await learn(directory, "all")
        assert (report.ids_unknown, report.ids_learnt) == (0, 20)


async def test_a_list_that_became_shorter_meanwhile_is_read_again(tmp_path: Path) -> None:
    """A row above the page that is deleted moves all others up, and one of them past the reader."""
    with running(plan(NULL, list_max=1)) as emulator:
        directory = await leave(emulator, tmp_path, STAMPED)

        async def delete_one() -> None:
            while len(facts(emulator, "list")) < 25:
                await asyncio.sleep(0.001)
            emulator.tables.open(APP, "_number").delete([COUNT])

        report, _ = await asyncio.gather(learn(directory, "newest"), delete_one())
        assert len(facts(emulator, "list")) > 2 * (COUNT - 1)
        assert (report.ids_unknown, report.ids_learnt) == (0, 20)


async def test_a_filter_that_does_not_show_the_item_is_told(tmp_path: Path) -> None:
    with running(plan(NULL)) as emulator:
        directory = await leave(emulator, tmp_path, STAMPED)
        done = await tell(directory, "--filter", "bare")
        assert (done.returncode, told(done)["ids_unknown"]) == (3, 20)
        assert told(done)["learnt"].endswith("no row shows the item Stamp")


async def test_a_list_that_is_refused_stops_with_a_hint_and_changes_nothing(tmp_path: Path) -> None:
    with running(plan(LOST)) as emulator:
        directory = await leave(emulator, tmp_path, STAMPED)
        report = await learn(directory, "unknown", decision="resend")
        assert (report.exit_code, report.reason, report.ambiguous) == (4, "answers", 20)
        assert "FILTER_ID" in (report.hint or "")
        assert len(ambiguous_of(directory)) == 20
        assert len(emulator.rows(APP)) == COUNT


async def test_a_list_without_an_end_is_given_up(tmp_path: Path) -> None:
    """A target that does not heed where a page begins."""
    with running(plan(NULL, list_ignores_start=True)) as emulator:
        directory = await leave(emulator, tmp_path, STAMPED)
        report = await learn(directory, "all")
        assert (report.exit_code, report.reason, report.ids_unknown) == (4, "answers", 20)
        assert len(facts(emulator, "list")) < 10


async def test_what_no_row_could_be_matched_by_is_refused(tmp_path: Path) -> None:
    with running(plan()) as emulator:
        directory = await leave(emulator, tmp_path, ADD)
        done = await tell(directory, "--filter", "all")
        assert (done.returncode, b"--key ITEM" in done.stderr) == (2, True)
    for target, filter_id in ((KEYED, " "), (KEYED, "a\nb"), (INSERT, "all"), (ADD, "all")):
        with pytest.raises(UsageError) as caught:
            check_filter(filter_id, target)
        assert caught.value.hint
    check_filter(None, INSERT)
    check_filter("66a0f4c7d2e1b83950fa71cc", KEYED)


async def test_ids_of_records_that_a_unique_item_proved_are_learnt(tmp_path: Path) -> None:
    """A duplicate that is refused says that the record is there, and not under which id."""
    apps = [{"items": {"Stamp": {"is_unique": True}}, "filters": FILTERS}]
    with running(plan_of(LOST, canbus={"apps": apps})) as emulator:
        directory = await leave(emulator, tmp_path, CanbusAdd("loader", stamp="Stamp", is_unique=True))
        unknown = [line for (_, line), given in ids_of(directory).items() if given is None]
        assert unknown
        report = await learn(directory, "all")
        assert (report.ids_unknown, report.ids_learnt) == (0, len(unknown))
        assert right(emulator, directory) == []


def test_the_words_say_which_ids_are_missing() -> None:
    learnt = Learnt(ids=1200, wanted=1205, unseen=2, several=1, rows=5000, has_item=True, item="Stamp")
    start, end = (
        "1,200 of 1,205 ids learnt from 5,000 rows",
        "2 stand in none of them, 1 in several, 2 cannot be told apart",
    )
    assert learnt.text == f"{start}: {end}"
