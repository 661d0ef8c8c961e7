"""The log file: one JSON object a line, and no secret in any form."""

from __future__ import annotations

import base64
import logging
import stat
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from loader.errors import UsageError
from loader.model import Counts
from loader.redaction import Redactor
from loader.report.log_file import SHORTEST_SECRET, LibraryLogs, LogFile
from loader.report.report import Report, Sample, Start
from loader.settings import Secret

CANARY = 'can"ary/4f1c+09'


def log_file(path: Path, *, is_verbose: bool = False) -> LogFile:
    return LogFile(
        str(path), lambda: "2026-11-22T09:30:00Z", Redactor([Secret(CANARY)], SHORTEST_SECRET), is_verbose=is_verbose
    )


def test_every_event_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "l"
    log = log_file(path)
    log.started(Start(run="r", target="t", table="x", identity="i", total_bytes=1, rate="auto", crash_bound_records=1))
    for seconds in (0.0, 1.0, 11.0):
        log.sample(
            Sample(
                seconds=seconds,
                bytes_read=0,
                total_bytes=None,
                counts=Counts(created=3),
                in_flight=0,
                requests=0,
                requests_per_second=0,
                records_per_second=0,
            )
        )
    log.warned("one\ntwo")
    log.ended(Report(run="r", target="t", state="finished"))
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["event"] for line in lines] == ["started", "sample", "sample", "warned", "ended"]
    assert lines[1]["counts"]["created"] == 3
    assert lines[3]["text"] == "one\ntwo"
    assert lines[4]["state"] == "finished"
    assert {line["time"] for line in lines} == {"2026-11-22T09:30:00Z"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


FORMS = [CANARY, quote(CANARY, safe=""), base64.b64encode(CANARY.encode()).decode(), CANARY.replace('"', '\\"')]


@pytest.mark.parametrize("form", FORMS)
def test_secrets_are_replaced_in_every_form(tmp_path: Path, form: str) -> None:
    log = log_file(tmp_path / "l")
    log.warned(f"before {form} after")
    text = (tmp_path / "l").read_text()
    assert orjson.loads(text)["text"] == "before *** after"
    assert Redactor([Secret(CANARY)], SHORTEST_SECRET).clean(f"<{form}>") == "<***>"


def test_short_words_are_no_secrets() -> None:
    assert Redactor([Secret("a"), Secret("")], SHORTEST_SECRET).clean("a banana") == "a banana"


def test_what_libraries_log_goes_there_without_its_arguments(tmp_path: Path) -> None:
    handler = LibraryLogs(log_file(tmp_path / "l"))
    handler.handle(
        logging.makeLogRecord({"name": "asyncio", "msg": "Unclosed %r", "args": ({"Authorization": CANARY},)})
    )
    line = orjson.loads((tmp_path / "l").read_bytes())
    assert (line["event"], line["logger"], line["text"]) == ("library", "asyncio", "Unclosed %r")
    LibraryLogs(None).handle(logging.makeLogRecord({"msg": "nowhere"}))


def test_a_log_file_that_cannot_be_opened_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        log_file(tmp_path / "none" / "l")


def test_a_closed_log_file_stops_nothing() -> None:
    log_file(Path("/dev/full")).warned("x")
