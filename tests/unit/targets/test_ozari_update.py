"""Ozari update: both line shapes, locks, and what each stored answer means."""

from __future__ import annotations

import json

import pytest

from loader.errors import UsageError
from loader.model import Blocked, Chunk, Halt, Record, Rejected, Response, Retry, Settled, Split, Unknown, Updated
from loader.reading.parsing import parse
from loader.row_lock import RowLock
from loader.settings import OzariCredentials, OzariUpdate, Secret
from loader.targets.ozari.update import OzariUpdateTarget, touches_its_filters
from loader.targets.registry import build_target

CREDENTIALS = OzariCredentials(Secret("tok-123"))
NESTED = b'{"filters":{"fid":"1547"},"fields":{"fphone":"050","fname":"Acme"}}'


def make(*match: str) -> OzariUpdateTarget:
    target = build_target(OzariUpdate("tcust", match), CREDENTIALS, "k3v9x1y2z0")
    assert isinstance(target, OzariUpdateTarget)
    return target


def shape(target: OzariUpdateTarget, data: bytes) -> Record | Rejected:
    fields = parse(data)
    assert isinstance(fields, dict)
    return target.shaper.shape(fields, data, 0, 7, 99)


def record_of(data: bytes = NESTED, *match: str) -> Record:
    record = shape(make(*match), data)
    assert isinstance(record, Record)
    return record


def answer(status: int, body: object, **flags: bool) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {}, raw, **flags)


# --- shape --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        NESTED,
        b'{ "fields" : {"fphone":"050","fname":"Acme"} , "filters" : {"fid":"1547"} }',
        b'{"\\u0066ilters":{"fid":"1547"},"fields":{"fphone":"050","fname":"Acme"}}',
    ],
)
def test_a_nested_line_becomes_the_body(data: bytes) -> None:
    request = make().encode(Chunk((record_of(data),)))
    assert (request.method, request.path, request.body) == ("PATCH", "/integration/tables/tcust/records/single", NESTED)


def test_a_flat_line_is_cut_as_raw_bytes() -> None:
    record = record_of(b'{"fname":"caf\\u00e9", "fcode" : 1.50 , "n":12345678901234567890}', "fcode")
    assert record.data == b'{"filters":{"fcode" : 1.50},"fields":{"fname":"caf\\u00e9","n":12345678901234567890}}'
    assert json.loads(record.data)["filters"] == {"fcode": 1.5}


@pytest.mark.parametrize(
    "match, data, code",
    [
        ((), b'{"fname":"x"}', "object"),
        ((), b'{"filters":{"a":1}}', "object"),
        ((), b'{"filters":{"a":1},"fields":{"b":1},"more":1}', "object"),
        ((), b'{"filters":[1],"fields":{"b":1}}', "object"),
        ((), b'{"filters":{"a":1},"fields":"b"}', "object"),
        ((), b'{"filters":null,"fields":{"b":1}}', "object"),
        ((), b'{"filters":{},"fields":{"b":1}}', "empty"),
        ((), b'{"filters":{"a":1},"fields":{}}', "empty"),
        ((), b'{"filters":{"a":{"b":1}},"fields":{"b":1}}', "object"),
        ((), b'{"filters":{"a":[1]},"fields":{"b":1}}', "object"),
        ((), b'{"filters":{"a-b":1},"fields":{"b":1}}', "field_name"),
        ((), b'{"filters":{"a":1},"fields":{"b c":1}}', "field_name"),
        ((), b'{"filters":{"a":1},"fields":{"fid":1}}', "fid"),
        (("fcode",), b'{"fname":"x"}', "empty"),
        (("fcode",), b'{"fcode":"x"}', "empty"),
        (("fcode", "fsub"), b'{"fcode":"x","fname":"y"}', "empty"),
        (("fcode",), b'{"fcode":["x"],"fname":"y"}', "object"),
        (("fcode",), b'{"fcode":"x","fid":4}', "fid"),
    ],
)
def test_what_cannot_be_an_update_is_refused_here(match: tuple[str, ...], data: bytes, code: str) -> None:
    refused = shape(make(*match), data)
    assert isinstance(refused, Rejected)
    assert (refused.stage, refused.code) == ("map", code)


def test_fid_may_select_a_row() -> None:
    assert isinstance(shape(make("fid"), b'{"fid":4,"fname":"x"}'), Record)


@pytest.mark.parametrize("match", [("a b",), ("",), ("a", "a")])
def test_match_names_that_cannot_be_are_wrong_usage(match: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        make(*match)


@pytest.mark.parametrize(
    "one, other, is_one_lock",
    [
        (b'{"fid":"1547"}', b'{"fid":1547}', True),
        (b'{"fid":1547}', b'{"FID":1547.0}', True),
        (b'{"a":1,"b":"X "}', b'{"b":"x","a":"1"}', True),
        (b'{"a":"Se\xc3\xb1or"}', b'{"a":"SENOR"}', True),
        (b'{"a":null}', b'{"a":null}', True),
        (b'{"a":1}', b'{"a":2}', False),
        (b'{"a":1}', b'{"b":1}', False),
        (b'{"a":1}', b'{"a":1,"b":1}', False),
        (b'{"a":"x"}', b'{"a":"y"}', False),
    ],
)
def test_equal_filters_share_a_lock(one: bytes, other: bytes, is_one_lock: bool) -> None:
    locks = [record_of(b'{"filters":%b,"fields":{"c":1}}' % part).lock for part in (one, other)]
    first, second = (lock[:2] for lock in locks if isinstance(lock, RowLock))
    assert (first == second) is is_one_lock


@pytest.mark.parametrize(
    "line, is_touching",
    [
        (b'{"filters":{"a":1},"fields":{"b":1}}', False),
        (b'{"filters":{"a":1},"fields":{"a":"1","b":1}}', False),
        (b'{"filters":{"a":1},"fields":{"a":2}}', True),
        (b'{"filters":{"a":"x"},"fields":{"A":"X"}}', True),
        (b'{"filters":{"a":"x","b":2},"fields":{"b":null}}', True),
        (b'{"filters":{"a":"x"},"fields":{"a":"x "}}', True),
    ],
)
def test_touching_its_own_filters(line: bytes, is_touching: bool) -> None:
    assert touches_its_filters(record_of(line)) is is_touching


# --- interpret ----------------------------------------------------------------------------------------------------------

FIELDS = {"fphone": "050", "fname": "Acme"}
DOCUMENTED = {"success": True, "table": "tcust", "matched": 1, "updated": 1, "fields": FIELDS}  # [D] OZ-upd


@pytest.mark.parametrize(
    "change, settled",
    [
        ({}, Settled((Updated(),))),
        ({"updated": 0}, Settled((Updated(is_unchanged=True),))),
        ({"updated": None}, Settled((Updated(),))),
        ({"updated": False}, Settled((Updated(),))),
        ({"fields": None}, Settled((Updated(),))),
        ({"fields": {**FIELDS, "fphone": "51"}}, Settled((Updated(),), ("fphone",))),
    ],
)
def test_updated(change: dict[str, object], settled: Settled) -> None:
    verdict = make().interpret(Chunk((record_of(),)), answer(200, {**DOCUMENTED, **change}))
    assert verdict == settled


@pytest.mark.parametrize(
    "response, is_mismatch",
    [
        (answer(200, {**DOCUMENTED, "fields": {"fphone": "1", "fname": "2"}}), True),
        (answer(200, {**DOCUMENTED, "table": "other"}), True),
        (answer(200, {**DOCUMENTED, "matched": 0}), False),
        (answer(200, {**DOCUMENTED, "matched": 2}), False),
        (answer(200, {**DOCUMENTED, "matched": True}), False),
        (answer(200, {**DOCUMENTED, "matched": "1"}), False),
        (answer(200, {"success": True, "table": "tcust", "updated": 3}), False),
        (answer(200, {**DOCUMENTED, "success": None}), False),
        (answer(200, b"<html>"), False),
        (answer(200, DOCUMENTED, is_complete=False), False),
        (answer(200, DOCUMENTED, is_upload_complete=False), False),
        (answer(204, b""), False),
        (answer(408, b""), False),
        (answer(500, b""), False),
        (answer(503, b""), False),
    ],
)
def test_may_have_been_applied(response: Response, is_mismatch: bool) -> None:
    verdict = make().interpret(Chunk((record_of(),)), response)
    assert isinstance(verdict, Unknown)
    assert verdict.is_mismatch is is_mismatch


NO_MATCH = {"success": False, "error": "No records match the given filters", "matched": 0}
SEVERAL = {
    "success": False,
    "error": "Multiple records match the given filters. Use /records/bulk for multi-update.",
    "matched": 5,
}


@pytest.mark.parametrize("status, body", [(404, NO_MATCH), (409, SEVERAL), (400, {"error": '"filters" is required'})])
def test_refused_by_the_target(status: int, body: dict[str, object]) -> None:
    verdict = make().interpret(Chunk((record_of(),)), answer(status, body))
    assert verdict == Settled((Rejected("target", str(status), str(body["error"])),))


@pytest.mark.parametrize(
    "response, reason",
    [
        (answer(404, {"success": False, "error": "Table not found"}), "table"),
        (answer(401, {"success": False}), "credentials"),
        (answer(403, {"success": False, "error": "Invalid token"}), "credentials"),
        (answer(301, b""), "redirect"),
    ],
)
def test_nothing_will_succeed(response: Response, reason: str) -> None:
    verdict = make().interpret(Chunk((record_of(),)), response)
    assert isinstance(verdict, Halt)
    assert verdict.reason == reason


@pytest.mark.parametrize(
    "response",
    [answer(404, b"<html>"), answer(404, NO_MATCH, is_complete=False), answer(405, b""), answer(401, b"")],
)
def test_a_refusal_that_is_not_the_apis_is_somebody_elses(response: Response) -> None:
    verdict = make().interpret(Chunk((record_of(),)), response)
    assert isinstance(verdict, Blocked)
    assert verdict.code == str(response.status)


def test_too_large_and_too_fast() -> None:
    chunk = Chunk((record_of(),))
    assert isinstance(make().interpret(chunk, answer(413, b"")), Split)
    assert make().interpret(chunk, answer(429, b"")) == Retry("throttled", is_throttled=True)
