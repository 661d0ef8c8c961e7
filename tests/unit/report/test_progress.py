"""What is said while a load runs: how often, in which words, and that no display can stop it."""

from __future__ import annotations

import io
import stat
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from loader.model import Counts
from loader.report import progress
from loader.report.dashboard import Dashboard
from loader.report.report import Report, Sample, Start

START = Start(
    run="c.run",
    target="ozari insert",
    table="tcity",
    identity="acme",
    total_bytes=109_157_000,
    rate="auto",
    crash_bound_records=64,
)
SAMPLE = Sample(
    seconds=12.0,
    bytes_read=54_578_500,
    total_bytes=109_157_000,
    counts=Counts(lines=45210, created=45180, rejected=12),
    in_flight=32,
    requests=45200,
    requests_per_second=3767.2,
    records_per_second=3766.0,
    rate_limit=4000.0,
    limited_by="target",
    eta_seconds=24.0,
)
REPORT = Report(run="c.run", target="ozari insert", state="finished")


def at(seconds: float) -> Sample:
    return replace(SAMPLE, seconds=seconds)


def test_the_start_line_says_all_that_cli_md_asks_for() -> None:
    text = progress.start_text(START)
    for part in ("ozari insert", "acme", "tcity", "104.1 MiB", "rate auto", "at most 64 records ambiguous", "c.run"):
        assert part in text
    assert "resuming behind 12,000 settled lines" in progress.start_text(
        replace(START, is_resumed=True, settled_lines=12000)
    )
    assert "unknown number of bytes" in progress.start_text(replace(START, total_bytes=None))
    assert "nothing is sent" in progress.start_text(replace(START, is_dry_run=True))


def test_a_line_of_progress() -> None:
    assert progress.sample_text(SAMPLE) == (
        "12 s, 52.1 MiB of 104.1 MiB (50 %), 45,180 created, 12 rejected, 0 ambiguous, 3,766 records/s, "
        "3,767 requests/s of 4,000/s, limited by the target, 24 s left"
    )
    waiting = replace(SAMPLE, waiting_reason="the target says \x1b[2Jwait", eta_seconds=None, total_bytes=None)
    assert progress.sample_text(waiting).endswith("waiting: the target says \\x1b[2Jwait")
    assert "52.1 MiB read" in progress.sample_text(waiting)
    assert "7 updated" in progress.sample_text(replace(SAMPLE, counts=Counts(updated=7)), "updated")


def test_an_update_counts_updates_and_a_target_without_tables_has_none() -> None:
    said: list[str] = []
    plain = progress.PlainProgress(said.append)
    plain.started(replace(START, target="ozari update"))
    plain.sample(replace(SAMPLE, counts=Counts()))
    assert "0 updated" in said[-1]
    assert progress.start_text(replace(START, target="canbus add", table="")).startswith("canbus add into acme: ")


def test_plain_lines_come_soon_and_then_rarely() -> None:
    said: list[str] = []
    plain = progress.PlainProgress(said.append)
    plain.started(START)
    for tick in range(81):
        plain.sample(at(tick / 4))
    plain.ended(REPORT)
    times = [line.split(",")[0] for line in said[1:]]
    assert times == ["1.0 s", "6.0 s", "11 s", "16 s"]
    assert all(line.endswith("\n") for line in said)
    assert "\x1b" not in "".join(said)


@pytest.mark.parametrize("has_start, has_samples, lines", [(True, False, 2), (False, False, 1)])
def test_less_can_be_said_but_warnings_always_are(has_start: bool, has_samples: bool, lines: int) -> None:
    said: list[str] = []
    plain = progress.PlainProgress(said.append, has_start=has_start, has_samples=has_samples)
    plain.started(START)
    plain.sample(at(60))
    plain.warned("mind the gap")
    assert len(said) == lines
    assert said[-1] == "warning: mind the gap\n"


def test_warnings_are_said_once_and_not_for_ever() -> None:
    said: list[str] = []
    plain = progress.PlainProgress(said.append)
    for n in range(50):
        plain.warned(f"w{n}\nforged")
        plain.warned(f"w{n}\nforged")
    assert len(said) == progress.MAX_WARNINGS + 1
    assert said[0] == "warning: w0\\nforged\n"
    assert "--log-file" in said[-1]
    said.clear()
    verbose = progress.PlainProgress(said.append, is_verbose=True)
    for n in range(50):
        verbose.warned(f"w{n}")
    assert len(said) == 50


def test_a_broken_pipe_costs_the_display_alone() -> None:
    def broken(text: str) -> None:
        raise BrokenPipeError

    plain = progress.PlainProgress(broken)
    plain.started(START)
    plain.sample(at(60))
    plain.warned("x")
    stream = io.StringIO()
    dashboard = Dashboard(stream)
    stream.close()
    dashboard.started(START)
    dashboard.sample(SAMPLE)
    dashboard.warned("x")
    dashboard.ended(REPORT)


def test_the_dashboard_draws_foreign_text_as_text() -> None:
    stream = io.StringIO()
    dashboard = Dashboard(stream)
    dashboard.started(replace(START, table="[red]t[/red]"))
    dashboard.sample(replace(SAMPLE, waiting_reason="[bold]\x1b[2Jx"))
    dashboard.warned("[link=http://evil]w\x1b]0;title\x07")
    dashboard.ended(REPORT)
    dashboard.close()
    shown = stream.getvalue()
    assert "[red]t[/red]" in shown
    assert "[link=http://evil]w\\x1b]0;title\\x07" in shown
    assert "\x1b]0;" not in shown


def test_metrics_are_samples_with_a_time(tmp_path: Path) -> None:
    path = tmp_path / "metrics.ndjson"
    metrics = progress.MetricsFile(path, lambda: "2026-11-22T09:30:00Z")
    metrics.started(START)
    for tick in range(50):
        metrics.sample(at(tick / 4))
    metrics.warned("x")
    metrics.ended(REPORT)
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["sample"]["seconds"] for line in lines] == [0.0, 5.0, 10.0, 12.25]
    assert lines[0]["time"] == "2026-11-22T09:30:00Z"
    assert lines[0]["sample"]["counts"]["created"] == 45180
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_metrics_of_a_dry_run_and_none_where_they_cannot_be_written(tmp_path: Path) -> None:
    for path, start in ((tmp_path / "m", replace(START, is_dry_run=True)), (tmp_path / "none" / "m", START)):
        metrics = progress.MetricsFile(path, lambda: "")
        metrics.started(start)
        metrics.sample(SAMPLE)
        metrics.ended(REPORT)
        assert not path.exists()


def test_a_broadcast_tells_everybody() -> None:
    said: list[str] = []
    plain = progress.PlainProgress(said.append)
    both = progress.Broadcast([plain, plain])
    both.started(START)
    both.sample(at(1.0))
    both.ended(REPORT)
    assert len(said) == 3
