"""A server that means harm, in a thread of its own: it answers each request with the bytes that a test gives it.

It reads whole requests, counts connections, keeps what it heard, and shares no code with the client.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

# Every character that some encoding changes, around a core that none of them does.
TOKEN = 'tk"q/7f3aTOKENcore9c%+\\z='
SECRETS = {
    "OZARI_TOKEN": TOKEN,
    "CANBUS_APP_ID": 'ap"p/5d1bAPPIDcore2e%+\\z=',
    "CANBUS_API_KEY": 'ke"y/8a4cAPIKEYcore6f%+\\z=',
    "CANBUS_API_SECRET": 'se"c/1c9dAPISECRETcore3b%+\\z=',
}
CORES = {name: "".join(filter(str.isalnum, secret[4:-5])) for name, secret in SECRETS.items()}
ENVIRONMENT = SECRETS | {"CANBUS_TENANT_ID": "emulator"}


@dataclass(frozen=True)
class Heard:
    """One request."""

    line: str
    head: bytes
    body: bytes

    @property
    def is_preflight(self) -> bool:
        return "/auth/test" in self.line or "/metadata" in self.line

    @property
    def everything(self) -> str:
        """All that an echo can give back: the head with its credentials, and the body with its own."""
        return (self.head + self.body).decode("utf-8", "replace")


Reply: TypeAlias = bytes | Iterable[bytes]
"""What is written; the connection stays. An empty piece ends it."""


@dataclass
class Hostile:
    """What a test looks at afterwards."""

    url: str = ""
    connections: int = 0
    heard: list[Heard] = field(default_factory=list)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64


@contextlib.contextmanager
def hostile(answer: Callable[[Heard], Reply]) -> Iterator[Hostile]:
    """Serve on loopback for the length of a block."""
    state = Hostile()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            state.connections += 1
            with contextlib.suppress(OSError, ValueError):
                while (heard := self.read()) is not None:
                    state.heard.append(heard)
                    reply = answer(heard)
                    for piece in [reply] if isinstance(reply, bytes) else reply:
                        if not piece:
                            return
                        self.wfile.write(piece)

        def read(self) -> Heard | None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline()
                if not line:
                    return None
                head += line
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = self.rfile.read(int(lengths[0].partition(b":")[2]) if lengths else 0)
            return Heard(head.partition(b"\r\n")[0].decode("latin-1"), head, body)

    with _Server(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def says(body: object = None, status: str = "200 OK", *headers: str) -> bytes:
    """Write an answer. What is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n{head}\r\n".encode() + data


def welcome(heard: Heard, company: str = "acme") -> bytes:
    """Answer the preflight of either API well."""
    if "/auth/test" in heard.line:
        return says({"success": True, "company": company})
    return says({"authen": "OK", "results": [{"name": company, "items": []}]})


# --- secrets in every form ----------------------------------------------------------------------------------------------


def forms_of(text: str) -> dict[str, str]:
    """Write a text as an echo may write it."""
    return {
        "plain": text,
        "percent": quote(text, safe=""),
        "lower percent": re.sub("%..", lambda found: found[0].lower(), quote(text)),
        "json": json.dumps(text)[1:-1],
        "base64": base64.b64encode(text.encode()).decode(),
        "urlsafe": base64.urlsafe_b64encode(text.encode()).decode(),
    }


def needles(secret: str, core: str) -> set[bytes]:
    """List what may appear nowhere: the core that every textual form keeps, and the middles of base64 at each alignment."""
    found = {core.encode()}
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + secret.encode()).decode()[4:-4]
        found |= {text.encode(), text.replace("+", "-").replace("/", "_").encode()}
    return found


NEEDLES = {name: needles(secret, CORES[name]) for name, secret in SECRETS.items()}


def leaks(*places: bytes | Path) -> list[str]:
    """Name the secrets found in outputs and in all files below folders, and where."""
    found = []
    for place in places:
        files = [path for path in place.rglob("*") if path.is_file()] if isinstance(place, Path) else []
        texts = [(str(path), path.read_bytes()) for path in files] if isinstance(place, Path) else [("output", place)]
        for where, data in texts:
            found += [f"{name} in {where}" for name, needle in NEEDLES.items() if any(n in data for n in needle)]
    return found
