"""A client that knows nothing: bytes over a socket, to see what the emulator really sends and how it ends a connection."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from loader.emulator import Emulator

QUIET_SECONDS = 0.15
INSERT = "/integration/tables/tcust/records"


class Seen(NamedTuple):
    """What came: all bytes, and how the connection ended (fin, reset, or open while nothing more came)."""

    data: bytes
    ending: str

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1]) if self.data else 0

    @property
    def json(self) -> Any:
        return json.loads(self.data.partition(b"\r\n\r\n")[2])


def request(
    path: str = INSERT, body: Any = None, *, method: str = "POST", headers: str = "", host: str = "127.0.0.1"
) -> bytes:
    """Write a request with the emulator's token."""
    data = body if isinstance(body, bytes) else json.dumps({"fields": {"a": "x"}} if body is None else body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer emulator-token\r\n{headers}"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


@contextlib.contextmanager
def link(emulator: Emulator) -> Iterator[socket.socket]:
    """Connect."""
    with socket.create_connection(("127.0.0.1", emulator.port), timeout=10) as connection:
        yield connection


def read(connection: socket.socket, first_seconds: float = 10.0, quiet_seconds: float = 10.0) -> Seen:
    """Read until the connection ends, or nothing has come for a while: at the start, or behind what came."""
    data = b""
    while True:
        connection.settimeout(quiet_seconds if data else first_seconds)
        try:
            part = connection.recv(65536)
        except TimeoutError:
            return Seen(data, "open")
        except ConnectionResetError:
            return Seen(data, "reset")
        if not part:
            return Seen(data, "fin")
        data += part


def read_answer(connection: socket.socket) -> Seen:
    """Read one whole answer."""
    return read_answers(connection, 1)[0]


def read_answers(connection: socket.socket, count: int) -> list[Seen]:
    """Read that many whole answers that come one after another."""
    connection.settimeout(10)
    data = b""
    answers: list[Seen] = []
    while len(answers) < count:
        head, end, rest = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) if end else 0
        if end and len(rest) >= length:
            answers.append(Seen(head + end + rest[:length], "open"))
            data = rest[length:]
        else:
            data += connection.recv(65536)
    return answers


def exchange(emulator: Emulator, data: bytes, *, is_kept: bool = False, is_silent: bool = False) -> Seen:
    """Send bytes on a connection of their own and read what comes of it. `is_kept`: no end is to be waited for, nor an answer
    where it `is_silent`."""
    with link(emulator) as connection:
        connection.sendall(data)
        return read(connection, QUIET_SECONDS if is_silent else 10.0, QUIET_SECONDS if is_kept else 10.0)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait for a condition; False where it never came."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
