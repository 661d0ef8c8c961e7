"""Lines that are good objects, and wrap what is meant: messages and envelopes of other tools. Pure.

Law: only shapes that nobody's table has. A record that merely has a member `schema` or `type` is a record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from loader.reading.sniff_form import Form
from loader.reading.sniff_json import LIST_NAMES, list_of

_ACTIONS = frozenset({"index", "create", "delete", "update"})
_ACTION_NAMES = frozenset(
    {
        "routing",
        "pipeline",
        "require_alias",
        "dynamic_templates",
        "retry_on_conflict",
        "if_seq_no",
        "if_primary_term",
        "version",
        "version_type",
        "parent",
        "require_data_stream",
        "list_executed_pipelines",
    }
)
_SINGER = {"SCHEMA": "schema", "RECORD": "record", "STATE": "value", "ACTIVATE_VERSION": "version", "BATCH": "manifest"}
_AIRBYTE = frozenset({"RECORD", "STATE", "LOG", "SPEC", "CONNECTION_STATUS", "CATALOG", "TRACE", "CONTROL"})


def inner(member: str, condition: str = "") -> str:
    """Write a command that prints one member of each line's object, its bytes as they are.

    The member is found by its name at the depth it has; a filter picks the lines.
    """
    path = member.split(".")
    descend = "".join(f"[{name!r}]".replace("'", '"') for name in path)
    mark = '"\\ue000"'
    return (
        "python3 -X utf8 -c 'import json,sys;f=lambda t:" + mark + "+t+" + mark + ";"
        "[print(json.dumps(r" + descend + ',ensure_ascii=False).replace("\\"\\ue000","").replace("\\ue000\\"","")) '
        "for r in (json.loads(l,parse_float=f,parse_int=f) for l in sys.stdin)" + condition + "]'"
    )


_DYNAMO_TYPES = frozenset({"S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"})
_DYNAMO = (
    "python3 -X utf8 -c 'import json,sys;"
    'u=lambda v:next({"M":lambda:{a:u(b) for a,b in x.items()},"L":lambda:[u(b) for b in x],"NULL":lambda:None,'
    '"N":lambda:"\\ue000"+x+"\\ue000"}.get(k,lambda:x)() for k,x in v.items());'
    '[print(json.dumps({a:u(b) for a,b in json.loads(r)["Item"].items()},ensure_ascii=False)'
    '.replace("\\"\\ue000","").replace("\\ue000\\"","")) for r in sys.stdin]\''
)


class Wrapper(NamedTuple):
    """A shape of a first line, and what it shows. `fits` gets the first object and the second one, {} if there is none."""

    fits: Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
    form: Form


def _is_action(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    name = next(iter(first))
    value = first[name]
    return (
        len(first) == 1
        and name in _ACTIONS
        and isinstance(value, dict)
        and all(key.startswith("_") or key in _ACTION_NAMES for key in value)
    )


def _is_singer(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    kind = first.get("type")
    member = _SINGER.get(kind) if isinstance(kind, str) else None
    return member in first and (
        "stream" in first or (kind == "STATE" and len(first) == 2 and isinstance(first["value"], dict))
    )


def _is_airbyte(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    kind = first.get("type")
    if not isinstance(kind, str) or kind not in _AIRBYTE:
        return False
    payload = first.get({"CONNECTION_STATUS": "connectionStatus"}.get(kind, kind.lower()))
    return isinstance(payload, dict) and (kind != "RECORD" or {"stream", "data"} <= payload.keys())


def _is_connect(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    schema = first.get("schema")
    return first.keys() == {"schema", "payload"} and isinstance(schema, dict) and "type" in schema


def _is_debezium(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    return {"before", "after", "op", "source"} <= first.keys() and isinstance(first["source"], dict)


def _is_features(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    return first.get("type") == "FeatureCollection" and isinstance(first.get("features"), list)


def _is_json_api(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    data = first.get("data")
    return (
        isinstance(data, list)
        and bool(data)
        and all(isinstance(item, dict) and {"type", "id", "attributes"} <= item.keys() for item in data[:5])
    )


def _is_search_answer(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    hits = first.get("hits")
    return {"took", "timed_out"} <= first.keys() and isinstance(hits, dict) and isinstance(hits.get("hits"), list)


def _is_odata(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    return "@odata.context" in first and isinstance(first.get("value"), list)


def _is_salesforce(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    return {"totalSize", "done", "records"} <= first.keys() and isinstance(first["records"], list)


def _is_container_log(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    return {"log", "stream", "time"} <= first.keys() <= {"log", "stream", "time", "attrs"} and isinstance(
        first["log"], str
    )


def _is_dynamo(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    item = first.get("Item")
    return (
        len(first) == 1
        and isinstance(item, dict)
        and bool(item)
        and all(
            isinstance(value, dict) and len(value) == 1 and value.keys() <= _DYNAMO_TYPES for value in item.values()
        )
    )


def _is_search_hit(first: Mapping[str, Any], _second: Mapping[str, Any]) -> bool:
    return {"_index", "_id", "_source"} <= first.keys() and isinstance(first["_source"], dict)


WRAPPERS = (
    Wrapper(
        _is_action,
        Form(
            "a bulk request of Elasticsearch",
            "grep -Ev '^ *\\{ *\"(index|create|update|delete)\" *: *\\{[^{}]*\\} *\\} *\\r?$'",
            note="this takes the action lines out",
        ),
    ),
    Wrapper(_is_airbyte, Form("messages of Airbyte", inner("record.data", ' if r["type"]=="RECORD"'))),
    Wrapper(
        _is_singer,
        Form(
            "messages of a Singer tap",
            inner("record", ' if r["type"]=="RECORD"'),
            note='one stream at a time: add and r["stream"]=="NAME"',
        ),
    ),
    Wrapper(
        lambda first, second: (
            _is_connect(first, second) and _is_debezium(first["payload"] or {}, second)
            if isinstance(first.get("payload"), dict)
            else False
        ),
        Form(
            "change events of Debezium",
            inner("payload.after", ' if r["payload"] and r["payload"]["op"] in ("c","r")'),
            note="updates and deletes are left out",
        ),
    ),
    Wrapper(_is_connect, Form("messages of Kafka Connect with their schema", inner("payload"))),
    Wrapper(
        _is_debezium,
        Form(
            "change events of Debezium",
            inner("after", ' if r["op"] in ("c","r")'),
            note="updates and deletes are left out",
        ),
    ),
    Wrapper(
        _is_features,
        list_of("features")._replace(
            what="a GeoJSON FeatureCollection", note="each line is then a Feature; its fields are in properties"
        ),
    ),
    Wrapper(
        _is_json_api,
        list_of("data")._replace(what="a JSON:API document", note="the fields of each line are then in attributes"),
    ),
    Wrapper(
        _is_search_answer,
        Form(
            "an answer of Elasticsearch",
            inner("hits.hits")
            .replace('[print(json.dumps(r["hits"]["hits"]', '[print(json.dumps(h["_source"]')
            .replace("for l in sys.stdin)", 'for l in sys.stdin) for h in r["hits"]["hits"]'),
        ),
    ),
    Wrapper(_is_odata, list_of("value")._replace(what="an answer of OData")),
    Wrapper(_is_salesforce, list_of("records")._replace(what="an answer of Salesforce")),
    Wrapper(_is_container_log, Form("the log of a container", "jq -j .log")),
    Wrapper(_is_dynamo, Form("an export of DynamoDB with its types", _DYNAMO)),
    Wrapper(_is_search_hit, Form("documents of Elasticsearch (elasticdump)", inner("_source"))),
)


def list_in(first: Mapping[str, Any]) -> str | None:
    """Name the member of an object that is a list of objects, and that tools call their list of records by."""
    for name, value in first.items():
        if name.lower() in LIST_NAMES and isinstance(value, list) and len(value) > 1 and isinstance(value[0], dict):
            return name
    return None


def wrapper_of(first: Mapping[str, Any], second: Mapping[str, Any]) -> Form | None:
    """Name what wraps the records, by the first two objects."""
    if not first:
        return None
    return next((wrapper.form for wrapper in WRAPPERS if wrapper.fits(first, second)), None)


def extended_json(first: Mapping[str, Any]) -> str | None:
    """Name the first member that is MongoDB's way to write a type: `{"$oid":"..."}`. The target would get it as it is."""
    for name, value in first.items():
        if isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
            return name
    return None
