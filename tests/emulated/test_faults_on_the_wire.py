"""Every kind of fault over a real socket: what bytes come, how the connection ends, and what was written."""

from __future__ import annotations

from typing import Any

import pytest

from loader.emulator import Emulator, EmulatorThread, Plan, running
from loader.emulator.faults import (
    Close,
    Cut,
    ExtraAnswer,
    Fault,
    Hang,
    LateCommit,
    Latency,
    Malformed,
    Reset,
    StatusFault,
    Trickle,
)
from loader.emulator.switches import OzariSwitches
from tests.emulated.wire import QUIET_SECONDS, exchange, link, read, read_answers, request, until

CLOSE = "Connection: close\r\n"
HEAD = b"HTTP/1.1 201 Created\r\n"
BODY = b'{"success":true,"table":"tcust","insertedId":1,"fields":{"a": "x"}}'


@pytest.mark.parametrize(
    "rule, ending, data, rows",
    [
        (Reset(when="headers"), "reset", b"", 0),
        (Reset(when="before"), "reset", b"", 0),
        (Reset(when="after"), "reset", b"", 1),
        (Close(when="before"), "fin", b"", 0),
        (Close(when="after"), "fin", b"", 1),
        (Hang(when="headers"), "open", b"", 0),
        (Hang(when="before"), "open", b"", 0),
        (Hang(when="after"), "open", b"", 1),
        (Cut(part="headers"), "fin", HEAD[:20], 1),
        (Cut(part="headers", ending="hang"), "open", HEAD[:20], 1),
        (Cut(part="headers", ending="reset"), "reset", HEAD[:20], 1),
        (Cut(), "fin", HEAD, 1),
        (Cut(ending="reset"), "reset", HEAD, 1),
        (Cut(ending="hang"), "open", HEAD, 1),
        (Cut(when="before"), "fin", b"HTTP/1.1 200 OK", 0),
        (Cut(framing="chunked"), "fin", HEAD, 1),
        (Cut(framing="close"), "fin", HEAD, 1),
        (LateCommit(seconds=3600), "fin", b"", 0),
        (LateCommit(seconds=3600, ending="reset"), "reset", b"", 0),
        (LateCommit(seconds=3600, ending="hang"), "open", b"", 0),
        (StatusFault(status=502, content="html"), "open", b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html", 0),
        (StatusFault(status=599, content="empty", commit="before"), "open", b"HTTP/1.1 599 ", 1),
        (StatusFault(status=307, location="http://127.0.0.1:1/"), "open", b"HTTP/1.1 307 ", 0),
        (StatusFault(status=413, is_early=True), "fin", b"HTTP/1.1 413 ", 0),
        (ExtraAnswer(answer="junk"), "fin", HEAD, 1),
        (Malformed(change="status_line"), "fin", b"HTTP/1.1 two hundred", 1),
        (Malformed(change="header"), "fin", HEAD, 1),
        (Malformed(change="two_lengths"), "fin", HEAD, 1),
        (Malformed(change="short_length"), "fin", HEAD, 1),
        (Malformed(change="chunk_size"), "fin", HEAD, 1),
        (Malformed(change="gzip"), "fin", HEAD, 1),
        (Malformed(change="not_json"), "open", HEAD, 1),
        (Trickle(milliseconds=20, of="interim"), "open", b"HTTP/1.1 103 ", 1),
    ],
    ids=repr,
)
def test_fault(rule: Fault, ending: str, data: bytes, rows: int) -> None:
    with running(Plan(faults=(rule,))) as emulator:
        if isinstance(rule, Trickle):
            with link(emulator) as connection:
                connection.sendall(request())
                connection.settimeout(10)
                seen_data = b"".join(connection.recv(100) for _ in range(3))
            seen_ending = "open"
        else:
            is_kept = ending == "open"
            seen_data, seen_ending = exchange(emulator, request(), is_kept=is_kept, is_silent=is_kept and not data)
        assert seen_data.startswith(data)
        assert bool(seen_data) is bool(data)
        assert seen_ending == ending
        assert len(emulator.rows("tcust")) == rows
        assert emulator.journal.faults == {rule.kind: 1}


def test_cut_answers_lack_their_end() -> None:
    with running() as emulator:
        whole = exchange(emulator, request(headers=CLOSE)).data
        assert whole.endswith(BODY)
        for framing in ("length", "chunked", "close"):
            emulator.set_faults(Cut(framing=framing))
            data = exchange(emulator, request()).data
            head, _, body = data.partition(b"\r\n\r\n")
            assert 0 < len(body) < len(BODY) + 4
            assert b"Content-Length" not in head or framing == "length"
            assert (b"Transfer-Encoding: chunked" in head) is (framing == "chunked")


def test_retry_after_and_location_stand_in_the_answer() -> None:
    rule = StatusFault(
        status=503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT", location="http://127.0.0.1:1/", body="busy"
    )
    with running(Plan(faults=(rule,))) as emulator:
        seen = exchange(emulator, request(headers=CLOSE))
        assert b"\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\nLocation: http://127.0.0.1:1/" in seen.data
        assert seen.data.endswith(b"\r\n\r\nbusy")


@pytest.mark.parametrize(
    "answer, ending, stray", [("copy", "open", HEAD), ("408", "fin", b"HTTP/1.1 408 Request Timeout")]
)
def test_extra_answer_comes_on_the_idle_connection(answer: Any, ending: str, stray: bytes) -> None:
    with running(Plan(faults=(ExtraAnswer(answer=answer, times=1),))) as emulator, link(emulator) as connection:
        connection.sendall(request())
        first, second = read_answers(connection, 2)
        assert first.json["insertedId"] == 1
        assert second.data.startswith(stray)
        seen = read(connection, QUIET_SECONDS if ending == "open" else 10.0)
        assert seen == (b"", ending)
        assert emulator.journal.requests == 1


def test_trickled_body_comes_whole_in_the_end() -> None:
    with running(Plan(faults=(Trickle(milliseconds=1),))) as emulator, link(emulator) as connection:
        connection.sendall(request() + request(body={"fields": {"a": "y"}}))
        assert [seen.json["insertedId"] for seen in read_answers(connection, 2)] == [1, 2]


def test_late_commit_is_written_after_the_loss() -> None:
    with running(Plan(faults=(LateCommit(seconds=0.3),))) as emulator:
        assert exchange(emulator, request()) == (b"", "fin")
        assert until(lambda: emulator.journal.committed == 1)
        assert [row["a"] for row in emulator.rows("tcust")] == ["x"]
        assert emulator.pending_commits == 0
        assert [fact.ids for fact in emulator.journal] == [(), (1,)]


@pytest.mark.parametrize("commits, rows", [(True, 1), (False, 0)])
def test_client_that_leaves_while_it_waits(commits: bool, rows: int) -> None:
    plan = Plan(ozari=OzariSwitches(commit_after_disconnect=commits), faults=(Latency(milliseconds=200, times=1),))
    with running(plan) as emulator:
        with link(emulator) as connection:
            connection.sendall(request())
            assert until(lambda: emulator.journal.requests == 1)
        assert until(lambda: len(emulator.journal) == 1)
        assert [(fact.status, len(fact.ids), fact.fault) for fact in emulator.journal] == [(0, rows, "disconnected")]
        assert exchange(emulator, request(headers=CLOSE)).status == 201
        assert len(emulator.rows("tcust")) == rows + 1


def test_client_that_has_left_is_not_served_by_an_emulator_that_has_stopped() -> None:
    emulator = Emulator(Plan(faults=(Latency(milliseconds=200),)))
    thread = EmulatorThread(emulator)
    thread.start()
    with link(emulator) as connection:
        connection.sendall(request())
        assert until(lambda: emulator.journal.requests == 1)
    assert until(lambda: emulator.pending_commits == 1)
    thread.pause()
    assert emulator.pending_commits == 0
    emulator.set_faults()
    thread.resume()
    assert exchange(emulator, request(headers=CLOSE)).json["insertedId"] == 1
    thread.stop()
    assert [(fact.status, fact.ids, fact.fault) for fact in emulator.journal] == [
        (0, (), "disconnected"),
        (201, (1,), None),
    ]


def test_many_pipelined_requests_with_waits_and_faults() -> None:
    rules = (Latency(milliseconds=1, every=50), StatusFault(status=503, every=2))
    with running(Plan(faults=rules)) as emulator, link(emulator) as connection:
        connection.sendall(request() * 1000)
        statuses = [seen.status for seen in read_answers(connection, 1000)]
        assert statuses == [201, 503] * 500


def test_commit_before_the_wait() -> None:
    plan = Plan(faults=(Latency(milliseconds=3_600_000, commit="before"),))
    with running(plan) as emulator, link(emulator) as connection:
        connection.sendall(request())
        assert until(lambda: len(emulator.rows("tcust")) == 1)
        assert read(connection, QUIET_SECONDS) == (b"", "open")


def test_latency_holds_back_only_its_own_connection() -> None:
    plan = Plan(faults=(Latency(milliseconds=3_600_000, times=1),))
    with running(plan) as emulator, link(emulator) as slow:
        slow.sendall(request())
        assert until(lambda: emulator.journal.requests == 1)
        assert exchange(emulator, request(headers=CLOSE)).status == 201


def test_fault_at_the_headers_strikes_before_the_body_is_there() -> None:
    big = request(body={"fields": {"a": "x" * 1_000_000}})
    for rule, status in ((StatusFault(status=413, is_early=True), 413), (Hang(when="headers"), 0)):
        with running(Plan(faults=(rule,))) as emulator, link(emulator) as connection:
            connection.sendall(big[:2000])
            seen = read(connection, 10.0 if status else QUIET_SECONDS)
            assert seen.status == status
            assert len(emulator.journal) == 1
            assert emulator.rows("tcust") == []


def test_the_same_seed_gives_the_same_faults() -> None:
    def run(seed: int) -> list[str | None]:
        rules = (Reset(probability=0.2), StatusFault(status=500, probability=0.2, commit="before"))
        with running(Plan(seed=seed, faults=rules)) as emulator:
            for _ in range(40):
                with link(emulator) as connection:
                    connection.sendall(request(headers=CLOSE))
                    read(connection)
            return [fact.fault for fact in emulator.journal]

    first = run(5)
    assert first == run(5) != run(6)
    assert {None, "reset", "status"} == set(first)
