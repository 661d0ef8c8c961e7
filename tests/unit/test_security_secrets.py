"""Secrets in memory: no repr, no text for people, no form of writing lets one out; and honest ids are not lost for it."""

from __future__ import annotations

import asyncio
import base64
import json
import string
import traceback
from collections.abc import Callable
from urllib.parse import quote

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loader.model import Chunk, Created, Record, Rejected, Response, Settled
from loader.redaction import Redactor, plain_json, secret_forms
from loader.report.log_file import SHORTEST_SECRET
from loader.settings import CanbusAdd, CanbusCredentials, OzariCredentials, OzariInsert, OzariUpdate, Secret
from loader.targets.base import Identity
from loader.targets.registry import build_canbus_records, build_target
from loader.transport.session import SessionTransport

SECRET = 'q"u/o\\te %+é7f3a9cCORE'
ALNUM = "8a4cAPIKEYcore6f"
CANBUS = CanbusCredentials("acme", Secret("5d1bAPPIDcore2e"), Secret(ALNUM), Secret("1c9dSECRETcore3b"))
OZARI = OzariCredentials(Secret("7f3aTOKENcore9c"))
CORES = ("5d1bAPPIDcore2e", ALNUM, "1c9dSECRETcore3b", "7f3aTOKENcore9c")
RECORD = Record(0, 1, 0, b'{"System_Create_User":"u","a":1}')

WAYS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "percent": lambda text: quote(text, safe=""),
    "percent of a path": quote,
    "json": lambda text: json.dumps(text)[1:-1],
    "json of a browser": lambda text: json.dumps(text, ensure_ascii=False)[1:-1].replace("/", "\\/"),
    "orjson": lambda text: orjson.dumps(text).decode()[1:-1],
    "json in json": lambda text: json.dumps(json.dumps(text))[3:-3],
    "repr": lambda text: repr([text]),
    "repr in quotes": lambda text: repr(f"'\"{text}")[4:-1],
    "repr of json": lambda text: repr(json.dumps(text, ensure_ascii=False)),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "urlsafe": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "basic": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "basic, shifted": lambda text: base64.b64encode(f"users:{text}:x".encode()).decode(),
    "basic, shifted twice": lambda text: base64.b64encode(f"a user:{text}!".encode()).decode(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_taken_out_in_every_form(way: str) -> None:
    text = f"before {WAYS[way](SECRET)} after"
    for shown in (Redactor((Secret(SECRET),))(text), Redactor((Secret(SECRET),), SHORTEST_SECRET).clean(text)):
        assert "***" in shown
        assert "7f3a9cCORE" not in shown
        assert shown.startswith("before ")
        assert shown.endswith(" after")
        if "base64" in way or "basic" in way or way == "urlsafe":
            assert base64.b64encode(SECRET.encode()).decode()[8:20] not in shown


@example("000000'\"", "repr")
@given(
    st.text(st.sampled_from(string.ascii_letters + string.digits + "+/%\"\\' é"), min_size=8, max_size=40),
    st.sampled_from(sorted(WAYS)),
)
def test_no_form_of_any_secret_stays(secret: str, way: str) -> None:
    written = WAYS[way](secret)
    assert written not in Redactor((Secret(secret),)).clean(f"<{written}>")


@pytest.mark.parametrize("secret", ["", "a", "ab", "12"])
def test_short_secrets_do_not_shred_texts(secret: str) -> None:
    assert all(secret_forms([secret])) or secret == ""
    assert Redactor((Secret(secret),))("record 4711 was refused").replace("***", secret) == "record 4711 was refused"
    assert Redactor((Secret(secret),)).are_clean(["4711", "12", "ab12"])


def test_objects_that_hold_secrets_show_none() -> None:
    async def transport_texts() -> list[str]:
        transport = SessionTransport(
            "http://127.0.0.1:1", build_target(OzariInsert("t"), OZARI, "r").headers, concurrency=1, timeout_seconds=1
        )
        try:
            return [repr(transport)]
        finally:
            await transport.close()

    targets = [
        build_target(OzariInsert("t"), OZARI, "run"),
        build_target(OzariUpdate("t", match=("a",)), OZARI, "run"),
        build_target(CanbusAdd(user="u"), CANBUS, "run"),
    ]
    held = [
        OZARI,
        CANBUS,
        Redactor(map(Secret, CORES)),
        Redactor(map(Secret, CORES), SHORTEST_SECRET),
        build_canbus_records(CANBUS),
        *targets,
    ]
    held += [target.headers for target in targets] + [target.preflight() for target in targets]
    held.append(targets[2].encode(Chunk((RECORD,))))
    texts = [f"{value!r} {value!s} {value}" for value in held] + asyncio.run(transport_texts())
    assert [core for core in CORES for text in texts if core in text] == []


def test_a_traceback_with_locals_shows_only_wrapped_secrets() -> None:
    """Somebody's tool may print locals; what the credentials travel in until a request is built shows none."""
    try:
        credentials, target = CANBUS, build_target(CanbusAdd(user="u"), CANBUS, "run")  # noqa: F841 -- the locals are the test
        raise ValueError("a bug")
    except ValueError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "a bug" in text
    assert [core for core in CORES if core in text] == []


def answer(body: object, status: int = 201) -> Response:
    return Response(status, {}, orjson.dumps(body))


def settle(results: list[dict[str, object]]) -> Settled:
    chunk = Chunk((RECORD,) * len(results))
    verdict = build_target(CanbusAdd(user="u"), CANBUS, "run").interpret(
        chunk, answer({"authen": "OK", "results": results})
    )
    assert isinstance(verdict, Settled)
    return verdict


@pytest.mark.parametrize(
    "bad", [ALNUM, f"x{ALNUM}y", "17\x1b[2J", "17\n", "\u202e17", "9" * 300, base64.b64encode(ALNUM.encode()).decode()]
)
def test_an_id_that_is_none_is_not_kept(bad: str) -> None:
    """It would go to the log, to files and to terminals. The record was created all the same."""
    assert settle([{"result": "0", "id": "41"}, {"result": "0", "id": bad}]).outcomes == (Created("41"), Created(None))
    assert settle([{"result": "0", "id": bad}]).outcomes == (Created(None),)
    mixed = settle([{"result": "0", "id": bad}, {"result": "7013"}]).outcomes
    assert mixed[0] == Created(None)
    assert isinstance(mixed[1], Rejected)


def test_a_code_that_is_a_secret_is_not_kept() -> None:
    assert ALNUM not in repr(settle([{"result": ALNUM}]))


def test_ids_stay_where_the_app_id_is_a_number() -> None:
    credentials = CanbusCredentials("acme", Secret("17"), Secret("1"), Secret("0"))
    body = {"authen": "OK", "results": [{"result": "0", "id": "1170"}]}
    verdict = build_target(CanbusAdd(user="u"), credentials, "run").interpret(Chunk((RECORD,)), answer(body))
    assert verdict == Settled((Created("1170"),))


def test_who_we_are_is_kept_without_secrets() -> None:
    ozari = build_target(OzariInsert("t"), OZARI, "run")
    identity = ozari.read_preflight(answer({"success": True, "company": "of 7f3aTOKENcore9c"}, 200))
    assert isinstance(identity, Identity)
    assert CORES[3] not in repr(identity)
    items = [{"id": ALNUM, "name": "a"}, {"id": "Code", "name": f"x {ALNUM}", "type": ALNUM}]
    canbus = build_target(CanbusAdd(user="u"), CANBUS, "run")
    known = canbus.read_preflight(answer({"authen": "OK", "results": [{"items": items}]}, 200))
    assert isinstance(known, Identity)
    assert [item.id for item in known.items] == ["Code"]
    assert ALNUM not in repr(known)


@given(st.text())
def test_json_that_is_printed_means_the_same(text: str) -> None:
    data = json.dumps({"a": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    shown = plain_json(data)
    assert json.loads(shown.decode("utf-8", "surrogatepass")) == {"a": text}
    assert not any(
        0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066\u2028\u200f\ufeff" for c in shown.decode("utf-8", "surrogatepass")
    )
