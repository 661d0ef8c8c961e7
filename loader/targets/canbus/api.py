"""The envelope around every Canbus call, what a refusal of it means, and the preflight.

Source: apis.md 2.1, 2.2, 2.8. The four credentials stand in front of the call's own member. They are encoded once and kept as
bytes; `repr` shows none of them. The run is bound to the tenant and to a keyed hash of the app id, never to the app id
itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import orjson

from loader.model import Halt, Request, Response, Retry
from loader.redaction import Redactor
from loader.settings import CanbusCredentials
from loader.targets.answers import common_reading, read_object, words_of
from loader.targets.base import Identity, Item

BINDING_KEY = b"loader: the Canbus app id of a run"
"""No secret, and the same for all runs: it only keeps the hash from being looked up in a table made for other uses."""
BINDING_BYTES = 8
MAX_ITEMS = 10_000
"""Items of a table that are kept; more is no table."""


class Envelope:
    """Wraps a call's member in the credentials."""

    __slots__ = ("_opening", "binding", "redactor", "tenant")

    def __init__(self, credentials: CanbusCredentials) -> None:
        app_id = credentials.app_id.reveal()
        members = {
            "tenant_id": credentials.tenant_id,
            "app_id": app_id,
            "api_key": credentials.api_key.reveal(),
            "api_secret": credentials.api_secret.reveal(),
        }
        self._opening = orjson.dumps(members)[:-1] + b","
        self.redactor = Redactor(credentials.secrets)
        self.tenant = credentials.tenant_id
        digest = hashlib.blake2b(app_id.encode(), digest_size=BINDING_BYTES, key=BINDING_KEY).hexdigest()
        self.binding = f"canbus:{self.tenant}:{digest}"

    def __repr__(self) -> str:
        return f"Envelope({self.tenant!r})"

    def around(self, name: bytes, opening: bytes, closing: bytes) -> tuple[bytes, bytes]:
        """Return what stands before and after the content of a call's member."""
        return b'%b"%b":%b' % (self._opening, name, opening), closing + b"}"

    def request(self, method: Any, path: str, name: bytes, value: bytes) -> Request:
        """Build a call with one member. GET and DELETE carry a body too ([D] CB-list, CB-del)."""
        return Request(method, path, b'%b"%b":%b}' % (self._opening, name, value))

    def metadata_request(self) -> Request:
        """Build the metadata call; its member must be an empty object ([D] CB-meta)."""
        return self.request("GET", "/api/records/metadata", b"metadata", b"{}")


def is_authentic(body: dict[str, Any]) -> bool:
    """Say whether an answer says that the credentials were accepted."""
    return body.get("authen") == "OK"


def is_own(body: dict[str, Any] | None) -> bool:
    """Say whether a body has the form of the API's own answers. Source: [D] CB-add-old; those of 404 and 500 have none."""
    return body is not None and body.get("authen") in ("OK", "NG")


def halt_of(response: Response, text: str) -> Halt | None:
    """Return why nothing can succeed, for the statuses that say so. Source: [D] CB-add-old."""
    match response.status:
        case 401:
            return Halt(
                "credentials",
                f"the target refuses the credentials (401: {text})",
                "check CANBUS_APP_ID, CANBUS_API_KEY and CANBUS_API_SECRET, and that the table's API is switched on",
            )
        case 403:
            return Halt(
                "credentials",
                f"the target refuses this machine's address (403: {text})",
                "allow the address in the table's API settings in Canbus",
            )
        case 404 | 405:
            return Halt(
                "table",
                f"the target does not know this call ({response.status}: {text})",
                "check --base-url: it ends before /api",
            )
        case _:
            return None


def read_fault(response: Response, redactor: Redactor) -> Retry | Halt | None:
    """Say why an answer to a call that changes nothing is none; None if it is one."""
    common = common_reading(response, redactor)
    if common is not None:
        return common
    body = read_object(response)
    text = words_of(response, redactor)
    halt = halt_of(response, text)
    if halt is not None:
        return halt if is_own(body) else replace(halt, is_foreign=True)
    if response.status == 400 or (body is not None and body.get("authen") == "NG"):
        return Halt(
            "credentials",
            f"the target refuses the app id or the credentials ({response.status}: {text})",
            "check CANBUS_TENANT_ID, CANBUS_APP_ID, CANBUS_API_KEY and CANBUS_API_SECRET",
            is_foreign=not is_own(body),
        )
    if not 200 <= response.status < 300 or body is None or not is_authentic(body):
        reason = f"the target answered {response.status}, but not as documented: {text}"
        return Retry(reason, is_foreign=response.is_whole and not is_own(body))
    return None


def read_metadata(response: Response, envelope: Envelope) -> Identity | Retry | Halt:
    """Read the preflight's answer: who we are, and the table's items."""
    fault = read_fault(response, envelope.redactor)
    if fault is not None:
        return fault
    return Identity(envelope.tenant, envelope.binding, _items_of(read_object(response), envelope.redactor))


def _items_of(body: dict[str, Any] | None, redactor: Redactor) -> tuple[Item, ...]:
    """Read the items; what is not as documented is left out, for they only serve a warning."""
    results = body.get("results") if body else None
    first = results[0] if isinstance(results, list) and results else None
    items = first.get("items") if isinstance(first, dict) else None
    if not isinstance(items, list):
        return ()
    return tuple(
        Item(item["id"], redactor(str(item.get("name", ""))), redactor(str(item.get("type", ""))))
        for item in items[:MAX_ITEMS]
        if isinstance(item, dict) and isinstance(item.get("id"), str) and redactor.is_clean(item["id"])
    )
