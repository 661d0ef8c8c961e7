"""A user, real processes and an emulator over loopback: hypothesis looks for the order of events that breaks a promise.

The source grows by records, by lines that are none and by blank ones; what was loaded is altered, refused, and put back.
Processes run to their end, drain after a signal, abort at a second one, are killed at a point or a moment, and meet a rival;
a library's load is abandoned. What no sync made durable is lost, the log's end is torn or cut. Options change. The model is a
multiset (`model`), compared after every execution; in the end the run is finished in fair weather.

LOADER_MACHINES says how many users there are. One that fails is told as the steps to repeat.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from loader.checkpoint.windows import outcome_of
from loader.emulator import running
from loader.emulator.faults import Fault
from loader.model import Ambiguous
from loader.reconcile.reconciler import UNPROVED
from tests.emulated.crash_jobs import KINDS, Job, plan_of
from tests.emulated.crash_trials import QUICK, Kill, Processes, cut_log
from tests.emulated.model import BAD_LINES, BLANK_LINES, Model, slots_of
from tests.emulated.nursery import Nursery, lose_power

MACHINES = int(os.environ.get("LOADER_MACHINES", "4"))
STEPS = 8 if MACHINES < 10 else 16
NAMES = ["insert", "insert-key", "insert-hold", "update", "update-filters-no-query", "add", "add-hold"]
CALM_LIVES = 6
SETTLE_SECONDS = 0.2
"""As QUICK says."""
MAX_LINES = 60
"""Fewer than a window, so that a log may be cut anywhere: a resume asks for a whole window beyond what it knows of."""
ENDED = {0, 3, 4}
"""Finished, or stopped by the target: never a bug (1), wrong usage (2) or a run that cannot be used (5)."""


def faults_of(*rules: dict[str, Any]) -> tuple[Fault, ...]:
    return msgspec.convert(rules, tuple[Fault, ...])


RECORDS = ["insert", "update", "add"]
FAULTS: dict[str, tuple[Fault, ...]] = {
    "fair": (),
    "lost answers": faults_of(
        {"kind": "close", "when": "after", "probability": 0.15, "operations": [*RECORDS, "query"]},
        {"kind": "reset", "when": "before", "probability": 0.1, "operations": [*RECORDS, "query"]},
    ),
    "errors": faults_of(
        {"kind": "status", "status": 500, "commit": "before", "probability": 0.1, "operations": RECORDS},
        {"kind": "status", "status": 503, "commit": "never", "probability": 0.1, "operations": RECORDS},
    ),
    "throttled": faults_of({"kind": "status", "status": 429, "retry_after": "0", "probability": 0.1}),
    "refused": faults_of({"kind": "status", "status": 400, "probability": 0.1, "operations": ["insert", "update"]}),
    "unreadable": faults_of(
        {"kind": "malformed", "change": "not_json", "probability": 0.1, "operations": RECORDS},
        {"kind": "null_id", "probability": 0.1, "operations": ["insert", "add"]},
    ),
    "slow": faults_of({"kind": "latency", "milliseconds": 20, "operations": RECORDS}),
}
kills = st.one_of(
    st.builds(Kill, at=st.integers(1, 150), is_torn=st.booleans()),
    st.builds(Kill, seconds=st.floats(0.05, 0.6)),
)
options = st.fixed_dictionaries(
    {},
    optional={
        "--rate": st.sampled_from(["100", "2000", "auto:50"]),
        "--concurrency": st.sampled_from(["1", "3", "16"]),
        "--transport": st.sampled_from(["session", "lean", "auto"]),
        "--ambiguous": st.sampled_from(["hold", "resend"]),
    },
)
seeds = st.integers(0, 1000)


class User(RuleBasedStateMachine):
    """One run and all that is done to it."""

    nursery: Nursery

    @initialize(name=st.sampled_from(NAMES), rows=st.lists(st.integers(0, 5), max_size=30), may_cut=st.booleans())
    def begin(self, name: str, rows: list[int], *, may_cut: bool) -> None:
        """Begin. `may_cut`: the log may be cut by hand, so each execution has to ask first; else a shorter one is damage."""
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="loader-user-")))
        kind = KINDS[name]
        self.emulator = self.stack.enter_context(running(plan_of(kind)))
        self.model = Model(kind)
        self.model.prepare(self.emulator)
        self.model.append_records(rows)
        self.job = Job(kind, folder / "job", 0, self.emulator.base_url, QUICK)
        self.job.folder.mkdir()
        self.processes = Processes(self.nursery, self.job)
        self.options: dict[str, str] = {}
        self.is_fair = True
        self.is_resume = False
        self.may_cut = kind.is_stamped and may_cut

    # --- executions ----------------------------------------------------------------------------------------------------

    def start(self, *more: str, kill: Kill | None = None) -> int:
        """Start a process on what the source is now: the command again, or `loader resume`."""
        self.model.write(self.job.source)
        self.model.may_double |= self.options.get("--ambiguous") == "resend"
        changed = [word for pair in self.options.items() for word in pair]
        self.processes._job = replace(self.job, options=(*QUICK, *changed, *more))
        words = ["resume", str(self.job.run), *QUICK, *changed, *more, "--json"]
        can_resume = self.is_resume and (self.job.run / "run.json").exists()
        return self.processes.start(kill, **({"words": words} if can_resume else {}))

    def look(self) -> None:
        """Compare the target and the log with the model."""
        assert self.model.wrong_now(self.emulator, self.job.run) == []

    def take(self, pid: int, expected: set[int]) -> dict[str, Any]:
        """Wait for a process that makes a report, and compare."""
        code = self.processes.wait(pid)
        assert code in expected, f"exit {code}: {self.processes.said()}"
        report = self.processes.report(code)
        self.look()
        if report["state"] == "finished":
            assert self.model.wrong_at_end(self.job.run, report) == []
        elif self.is_fair:
            assert report["state"] == "interrupted" or report["reason"] == "limit", report
        return report

    @rule()
    def run(self) -> None:
        self.take(self.start(), ENDED)

    @rule(count=st.integers(1, 20))
    def run_some_lines(self, count: int) -> None:
        self.take(self.start("--limit", str(count)), ENDED)

    @rule()
    def only_ask(self) -> None:
        if not (self.job.run / "run.json").exists():  # no precondition: it would depend on the moment of a kill
            return
        self.model.write(self.job.source)
        words = ["reconcile", str(self.job.run), *QUICK, "--json"]
        code = self.processes.wait(self.processes.start(words=words))
        assert code in ENDED, f"exit {code}: {self.processes.said()}"
        self.look()

    @rule(first=kills, again=st.none() | kills, power=st.none() | seeds)
    def die(self, first: Kill, again: Kill | None, power: int | None) -> None:
        for kill in filter(None, (first, again)):
            pid = self.start(kill=kill)
            if kill.seconds:
                time.sleep(kill.seconds)
                os.kill(pid, signal.SIGKILL)
            code = self.processes.wait(pid)
            assert code in ENDED | {-signal.SIGKILL}, f"exit {code}: {self.processes.said()}"
            if power is not None and self.job.run.exists():
                lose_power(self.job.run, self.processes.notes, random.Random(power))
            self.look()

    @rule(
        number=st.sampled_from([signal.SIGHUP, signal.SIGINT, signal.SIGTERM]),
        seconds=st.floats(0.05, 0.4),
        is_twice=st.booleans(),
    )
    def interrupt(self, number: int, seconds: float, *, is_twice: bool) -> None:
        pid = self.start()
        time.sleep(seconds)
        os.kill(pid, number)
        if is_twice:
            os.kill(pid, number)
        code = self.processes.wait(pid)
        assert code in ENDED | {128 + number, -number}, (
            f"exit {code}: {self.processes.said()}"
        )  # -number: it had not begun
        self.look()

    @rule()
    def meet_a_rival(self) -> None:
        first, second = self.start(), self.start()
        codes = [self.processes.wait(first), self.processes.wait(second)]
        assert set(codes) <= ENDED | {5}, f"exit {codes}: {self.processes.said()}"
        assert codes != [5, 5], self.processes.said()
        self.look()

    # --- what befalls the run ------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(sorted(FAULTS)))
    def change_the_weather(self, name: str) -> None:
        self.emulator.set_faults(*FAULTS[name])
        self.is_fair = name == "fair"

    @rule(noise=st.binary(min_size=1, max_size=200))
    def tear_the_log(self, noise: bytes) -> None:
        log = self.job.run / "checkpoint.log"
        if log.exists() and (self.job.run / "run.json").exists():
            with log.open("ab") as file:
                file.write(noise.replace(b"\n", b""))

    @precondition(lambda self: self.may_cut)
    @rule(seed=seeds)
    def cut_the_log(self, seed: int) -> None:
        time.sleep(SETTLE_SECONDS)  # what the log forgot is believed to be absent without a further wait
        cut_log(self.job.run, random.Random(seed))

    # --- what the user does --------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.model.lines) < MAX_LINES - 20)
    @rule(rows=st.lists(st.integers(0, 5), min_size=1, max_size=20))
    def append_records(self, rows: list[int]) -> None:
        self.model.append_records(rows)

    @precondition(lambda self: len(self.model.lines) < MAX_LINES)
    @rule(text=st.sampled_from([*BAD_LINES, *BLANK_LINES]))
    def append_what_is_no_record(self, text: bytes) -> None:
        self.model.append(text)

    @rule(chosen=options, is_resume=st.booleans())
    def change_options(self, chosen: dict[str, str], *, is_resume: bool) -> None:
        if self.may_cut:
            chosen = {name: value for name, value in chosen.items() if name != "--ambiguous"}
        self.options, self.is_resume = chosen, is_resume

    @rule(share=st.floats(0, 0.99), is_cut=st.booleans())
    def change_what_was_loaded(self, share: float, *, is_cut: bool) -> None:
        loaded = max(slots_of(self.job.run), default=0)
        if not loaded:
            return
        requests, lines = self.emulator.journal.requests, self.model.lines
        number = int(share * loaded)
        other = [] if is_cut else [replace(lines[number], text=b'{"other": 1}'), *lines[number + 1 :]]
        self.model.lines = lines[:number] + other
        code = self.processes.wait(self.start())
        assert code == 5, f"exit {code}: {self.processes.said()}"
        assert self.emulator.journal.requests == requests
        self.model.lines = lines
        self.look()

    # --- the end -------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        try:
            self.finish()
        finally:
            self.stack.close()

    def finish(self) -> None:
        """Go on in fair weather until all is settled that can be; then see that a finished run sends nothing."""
        self.emulator.set_faults()
        self.is_fair, self.options = True, {}
        report: dict[str, Any] = {}
        for _ in range(CALM_LIVES):
            report = self.take(self.start(), {0, 3})
            if not (report["ambiguous"] and self.model.kind.is_stamped):
                break
        assert report["state"] == "finished"
        slots = slots_of(self.job.run).values()
        reasons = [outcome.reason for slot in slots if isinstance(outcome := outcome_of(slot), Ambiguous)]
        if self.model.kind.is_stamped:  # an update that was held may be overtaken, a key may stand in an older row
            assert [reason for reason in reasons if not reason.endswith(UNPROVED)] == []
        before = self.emulator.journal.requests
        self.take(self.start(), {0, 3})
        if not reasons:
            assert self.emulator.journal.requests == before


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as server:
        yield server


@pytest.mark.timeout(0 if MACHINES >= 10 else 120)
def test_no_order_of_events_breaks_a_promise(nursery: Nursery) -> None:
    User.nursery = nursery
    # Not shrunk: each step starts processes, and the moment of a kill does not repeat exactly.
    run_state_machine_as_test(
        User,
        settings=settings(
            max_examples=MACHINES, stateful_step_count=STEPS, phases=(Phase.explicit, Phase.generate), deadline=None
        ),
    )
