"""Which URLs are accepted, and the one form in which they are kept.

Pure functions. A run's security rests on these rules: https everywhere, except to this machine; no user name or password in a
URL, since run.json and process lists would show it; nothing after the path. A refused URL is not repeated in a message, since
it may hold a password.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from loader.errors import UsageError

HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?")
DEFAULT_PORTS = {"http": 80, "https": 443}


def check_base_url(text: str) -> str:
    """Return a base URL in its one form, without a trailing slash.

    Errors: UsageError for http to a remote host, or more than scheme, host, port and path.
    """
    parts = _split(text, "the base URL")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UsageError(
            f"plain http to {parts.hostname} is refused: credentials would travel unprotected",
            "use https; http is accepted for this machine alone (127.0.0.1, ::1, localhost)",
        )
    if not PATH.fullmatch(parts.path) or any(step in {".", ".."} for step in parts.path.split("/")):
        raise UsageError("the path of the base URL is not plain", "use letters, digits, dots, hyphens and underscores")
    return origin(text) + parts.path.rstrip("/")


def check_proxy(text: str) -> str:
    """Return a proxy's URL in its one form. Errors: UsageError if it is more than scheme, host and port."""
    parts = _split(text, "the proxy")
    if parts.path not in {"", "/"}:
        raise UsageError("the proxy's URL has a path", "give scheme, host and port: --proxy http://proxy.example:3128")
    return origin(text)


def origin(url: str) -> str:
    """Return scheme, host and port of an accepted URL; the port is left out if it is the scheme's own."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    has_port = parts.port is not None and parts.port != DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{shown}:{parts.port}" if has_port else f"{parts.scheme}://{shown}"


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine, without asking a name server."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(text: str, what: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError(f"{what} is not a URL", "it looks like https://host or http://127.0.0.1:8080") from None
    # urlsplit drops line feeds and tabs silently; a URL that is not what it looks like is refused instead.
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text or port == 0:
        raise UsageError(f"{what} is not a URL", "it looks like https://host or http://127.0.0.1:8080")
    if "@" in parts.netloc:
        raise UsageError(f"{what} holds a user name or password", "leave it out: a URL is written down in run.json")
    if parts.scheme not in DEFAULT_PORTS or not HOST.fullmatch(_host_text(parts)):
        raise UsageError(f"{what} has no http or https host", "it looks like https://host or http://127.0.0.1:8080")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise UsageError(f"{what} has a query or a fragment", "leave out what stands behind ? or #")
    return parts


def _host_text(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host
