"""The tally of a run: what is about to happen, how it goes, how it ended.

`Start`, `Sample` and `Report` are plain values which the pipeline hands to an observer and to its caller. This file turns a
report into text, JSON and an exit code, and knows neither a clock nor a stream. The JSON's fields are a contract (cli.md); new
ones go to the end.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import orjson

from loader.errors import StopReason
from loader.model import Counts
from loader.redaction import escape, plain_json
from loader.report import wording

State: TypeAlias = Literal["finished", "interrupted", "stopped"]
LimitedBy: TypeAlias = Literal["rate", "target", "concurrency", "machine", "source"]

LIMITED_BY: dict[LimitedBy, str] = {
    "rate": "limited by the rate asked for",
    "target": "limited by the target",
    "concurrency": "limited by the concurrency",
    "machine": "limited by this machine",
    "source": "limited by the source",
}

SIGNAL_EXIT_BASE = 128
"""A shell's way to say which signal ended a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What will happen, known before the first record leaves. `rate` is text: `auto`, `200/s`."""

    run: str
    target: str
    table: str
    identity: str
    total_bytes: int | None
    rate: str
    crash_bound_records: int
    is_resumed: bool = False
    settled_lines: int = 0
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How it goes. `seconds` since this execution began; `counts` of the whole run; rates of the last few seconds.

    `total_bytes` None: the source has no known length. `rate_limit` None: no limit is known. `waiting_reason` says why
    nothing moves, as `the target asks for 3 s`.
    """

    seconds: float
    bytes_read: int
    total_bytes: int | None
    counts: Counts
    in_flight: int
    requests: int
    requests_per_second: float
    records_per_second: float
    rate_limit: float | None = None
    limited_by: LimitedBy | None = None
    waiting_reason: str | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How it ended. Counts are of the whole run, timings and requests of this execution.

    The first twenty fields are the JSON of cli.md, in its order. `identity` is the company or tenant. `bound` says in a sentence
    which duplicates are possible. `duplicates` are ids that the target was found to hold beside a record's own.
    `signal` is the number of the signal that interrupted; `error_code` the exit code of an error that stopped the run and has no
    `reason`, as a source that breaks off. `ids_learnt` and `learnt`, a sentence, say what a list of the target taught
    (`loader reconcile RUN --filter ID`). `finished_at` is set if an earlier execution had finished the run
    and this one sent nothing. `doubled`: records that are proved to stand in the target twice; `missing`: created ones that a
    count did not find. `grounds` are what this execution checked of that on which `bound` rests, `assumptions` what it did not.
    """

    run: str
    target: str
    state: State
    lines: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    ambiguous: int = 0
    skipped_blank: int = 0
    ids_unknown: int = 0
    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    requests_per_second: float = 0.0
    records_per_second: float = 0.0
    limited_by: LimitedBy | None = None
    reason: StopReason | None = None
    table: str = ""
    identity: str = ""
    message: str | None = None
    hint: str | None = None
    bound: str | None = None
    duplicates: tuple[int | str, ...] = ()
    warnings: tuple[str, ...] = ()
    signal: int | None = None
    finished_at: str | None = None
    is_dry_run: bool = False
    error_code: int | None = None
    is_resumable: bool = True
    ids_learnt: int | None = None
    learnt: str | None = None
    doubled: int = 0
    missing: int = 0
    grounds: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()

    @property
    def counts(self) -> Counts:
        """Return the counts of lines as one value."""
        return Counts(*(getattr(self, name) for name in Counts.__struct_fields__))

    @property
    def exit_code(self) -> int:
        """Return the exit code of cli.md's table."""
        if self.state == "interrupted":
            return SIGNAL_EXIT_BASE + (self.signal or 2)
        if self.state == "stopped":
            return {"limit": 0, "disk": 5}.get(self.reason or "", 4) if self.error_code is None else self.error_code
        return 3 if self.rejected or self.ambiguous or self.doubled or self.missing else 0

    def to_json(self) -> bytes:
        """Return the report as one JSON object on one line, without a line feed."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, digits in (("seconds", 3), ("requests_per_second", 1), ("records_per_second", 1)):
            values[name] = round(values[name], digits)
        return plain_json(orjson.dumps(values))

    def to_text(self) -> str:
        """Return the report for one screen: what was done, how fast, what is possible and what to do next."""
        blocks = [_headline(self), _tally(self), _pace(self), _cautions(self), _next_steps(self)]
        return "\n\n".join(block for block in blocks if block) + "\n"


def _headline(report: Report) -> str:
    what = wording.place(report.target, report.table, report.identity)
    if report.finished_at:
        return f"Already finished on {report.finished_at}: {what}. Nothing was sent."
    if report.is_dry_run:
        return f"Dry run: {what}. Nothing was sent."
    if report.state == "finished":
        return f"Finished: {what}."
    why = f" ({report.reason})" if report.reason else ""
    resumable = (
        "It can be resumed" if report.is_resumable else "It cannot be resumed: its lines were not kept (--no-keep)"
    )
    line = f"{report.state.capitalize()}{why}: {what}. {resumable}."
    said = [
        f"{name}: {escape(text, None)}" for name, text in (("error", report.message), ("hint", report.hint)) if text
    ]
    return "\n".join([line, *said])


def _tally(report: Report) -> str:
    is_update = report.target.endswith("update")
    done = ("good", report.created + report.updated) if report.is_dry_run else ("created", report.created)
    rows = [("lines", report.lines, ""), (*done, "")]
    if report.ids_unknown:
        rows[-1] = ("created", report.created, f"{wording.count(report.ids_unknown)} of them without a known id")
    if is_update and not report.is_dry_run:
        note = f"{wording.count(report.unchanged)} of them had these values before" if report.unchanged else ""
        rows[-1] = ("updated", report.updated, note)
    rows += [("rejected", report.rejected, ""), ("ambiguous", report.ambiguous, "")]
    if report.skipped_blank:
        rows.append(("blank", report.skipped_blank, ""))
    # A run that can go on has lines that were reached and have no outcome yet: without them the counts would not add up.
    if report.lines > report.counts.settled and not report.is_dry_run:
        rows.append(("open", report.lines - report.counts.settled, "reached, without an outcome yet"))
    width = max(len(wording.count(number)) for _, number, _ in rows)
    return "\n".join(f"  {name:<10}{wording.count(number):>{width}}  {note}".rstrip() for name, number, note in rows)


def _pace(report: Report) -> str:
    if report.finished_at:
        return ""
    if report.is_dry_run:
        return f"  read in {wording.seconds(report.seconds)}"
    trouble = [
        wording.counted(number, *nouns)
        for number, nouns in ((report.retries, ("retry", "retries")), (report.throttled, ("throttled", "throttled")))
        if number
    ]
    told = f" ({', '.join(trouble)})" if trouble else ""
    sent = f"{wording.size(report.bytes_sent)} in {wording.seconds(report.seconds)}"
    first = f"  {wording.counted(report.requests, 'request')}{told}, {sent}"
    second = (
        f"  {wording.rate(report.requests_per_second)} requests/s, {wording.rate(report.records_per_second)} records/s"
    )
    return f"{first}\n{second}, {LIMITED_BY[report.limited_by]}" if report.limited_by else f"{first}\n{second}"


def _cautions(report: Report) -> str:
    lines = [f"From the list: {escape(report.learnt, None)}"] if report.learnt else []
    lines += [f"Duplicates: {escape(report.bound, None)}"] if report.bound else []
    if report.bound:
        lines += [f"  checked: {escape(ground, None)}" for ground in report.grounds]
        lines += [f"  assumed: {escape(assumption, None)}" for assumption in report.assumptions]
    if report.duplicates:
        shown = ", ".join(escape(str(found)) for found in report.duplicates[:10])
        more = f" and {wording.count(len(report.duplicates) - 10)} more" if len(report.duplicates) > 10 else ""
        lines.append(f"Found twice: ids {shown}{more}")
    if report.warnings and not report.finished_at:
        lines.append(
            f"Warnings: {wording.count(len(report.warnings))}, said above; --json and --log-file have them all"
        )
    return "\n".join(lines)


def _next_steps(report: Report) -> str:
    if report.is_dry_run:
        return ""
    return next_steps(
        report.run,
        report.counts,
        can_go_on=report.state != "finished" and report.is_resumable,
        is_repeated=bool(report.finished_at),
    )


def next_steps(directory: str, counts: Counts, *, can_go_on: bool, is_repeated: bool = False) -> str:
    """List the commands that make sense now, as they are typed."""
    run = shlex.quote(directory)
    steps = []
    if can_go_on:
        steps.append((f"loader resume {run}", "go on where it ended"))
    if counts.rejected:
        steps.append((f"loader rejects {run}", f"list {wording.counted(counts.rejected, 'rejected line')} and why"))
    if counts.ambiguous:
        steps.append((f"loader ambiguous {run}", f"list {wording.counted(counts.ambiguous, 'record')} of unknown fate"))
        steps.append((f"loader reconcile {run}", "ask the target about them, or settle them by your word"))
    if counts.created:
        steps.append((f"loader ids {run}", "list the created ids by line"))
    if is_repeated:
        steps.append(("--run NEW", "with the same command: load everything once more"))
    if not steps:
        return ""
    width = max(len(command) for command, _ in steps)
    return "\n".join(["Next", *(f"  {command:<{width}}  {why}" for command, why in steps)])
