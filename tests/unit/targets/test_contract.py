"""The contract of base.Target, base.Lookup and base.UpdateLookup, for every target: total, honest about lengths, silent about
secrets.

Answers come from hypothesis (any status, any bytes) and from mutated stored answers; `LOADER_FUZZ_CASES` sets how many of those.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import UsageError
from loader.model import (
    Absent,
    Ambiguous,
    Blocked,
    Chunk,
    Created,
    Found,
    Halt,
    Record,
    Rejected,
    Resend,
    Response,
    Retry,
    Settled,
    Split,
    Undecided,
    Unknown,
    Updated,
    Verdict,
)
from loader.reading.lines import Block
from loader.reading.ndjson import NDJSON
from loader.reading.parsing import parse
from loader.reading.windows import WindowBuilder
from loader.redaction import escape
from loader.settings import (
    CanbusAdd,
    CanbusCredentials,
    Credentials,
    OzariCredentials,
    OzariInsert,
    OzariUpdate,
    Secret,
    TargetSettings,
)
from loader.targets.base import Identity, LookupAnswer, MatchedRows, NoQueryEndpoint, QueryEndpoint, Target
from loader.targets.registry import (
    KINDS,
    build_canbus_records,
    build_capability,
    build_lookup,
    build_shaper,
    build_target,
    build_update_lookup,
    kind_of,
)

FUZZ_CASES = int(os.environ.get("LOADER_FUZZ_CASES", "4000"))
SECRETS = ("CANARY-token", "CANARY-app", "CANARY-key", "CANARY-secret")
OZARI = OzariCredentials(Secret(SECRETS[0]))
CANBUS = CanbusCredentials("acme", Secret(SECRETS[1]), Secret(SECRETS[2]), Secret(SECRETS[3]))
RUN = "k3v9x1y2z0"
FIELDS = {"fname": "Acme", "fphone": "050", "fnum": 7}
NESTED = b'{"filters":{"fid":4,"fcode":"a"},"fields":{"fcode":"b","fname":"Acme"}}'
FLAT = json.dumps(FIELDS).encode()


@dataclass(frozen=True)
class Case:
    settings: TargetSettings
    credentials: Credentials
    lines: tuple[bytes, ...]
    in_doubt: bool = False
    max_records: int = 1

    def secrets(self) -> tuple[str, ...]:
        return tuple(secret.reveal() for secret in self.credentials.secrets)

    def target(self) -> Target:
        return build_target(self.settings, self.credentials, RUN)

    def chunk(self) -> Chunk:
        target, records = self.target(), []
        for number, line in enumerate(self.lines, 1):
            fields = parse(line)
            assert isinstance(fields, dict)
            record = target.shaper.shape(fields, line, 0, number, 0)
            assert isinstance(record, Record)
            records.append(record)
        return Chunk(tuple(records), self.in_doubt)


CASES = {
    "insert": Case(OzariInsert("tcust"), OZARI, (FLAT,)),
    "insert by key": Case(OzariInsert("tcust", key="fname"), OZARI, (FLAT,)),
    "insert by stamp": Case(OzariInsert("tcust", stamp="ftag"), OZARI, (FLAT,)),
    "update": Case(OzariUpdate("tcust"), OZARI, (NESTED,)),
    "add one": Case(CanbusAdd(user="u"), CANBUS, (FLAT,), max_records=1000),
    "add three": Case(CanbusAdd(user="u", stamp="Tag", is_unique=True), CANBUS, (FLAT,) * 3, max_records=1000),
    "add in doubt": Case(
        CanbusAdd(user="u", key="fname", is_unique=True), CANBUS, (FLAT,) * 3, in_doubt=True, max_records=1000
    ),
}
STORED = [
    {"success": True, "table": "tcust", "insertedId": 1547, "fields": FIELDS},
    {"success": True, "table": "tcust", "insertedId": 1547, "fields": {"ftag": f"{RUN}-1", **FIELDS}},
    {"success": True, "table": "tcust", "matched": 1, "updated": 1, "fields": {"fcode": "b", "fname": "Acme"}},
    {"success": False, "error": "No records match the given filters", "matched": 0},
    {"success": False, "error": "Table not found"},
    {"success": False, "error": f"bad {' '.join(SECRETS)}"},
    {"success": True, "company": "acme"},
    {
        "success": True,
        "table": "tcust",
        "page": 1,
        "per_page": 200,
        "total": 1,
        "records": [{"fid": 5, "ftag": f"{RUN}-1"}],
    },
    {"authen": "OK", "results": [{"result": "0", "id": "a"}, {"result": "0", "id": "b"}, {"result": "0", "id": "c"}]},
    {"authen": "OK", "results": [{"result": "0", "id": "a"}]},
    {"authen": "OK", "results": [{"result": "7012"}, {"result": "1"}, {"result": "7013", "id": None}]},
    {"authen": "OK", "results": [{"result": "32"}, {"result": "32"}, {"result": "32"}]},
    {"authen": "OK", "results": [{"result": "0", "items": [{"id": "T", "name": "n", "type": "Text"}]}]},
    {"authen": "NG", "message": f"echo {' '.join(SECRETS)}"},
]
STATUSES = [200, 201, 204, 302, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503]

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from(
    [
        "success",
        "table",
        "insertedId",
        "fields",
        "error",
        "matched",
        "updated",
        "authen",
        "results",
        "company",
        "total",
        "records",
    ]
)
bodies = (
    st.binary(max_size=60)
    | json_values.map(lambda v: json.dumps(v).encode())
    | st.dictionaries(names, json_values | st.sampled_from([True, False, "tcust", "OK", 1, 0]), max_size=8).map(
        lambda v: json.dumps(v).encode()
    )
)
headers = st.dictionaries(st.sampled_from(["retry-after", "date", "content-type"]), st.text(max_size=20), max_size=3)
responses = st.builds(
    Response, st.integers(100, 999) | st.sampled_from(STATUSES), headers, bodies, st.booleans(), st.booleans()
)


def check(case: Case, response: Response) -> None:
    """Read one answer in every way and hold what comes back against the contract."""
    target, chunk = case.target(), case.chunk()
    verdict = target.interpret(chunk, response)
    check_verdict(verdict, chunk, response)
    found = target.read_preflight(response)
    assert isinstance(found, Identity | Retry | Halt)
    silent: list[object] = [verdict, found, target, target.headers, target.encode(chunk)]
    silent += lookups(case, chunk, response)
    for shown in silent:
        assert not any(secret in repr(shown) for secret in case.secrets())


def is_plain(text: str) -> bool:
    return "\n" not in text and escape(text, None) == text


def check_verdict(verdict: Verdict, chunk: Chunk, response: Response) -> None:
    status = response.status
    match verdict:
        case Settled(outcomes, warnings):
            assert len(outcomes) == len(chunk.records)
            assert all(isinstance(o, Created | Updated | Rejected | Ambiguous | Resend) for o in outcomes)
            assert status < 500
            assert status != 408
            assert not 300 <= status < 400
            assert all(isinstance(name, str) for name in warnings)
            if any(isinstance(o, Created | Updated) for o in outcomes):
                assert 200 <= status < 300
                assert response.is_complete
                assert response.is_upload_complete
                check_success(json.loads(response.body), tuple(outcomes))
        case Retry(_, after, _):
            assert status == 429
            assert after is None or 0 <= after <= 1e9
        case Split(_, message):
            assert 200 <= status < 300 or 400 <= status < 500
            assert is_plain(message)
        case Blocked(code, message):
            assert code == str(status)
            assert status in (401, 403, 404, 405)
            assert is_plain(message)
        case Unknown():
            assert verdict.status in (status, None)
        case Halt(_, message, hint):
            assert hint
            assert is_plain(message)


def check_success(body: Any, outcomes: tuple[Any, ...]) -> None:
    """Read a success once more, with another parser and no shared code."""
    if "authen" in body and isinstance(body.get("results"), list):
        assert body["authen"] == "OK"
        for entry, outcome in zip(body["results"], outcomes, strict=True):
            if isinstance(outcome, Created):
                given = entry.get("id")
                is_id = isinstance(given, str) or (type(given) is int and 0 < given < 2**64)
                assert outcome.id == (given if is_id and given else None)
                assert str(entry["result"]) == "0" or (str(entry["result"]) == "7012" and outcome.id is None)
        return
    assert body["success"] is True
    assert body["table"].lower() == "tcust"
    (outcome,) = outcomes
    if isinstance(outcome, Created) and outcome.id is not None:
        assert outcome.id == int(body["insertedId"])


def lookups(case: Case, chunk: Chunk, response: Response) -> list[object]:
    shown: list[object] = []
    kind = kind_of(case.settings)
    if kind.new_records is not None:
        records = build_canbus_records(case.credentials)
        return [records.read_list(response), records.read_delete(["a"], response), records.list_request(0, 5)]
    if kind.new_capability is None:
        return shown
    capability = build_capability(case.settings, case.credentials)
    shown += [capability.read(response), capability.encode()]
    for endpoint in (QueryEndpoint(3), NoQueryEndpoint("")):
        if isinstance(case.settings, OzariUpdate):
            update = build_update_lookup(case.settings, case.credentials, endpoint)
            rows = update.read(chunk.records[0], response)
            assert isinstance(rows, MatchedRows | Undecided | Retry | Unknown | Halt)
            shown.append(rows.total if isinstance(rows, MatchedRows) else rows)  # the rows are compared, not shown
        elif lookup := build_lookup(case.settings, case.credentials, endpoint, 3):
            found = lookup.read(chunk.records, response)
            shown.append(found)
            if isinstance(found, LookupAnswer):
                assert len(found.findings) == len(chunk.records)
                for finding in found.findings:
                    assert isinstance(finding, Found | Absent | Undecided)
                    assert not isinstance(finding, Found) or not finding.ids or len(finding.ids) == finding.rows
            else:
                assert isinstance(found, Retry | Unknown | Halt)
    return shown


@pytest.mark.parametrize("name", CASES)
@given(response=responses)
def test_any_status_and_any_bytes(name: str, response: Response) -> None:
    check(CASES[name], response)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("status", STATUSES)
def test_every_stored_answer_under_every_status(name: str, status: int) -> None:
    for body in STORED:
        check(CASES[name], Response(status, {}, orjson.dumps(body)))


TOKENS = [
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e999",
    b'""',
    b"[]",
    b"{}",
    b"\xff",
    b"\x00",
    b'"\\ud800"',
    b",",
    b"}",
    b"9" * 40,
    b'"0"',
]


def mutate(body: bytes, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 3)):
        position = draw.randrange(len(body) + 1)
        end = min(len(body), position + draw.randint(0, 12))
        match draw.randrange(6):
            case 0:
                body = body[:position]
            case 1:
                body = body[:position] + body[end:]
            case 2:
                body = body[:position] + bytes([draw.randrange(256)]) + body[position + 1 :]
            case 3:
                body = body[:position] + draw.choice(TOKENS) + body[end:]
            case 4:
                body = body[:end] + body[position:]
            case _:
                # One whole value of the object for another: what a flipped byte seldom hits.
                start = body.find(b":", position)
                stop = min((p for p in (body.find(b",", start), body.find(b"}", start)) if p > 0), default=len(body))
                body = body[: start + 1] + draw.choice(TOKENS) + body[stop:]
    return body


def test_mutated_answers() -> None:
    draw = random.Random(20261122)
    cases = list(CASES.values())
    stored = [orjson.dumps(body) for body in STORED]
    for _ in range(FUZZ_CASES):
        status = draw.choice([200, 201, draw.choice(STATUSES)])
        check(draw.choice(cases), Response(status, {}, mutate(draw.choice(stored), draw)))


# --- what is sent -------------------------------------------------------------------------------------------------------

field_names = st.text(alphabet="abcXYZ019_", min_size=1, max_size=6).filter(lambda name: name != "fid")
lines = st.dictionaries(field_names, json_values, min_size=1, max_size=6)


@given(fields=lines, is_ascii=st.booleans(), is_spaced=st.booleans())
def test_encoded_bytes_say_what_the_line_said(*, fields: dict[str, Any], is_ascii: bool, is_spaced: bool) -> None:
    data = json.dumps(fields, ensure_ascii=is_ascii, separators=(" , ", " : ") if is_spaced else None).encode(
        "utf-8", "replace"
    )
    decoded = parse(data)
    if isinstance(decoded, Rejected):
        return  # a lone surrogate, an integer past a double: the parser's business
    expected = json.loads(data)
    insert = build_target(OzariInsert("tcust", stamp="ftag"), OZARI, RUN)
    record = insert.shaper.shape(decoded, data, 0, 5, 0)
    assert isinstance(record, Record)
    assert json.loads(insert.encode(Chunk((record,))).body) == {"fields": {"ftag": f"{RUN}-5", **expected}}
    add = build_target(CanbusAdd(user="u", stamp="Tag"), CANBUS, RUN)
    one = add.shaper.shape(decoded, data, 0, 5, 0)
    assert isinstance(one, Record)
    body = add.encode(Chunk((one, one))).body
    assert json.loads(body)["add"] == [{"Tag": f"{RUN}-5", "System_Create_User": "u", **expected}] * 2
    assert len(body) == add.body_overhead_bytes + 2 * len(one.data) + 1


@given(fields=st.dictionaries(st.text(max_size=6), json_values, max_size=4))
def test_shape_is_total(fields: dict[str, Any]) -> None:
    data = json.dumps(fields).encode()
    decoded = parse(data)
    if not isinstance(decoded, dict):
        return
    for case in CASES.values():
        shaped = case.target().shaper.shape(decoded, data, 0, 1, 0)
        assert isinstance(shaped, Record | Rejected)
        if isinstance(shaped, Rejected):
            assert is_plain(shaped.message)


@pytest.mark.parametrize("name", CASES)
def test_lines_are_shaped_alike_with_credentials_and_without(name: str) -> None:
    case = CASES[name]
    target, shaper = case.target(), build_shaper(case.settings, RUN)
    for number, line in enumerate(case.lines, 1):
        fields = parse(line)
        assert isinstance(fields, dict)
        assert shaper.shape(fields, line, 0, number, 0) == target.shaper.shape(fields, line, 0, number, 0)
    assert shaper.max_records == target.shaper.max_records
    assert 0 <= shaper.body_overhead_bytes <= target.body_overhead_bytes


@pytest.mark.parametrize("name", CASES)
def test_bulk_and_single_lines_make_the_same_bytes(name: str) -> None:
    case = CASES[name]
    blocks = [Block(0, 1, 0, [line + b"\n" for line in case.lines], b"".join(line + b"\n" for line in case.lines))]
    builder = WindowBuilder(case.target().shaper, 64, NDJSON)
    windows = [window for block in blocks for window in builder.feed(block)] + builder.flush()
    sent = [case.target().encode(Chunk(window.records, case.in_doubt)).body for window in windows]
    assert sent == [case.target().encode(case.chunk()).body]


@pytest.mark.parametrize("name", CASES)
def test_another_vendors_credentials_are_refused(name: str) -> None:
    settings = CASES[name].settings
    for other in CASES.values():
        if not isinstance(other.credentials, kind_of(settings).vendor.credentials):
            with pytest.raises(UsageError, match="other target's credentials"):
                build_target(settings, other.credentials, RUN)


def test_every_kind_has_a_case() -> None:
    assert {kind_of(case.settings).name for case in CASES.values()} == set(KINDS)


def test_limits_of_a_request() -> None:
    for case in CASES.values():
        assert case.target().shaper.max_records == case.max_records
        assert kind_of(case.settings).name
        assert kind_of(case.settings).label(case.settings, case.credentials)
