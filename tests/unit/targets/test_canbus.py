"""Canbus add: users, the exact body, and what each stored answer means, for atomic and independent targets alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loader.errors import UsageError
from loader.model import (
    Ambiguous,
    Chunk,
    Created,
    Halt,
    Record,
    Rejected,
    Resend,
    Response,
    Retry,
    Settled,
    Split,
    Unknown,
)
from loader.reading.parsing import parse
from loader.settings import CanbusAdd, CanbusCredentials, Secret
from loader.targets.base import Identity, Item
from loader.targets.canbus.add import CanbusAddTarget
from loader.targets.canbus.records import Deleted, Page
from loader.targets.canbus.results import MEANINGS
from loader.targets.registry import build_canbus_records, build_target

CREDENTIALS = CanbusCredentials("acme", Secret('app"1'), Secret("key-2"), Secret("secret-3"))
RUN = "k3v9x1y2z0"
OWN = b'{"System_Create_User":"own@acme","Text":"x"}'


def make(**options: Any) -> CanbusAddTarget:
    target = build_target(CanbusAdd(**{"user": "loader@acme", **options}), CREDENTIALS, RUN)
    assert isinstance(target, CanbusAddTarget)
    return target


def shape(target: CanbusAddTarget, data: bytes, number: int = 1) -> Record | Rejected:
    fields = parse(data)
    assert isinstance(fields, dict)
    return target.shaper.shape(fields, data, 0, number, 0)


def chunk_of(target: CanbusAddTarget, *lines: bytes, in_doubt: bool = False) -> Chunk:
    records = []
    for number, line in enumerate(lines, 1):
        record = shape(target, line, number)
        assert isinstance(record, Record)
        records.append(record)
    return Chunk(tuple(records), in_doubt)


def answer(status: int, body: object, **flags: bool) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {}, raw, **flags)


def results(*entries: object, status: int = 201) -> Response:
    return answer(status, {"authen": "OK", "results": list(entries)})


def code(value: object, **more: object) -> dict[str, object]:
    return {"result": value, **more}


# --- shape and encode ---------------------------------------------------------------------------------------------------


def test_the_body_is_exact() -> None:
    target = make(stamp="Tag")
    lines = (b'{"Text":"a\\u3042","Number":1.50}', b'{"System_Create_User":"own@acme", "Table":[{"T":1}]}')
    chunk = chunk_of(target, *lines)
    request = target.encode(chunk)
    assert (request.method, request.path) == ("POST", "/api/records")
    assert json.loads(request.body) == {
        "tenant_id": "acme",
        "app_id": 'app"1',
        "api_key": "key-2",
        "api_secret": "secret-3",
        "add": [
            {"Tag": f"{RUN}-1", "System_Create_User": "loader@acme", "Text": "aあ", "Number": 1.5},
            {"Tag": f"{RUN}-2", "System_Create_User": "own@acme", "Table": [{"T": 1}]},
        ],
    }
    assert b'"Text":"a\\u3042","Number":1.50}' in request.body
    size = target.body_overhead_bytes + sum(len(record.data) for record in chunk.records) + len(chunk.records) - 1
    assert len(request.body) == size


def test_each_record_goes_with_the_users_login_or_its_own() -> None:
    target = make()
    chunk = chunk_of(target, b'{"Text":"a"}', OWN)
    assert [json.loads(record.data)["System_Create_User"] for record in chunk.records] == ["loader@acme", "own@acme"]
    assert chunk.records[1].data == OWN


@pytest.mark.parametrize(
    "user, line, refusal",
    [
        (None, b'{"Text":"a"}', "user"),
        ("u", b'{"System_Create_User":""}', "user"),
        ("u", b'{"System_Create_User":null}', "user"),
        ("u", b'{"System_Create_User":5}', "user"),
        ("u", b'{"Tag":"mine"}', "stamp"),
        ("u", b'{"T\\u0061g":null}', "stamp"),
    ],
)
def test_what_the_target_would_refuse_is_refused_here(user: str | None, line: bytes, refusal: str) -> None:
    refused = shape(make(user=user, stamp="Tag"), line)
    assert isinstance(refused, Rejected)
    assert (refused.stage, refused.code) == ("map", refusal)


def test_a_key_is_locked_only_where_the_target_refuses_a_second_one() -> None:
    (plain,) = chunk_of(make(key="Code"), b'{"Code":"A "}').records
    (unique,) = chunk_of(make(key="Code", is_unique=True), b'{"Code":"A "}').records
    (stamped,) = chunk_of(make(key="Code", stamp="Tag", is_unique=True), b'{"Code":"A "}').records
    assert (plain.key, plain.lock) == ("A ", None)
    assert (unique.key, unique.lock) == ("A ", "a")
    assert (stamped.key, stamped.lock) == (f"{RUN}-1", None)


@pytest.mark.parametrize(
    "options", [{"user": ""}, {"user": " "}, {"user": "a\udcff"}, {"key": ""}, {"stamp": "System_Create_User"}]
)
def test_options_that_cannot_be_are_wrong_usage(options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        make(**options)


# --- one result per record ----------------------------------------------------------------------------------------------

LINES = (b'{"Text":"a"}', b'{"Text":"b"}', b'{"Text":"c"}')
A, B, C = "660fa9bd6a831e0f4f02446f", "660fa9bd6a831e0f4f024470", "660fa9bd6a831e0f4f024471"


def test_the_documented_answer() -> None:
    target = make()
    response = results(code("0", id="aaaaaaaaaa"), code("0", id="bbbbbbbbbb"))  # [D] CB-add-old
    verdict = target.interpret(chunk_of(target, *LINES[:2]), response)
    assert verdict == Settled((Created("aaaaaaaaaa"), Created("bbbbbbbbbb")))


def rejected(value: str) -> Rejected:
    return Rejected("target", value, MEANINGS[value])


def undocumented(value: str) -> Rejected:
    return Rejected("target", value, f"the target refuses the record with code {value}, which is not documented")


@pytest.mark.parametrize("status", [200, 201, 207])
@pytest.mark.parametrize(
    "entries, outcomes",
    [
        ((code("0", id=A), code("7013"), code("0", id=C)), (Created(A), rejected("7013"), Created(C))),
        (
            (code("0", id=A), code("7013", id=""), code("7012", id=None)),
            (Created(A), rejected("7013"), rejected("7012")),
        ),
        ((code(0, id=A), code(7013), code("0", id=7)), (Created(A), rejected("7013"), Created(7))),
        ((code("0", id=A), code("0"), code("0", id="")), (Created(A), Created(None), Created(None))),
        ((code("0"), code("0"), code("0")), (Created(None), Created(None), Created(None))),
        ((code("0", id=A), code("7013"), code("0")), (Created(A), rejected("7013"), Created(None))),
        ((code("0", id=A), code("9999"), code("0", id=C)), (Created(A), undocumented("9999"), Created(C))),
        ((code("32"), code("7013"), code("0", id=C)), (rejected("32"), rejected("7013"), Created(C))),
        ((code("9999"), code("9999"), code("9999")), (undocumented("9999"),) * 3),
    ],
)
def test_settled_by_position(status: int, entries: tuple[object, ...], outcomes: tuple[object, ...]) -> None:
    target = make()
    verdict = target.interpret(chunk_of(target, *LINES), results(*entries, status=status))
    assert verdict == Settled(outcomes)  # type: ignore[arg-type]  # a table of cases


@pytest.mark.parametrize("documented", sorted(MEANINGS))
def test_each_documented_code_has_its_meaning(documented: str) -> None:
    target = make()
    verdict = target.interpret(chunk_of(target, *LINES[:2]), results(code("0", id=A), code(documented)))
    assert verdict == Settled((Created(A), rejected(documented)))


def test_an_atomic_refusal_leaves_the_neighbours_to_be_sent_again() -> None:
    target = make()
    verdict = target.interpret(chunk_of(target, *LINES), results(code("1"), code("7013"), code("1")))
    assert isinstance(verdict, Settled)
    assert [type(outcome) for outcome in verdict.outcomes] == [Resend, Rejected, Resend]


@pytest.mark.parametrize("failed", ["7013", "9999"])
def test_an_atomic_refusal_that_says_created_without_ids_is_not_believed(failed: str) -> None:
    target = make()
    verdict = target.interpret(chunk_of(target, *LINES), results(code("0"), code(failed), code("0", id="")))
    assert isinstance(verdict, Settled)
    assert [type(outcome) for outcome in verdict.outcomes] == [Ambiguous, Rejected, Ambiguous]


def test_several_codes_that_no_page_lists_are_halved_to_the_culprit() -> None:
    target = make()
    verdict = target.interpret(chunk_of(target, *LINES), results(code("1"), code("9001"), code("1")))
    assert isinstance(verdict, Split)
    assert not verdict.is_too_large
    assert not verdict.must_ask_first
    alone = target.interpret(chunk_of(target, LINES[1]), results(code("9001")))
    assert alone == Settled((undocumented("9001"),))


def test_7012_is_ours_only_where_an_earlier_request_may_have_created_the_record() -> None:
    target = make(stamp="Tag", is_unique=True)
    response = results(code("7012"), code("0", id=B), code("1"))
    first = target.interpret(chunk_of(target, *LINES), response)
    again = target.interpret(chunk_of(target, *LINES, in_doubt=True), response)
    resent = Resend("1", "another record of the request was refused")
    assert first == Settled((rejected("7012"), Created(B), resent))
    assert again == Settled((Created(None), Created(B), resent))


def test_7012_by_a_key_says_that_somebody_has_it() -> None:
    """The row with the key may be older than the run."""
    target = make(key="Text", is_unique=True)
    verdict = target.interpret(chunk_of(target, *LINES[:2], in_doubt=True), results(code("7012"), code("0", id=B)))
    assert isinstance(verdict, Settled)
    first, second = verdict.outcomes
    assert isinstance(first, Ambiguous)
    assert first.is_final
    assert second == Created(B)


def test_a_refused_user_says_nothing_about_a_record_in_doubt() -> None:
    target = make()
    verdict = target.interpret(chunk_of(target, *LINES[:2], in_doubt=True), results(code("32"), code("0", id=B)))
    assert isinstance(verdict, Settled)
    assert isinstance(verdict.outcomes[0], Ambiguous)


@pytest.mark.parametrize(
    "entry", [None, 5, "0", [], {}, code(None), code(True), code(0.5), code(""), code("x" * 50), code("0\n")]
)
def test_an_entry_that_cannot_be_read_leaves_its_own_record_ambiguous(entry: object) -> None:
    target = make()
    verdict = target.interpret(chunk_of(target, *LINES[:2]), results(code("0", id=A), entry))
    assert isinstance(verdict, Settled)
    assert verdict.outcomes[0] == Created(A)
    assert isinstance(verdict.outcomes[1], Ambiguous)


def test_code_32_for_all_is_a_fault_of_the_configuration() -> None:
    target = make()
    for lines in (LINES, LINES[:1], (OWN, OWN)):
        verdict = target.interpret(chunk_of(target, *lines), results(*[code("32")] * len(lines)))
        assert isinstance(verdict, Halt)
        assert verdict.reason == "credentials"
        assert "--user" in verdict.hint


@pytest.mark.parametrize("lines", [(OWN,), (OWN, b'{"System_Create_User":"two"}'), (OWN, LINES[0])])
def test_code_32_for_a_lines_own_user_is_a_fault_of_the_line(lines: tuple[bytes, ...]) -> None:
    target = make()
    verdict = target.interpret(chunk_of(target, *lines), results(*[code("32")] * len(lines)))
    assert verdict == Settled((rejected("32"),) * len(lines))


# --- the answer as a whole ----------------------------------------------------------------------------------------------

GOOD = {"authen": "OK", "results": [code("0", id=A), code("0", id=B), code("0", id=C)]}


@pytest.mark.parametrize(
    "response",
    [
        results(code("0", id=A), code("0", id=B)),
        results(code("0", id=A), code("0", id=B), code("0", id=C), code("0", id="d")),
        results(),
        results(code("0", id=A), code("0", id=A), code("0", id=C)),
        answer(201, {"authen": "OK"}),
        answer(201, {"authen": "OK", "results": {"0": 1}}),
        answer(201, {"authen": "NG", "results": GOOD["results"]}),
        answer(201, {"results": GOOD["results"]}),
        answer(201, {"authen": True, "results": GOOD["results"]}),
        answer(201, [GOOD]),
        answer(201, b""),
        answer(201, b"<html>"),
        answer(201, json.dumps(GOOD).encode()[:-3]),
        answer(201, GOOD, is_complete=False),
        answer(201, GOOD, is_upload_complete=False),
        answer(408, b""),
        answer(409, b""),
        answer(418, b""),
        answer(500, b"<html>"),
        answer(502, b""),
        answer(503, {"authen": "NG"}),
        answer(101, b""),
    ],
)
def test_may_have_been_applied(response: Response) -> None:
    target = make()
    assert isinstance(target.interpret(chunk_of(target, *LINES), response), Unknown)


@pytest.mark.parametrize(
    "status, reason, word",
    [
        (401, "credentials", "CANBUS_"),
        (403, "credentials", "address"),
        (404, "table", "--base-url"),
        (405, "table", "--base-url"),
        (302, "redirect", "--base-url"),
    ],
)
def test_nothing_will_succeed(status: int, reason: str, word: str) -> None:
    target = make()
    verdict = target.interpret(chunk_of(target, *LINES), answer(status, {"authen": "NG"}))
    assert isinstance(verdict, Halt)
    assert verdict.reason == reason
    assert word in verdict.hint
    assert verdict.may_be_applied is (status == 302)


@pytest.mark.parametrize("status", [400, 411, 415, 422])
def test_a_refused_chunk_is_halved_once_the_credentials_are_known_to_be_good(status: int) -> None:
    target = make()
    verdict = target.interpret(chunk_of(target, *LINES), answer(status, {"authen": "NG"}))
    assert isinstance(verdict, Split)
    assert (verdict.code, verdict.is_too_large, verdict.must_ask_first) == (str(status), False, True)


def test_too_large_and_too_fast() -> None:
    target = make()
    chunk = chunk_of(target, *LINES)
    too_large = target.interpret(chunk, answer(413, {"authen": "NG"}))
    assert isinstance(too_large, Split)
    assert (too_large.is_too_large, too_large.must_ask_first) == (True, False)
    assert target.interpret(chunk, Response(429, {"retry-after": "3"}, b"")) == Retry(
        "throttled", 3.0, is_throttled=True
    )


def test_the_targets_words_come_without_the_secrets() -> None:
    target = make()
    for text in ("api_secret secret-3 is wrong", json.dumps({"app_id": 'app"1'})):
        verdict = target.interpret(chunk_of(target, *LINES), answer(400, {"authen": "NG", "message": text}))
        assert isinstance(verdict, Split)
        assert "***" in verdict.message
        assert "secret-3" not in verdict.message
        assert "app" not in verdict.message.replace("app_id", "")


# --- preflight ----------------------------------------------------------------------------------------------------------


def test_the_preflight_asks_for_metadata_and_binds_the_run() -> None:
    target = make()
    request = target.preflight()
    assert (request.method, request.path) == ("GET", "/api/records/metadata")
    body = json.loads(request.body)
    assert (body["metadata"], body["api_secret"]) == ({}, "secret-3")
    items = [{"id": "Text", "name": "Name", "type": "Text"}, {"id": 5}, "junk", {"id": "N"}]
    found = target.read_preflight(answer(200, {"authen": "OK", "results": [{"result": "0", "items": items}]}))
    assert isinstance(found, Identity)
    assert (found.name, found.items) == ("acme", (Item("Text", "Name", "Text"), Item("N", "", "")))
    assert found.binding.startswith("canbus:acme:")
    assert len(found.binding) == len("canbus:acme:") + 16
    assert 'app"1' not in repr(found)


def test_the_binding_tells_app_ids_and_tenants_apart_and_nothing_else() -> None:
    def binding(tenant: str, app_id: str, key: str) -> str:
        credentials = CanbusCredentials(tenant, Secret(app_id), Secret(key), Secret("s"))
        found = build_target(CanbusAdd(), credentials, RUN).read_preflight(answer(200, {"authen": "OK"}))
        assert isinstance(found, Identity)
        return found.binding

    assert binding("acme", "1", "k") == binding("acme", "1", "reissued")
    assert len({binding("acme", "1", "k"), binding("acme", "2", "k"), binding("other", "1", "k")}) == 3


@pytest.mark.parametrize(
    "response, kind",
    [
        (answer(200, {"authen": "OK", "results": 5}), Identity),
        (answer(200, {"authen": "OK", "results": [{"items": {}}]}), Identity),
        (answer(400, {"authen": "NG"}), Halt),
        (answer(401, b""), Halt),
        (answer(403, b""), Halt),
        (answer(404, b"<html>"), Halt),
        (answer(200, {"authen": "NG"}), Halt),
        (answer(302, b""), Halt),
        (answer(200, {}), Retry),
        (answer(200, b"<html>"), Retry),
        (answer(429, {"authen": "NG"}), Retry),
        (answer(500, b""), Retry),
        (answer(418, b""), Retry),
    ],
)
def test_the_preflight_stops_on_a_refusal_and_waits_for_all_else(response: Response, kind: type) -> None:
    assert isinstance(make().read_preflight(response), kind)


# --- delete and list ----------------------------------------------------------------------------------------------------


def test_a_twin_is_taken_back_by_its_creator() -> None:
    target = make()
    record = chunk_of(target, OWN).records[0]
    request = target.delete_request(A, record)
    assert (request.method, request.path) == ("DELETE", "/api/records")
    assert json.loads(request.body)["delete"] == [{"_id": A, "System_Delete_User": "own@acme"}]
    assert target.is_deleted(results(code("0"), status=200))
    for response in (results(code("1")), results(), answer(200, b""), answer(500, b""), answer(401, b"")):
        assert not target.is_deleted(response)


@pytest.mark.parametrize(
    "response, expected",
    [
        (results(code("0"), code("9")), (Deleted(is_deleted=True, code="0"), Deleted(is_deleted=False, code="9"))),
        (results(code(0), 5), (Deleted(is_deleted=True, code="0"), Deleted(is_deleted=False))),
        (results(code("0")), Unknown),
        (answer(500, b""), Unknown),
        (answer(429, b""), Retry),
        (answer(401, b""), Halt),
    ],
)
def test_reading_a_delete(response: Response, expected: object) -> None:
    found = build_canbus_records(CREDENTIALS).read_delete([A, B], response)
    assert isinstance(found, expected) if isinstance(expected, type) else found == expected


NO_TEXTS: tuple[Any, ...] = (None, "", [], {})
NO_IDS: tuple[Any, ...] = (None, "", True, 0, -1, 2**63, 1.5, ["x"], "a\x1b[2J", "x" * 201)


def test_rows_of_a_list_have_a_text_and_an_id() -> None:
    rows: list[dict[str, Any]] = [
        {"_id": A, "Stamp": "r-1", "Text": "x"},
        {"_id": 12, "Stamp": 7},
        {"_id": A, "Stamp": 1.5},
        {"_id": A},
        {"Stamp": "r-1"},
        *({"_id": A, "Stamp": text} for text in NO_TEXTS),
        *({"_id": record_id, "Stamp": "r-1"} for record_id in NO_IDS),
    ]
    assert build_canbus_records(CREDENTIALS).texts_of(rows, "Stamp") == [("r-1", A), ("7", 12), ("1.5", A)]


def test_a_page_of_a_list() -> None:
    records = build_canbus_records(CREDENTIALS)
    request = records.list_request(20, 100, "f1")
    assert (request.method, request.path) == ("GET", "/api/records")
    assert json.loads(request.body)["record_list"] == {"filter": "f1", "start": 20, "number": 100}
    assert json.loads(records.list_request(0, 1).body)["record_list"] == {"start": 0, "number": 1}
    page = code("0", count=40, length=1, records=[{"_id": A, "Text": "x"}])  # [E] CB-qiita
    assert records.read_list(results(page)) == Page(({"_id": A, "Text": "x"},), 40)
    assert isinstance(records.read_list(results(code("0", records=[1]))), Unknown)
    assert isinstance(records.read_list(results()), Unknown)
    assert isinstance(records.read_list(answer(400, {"authen": "NG"})), Halt)


# --- the quick look -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry, is_kept",
    [
        (b'"660fa9bd6a831e0f4f02446f"', True),
        ("\u6771".encode().join([b'"', b'"']), True),
        (b'"a\\u6771"', True),
        (b'"' + b"a" * 200 + b'"', True),
        (b'"' + b"a" * 201 + b'"', False),
        (b'"a\x7f"', False),
        (b'"a\\u0007"', False),
        (b'"a\\u001b[31m"', False),
        ("\u202e".encode().join([b'"', b'"']), False),
        (b'"x-a-secret-of-some-length"', False),
        (b'""', False),
    ],
)
def test_an_id_is_kept_only_where_it_can_be_shown(entry: bytes, is_kept: bool) -> None:
    """Whichever way the answer is read: the quick one must not keep what the exact one would not."""
    keys = CanbusCredentials("acme", Secret("app"), Secret("key"), Secret("a-secret-of-some-length"))
    target = build_target(CanbusAdd(user="u"), keys, RUN)
    assert isinstance(target, CanbusAddTarget)
    chunk = chunk_of(target, *LINES[:2])
    response = answer(200, b'{"authen":"OK","results":[{"result":"0","id":"b"},{"result":"0","id":%b}]}' % entry)
    verdict = target.interpret(chunk, response)
    assert isinstance(verdict, Settled)
    assert [outcome == Created(json.loads(entry)) for outcome in verdict.outcomes] == [False, is_kept]
    assert verdict.outcomes[0] == Created("b")


def test_no_control_character_stands_in_an_answer_but_by_an_escape() -> None:
    """What `has_plain_strings` rests on."""
    target = make()
    for code_point in range(0x20):
        raw = b'{"authen":"OK","results":[{"result":"0","id":"a%c"}]}' % code_point
        assert isinstance(target.interpret(chunk_of(target, LINES[0]), answer(200, raw)), Unknown)
