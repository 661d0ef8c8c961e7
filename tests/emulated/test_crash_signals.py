"""Signals, a stopped clock, a reader that goes away, and two processes at once: the run ends or goes on as it promised.

A first signal drains: what is in flight gets its answer, so that even a run without key or stamp leaves nothing ambiguous.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loader.emulator import Emulator, running
from loader.emulator.faults import Fault
from tests.emulated.crash_jobs import CREDENTIALS, KINDS, TRANSPORTS, Job, plan_of
from tests.emulated.crash_trials import QUICK, WAIT_SECONDS, Kill, Processes, wait_for_requests
from tests.emulated.nursery import Nursery

EXIT_CODES = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}
RECORDS = 300
SLOW: tuple[Fault, ...] = msgspec.convert([{"kind": "latency", "milliseconds": 40}], tuple[Fault, ...])
SLOWEST: tuple[Fault, ...] = msgspec.convert([{"kind": "latency", "milliseconds": 500}], tuple[Fault, ...])
SILENT: tuple[Fault, ...] = msgspec.convert(
    [{"kind": "hang", "operations": ["insert", "add"], "after": 5}], tuple[Fault, ...]
)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as server:
        yield server


def prepared(name: str, folder: Path, emulator: Emulator, *options: str, records: int = RECORDS) -> Job:
    job = Job(KINDS[name], folder / "job", records, emulator.base_url, (*QUICK, *options))
    job.prepare(emulator)
    return job


def interrupt(nursery: Nursery, folder: Path, name: str, number: signal.Signals, draw: random.Random) -> list[str]:
    """Interrupt a load again and again, then let it end; return what is wrong."""
    with running(plan_of(KINDS[name])) as emulator:
        emulator.set_faults(*SLOW)
        job = prepared(name, folder, emulator)
        processes = Processes(nursery, job)
        for _ in range(3):
            pid = processes.start()
            wait_for_requests(emulator, emulator.journal.requests + draw.randint(1, 40))
            os.kill(pid, number)
            code = processes.wait(pid)
            if code == 3:
                break  # it had come to its end
            assert code == EXIT_CODES[number], processes.said()
            report = processes.report(code)
            assert (report["state"], report["reason"], report["ambiguous"]) == ("interrupted", "signal", 0)
        report = processes.finish()
        return job.check(emulator, report) + [f"{report['ambiguous']} ambiguous"] * bool(report["ambiguous"])


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("insert-hold", signal.SIGINT),
        ("add-hold", signal.SIGTERM),
        ("update", signal.SIGHUP),
        ("insert", signal.SIGINT),
    ],
)
def test_an_interrupted_run_leaves_nothing_ambiguous(
    nursery: Nursery, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    assert interrupt(nursery, tmp_path, name, number, random.Random(name)) == []


@pytest.mark.soak
@pytest.mark.parametrize("name", ["insert-hold", "add-hold", "update", "insert", "add"])
@pytest.mark.parametrize("number", EXIT_CODES)
@pytest.mark.parametrize("seed", range(10))
def test_an_interrupted_run_leaves_nothing_ambiguous_at_any_moment(
    nursery: Nursery, tmp_path: Path, name: str, number: signal.Signals, seed: int
) -> None:
    assert interrupt(nursery, tmp_path, name, number, random.Random(f"{name} {seed}")) == []


@pytest.mark.parametrize("number", EXIT_CODES)
def test_the_first_signals_exit_code_stands_before_anything_is_sent(
    nursery: Nursery, tmp_path: Path, number: signal.Signals
) -> None:
    """The target is down: the preflight is being repeated."""
    with running(plan_of(KINDS["insert-hold"])) as emulator:
        emulator.set_faults(*msgspec.convert([{"kind": "close", "when": "before"}], tuple[Fault, ...]))
        job = prepared("insert-hold", tmp_path, emulator, records=10)
        processes = Processes(nursery, job)
        pid = processes.start()
        wait_for_requests(emulator, 2)
        os.kill(pid, number)
        assert processes.wait(pid) == EXIT_CODES[number]
        emulator.set_faults()
        report = processes.finish()
        assert job.check(emulator, report) == []
        assert report["ambiguous"] == 0


def test_what_was_never_sent_stays_so_through_a_run_that_could_not_begin(nursery: Nursery, tmp_path: Path) -> None:
    """The second execution is interrupted in its preflight: it must not forget what the first knew."""
    with running(plan_of(KINDS["insert-hold"])) as emulator:
        emulator.set_faults(*SLOW)
        job = prepared("insert-hold", tmp_path, emulator, "--rate", "100")
        processes = Processes(nursery, job)
        pid = processes.start()
        wait_for_requests(emulator, 20)
        os.kill(pid, signal.SIGINT)
        assert processes.wait(pid) == EXIT_CODES[signal.SIGINT]
        emulator.set_faults(*msgspec.convert([{"kind": "close", "when": "before"}], tuple[Fault, ...]))
        before = emulator.journal.requests
        pid = processes.start()
        wait_for_requests(emulator, before + 2)
        os.kill(pid, signal.SIGINT)
        assert processes.wait(pid) == EXIT_CODES[signal.SIGINT]
        emulator.set_faults()
        report = processes.finish()
        assert job.check(emulator, report) == []
        assert report["ambiguous"] == 0


@pytest.mark.parametrize("name", ["insert", "insert-hold", "add-hold"])
@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_second_signal_aborts_at_once(nursery: Nursery, tmp_path: Path, name: str, number: signal.Signals) -> None:
    """The target never answers: draining would last until the timeout."""
    with running(plan_of(KINDS[name])) as emulator:
        emulator.set_faults(*SILENT)
        job = prepared(name, tmp_path, emulator, "--timeout", "600", records=40)
        processes = Processes(nursery, job)
        pid = processes.start()
        while not emulator.journal.faults["hang"] and not processes.has_ended(pid):
            time.sleep(0.005)
        os.kill(pid, number)
        time.sleep(0.3)
        assert not processes.has_ended(pid), "it did not wait for what is in flight"
        os.kill(pid, number)
        assert processes.wait(pid) == EXIT_CODES[number]
        emulator.set_faults()
        report = processes.finish()
        assert job.check(emulator, report) == []


@pytest.mark.parametrize("number", EXIT_CODES)
def test_an_echo_of_the_first_signal_is_no_second_one(nursery: Nursery, tmp_path: Path, number: signal.Signals) -> None:
    """`timeout` tells the command, then its process group, the command among them; a key is repeated."""
    with running(plan_of(KINDS["insert-hold"])) as emulator:
        emulator.set_faults(*SLOWEST)
        job = prepared("insert-hold", tmp_path, emulator, "--rate", "100")
        processes = Processes(nursery, job)
        pid = processes.start()
        wait_for_requests(emulator, 20)
        for _ in range(3):
            os.kill(pid, number)
            time.sleep(0.03)
        code = processes.wait(pid)
        assert code == EXIT_CODES[number], processes.said()
        report = processes.report(code)
        assert (report["state"], report["reason"], report["ambiguous"]) == ("interrupted", "signal", 0)
        emulator.set_faults()
        report = processes.finish()
        assert job.check(emulator, report) == []
        assert report["ambiguous"] == 0


def test_a_run_that_draws_to_an_end_by_itself_is_aborted_by_a_second_signal_too(
    nursery: Nursery, tmp_path: Path
) -> None:
    """The target refuses the credentials and leaves the rest without an answer: draining would last until the timeout."""
    with running(plan_of(KINDS["insert"])) as emulator:
        refused = {"kind": "status", "operations": ["insert"], "after": 8, "times": 1, "status": 401}
        emulator.set_faults(*msgspec.convert([refused], tuple[Fault, ...]), *SILENT)
        job = prepared("insert", tmp_path, emulator, "--timeout", "600", records=40)
        processes = Processes(nursery, job)
        pid = processes.start()
        while not emulator.journal.faults["status"] and not processes.has_ended(pid):
            time.sleep(0.005)
        time.sleep(0.3)
        for _ in range(2):
            assert not processes.has_ended(pid), "it did not wait for what is in flight"
            os.kill(pid, signal.SIGINT)
            time.sleep(0.3)
        assert processes.wait(pid) == EXIT_CODES[signal.SIGINT]
        emulator.set_faults()
        report = processes.finish()
        assert job.check(emulator, report) == []


def test_under_nohup_a_load_outlives_its_terminal(tmp_path: Path) -> None:
    with running(plan_of(KINDS["insert-hold"])) as emulator:
        emulator.set_faults(*SLOW)
        job = prepared("insert-hold", tmp_path, emulator, records=100)
        with (tmp_path / "output").open("wb") as output:
            process = subprocess.Popen(
                ["nohup", sys.executable, "-m", "loader", *job.words],  # noqa: S607 -- where nohup lies is the system's business
                env=os.environ | CREDENTIALS,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for_requests(emulator, 10)
        process.send_signal(signal.SIGHUP)
        assert process.wait(WAIT_SECONDS) == 3, (tmp_path / "output").read_text()
        assert len({row["fcode"] for row in emulator.rows("tcity")}) == len(emulator.rows("tcity")) == 100


@pytest.mark.parametrize("fault, number", [("asked to come back", signal.SIGINT), ("down", signal.SIGTERM)])
def test_a_signal_ends_a_wait(nursery: Nursery, tmp_path: Path, fault: str, number: signal.Signals) -> None:
    """The target says to come back in five minutes, or the breaker is open: a signal waits for neither."""
    rules = {
        "asked to come back": {
            "kind": "status",
            "status": 429,
            "retry_after": "300",
            "operations": ["insert"],
            "after": 5,
        },
        "down": {"kind": "close", "when": "before", "after": 10},
    }
    with running(plan_of(KINDS["insert-hold"])) as emulator:
        emulator.set_faults(*msgspec.convert([rules[fault]], tuple[Fault, ...]))
        job = prepared("insert-hold", tmp_path, emulator, "--concurrency", "2", records=40)
        processes = Processes(nursery, job)
        pid = processes.start()
        wait_for_requests(emulator, 14 if fault == "down" else 6)
        os.kill(pid, number)
        assert processes.wait(pid) == EXIT_CODES[number], processes.said()
        emulator.set_faults()
        assert job.check(emulator, processes.finish()) == []


def soaked(*chosen: tuple[str, str]) -> list[Any]:
    """Pair kinds and transports: the chosen ones for `make test`, all others for `make soak`."""
    names = ("insert", "insert-hold", "add", "update-filters")
    rest = [pair for pair in itertools.product(names, TRANSPORTS) if pair not in chosen]
    return [*chosen, *(pytest.param(*pair, marks=pytest.mark.soak) for pair in rest)]


@pytest.mark.parametrize(
    ("name", "transport"),
    soaked(("insert", "lean"), ("insert-hold", "session"), ("add", "lean"), ("update-filters", "session")),
)
def test_a_process_that_slept_past_all_timeouts_goes_on(
    nursery: Nursery, tmp_path: Path, name: str, transport: str
) -> None:
    """As a laptop does whose lid was closed. Answers that came meanwhile may count as lost; they are asked for."""
    with running(plan_of(KINDS[name])) as emulator:
        emulator.set_faults(*SLOW)
        job = prepared(name, tmp_path, emulator, "--timeout", "1", "--transport", transport, records=120)
        processes = Processes(nursery, job)
        pid = processes.start()
        for _ in range(2):
            wait_for_requests(emulator, emulator.journal.requests + 15)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(1.5)
            os.kill(pid, signal.SIGCONT)
        report = processes.report(processes.wait(pid))
        assert job.check(emulator, report) == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
def test_a_reader_that_goes_away_does_not_disturb_the_load(tmp_path: Path, stream: str, unbuffered: str) -> None:
    """`loader ... | head -1`, and the same with the progress. What Python still holds at its end counts as well."""
    with running(plan_of(KINDS["insert-hold"])) as emulator:
        emulator.set_faults(*SLOW)
        job = prepared("insert-hold", tmp_path, emulator, "--progress", "plain", records=40)
        reading, writing = os.pipe()
        os.close(reading)
        output = (tmp_path / "output").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "loader", *job.words],
            env=os.environ | CREDENTIALS | {"PYTHONUNBUFFERED": unbuffered},
            stdout=output if stream == "stderr" else writing,
            stderr=output if stream == "stdout" else writing,
        )
        os.close(writing)
        code = process.wait(WAIT_SECONDS)
        output.close()
        assert code == 3, (tmp_path / "output").read_text()
        assert len(emulator.rows("tcity")) == 40
        assert len({row["fcode"] for row in emulator.rows("tcity")}) == 40


# --- two at once --------------------------------------------------------------------------------------------------------


def start_two(nursery: Nursery, folder: Path, name: str, seed: int) -> None:
    """Start two processes on one run, new or interrupted: one loads, the other says that it may not."""
    with running(plan_of(KINDS[name])) as emulator:
        emulator.set_faults(*SLOW)
        job = prepared(name, folder, emulator, "--transport", TRANSPORTS[seed // 2 % 2], records=60)
        processes = Processes(nursery, job)
        if seed % 2:
            processes.kill(Kill(seconds=0.1))
        emulator.set_faults(*SLOWEST)  # whoever loads is at it still when the other one has seen that it may not
        first, second = processes.start(), processes.start()
        until = time.monotonic() + WAIT_SECONDS
        while not (processes.has_ended(first) or processes.has_ended(second)) and time.monotonic() < until:
            time.sleep(0.005)
        emulator.set_faults()
        codes = sorted([processes.wait(first), processes.wait(second)])
        assert codes == [3, 5]
        report = processes.finish()
        assert job.check(emulator, report) == []
        if not seed % 2:
            created = [record for fact in emulator.journal for record in fact.ids]
            assert len(created) == len(emulator.rows(job.kind.table)) == 60


@pytest.mark.parametrize("name", ["insert", "add-hold"])
def test_of_two_processes_on_one_run_one_sends(nursery: Nursery, tmp_path: Path, name: str) -> None:
    for seed in range(5):
        start_two(nursery, tmp_path / str(seed), name, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100))
def test_of_two_processes_on_one_run_one_sends_always(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    start_two(nursery, tmp_path, "insert", seed)


def test_the_run_of_a_killed_holder_is_free_at_once(nursery: Nursery, tmp_path: Path) -> None:
    with running(plan_of(KINDS["insert"])) as emulator:
        emulator.set_faults(*SLOW)
        job = prepared("insert", tmp_path, emulator)
        processes = Processes(nursery, job)
        pid = processes.start()
        wait_for_requests(emulator, 20)
        refused = processes.start()
        assert processes.wait(refused) == 5
        assert "another process holds this run" in processes.said()
        os.kill(pid, signal.SIGSTOP)  # a stopped holder holds it too
        refused = processes.start()
        assert processes.wait(refused) == 5
        os.kill(pid, signal.SIGKILL)
        assert processes.wait(pid) == -signal.SIGKILL
        report = processes.finish()
        assert job.check(emulator, report) == []
