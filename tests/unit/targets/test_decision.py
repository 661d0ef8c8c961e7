"""Outcome classification as reliability.md 2.3 has it: stored exchanges, one a line in exchanges.ndjson, and what each means.

An exchange names its row of the decision, the operation, what came back, and the verdict. `answer` null: no response object came.
Status codes and bodies are the vendors' documented ones where there are any. DECISION says which rows there are and for which
operations, so that an exchange that is taken out leaves a hole that a test names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loader.delivery.delivery import read
from loader.model import (
    Ambiguous,
    Blocked,
    Chunk,
    Created,
    Halt,
    NoResponse,
    Record,
    Rejected,
    Resend,
    Response,
    Retry,
    Settled,
    Split,
    Unknown,
    Updated,
    Verdict,
)
from loader.reading.parsing import parse
from loader.settings import CanbusAdd, CanbusCredentials, OzariCredentials, OzariInsert, OzariUpdate, Secret
from loader.targets.base import Target
from loader.targets.registry import build_target

EXCHANGES = [json.loads(line) for line in Path(__file__).with_name("exchanges.ndjson").read_text().splitlines()]
ALL = {"insert", "update", "add"}
OZARI = {"insert", "update"}
DECISION: dict[str, set[str]] = {
    "no response, nothing sent": ALL,
    "no response, sent": ALL,
    "no response, and none to be had": ALL,
    "2xx as it should be": ALL,
    "2xx without an id": {"insert", "add"},
    "2xx that says success false": OZARI,
    "2xx of another request": OZARI,
    "2xx that changed values": OZARI,
    "2xx with refusals by record": {"add"},
    "2xx with another number of results": {"add"},
    "2xx that cannot be read": ALL,
    "2xx before the request was sent whole": ALL,
    "3xx": ALL,
    "400 and the like": ALL,
    "404, 405": ALL,
    "401, 403, 404, 405 of somebody else": ALL,
    "401, 403": ALL,
    "408": ALL,
    "409": ALL,
    "413": ALL,
    "429": ALL,
    "500": ALL,
    "502, 504, 520 to 599": ALL,
    "503": ALL,
    "anything else": ALL,
}
SENT = {
    "insert": [b'{"fname":"Acme","fphone":"050"}'],
    "update": [b'{"filters":{"fcode":"a"},"fields":{"fname":"Acme","fphone":"050"}}'],
    "add": [b'{"Text":"a"}', b'{"Text":"b"}', b'{"Text":"c"}'],
}
TARGETS: dict[str, Target] = {
    "insert": build_target(OzariInsert("tcust"), OzariCredentials(Secret("token")), "run"),
    "update": build_target(OzariUpdate("tcust"), OzariCredentials(Secret("token")), "run"),
    "add": build_target(
        CanbusAdd(user="loader", key="Text", is_unique=True),
        CanbusCredentials("acme", Secret("app"), Secret("key"), Secret("secret")),
        "run",
    ),
}


def chunk_of(exchange: dict[str, Any]) -> Chunk:
    operation = exchange["operation"]
    records = []
    for number, line in enumerate(SENT[operation][: exchange.get("records")], 1):
        fields = parse(line)
        assert isinstance(fields, dict)
        record = TARGETS[operation].shaper.shape(fields, line, 0, number, 0)
        assert isinstance(record, Record)
        records.append(record)
    return Chunk(tuple(records), exchange.get("in_doubt", False))


def reply_of(exchange: dict[str, Any]) -> Response | NoResponse:
    answer = exchange["answer"]
    if answer is None:
        return NoResponse(exchange["is_sent"], "an exception", exchange.get("hint"))
    body = answer.get("body", "")
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    flags = {name: answer[name] for name in ("is_complete", "is_upload_complete") if name in answer}
    return Response(answer["status"], answer.get("headers", {}), raw, **flags)


def outcome_text(outcome: object) -> str:
    match outcome:
        case Created(found):
            return "created" if found is None else f"created {found}"
        case Updated(is_unchanged):
            return "unchanged" if is_unchanged else "updated"
        case Rejected("target", code, _):
            return f"rejected {code}"
        case Ambiguous():
            return "ambiguous"
        case Resend():
            return "resend"
        case _:
            raise AssertionError(outcome)


def verdict_text(verdict: Verdict) -> str:
    match verdict:
        case Settled(outcomes, warnings):
            changed = f"; changed {', '.join(warnings)}" if warnings else ""
            return " | ".join(map(outcome_text, outcomes)) + changed
        case Retry(_, after, is_throttled):
            return f"{'throttled' if is_throttled else 'retry'}{'' if after is None else f' {after:g} s'}"
        case Split(code, _, is_too_large, must_ask_first):
            about = " too large" if is_too_large else " ask first" if must_ask_first else ""
            return f"split {code}{about}"
        case Unknown(_, _, is_mismatch, _, is_unreadable):
            about = ", mismatch" if is_mismatch else ", unreadable" if is_unreadable else ""
            return f"unknown{about}"
        case Blocked(code, _):
            return f"blocked {code}"
        case Halt(reason, _, _, may_be_applied):
            return f"halt {reason}{', may be applied' if may_be_applied else ''}"


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda one: f"{one['row']}: {one['operation']}")
def test_exchange(exchange: dict[str, Any]) -> None:
    operation = exchange["operation"]
    verdict = read(TARGETS[operation], chunk_of(exchange), reply_of(exchange))
    assert verdict_text(verdict) == exchange["verdict"]


@pytest.mark.parametrize("row", DECISION)
def test_every_row_of_the_decision_is_there(row: str) -> None:
    assert {exchange["operation"] for exchange in EXCHANGES if exchange["row"] == row} == DECISION[row]


def test_no_exchange_is_of_another_row() -> None:
    assert {exchange["row"] for exchange in EXCHANGES} == set(DECISION)
