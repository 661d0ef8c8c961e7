"""Ozari insert: what is refused here, what travels, what each stored answer means."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from loader.errors import UsageError
from loader.model import Blocked, Chunk, Created, Halt, Record, Rejected, Response, Retry, Settled, Split, Unknown
from loader.reading.parsing import parse
from loader.settings import OzariCredentials, OzariInsert, Secret
from loader.targets.base import Identity
from loader.targets.ozari.api import MAX_KNOWN_NAMES, FieldNames
from loader.targets.ozari.insert import OzariInsertTarget
from loader.targets.registry import build_target

CREDENTIALS = OzariCredentials(Secret("tok-123"))
RUN = "k3v9x1y2z0"
SENT = b'{"fname":"Acme","fphone":"050","fda":"2026-03-26"}'


def make(**options: Any) -> OzariInsertTarget:
    target = build_target(OzariInsert("tcust", **options), CREDENTIALS, RUN)
    assert isinstance(target, OzariInsertTarget)
    return target


def shape(target: OzariInsertTarget, data: bytes, number: int = 12, source: int = 0) -> Record | Rejected:
    fields = parse(data)
    assert isinstance(fields, dict)
    return target.shaper.shape(fields, data, source, number, 3456)


def record_of(target: OzariInsertTarget, data: bytes = SENT) -> Record:
    record = shape(target, data)
    assert isinstance(record, Record)
    return record


def answer(status: int, body: object, **flags: bool) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {"content-type": "application/json"}, raw, **flags)


# --- shape and encode ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, code",
    [
        (b'{"my-field":1}', "field_name"),
        (b'{"":1}', "field_name"),
        (b'{"fname":1,"fn\xc3\xa4me":1}', "field_name"),
        (b'{"fname\\n":1}', "field_name"),
        ('{"fname٣":1}'.encode(), "field_name"),  # an Arabic digit is a digit to \d and \w, not to the target
        (b'{"fname":"x","fid":7}', "fid"),
        (b'{"\\u0066id":7}', "fid"),
        (b'{"ftag":"mine"}', "stamp"),
    ],
)
def test_what_the_target_would_refuse_is_refused_here(data: bytes, code: str) -> None:
    target = make(stamp="ftag")
    for _ in range(2):  # names are remembered after the first look; a bad one never is
        refused = shape(target, data)
        assert isinstance(refused, Rejected)
        assert (refused.stage, refused.code) == ("map", code)


def test_a_good_name_beside_a_bad_one_is_not_remembered_as_a_licence() -> None:
    target = make()
    assert isinstance(shape(target, b'{"fname":1}'), Record)
    assert isinstance(shape(target, b'{"fname":1,"x y":1}'), Rejected)
    assert isinstance(shape(target, b'{"fname":1,"FID":1}'), Record)


def test_endless_names_do_not_fill_the_memory() -> None:
    names = FieldNames()
    for first in range(0, 20_000, 100):
        assert names.first_bad(dict.fromkeys(f"f{n}" for n in range(first, first + 100)).keys()) is None
    assert len(names._known) == MAX_KNOWN_NAMES // 100 * 100


def test_an_empty_object_is_refused_even_past_the_parser() -> None:
    assert make().shaper.shape({}, b"{}", 0, 1, 0) == Rejected("map", "empty", "the record has no fields")


def test_the_bytes_of_the_line_travel_unchanged() -> None:
    data = b'{ "fname" : "caf\\u00e9", "fnum": 1.500, "big":123456789012345678901234567890 }'
    target = make()
    request = target.encode(Chunk((record_of(target, data),)))
    assert (request.method, request.path) == ("POST", "/integration/tables/tcust/records")
    assert request.body == b'{"fields":' + data + b"}"
    assert len(request.body) == target.body_overhead_bytes + len(data)


def test_the_stamp_goes_in_front_and_is_the_key() -> None:
    target = make(stamp="ftag", key="fname")
    first = shape(target, SENT, number=12)
    later = shape(target, SENT, number=12, source=3)
    assert isinstance(first, Record)
    assert isinstance(later, Record)
    assert (first.key, first.lock) == (f"{RUN}-12", None)
    assert later.key == f"{RUN}-3x12"
    sent = json.loads(target.encode(Chunk((first,))).body)
    assert next(iter(sent["fields"].items())) == ("ftag", f"{RUN}-12")
    assert sent["fields"] == {"ftag": f"{RUN}-12", **json.loads(SENT)}


@pytest.mark.parametrize(
    "value, key, twin",
    [
        (b'"C-17"', "C-17", b'"c-17  "'),
        (b"17", "17", b'"17"'),
        (b'"017"', "017", b"17.0"),
        (b"12345678901234567890123", "12345678901234567890123", b'"12345678901234567890123"'),
        ('"Zoë"'.encode(), "Zoë", b'"ZOE"'),
    ],
)
def test_the_key_is_exact_and_its_lock_is_lax(value: bytes, key: str, twin: bytes) -> None:
    target = make(key="fext")
    record, other = record_of(target, b'{"fext":%b}' % value), record_of(target, b'{"fext":%b}' % twin)
    assert record.key == key
    assert record.lock is not None
    assert record.lock == other.lock


@pytest.mark.parametrize("data", [b'{"a":1}', b'{"fext":null}', b'{"fext":""}', b'{"fext":[1]}', b'{"fext":true}'])
def test_a_record_without_a_usable_key_loads_but_cannot_be_asked_for(data: bytes) -> None:
    record = record_of(make(key="fext"), data)
    assert (record.key, record.lock) == (None, None)


@pytest.mark.parametrize(
    "settings",
    [
        OzariInsert(""),
        OzariInsert("t" * 65),
        OzariInsert("../users"),
        OzariInsert("tcust\n"),
        OzariInsert("tcüst"),
        OzariInsert("tcust", key="fid"),
        OzariInsert("tcust", key="a b"),
        OzariInsert("tcust", stamp="fid"),
        OzariInsert("tcust", stamp="ftag\n"),
    ],
)
def test_names_that_cannot_be_are_wrong_usage(settings: OzariInsert) -> None:
    with pytest.raises(UsageError):
        build_target(settings, CREDENTIALS, RUN)


def test_a_run_id_that_could_break_out_of_its_string_is_refused() -> None:
    with pytest.raises(UsageError):
        build_target(OzariInsert("tcust", stamp="ftag"), CREDENTIALS, 'x","fid":"')


# --- interpret ----------------------------------------------------------------------------------------------------------

FIELDS = json.loads(SENT)
DOCUMENTED = {"success": True, "table": "tcust", "insertedId": 1547, "fields": FIELDS}  # [D] OZ-ins


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    "change, created",
    [
        ({}, 1547),
        ({"insertedId": None}, None),
        ({"insertedId": "1547"}, 1547),
        ({"insertedId": 0}, None),
        ({"insertedId": -5}, None),
        ({"insertedId": True}, None),
        ({"insertedId": 15.5}, None),
        ({"insertedId": "9" * 5000}, None),
        ({"insertedId": "١٢"}, None),
        ({"insertedId": [7]}, None),
        ({"table": "TCUST"}, 1547),
        ({"fields": None}, 1547),
        ({"extra": [1, 2]}, 1547),
    ],
)
def test_created(status: int, change: dict[str, object], created: int | None) -> None:
    target = make()
    verdict = target.interpret(Chunk((record_of(target),)), answer(status, {**DOCUMENTED, **change}))
    assert verdict == Settled((Created(created),))


@pytest.mark.parametrize("absent, created", [("insertedId", None), ("fields", 1547)])
def test_created_though_something_is_missing(absent: str, created: int | None) -> None:
    target = make()
    body = {name: value for name, value in DOCUMENTED.items() if name != absent}
    assert target.interpret(Chunk((record_of(target),)), answer(201, body)) == Settled((Created(created),))


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_the_echo_may_be_written_in_any_way(separators: tuple[str, str]) -> None:
    target = make(stamp="ftag")
    record = record_of(target)
    body = {**DOCUMENTED, "fields": json.loads(record.data)}
    raw = json.dumps(body, separators=separators).encode()
    assert target.interpret(Chunk((record,)), answer(201, raw)) == Settled((Created(1547),))


@pytest.mark.parametrize("flags", [{"is_complete": False}, {"is_upload_complete": False}])
def test_the_very_bytes_that_were_sent_prove_nothing_in_an_answer_that_was_cut(flags: dict[str, bool]) -> None:
    target = make()
    raw = b'{"success":true,"table":"tcust","insertedId":5,"fields":%b}' % SENT
    chunk = Chunk((record_of(target),))
    assert target.interpret(chunk, answer(201, raw)) == Settled((Created(5),))
    assert isinstance(target.interpret(chunk, answer(201, raw, **flags)), Unknown)


@pytest.mark.parametrize(
    "echo, warnings",
    [
        ({**FIELDS, "fphone": "+972 50"}, ("fphone",)),
        ({**FIELDS, "fphone": None, "fda": "26/03/2026"}, ("fphone", "fda")),
        ({"fname": "Acme"}, ("fphone", "fda")),
        ({**FIELDS, "fphone": "050 "}, ("fphone",)),
        ({**FIELDS, "more": 1}, ()),
    ],
)
def test_changed_values_are_shown_by_name_and_doubt_nothing(echo: object, warnings: tuple[str, ...]) -> None:
    target = make()
    verdict = target.interpret(Chunk((record_of(target),)), answer(201, {**DOCUMENTED, "fields": echo}))
    assert verdict == Settled((Created(1547),), warnings)


def test_numbers_come_back_as_text_without_a_warning() -> None:
    target = make()
    record = record_of(target, b'{"a":5,"b":"7","c":5.0,"d":true,"e":null,"f":[1,{"x":2}]}')
    echo = {"a": "5", "b": 7, "c": 5, "d": "true", "e": None, "f": [1, {"x": 2}]}
    verdict = target.interpret(Chunk((record,)), answer(201, {**DOCUMENTED, "fields": echo}))
    assert verdict == Settled((Created(1547),))


@pytest.mark.parametrize(
    "options, echo",
    [
        ({"stamp": "ftag"}, {**FIELDS, "ftag": f"{RUN}-13"}),
        ({"stamp": "ftag"}, FIELDS),
        ({"stamp": "ftag"}, {**FIELDS, "ftag": f"{RUN}-12".upper()}),
        ({"key": "fname"}, {**FIELDS, "fname": "Other"}),
        ({"key": "fname"}, {**FIELDS, "fname": "acme"}),
        ({}, {"fname": "Other", "fphone": "051", "fda": "x"}),
        ({}, {}),
    ],
)
def test_an_answer_that_belongs_to_another_record_is_a_mismatch(options: dict[str, str], echo: object) -> None:
    target = make(**options)
    verdict = target.interpret(Chunk((record_of(target),)), answer(201, {**DOCUMENTED, "fields": echo}))
    assert isinstance(verdict, Unknown)
    assert verdict.is_mismatch


def test_a_field_that_is_only_written_another_way_is_no_mismatch() -> None:
    target = make()
    record = record_of(target, b'{"fnum":"007"}')
    verdict = target.interpret(Chunk((record,)), answer(201, {**DOCUMENTED, "fields": {"fnum": 7}}))
    assert verdict == Settled((Created(1547),), ("fnum",))


@pytest.mark.parametrize(
    "response, is_mismatch",
    [
        (answer(201, {**DOCUMENTED, "table": "other"}), True),
        (answer(201, {"success": True, "company": "acme"}), False),
        (answer(200, {**DOCUMENTED, "success": "true"}), False),
        (answer(200, {"success": False}), False),
        (answer(200, {"success": False, "error": 5}), False),
        (answer(200, []), False),
        (answer(201, b""), False),
        (answer(201, b'{"success":true,"table":"tcust","inser'), False),
        (answer(201, json.dumps(DOCUMENTED).encode() + b"junk"), False),
        (answer(201, DOCUMENTED, is_complete=False), False),
        (answer(201, DOCUMENTED, is_upload_complete=False), False),
        (answer(204, b""), False),
        (answer(202, DOCUMENTED), False),
        (answer(100, b""), False),
        (answer(408, b""), False),
        (answer(418, b""), False),
        (answer(499, b""), False),
        (answer(500, {"success": False, "error": "Duplicate entry"}), False),
        (answer(502, b"<html>"), False),
        (answer(503, b""), False),
        (answer(599, b""), False),
        (answer(999, b""), False),
    ],
)
def test_may_have_been_applied(response: Response, is_mismatch: bool) -> None:
    target = make()
    verdict = target.interpret(Chunk((record_of(target),)), response)
    assert isinstance(verdict, Unknown)
    assert verdict.is_mismatch is is_mismatch
    assert verdict.status == response.status


@pytest.mark.parametrize(
    "status, error",
    [
        (400, '"fields" is required'),
        (400, "Invalid field name: my-field"),
        (400, "Cannot set primary key column: fid"),
        (409, "exists"),
        (411, "length"),
        (415, "type"),
        (422, "no"),
        (200, "says success false with a 200"),
    ],
)
def test_refused_by_the_target(status: int, error: str) -> None:
    target = make()
    verdict = target.interpret(Chunk((record_of(target),)), answer(status, {"success": False, "error": error}))
    assert verdict == Settled((Rejected("target", str(status), error),))


def test_a_refusal_without_json_still_is_one() -> None:
    target = make()
    verdict = target.interpret(Chunk((record_of(target),)), answer(400, b"<html>Bad Request</html>"))
    assert verdict == Settled((Rejected("target", "400", "application/json: Bad Request"),))


def test_the_targets_words_are_cut_escaped_and_without_the_token() -> None:
    target = make()
    error = "\x1b[31m tok-123 \u202e" + "x" * 500
    verdict = target.interpret(Chunk((record_of(target),)), answer(400, {"success": False, "error": error}))
    assert isinstance(verdict, Settled)
    (refused,) = verdict.outcomes
    assert isinstance(refused, Rejected)
    assert "tok-123" not in refused.message
    assert refused.message.isprintable()
    assert len(refused.message) < 260


@pytest.mark.parametrize(
    "response, reason, may_be_applied",
    [
        (answer(401, {"success": False, "error": "Missing or invalid Authorization header"}), "credentials", False),
        (answer(403, {"success": False, "error": "Invalid token"}), "credentials", False),
        (answer(404, {"success": False, "error": "Table not found"}), "table", False),
        (answer(405, {"success": False, "error": "Method not allowed"}), "table", False),
        (answer(302, b""), "redirect", True),
        (answer(307, b""), "redirect", True),
        (answer(304, b""), "redirect", True),
    ],
)
def test_nothing_will_succeed(response: Response, reason: str, may_be_applied: bool) -> None:
    target = make()
    verdict = target.interpret(Chunk((record_of(target),)), response)
    assert isinstance(verdict, Halt)
    assert (verdict.reason, verdict.may_be_applied) == (reason, may_be_applied)
    assert verdict.hint


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_refusal_that_is_not_the_apis_is_somebody_elses(status: int) -> None:
    target = make()
    page = Response(
        status, {"content-type": "text/html; charset=utf-8"}, b"<h1>Request blocked</h1> ray id 4711 tok-123"
    )
    verdict = target.interpret(Chunk((record_of(target),)), page)
    assert verdict == Blocked(str(status), "text/html: Request blocked ray id 4711 ***")


@pytest.mark.parametrize(
    "body", [b"<body>Please log in</body>", b'<br>Warning: x {"success":true}', b"[1]", b'{"ok":1}']
)
def test_a_success_in_another_form_is_unreadable_and_shows_its_words(body: bytes) -> None:
    target = make()
    verdict = target.interpret(Chunk((record_of(target),)), Response(200, {"content-type": "text/html"}, body))
    assert isinstance(verdict, Unknown)
    assert verdict.is_unreadable
    assert "text/html: " in verdict.reason


def test_a_server_error_keeps_the_targets_words() -> None:
    target = make()
    verdict = target.interpret(Chunk((record_of(target),)), answer(500, {"success": False, "error": "Data too long"}))
    assert verdict == Unknown("the target answered 500: Data too long", 500)


def test_too_large_and_too_fast() -> None:
    target = make()
    chunk = Chunk((record_of(target),))
    too_large = target.interpret(chunk, answer(413, b""))
    assert isinstance(too_large, Split)
    assert (too_large.is_too_large, too_large.must_ask_first) == (True, False)
    response = Response(429, {"retry-after": "7"}, b"")
    assert target.interpret(chunk, response) == Retry("throttled", 7.0, is_throttled=True)


# --- preflight ----------------------------------------------------------------------------------------------------------


def test_the_preflight_binds_the_run_to_the_company() -> None:
    target = make()
    request = target.preflight()
    assert (request.method, request.path, request.body) == ("GET", "/integration/auth/test", b"")
    found = target.read_preflight(answer(200, {"success": True, "company": "acme"}))  # [D] OZ-auth
    assert isinstance(found, Identity)
    assert (found.name, found.binding) == ("acme", "ozari:acme")
    assert target.headers["Authorization"] == "Bearer tok-123"
    assert "tok-123" not in repr(target.headers)


@pytest.mark.parametrize(
    "response, kind",
    [
        (answer(401, {"success": False, "error": "Missing or invalid Authorization header"}), Halt),
        (answer(403, {"success": False, "error": "Invalid token"}), Halt),
        (answer(400, b""), Halt),
        (answer(404, b""), Halt),
        (answer(308, b""), Halt),
        (answer(200, {"success": False, "error": "no"}), Halt),
        (answer(200, {"success": True}), Retry),
        (answer(200, {"success": True, "company": ""}), Retry),
        (answer(200, {"success": True, "company": "acme"}, is_complete=False), Retry),
        (answer(200, b"<html>"), Retry),
        (answer(204, b""), Retry),
        (answer(408, b""), Retry),
        (answer(429, b""), Retry),
        (answer(500, b""), Retry),
        (answer(503, b""), Retry),
    ],
)
def test_the_preflight_stops_on_a_refusal_and_waits_for_all_else(response: Response, kind: type) -> None:
    assert isinstance(make().read_preflight(response), kind)


def test_a_stamp_is_at_most_32_characters() -> None:
    record = shape(make(stamp="ftag"), SENT, number=10**15, source=9999)
    assert isinstance(record, Record)
    assert record.key is not None
    assert len(record.key) <= 32
    assert orjson.loads(record.data)["ftag"] == record.key
