"""The report: the JSON of cli.md to the letter, the exit codes, and a text that says what to do next."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import orjson
import pytest

from loader.model import Counts
from loader.report.report import Report

CLI_MD = orjson.loads(
    b"""{"run":"cities.ndjson.ozari-tcity.run","target":"ozari insert","state":"finished","lines":171075,
 "created":171060,"updated":0,"unchanged":0,"rejected":15,"ambiguous":0,"skipped_blank":0,"ids_unknown":0,"requests":171080,"retries":5,"throttled":3,
 "bytes_sent":48112233,"seconds":61.2,"requests_per_second":2795.4,"records_per_second":2795.2,"limited_by":"rate","reason":null}"""
)
REPORT = Report(**CLI_MD, table="tcity", identity="acme")


def test_the_json_is_the_contract_and_new_fields_follow_it() -> None:
    values = orjson.loads(REPORT.to_json())
    assert list(values)[: len(CLI_MD)] == list(CLI_MD)
    assert {name: values[name] for name in CLI_MD} == CLI_MD
    assert b"\n" not in REPORT.to_json()


def test_numbers_are_rounded_in_json_alone() -> None:
    values = orjson.loads(replace(REPORT, seconds=1.23456, records_per_second=7.77).to_json())
    assert (values["seconds"], values["records_per_second"]) == (1.235, 7.8)


def test_counts_are_the_reports_own() -> None:
    assert REPORT.counts == Counts(lines=171075, created=171060, rejected=15)
    assert REPORT.counts.settled == 171075
    assert set(Counts.__struct_fields__) <= {field.name for field in fields(Report)}


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"rejected": 0}, 0),
        ({}, 3),
        ({"rejected": 0, "ambiguous": 1}, 3),
        ({"state": "stopped", "reason": "limit"}, 0),
        *[
            ({"state": "stopped", "reason": reason}, 4)
            for reason in ("credentials", "table", "redirect", "patience", "rejects", "answers")
        ],
        ({"state": "stopped", "reason": "disk"}, 5),
        ({"state": "interrupted", "reason": "signal", "signal": 1}, 129),
        ({"state": "interrupted", "reason": "signal", "signal": 2}, 130),
        ({"state": "interrupted", "reason": "signal", "signal": 15}, 143),
    ],
)
def test_exit_codes(changes: dict[str, Any], code: int) -> None:
    assert replace(REPORT, **changes).exit_code == code


def test_text_of_a_finished_run() -> None:
    text = replace(REPORT, bound="none is possible.").to_text()
    assert text.startswith("Finished: ozari insert into tcity of acme.")
    for part in (
        "171,060",
        "limited by the rate asked for",
        "5 retries, 3 throttled",
        "Duplicates: none is possible.",
        "loader rejects cities.ndjson.ozari-tcity.run",
        "loader ids cities.ndjson.ozari-tcity.run",
    ):
        assert part in text
    assert "loader resume" not in text
    assert "loader ambiguous" not in text
    assert len(text.splitlines()) < 24


def test_the_counts_of_the_text_add_up_where_a_run_goes_on() -> None:
    text = replace(REPORT, state="interrupted", reason="signal", signal=2, lines=171249).to_text()
    assert "  open          174  reached, without an outcome yet\n" in text
    assert "open" not in REPORT.to_text()


def test_text_of_a_stop_names_reason_remedy_and_command() -> None:
    stopped = replace(
        REPORT,
        run="my run",
        state="stopped",
        reason="credentials",
        message="refused\x1b[2J",
        hint="set it",
        ambiguous=2,
    )
    text = stopped.to_text()
    assert "Stopped (credentials)" in text
    assert "refused\\x1b[2J" in text
    assert "loader resume 'my run'" in text
    assert "loader ambiguous 'my run'" in text
    assert "loader reconcile 'my run'" in text


def test_text_of_a_repeated_run_says_how_to_load_again() -> None:
    text = replace(REPORT, finished_at="2026-11-22T09:30:00Z").to_text()
    assert "Already finished on 2026-11-22T09:30:00Z" in text
    assert "Nothing was sent" in text
    assert "--run NEW" in text


def test_text_of_a_dry_run_names_no_run_directory() -> None:
    text = replace(REPORT, is_dry_run=True).to_text()
    assert "Nothing was sent" in text
    assert REPORT.run not in text


def test_text_of_an_update() -> None:
    text = replace(REPORT, target="ozari update", created=0, updated=500, unchanged=20).to_text()
    assert "500  20 of them had these values before" in text
    assert "created" not in text


def test_many_warnings_and_twins_stay_on_one_screen() -> None:
    report = replace(REPORT, warnings=tuple(f"w{n}" for n in range(50)), duplicates=tuple(range(50)))
    text = report.to_text()
    assert "Warnings: 50" in text
    assert "and 40 more" in text
    assert len(text.splitlines()) < 40
    assert len(orjson.loads(report.to_json())["warnings"]) == 50
