"""The heads of requests: put together once, then looked up. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from loader.transport.http import MAX_CACHED_PATHS, build_url

KEPT_BYTES = 2048
"""Up to here the line that says a body's length is kept."""


class Heads(dict[tuple[str, str], bytes | None]):
    """How requests begin, by method and path: all of a head but its length; None: the path leads elsewhere."""

    def __init__(self, base_url: str, fields: Mapping[str, str]) -> None:
        self._base_url = base_url
        self._fields = b"".join([f"{name}: {value}\r\n".encode() for name, value in fields.items()])

    def __missing__(self, key: tuple[str, str]) -> bytes | None:
        method, path = key
        url = build_url(self._base_url, path)
        if url is None:
            return None
        head = b"%b %b HTTP/1.1\r\n%b" % (method.encode(), url.raw_path_qs.encode("ascii"), self._fields)
        if len(self) < MAX_CACHED_PATHS:
            self[key] = head
        return head


class Ends(dict[int | str, bytes]):
    """How heads end, by the length of the body, or by the method where there is none; those of thousands of requests are kept."""

    def __missing__(self, key: int | str) -> bytes:
        size = key if isinstance(key, int) else 0
        # A GET without a body has no length (RFC 9110 8.6).
        end = b"\r\n" if key == "GET" else b"Content-Length: %d\r\n\r\n" % size
        if size <= KEPT_BYTES:
            self[key] = end
        return end
