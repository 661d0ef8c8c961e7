"""Asking Ozari: what the questions look like, and what answers prove."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from loader.model import Absent, Finding, Found, Halt, Record, Response, Retry, Undecided, Unknown
from loader.reading.parsing import parse
from loader.settings import OzariCredentials, OzariInsert, OzariUpdate, Secret
from loader.targets.base import Lookup, LookupAnswer, NoQueryEndpoint, QueryEndpoint, Side
from loader.targets.ozari.update_lookup import conclude
from loader.targets.registry import build_capability, build_lookup, build_target, build_update_lookup

CREDENTIALS = OzariCredentials(Secret("tok-123"))
RUN = "k3v9x1y2z0"
QUERY, NO_QUERY = QueryEndpoint(100), NoQueryEndpoint("closed")
STAMPED = OzariInsert("tcust", stamp="ftag")
KEYED = OzariInsert("tcust", key="fext")


def records_of(settings: OzariInsert | OzariUpdate, *lines: bytes) -> list[Record]:
    target = build_target(settings, CREDENTIALS, RUN)
    records = []
    for number, line in enumerate(lines, 1):
        fields = parse(line)
        assert isinstance(fields, dict)
        record = target.shaper.shape(fields, line, 0, number, 0)
        assert isinstance(record, Record)
        records.append(record)
    return records


def lookup_of(settings: OzariInsert, endpoint: QueryEndpoint | NoQueryEndpoint, floor: int | None = 100) -> Lookup:
    lookup = build_lookup(settings, CREDENTIALS, endpoint, floor)
    assert lookup is not None
    return lookup


def rows(*found: dict[str, Any], total: int | None = None, table: str = "tcust") -> Response:
    body = {
        "success": True,
        "table": table,
        "page": 1,
        "per_page": 200,
        "total": len(found) if total is None else total,
        "records": list(found),
    }
    return Response(200, {}, orjson.dumps(body))


def answer(status: int, body: object, **flags: bool) -> Response:
    return Response(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode(), **flags)


def findings(lookup: Lookup, records: list[Record], response: Response) -> tuple[Finding, ...]:
    found = lookup.read(records, response)
    assert isinstance(found, LookupAnswer)
    assert len(found.findings) == len(records)
    return found.findings


# --- the query ----------------------------------------------------------------------------------------------------------


def test_the_question_by_stamp() -> None:
    lookup = lookup_of(STAMPED, QUERY)
    request = lookup.encode(records_of(STAMPED, b'{"a":1}', b'{"a":2}'))
    assert (request.method, request.path, lookup.max_records) == ("POST", "/integration/tables/tcust/query", 200)
    assert json.loads(request.body) == {
        "filters": {"and": [{"field": "ftag", "op": "in", "value": [f"{RUN}-1", f"{RUN}-2"]}]},
        "select": ["fid", "ftag"],
        "sort": [{"field": "fid", "direction": "asc"}],
        "page": 1,
        "per_page": 200,
    }


def test_the_question_by_key_keeps_the_raw_values_and_the_floor() -> None:
    records = records_of(KEYED, b'{"fext":"a"}', b'{"fext":7}', b'{"fext": "a"}', b'{"fext":"caf\\u00e9"}')
    body = lookup_of(KEYED, QUERY).encode(records).body
    assert b'"value":["a",7,"caf\\u00e9"]' in body
    assert json.loads(body)["filters"]["and"][1] == {"field": "fid", "op": "gt", "value": 100}


def test_by_stamp_the_answer_is_exact() -> None:
    records = records_of(STAMPED, b'{"a":1}', b'{"a":2}', b'{"a":3}', b'{"a":4}')
    response = rows(
        {"fid": 7, "ftag": f"{RUN}-1"},
        {"fid": "8", "ftag": f"{RUN}-3"},
        {"fid": 9, "ftag": f"{RUN}-3"},
        {"fid": None, "ftag": f"{RUN}-4"},
    )
    assert findings(lookup_of(STAMPED, QUERY), records, response) == (
        Found((7,), 1),
        Absent(),
        Found((8, 9), 2),
        Found((), 1),
    )


def test_by_key_a_row_counts_only_above_the_floor_and_byte_for_byte() -> None:
    records = records_of(KEYED, b'{"fext":"a"}', b'{"fext":"b"}', b'{"fext":"c"}', b'{"fext":7}', b'{"fext":"d"}')
    response = rows(
        {"fid": 100, "fext": "a"},
        {"fid": 101, "fext": "b"},
        {"fid": 102, "fext": "b"},
        {"fid": 103, "fext": "C"},
        {"fid": 104, "fext": "7"},
        {"fid": "x", "fext": "d"},
    )
    found = findings(lookup_of(KEYED, QUERY), records, response)
    assert found[:4] == (Absent(), Found((101, 102), 2), Absent(), Found((104,), 1))
    assert isinstance(found[4], Undecided)


@pytest.mark.parametrize(
    "key, stored", [(b'"a "', "a"), (b'"a"', " a"), (b"7", "7.00"), (b'"007"', 7), (b"1.50", "1.5")]
)
def test_a_key_that_the_target_rewrote_is_not_absent(key: bytes, stored: object) -> None:
    records = records_of(KEYED, b'{"fext":%b}' % key)
    (finding,) = findings(lookup_of(KEYED, QUERY), records, rows({"fid": 101, "fext": stored}))
    assert isinstance(finding, Undecided)


def test_a_rewritten_key_that_is_another_records_own_key_is_that_record() -> None:
    records = records_of(KEYED, b'{"fext":"a "}', b'{"fext":"a"}')
    assert findings(lookup_of(KEYED, QUERY), records, rows({"fid": 101, "fext": "a"})) == (Absent(), Found((101,), 1))


def test_with_rows_beyond_the_page_nothing_is_absent() -> None:
    records = records_of(KEYED, b'{"fext":"a"}', b'{"fext":"b"}')
    found = findings(lookup_of(KEYED, QUERY), records, rows({"fid": 101, "fext": "a"}, total=2))
    assert found[0] == Found((101,), 1)
    assert isinstance(found[1], Undecided)


@pytest.mark.parametrize(
    "response",
    [
        rows({"fid": 1, "ftag": f"{RUN}-77"}),
        rows({"fid": 1, "ftag": "x"}, table="other"),
        answer(200, {"success": True, "table": "tcust", "records": []}),
        answer(200, {"success": True, "table": "tcust", "records": [], "total": True}),
        answer(200, {"success": True, "table": "tcust", "records": [1], "total": 1}),
        answer(200, {"success": True, "table": "tcust", "records": {}, "total": 0}),
        answer(200, {"success": False, "table": "tcust", "records": [], "total": 0}),
        answer(200, b"<html>"),
        Response(200, {}, rows().body, is_complete=False),
    ],
)
def test_what_is_no_answer_to_the_question_proves_nothing(response: Response) -> None:
    records = records_of(STAMPED, b'{"a":1}')
    assert isinstance(lookup_of(STAMPED, QUERY).read(records, response), Unknown)


FAULTS = [
    (answer(429, b""), Retry),
    (answer(408, b""), Retry),
    (answer(500, b""), Retry),
    (answer(503, b""), Retry),
    (answer(302, b""), Halt),
    (answer(401, b""), Halt),
    (answer(403, {"success": False, "error": "Invalid token"}), Halt),
    (answer(404, {"success": False, "error": "Table not found"}), Halt),
]


@pytest.mark.parametrize("endpoint", [QUERY, NO_QUERY])
@pytest.mark.parametrize("response, kind", FAULTS)
def test_faults_of_a_look_up(endpoint: QueryEndpoint | NoQueryEndpoint, response: Response, kind: type) -> None:
    lookup = lookup_of(STAMPED, endpoint)
    assert isinstance(lookup.read(records_of(STAMPED, b'{"a":1}'), response), kind)


@pytest.mark.parametrize("endpoint", [QUERY, NO_QUERY])
@pytest.mark.parametrize(
    "response",
    [
        answer(400, {"success": False, "error": "Invalid field name in filters.and[0]: ftag"}),
        answer(403, {"success": False, "error": "This table is not readable through the integration API"}),
        answer(404, b"<html>"),
        answer(405, b""),
        answer(413, b""),
    ],
)
def test_a_refused_question_decides_nothing(endpoint: QueryEndpoint | NoQueryEndpoint, response: Response) -> None:
    records = records_of(STAMPED, b'{"a":1}')
    (finding,) = findings(lookup_of(STAMPED, endpoint), records, response)
    assert isinstance(finding, Undecided)


# --- the probe ----------------------------------------------------------------------------------------------------------


def matched(status: int, count: object, **more: object) -> Response:
    return answer(status, {"success": status == 200, "table": "tcust", "matched": count, "updated": 0, **more})


def test_the_probe_sets_the_stamp_to_itself() -> None:
    lookup = lookup_of(STAMPED, NO_QUERY)
    request = lookup.encode(records_of(STAMPED, b'{"x":1,"fext": 7.10 }'))
    assert (request.method, request.path) == ("PATCH", "/integration/tables/tcust/records/single")
    pair = f'{{"ftag":"{RUN}-1"}}'
    assert request.body == f'{{"filters":{pair},"fields":{pair}}}'.encode()
    assert lookup.max_records == 1


@pytest.mark.parametrize(
    "response, expected",
    [(matched(200, 1), Found((), 1)), (matched(404, 0), Absent()), (matched(409, 3), Found((), 3))],
)
def test_what_the_probe_proves(response: Response, expected: Finding) -> None:
    assert findings(lookup_of(STAMPED, NO_QUERY), records_of(STAMPED, b'{"a":1}'), response) == (expected,)


@pytest.mark.parametrize("floor", [0, 100, None])
def test_no_probe_asks_by_a_key_of_the_users(floor: int | None) -> None:
    """It writes what it asks for, and a lax table finds 'abc' by 'ABC'."""
    assert build_lookup(KEYED, CREDENTIALS, NO_QUERY, floor) is None


@pytest.mark.parametrize("found, expected", [((), Absent), (({"fid": 700, "fext": "1"},), Undecided)])
def test_by_a_key_that_was_named_later_only_absence_is_proved(
    found: tuple[dict[str, Any], ...], expected: type
) -> None:
    records = records_of(KEYED, b'{"fext":1}')
    lookup = lookup_of(KEYED, QUERY, None)
    assert "fid" not in json.dumps(json.loads(lookup.encode(records).body)["filters"])
    (finding,) = findings(lookup, records, rows(*found))
    assert isinstance(finding, expected)


@pytest.mark.parametrize(
    "response",
    [
        matched(200, 0),
        matched(200, 2),
        matched(200, True),
        matched(200, "1"),
        matched(404, 1),
        matched(409, 1),
        answer(200, {"success": True, "table": "other", "matched": 1}),
        answer(200, {"success": True, "table": "tcust"}),
        matched(200, 1, fields={"ftag": "another"}),
        answer(409, b""),
    ],
)
def test_a_probe_that_contradicts_itself_proves_nothing(response: Response) -> None:
    records = records_of(STAMPED, b'{"a":1}')
    assert isinstance(lookup_of(STAMPED, NO_QUERY).read(records, response), Unknown)


def test_which_look_up_is_built() -> None:
    assert build_lookup(OzariInsert("tcust"), CREDENTIALS, QUERY, 0) is None
    assert lookup_of(STAMPED, QUERY, None).max_records == 200
    assert lookup_of(KEYED, QUERY, 0).max_records == 200
    assert lookup_of(KEYED, QUERY, None).max_records == 200


# --- is there a query endpoint? -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response, expected",
    [
        (rows({"fid": 1547}, total=90), QueryEndpoint(1547)),
        (rows({"fid": "1547"}), QueryEndpoint(1547)),
        (rows(), QueryEndpoint(0)),
        (rows({"fid": "a-b"}), QueryEndpoint(None)),
        (answer(403, {"error": "This table is not readable through the integration API"}), NoQueryEndpoint),
        (answer(404, b"Cannot POST"), NoQueryEndpoint),
        (answer(405, b""), NoQueryEndpoint),
        (answer(400, {"error": "unknown"}), NoQueryEndpoint),
        (answer(200, b"<html>"), NoQueryEndpoint),
        (Response(200, {}, b"{", is_complete=False), Retry),
        *FAULTS,
    ],
)
def test_capability(response: Response, expected: object) -> None:
    capability = build_capability(KEYED, CREDENTIALS)
    assert json.loads(capability.encode().body)["sort"] == [{"field": "fid", "direction": "desc"}]
    found = capability.read(response)
    assert isinstance(found, expected) if isinstance(expected, type) else found == expected


# --- updates that touch their own filters -------------------------------------------------------------------------------

UPDATE = OzariUpdate("tcust")
LINE = b'{"filters":{"fid":4,"fcode":"old","fnull":null},"fields":{"FCODE":"caf\\u00e9","fname":"x"}}'


@pytest.mark.parametrize("side, code", [("old", "old"), ("new", "café")])
def test_the_two_questions_by_query(side: Side, code: str) -> None:
    (record,) = records_of(UPDATE, LINE)
    request = build_update_lookup(UPDATE, CREDENTIALS, QUERY).encode(record, side)
    body = json.loads(request.body)
    assert request.path == "/integration/tables/tcust/query"
    assert (body["select"], body["per_page"]) == (["fid"], 1)
    assert body["filters"]["and"] == [
        {"field": "fid", "op": "eq", "value": 4},
        {"field": "fcode", "op": "eq", "value": code},
        {"field": "fnull", "op": "is_null"},
    ]


@pytest.mark.parametrize("side, code", [("old", "old"), ("new", "café")])
def test_the_two_questions_by_probe(side: Side, code: str) -> None:
    (record,) = records_of(UPDATE, LINE)
    request = build_update_lookup(UPDATE, CREDENTIALS, NO_QUERY).encode(record, side)
    assert (request.method, request.path) == ("PATCH", "/integration/tables/tcust/records/single")
    assert json.loads(request.body) == {
        "filters": {"fid": 4, "fcode": code, "fnull": None},
        "fields": {"fcode": code},
    }


@pytest.mark.parametrize("endpoint", [QUERY, NO_QUERY])
@pytest.mark.parametrize(
    "by_query, by_probe, expected",
    [
        (rows({"fid": 1}, total=5), matched(409, 5), 5),
        (rows(), matched(404, 0), 0),
        (rows({"fid": 1}), matched(200, 1), 1),
        (answer(200, b"{}"), matched(200, 7), Unknown),
        (answer(400, b""), answer(400, b""), Undecided),
        (answer(429, b""), answer(429, b""), Retry),
        (answer(401, b""), answer(401, b""), Halt),
    ],
)
def test_how_many_rows_match(
    endpoint: QueryEndpoint | NoQueryEndpoint, by_query: Response, by_probe: Response, expected: object
) -> None:
    (record,) = records_of(UPDATE, LINE)
    lookup = build_update_lookup(UPDATE, CREDENTIALS, endpoint)
    found = lookup.read(record, "new", by_query if endpoint is QUERY else by_probe)
    assert isinstance(found, expected) if isinstance(expected, type) else found == expected


@pytest.mark.parametrize(
    "old, new, kind",
    [(0, 1, Found), (1, 0, Absent), (0, 0, Undecided), (1, 1, Undecided), (0, 2, Undecided), (2, 0, Undecided)],
)
def test_what_the_two_numbers_prove(old: int, new: int, kind: type) -> None:
    assert isinstance(conclude(old, new), kind)
