"""Which API and which operation a method and a path ask for. Both APIs share one address: their paths do not overlap.

Source: apis.md 1.1 to 1.6 for `/integration/`, the table of 2.1 for `/api/` ([D]). A wrong method is 405 in Canbus' table of
statuses; Ozari's knows none, so there it is a path that does not exist.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from loader.emulator.wire import Operation, Route

_OZARI_FIXED: dict[tuple[str, str], Operation] = {
    ("GET", "auth/test"): "auth",
    ("GET", "languages"): "languages",
    ("GET", "tables"): "tables",
}
_OZARI_TABLE: dict[tuple[str, str], Operation] = {
    ("GET", "fields"): "fields",
    ("POST", "records"): "insert",
    ("PATCH", "records/single"): "update",
    ("PATCH", "records/bulk"): "bulk",
    ("POST", "query"): "query",
}
_CANBUS: dict[str, dict[str, Operation]] = {
    "/api/records": {"GET": "list", "POST": "add", "PATCH": "edit", "DELETE": "delete"},
    "/api/records/detail": {"GET": "get"},
    "/api/records/metadata": {"GET": "metadata"},
}


def allowed_methods(path: str) -> bytes:
    """List the methods that a path of Canbus knows, as the Allow header does."""
    return ", ".join(_CANBUS.get(path, {})).encode()


class Target(NamedTuple):
    """A request line taken apart."""

    method: str
    path: str
    query: str
    route: Route


@lru_cache(maxsize=4096)
def read_target(method: bytes, url: bytes) -> Target:
    """Take a request line apart. Also reads the form that a proxy gets, which has the whole address."""
    path, _, query = url.decode("latin-1").partition("?")
    if path.startswith(("http://", "https://")):
        path = "/" + path.partition("://")[2].partition("/")[2]
    name = method.decode("latin-1")
    return Target(name, path, query, find_route(name, path))


def find_route(method: str, path: str) -> Route:
    """Find what is asked for; the operation is "unknown" if the API has no such path."""
    if path.startswith("/integration/"):
        rest = path.removeprefix("/integration/")
        if (method, rest) in _OZARI_FIXED:
            return Route("ozari", _OZARI_FIXED[method, rest])
        word, _, rest = rest.partition("/")
        table, _, rest = rest.partition("/")
        operation = _OZARI_TABLE.get((method, rest), "unknown") if word == "tables" else "unknown"
        return Route("ozari", operation, unquote(table) if operation != "unknown" else "")
    if path.startswith("/api/"):
        methods = _CANBUS.get(path, {})
        return Route("canbus", methods.get(method, "unknown"), is_wrong_method=bool(methods) and method not in methods)
    return Route("none", "unknown")
