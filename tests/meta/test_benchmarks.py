"""The benchmarks say what was measured: pages follow the results, and the peers' harness sees what is lost and doubled."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import measuring, tables
from benchmarks.peers import ours, shell
from benchmarks.peers.__main__ import available, with_kept
from benchmarks.peers.contest import CANBUS, Contestant, Job
from benchmarks.peers.faults import TRIALS, Trial, hold

PLAIN = """
import json, sys, urllib.request
url, source, credentials, times = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
lines = [json.loads(line) for line in open(source)]
for at in range(0, len(lines) - 10, 10):
    body = json.dumps(credentials | {"add": lines[at : at + 10]}).encode()
    for _ in range(times):
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request).read()
"""
NOTHING = Trial(name="nothing", about="nothing goes wrong")


def careless(times: int) -> Contestant:
    """A contestant that sends every batch so many times, and forgets the last one."""

    def build(job: Job) -> list[str]:
        return [sys.executable, "-c", PLAIN, job.url, str(job.source), json.dumps(CANBUS), str(times)]

    return Contestant(name="careless", shapes=("batch",), build=build, version=lambda: "1")


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda path: path.parent.name)
def test_the_pages_say_what_the_results_say(page: Path) -> None:
    text = page.read_text()
    assert tables.fill(text, tables.read()) == text


def test_a_page_has_every_table() -> None:
    summary, named = (set(tables.MARK.findall(page.read_text())) for page in tables.PAGES)
    assert summary == {"summary"}
    assert named >= set(tables.ALONE) | {"speed_single", "speed_batch", "faults_single", "faults_batch"}


def test_what_is_lost_and_doubled_is_seen(tmp_path: Path) -> None:
    found = hold(NOTHING, careless(2), "batch", tmp_path, count=50)
    assert (found["missing"], found["lost"], found["doubled"]) == (10, 10, 40)


def test_a_kill_is_seen(tmp_path: Path) -> None:
    (kill,) = (trial for trial in TRIALS if trial.is_killed)
    found = hold(kill, careless(1), "batch", tmp_path, count=200)
    assert found["ends"] == ["killed", "exit 0"]
    assert found["doubled"] >= 90


def test_the_loader_loses_and_doubles_nothing_there(tmp_path: Path) -> None:
    (lost,) = (trial for trial in TRIALS if trial.name == "lost answers")
    found = hold(lost, ours.FOR_FAULTS[0], "single", tmp_path, count=120)
    assert (found["missing"], found["doubled"], found["ends"]) == (0, 0, ["exit 0"])
    assert found["requests"] > 120  # the lost ones were asked for


@pytest.mark.parametrize("ratio, goal, said", [(1.2, 1.0, "reached"), (0.8, 1.0, "missed"), (1.05, 1.0, "inside")])
def test_a_verdict_keeps_out_of_the_noise(ratio: float, goal: float, said: str) -> None:
    assert measuring.verdict(measuring.Ratio([ratio] * 5), goal, 0.1).startswith(said)


def test_a_peer_that_is_not_there_says_what_would_install_it() -> None:
    absent = replace(shell.CONTESTANTS[0], needs=("no-such-program",))
    missing: dict[str, str] = {}
    assert available([absent, *ours.FOR_SPEED], missing) == list(ours.FOR_SPEED)
    assert missing == {"curl -Z": "no no-such-program: apt-get install -y --no-install-recommends curl"}


def test_every_configuration_of_curl_is_whole(tmp_path: Path) -> None:
    source = tmp_path / "records"
    source.write_text('{"fname":"a \\" b \\\\ c"}\n{"fname":"d"}\n')
    shell.build_curl(Job("single", source, tmp_path, "http://127.0.0.1:1"))
    blocks = (tmp_path / "curl.conf").read_text().split("next\n")
    assert len(blocks) == 2
    assert all("fail\n" in block and "retry" in block and "url" in block for block in blocks)
    assert r'data-binary = "{\"fields\":{\"fname\":\"a \\\" b \\\\ c\"}}"' in blocks[0]


def test_a_trial_that_is_held_alone_leaves_the_others_as_they_were() -> None:
    kept = [{"name": "a", "trials": {"429": 1, "503": 2}}, {"name": "b", "trials": {"429": 3}}]
    rows = [{"name": "a", "trials": {"503": 9}}, {"name": "c", "trials": {"429": 4}}]
    assert with_kept(kept, rows) == [
        {"name": "a", "trials": {"429": 1, "503": 9}},
        {"name": "b", "trials": {"429": 3}},
        {"name": "c", "trials": {"429": 4}},
    ]
