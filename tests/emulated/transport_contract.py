"""What every transport must say about every way in which an attempt can end: the rows of reliability.md 2.2, as data.

A row is a server's script and what the client must make of it. The numbers are those of the table; words follow where one row
has variants. Rows about DNS, the pool, TLS and reuse need more than a script and stand in the test modules. CONTRACT says
which tests show each of the 48 rows; tests/meta/test_contract.py holds it against what is collected.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from aiohttp.abc import AbstractResolver

from loader.model import Request
from loader.transport.choose import choose_transport
from loader.transport.session import SessionTransport
from tests.emulated.raw_server import AUTHORITY, Line, Script, answer

OUTLIVES = 30.0
SHORT = 0.3
MIB = 1024 * 1024
SECRET = "canary-7f3a9c"

SMALL = Request("POST", "/records", b'{"api_key":"%s"}' % SECRET.encode())
LARGE = Request("POST", "/records", SECRET.encode() + b"x" * (8 * MIB))
DELETE = Request("DELETE", "/records", b'{"id":1}')
GET = Request("GET", "/records")


@dataclass(frozen=True)
class Row:
    """One way to end. `timeout` is the attempt's; `committed` is how many whole requests the server must have read."""

    number: str
    script: Script
    request: Request = SMALL
    timeout: float = OUTLIVES
    ends: Literal["no response", "response", "incomplete", "not uploaded"] = "no response"
    status: int = 201
    committed: int | None = 1
    may_be_unsent: bool = False
    """The end may be noticed before anything is written; then nothing is, and that is what must be said."""


# --- scripts -------------------------------------------------------------------------------------------------------------


def says(data: bytes, then: Literal["close", "reset", "hang"] = "close") -> Script:
    """Read the whole request, say something, and end."""

    async def script(line: Line) -> None:
        await line.request()
        await line.send(data)
        if then == "hang":
            await line.hang()
        elif then == "reset":
            # The bytes must be on their way before the reset overtakes them.
            await asyncio.sleep(0.02)
            line.reset()

    return script


async def reset_unread(line: Line) -> None:
    line.reset()


async def close_unread(line: Line) -> None:
    line.close()


async def half_close_then_commit(line: Line) -> None:
    # Behind the head: an end that came earlier could be noticed before the request is written, and nothing would be sent.
    head = await line.head()
    line.half_close()
    await line.request(head)


async def reset_mid_body(line: Line) -> None:
    await line.head()
    await line.reader.readexactly(1000)
    line.reset()


async def close_mid_body(line: Line) -> None:
    await line.head()
    await line.reader.readexactly(1000)


async def stop_reading(line: Line) -> None:
    await line.head()
    line.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket transport reads too
    await line.hang()


async def trickle(line: Line) -> None:
    await line.request()
    await line.send(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        await line.send(b"x")
        await asyncio.sleep(0.02)


async def endless_103(line: Line) -> None:
    await line.request()
    while True:
        await line.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await asyncio.sleep(0.01)


async def liar(line: Line) -> None:
    await line.head()
    await line.send(answer())
    await line.hang()


async def goes_on(line: Line) -> None:
    """Invite the body, whether or not the client waits to be invited."""
    head = await line.head()
    await line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await line.request(head)
    await line.send(answer())
    await line.hang()


async def refuses(line: Line) -> None:
    """Answer the head, with no interest in the body."""
    await line.head()
    await line.send(answer(b"too large", "413 Content Too Large"))
    # Swallow the rest, or the reset would overtake the answer.
    await line.reader.read()


async def invites_nobody(line: Line) -> None:
    """Read what comes unless it should have been invited, and say nothing."""
    head = await line.head()
    if b"\r\nexpect:" not in head.lower():
        await line.request(head)
    await line.hang()


async def in_two_pieces(line: Line) -> None:
    await line.request()
    whole = answer(b'{"a":1}')
    await line.send(whole[:-3])
    await asyncio.sleep(0.02)
    await line.send(whole[-3:])
    await line.hang()


async def endless_body(line: Line) -> None:
    await line.request()
    await line.send(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await line.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


async def endless_headers(line: Line) -> None:
    await line.request()
    await line.send(b"HTTP/1.1 201 Created\r\n")
    number = 0
    while True:
        number += 1
        await line.send(b"X-%d: %s\r\n" % (number, b"y" * 1000))


MALFORMED = {
    "31 garbage": b"nonsense\r\n\r\n",
    "31 long header": b"HTTP/1.1 201 Created\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    "31 many headers": b"HTTP/1.1 201 Created\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "31 NUL": b"HTTP/1.1 201 Created\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "31 two lengths": b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "31 bad chunk": b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "31 short length": b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n{}{}",
}
CUT = b'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"success":'
CUT_CHUNK = b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{"success":'
UNTIL_CLOSE = b'HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n{"success":'
GZIP = answer(b"\x1f\x8b not gzip", extra=b"Content-Encoding: gzip\r\n")
CHUNKS = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
HALF_HEAD = b"HTTP/1.1 201 Crea"
HALF_HEADERS = b"HTTP/1.1 201 Created\r\nContent-"

ROWS = (
    Row("16 reset", reset_unread, committed=0, may_be_unsent=True),
    Row("16 close", close_unread, committed=0, may_be_unsent=True),
    Row("17", half_close_then_commit),
    Row("18 reset", reset_mid_body, LARGE, committed=0),
    Row("18 close", close_mid_body, LARGE, committed=0),
    Row("19", stop_reading, LARGE, SHORT, committed=0),
    Row("20", says(b"", "reset")),
    Row("21", says(b"")),
    Row("22 23", says(b"", "hang"), timeout=SHORT),
    Row("24 line", says(HALF_HEAD)),
    Row("24 headers", says(HALF_HEADERS)),
    Row("25 reset", says(HALF_HEADERS, "reset")),
    Row("25 hang", says(HALF_HEADERS, "hang"), timeout=SHORT),
    Row("26 length", says(CUT), ends="incomplete"),
    Row("26 chunk", says(CUT_CHUNK), ends="incomplete"),
    Row("26 reset", says(CUT, "reset"), ends="incomplete"),
    Row("27", says(CUT, "hang"), timeout=SHORT, ends="incomplete"),
    # What ends with the connection cannot be told from what was cut: the parser of the answer must.
    Row("28", says(UNTIL_CLOSE), ends="response"),
    Row("29 trickle", trickle, timeout=SHORT, ends="incomplete"),
    Row("29 103", endless_103, timeout=SHORT),
    Row("30", says(GZIP), ends="incomplete"),
    *(Row(number, says(data)) for number, data in MALFORMED.items() if "chunk" not in number and "short" not in number),
    Row("32", refuses, LARGE, ends="not uploaded", status=413, committed=0),
    # The body is sent without asking, so the wait of row 35 is that of row 23, and 34 is what 32 is for a small body.
    Row("33", goes_on, LARGE, ends="response"),
    Row("34", refuses, ends="response", status=413, committed=0),
    Row("35", invites_nobody, timeout=SHORT),
    Row("36", liar, LARGE, ends="not uploaded", committed=0),
    Row("39 40 POST", says(b"")),
    Row("40 GET", says(b""), GET),
    Row("40 DELETE", says(b""), DELETE),
    Row("40 DELETE reset", says(b"", "reset"), DELETE),
    Row("43", says(answer(b"1") + answer(b"2"), "hang"), ends="response"),
    Row("body bomb", endless_body, ends="incomplete"),
    Row("header bomb", endless_headers),
    Row("204", says(b"HTTP/1.1 204 No Content\r\n\r\n", "hang"), ends="response", status=204),
    Row("304", says(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "hang"), ends="response", status=304),
    Row("two pieces", in_two_pieces, ends="response"),
    Row("chunks", says(CHUNKS, "hang"), ends="response"),
    Row("500", says(answer(b"no", "500 Internal Server Error"), "hang"), ends="response", status=500),
    Row(
        "redirect 307",
        says(answer(b"", "307 Temporary Redirect", b"Location: http://127.0.0.1:9/\r\n")),
        ends="response",
        status=307,
    ),
)

UNSURE = (
    # The parser may see the fault with the head or after it; either way nothing may be called complete.
    Row("31 bad chunk", says(MALFORMED["31 bad chunk"])),
    Row("31 short length", says(MALFORMED["31 short length"])),
    Row("44", says(answer() + b"junk\r\n\r\n")),
)


@asynccontextmanager
async def full_backlog() -> AsyncIterator[str]:
    """Give a port on which connects hang: its queue of connections is full and nobody accepts (rows 6 and 7)."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for filler in [*fillers, listener]:
            filler.close()


class Names(AbstractResolver):
    """A resolver that fails, or never answers."""

    def __init__(self, error: OSError | None) -> None:
        self.error = error

    async def resolve(self, *_: Any, **__: Any) -> list[Any]:
        if self.error is not None:
            raise self.error
        await asyncio.sleep(60)
        return []

    async def close(self) -> None:
        pass


HEADERS = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}

TRANSPORTS: dict[str, Callable[..., Any]] = {
    "session": SessionTransport,
    "lean": partial(choose_transport, "lean"),  # as a load gets it: with a proxy, a session
}
"""Every transport there is; each test of the contract runs for each."""


@asynccontextmanager
async def opened(make: Callable[..., Any], url: str, **options: Any) -> AsyncIterator[Any]:
    """Make a transport, and close it at the end. Where there is TLS, it trusts the authority of the tests."""
    ca_file = AUTHORITY if url.startswith("https:") else None
    transport = make(url, HEADERS, **{"concurrency": 4, "timeout_seconds": OUTLIVES, "ca_file": ca_file, **options})
    try:
        yield transport
    finally:
        await transport.close()


# --- which tests show which row ------------------------------------------------------------------------------------------

_ROW = "test_row"
_BROKEN = "test_broken_answers_are_never_complete_ones"
_IDLE = "test_a_connection_that_spoke_or_ended_while_idle_is_not_used"
_NAMES = "test_names_that_are_not_found_are_not_sent"
_CONTINUE = "test_stock_rows_33_34_35"

CONTRACT: dict[int, tuple[str, ...]] = {
    1: ("test_stock_row_1", "test_row_1_addresses_that_could_climb_are_not_sent"),
    2: ("test_stock_rows_2_3_4[2]", f"{_NAMES}[2]"),
    3: ("test_stock_rows_2_3_4[3]", f"{_NAMES}[3 4]"),
    4: ("test_stock_rows_2_3_4[4]", f"{_NAMES}[3 4]"),
    5: ("test_stock_row_5", "test_row_5_a_refused_connection_is_not_sent"),
    6: ("test_stock_rows_6_7[6 sock_connect]", "test_rows_6_7_a_connect_that_hangs_is_not_sent"),
    7: ("test_stock_rows_6_7[7]", "test_rows_6_7_a_connect_that_hangs_is_not_sent"),
    8: ("test_stock_rows_8_9[8]", "test_rows_8_9_waiting_for_a_connection_is_not_sent"),
    9: ("test_stock_rows_8_9[9]", "test_rows_8_9_waiting_for_a_connection_is_not_sent"),
    10: ("test_stock_row_10", "test_a_certificate_that_does_not_verify_stops_before_any_byte"),
    11: ("test_stock_row_11", "test_row_11_a_fingerprint_that_differs_stops_before_any_byte"),
    12: ("test_stock_rows_12_13_14[12 plain]", "test_row_12_plain_http_in_place_of_tls_stops"),
    13: ("test_stock_rows_12_13_14[13]", "test_row_13_a_connection_lost_in_the_handshake_is_not_sent"),
    14: ("test_stock_rows_12_13_14[14]", "test_row_14_a_handshake_that_hangs_is_not_sent"),
    15: (
        "test_stock_row_15",
        "test_row_15_a_server_that_wants_a_certificate_says_so_after_the_request_was_written",
    ),
    16: ("test_stock_row[16 reset]", f"{_ROW}[16 reset]", f"{_ROW}[16 close]"),
    17: ("test_stock_row[17]", f"{_ROW}[17]"),
    18: ("test_stock_row[18 reset]", f"{_ROW}[18 reset]", f"{_ROW}[18 close]"),
    19: ("test_stock_row[19]", "test_what_sock_read_does_not_end[19]", f"{_ROW}[19]"),
    20: ("test_stock_row[20]", f"{_ROW}[20]"),
    21: ("test_stock_row[21]", "test_stock_row_21_under_tls", f"{_ROW}[21]"),
    22: ("test_a_silence_that_sock_read_ends[22]", f"{_ROW}[22 23]"),
    23: ("test_stock_row[22 23]", f"{_ROW}[22 23]"),
    24: ("test_stock_row[24 line]", f"{_ROW}[24 line]", f"{_ROW}[24 headers]"),
    25: ("test_a_silence_that_sock_read_ends[25]", f"{_ROW}[25 reset]", f"{_ROW}[25 hang]"),
    26: ("test_stock_row[26 length]", f"{_ROW}[26 length]", f"{_ROW}[26 chunk]", f"{_ROW}[26 reset]"),
    27: ("test_a_silence_that_sock_read_ends[27]", f"{_ROW}[27]"),
    28: ("test_stock_row[28]", f"{_ROW}[28]"),
    29: ("test_what_sock_read_does_not_end[29 103]", f"{_ROW}[29 trickle]", f"{_ROW}[29 103]"),
    30: ("test_stock_row[30]", f"{_ROW}[30]"),
    31: (
        *(f"test_stock_row[{number}]" for number in MALFORMED),
        *(f"{_BROKEN if 'chunk' in number or 'short' in number else _ROW}[{number}]" for number in MALFORMED),
    ),
    32: ("test_stock_row[32]", f"{_ROW}[32]"),
    33: (f"{_CONTINUE}[33]", f"{_ROW}[33]"),
    34: (f"{_CONTINUE}[34]", f"{_ROW}[34]"),
    35: (f"{_CONTINUE}[35]", f"{_ROW}[35]"),
    36: ("test_stock_row[36]", f"{_ROW}[36]"),
    37: ("test_stock_row_37_an_end_that_was_noticed_is_no_loss", f"{_IDLE}[37 38]"),
    38: ("test_stock_row_38_an_end_that_is_unread_is", f"{_IDLE}[37 38]"),
    39: (
        "test_stock_rows_38_39_what_a_lost_connection_is_sent_again_on",
        "test_row_39_what_was_read_and_lost_on_a_used_connection_is_not_sent_again",
    ),
    40: ("test_stock_row_40_even_on_a_fresh_connection", f"{_ROW}[40 GET]", f"{_ROW}[40 DELETE]"),
    41: ("test_stock_rows_41_42_a_foreign_answer_is_handed_over[41]", f"{_IDLE}[41]"),
    42: ("test_stock_rows_41_42_a_foreign_answer_is_handed_over[42]", f"{_IDLE}[42]"),
    43: ("test_stock_row[43]", f"{_ROW}[43]"),
    44: ("test_stock_row[44]", f"{_BROKEN}[44]"),
    45: (
        "test_stock_row_45_a_late_answer_is_not_mixed_up",
        "test_row_45_a_late_answer_is_not_given_to_the_next_request",
    ),
    46: ("test_stock_row_46_a_cancelled_task_may_have_committed", "test_row_46_only_cancellation_is_raised"),
    47: (
        "test_stock_row_47_an_answer_that_came_is_lost_with_its_task",
        "test_row_47_an_answer_that_came_is_lost_with_its_task",
        "test_row_47_an_answer_that_came_while_the_loop_was_blocked_past_the_timeout_is_doubt",
    ),
    48: ("test_stock_row_48_a_shielded_request_arrives", "test_row_48_a_shielded_request_arrives"),
}
"""For each row of reliability.md 2.2: what shows how a stock session ends, and what shows that every transport reads it right.

`name[word]`: that case of a test with cases.
"""
