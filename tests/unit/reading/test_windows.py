"""The window builder against one that looks at a line at a time."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.columns import RecordBlock, Splice
from loader.delivery.chunking import bytes_of
from loader.model import Chunk, Record, Rejected
from loader.reading import windows as module
from loader.reading.lines import Block
from loader.reading.ndjson import NDJSON, Ndjson
from loader.reading.parsing import BLANK, parse
from loader.reading.windows import ReadWindow, WindowBuilder
from loader.settings import CanbusAdd, CanbusCredentials, OzariCredentials, OzariInsert, Secret
from loader.targets.base import Target
from loader.targets.registry import build_target

OZARI = build_target(OzariInsert("tcity"), OzariCredentials(Secret("x")), "r123456789")
OZARI_STAMPED = build_target(OzariInsert("tcity", stamp="Tag"), OzariCredentials(Secret("x")), "r123456789")
KEYS = CanbusCredentials("acme", Secret("app"), Secret("key"), Secret("secret"))
CANBUS = build_target(CanbusAdd(user="u1"), KEYS, "r123456789")
STAMPED = build_target(CanbusAdd(user="u1", stamp="Tag", is_unique=True), KEYS, "r123456789")
TARGETS = [OZARI, OZARI_STAMPED, CANBUS, STAMPED]
LINES = st.sampled_from(
    [
        b'{"a":1}\n',
        b'  {"a":"b","c":[1]}\r\n',
        b"\n",
        b" \r\n",
        b"[1]\n",
        b'{"a":\n',
        b'{"a b":1}\n',
        b'{"a":"' + b"x" * 90 + b'"}\n',
    ]
)


GOOD_LINES = st.sampled_from(
    [
        b'{"a":1}\n',
        b'{"a":"12:30","b":null}\n',
        b'{"a":{"b":[1,{"c":2}]}}\n',
        b'{"a":[[],{}]}\n',
        b'{ "a" : "{}[]" , "b":"\\u3042"}\n',
        b'{"a":"\\"}\\n{"}\n',
        b'{"a":123456789012345678901234567890}\n',
    ]
)
ODD_LINES = st.sampled_from(
    [
        b'{"a":1,"a":2}\n',
        b'{"a":{"b":1,"b":2}}\n',
        b'{"a":"\\u003a","a":1}\n',
        b'{"a":' + b"[" * 70 + b"]" * 70 + b"}\n",
        b'{"a":' + b'{"b":' * 70 + b"1" + b"}" * 71 + b"\n",
        b'{"System_Create_User":"own"}\n',
        b'{"System\\u005fCreate_User":"own","a":1}\n',
        b'{"Tag":1}\n',
        b'{"\\u0054ag":1}\n',
        b'{"a":"Tag"}\n',
        b'{"fid":1}\n',
        b'{"a b":1}\n',
        b'{"a":1} \n',
        b' {"a":1}\n',
        b'{"a":1}\r\n',
        b"{}\n",
        b"[1]\n",
        b'"a:b"\n',
        b"1\n",
        b"null\n",
        b'{"a":1e999}\n',
        b'{"a":"\xff"}\n',
        b"\n",
    ]
)


def one_by_one(target: Target, blocks: list[list[bytes]], window_lines: int, max_bytes: int) -> list[ReadWindow]:
    """Do the same slowly."""
    windows: list[ReadWindow] = []
    number, offset = 1, 0
    window: ReadWindow | None = None
    for line in (line for lines in blocks for line in lines):
        window = window or ReadWindow(0, number, offset, records=[])
        data = line.strip(BLANK)
        if not data:
            window.blank.append(number)
        else:
            fields: Any = parse(data)
            found = fields if isinstance(fields, Rejected) else target.shaper.shape(fields, data, 0, number, offset)
            if isinstance(found, Record):
                window.records = [*window.records, found]
            else:
                window.refused.append((Record(0, number, offset, b""), found))
        window.crc = zlib.crc32(line, window.crc)
        window.line_count += 1
        window.byte_count += len(line)
        number, offset = number + 1, offset + len(line)
        if window.line_count >= window_lines or window.byte_count >= max_bytes:
            windows.append(window)
            window = None
    return [*windows, window] if window is not None else windows


def windows_of(
    target: Target, blocks: list[list[bytes]], window_lines: int, max_bytes: int = module.MAX_WINDOW_BYTES
) -> list[ReadWindow]:
    """Make windows of blocks; records that came as a block are made single ones."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MAX_WINDOW_BYTES", max_bytes)
        builder = WindowBuilder(target.shaper, window_lines, NDJSON)
        windows: list[ReadWindow] = []
        number, offset = 1, 0
        for lines in blocks:
            windows += builder.feed(Block(0, number, offset, lines, b"".join(lines)))
            number, offset = number + len(lines), offset + sum(map(len, lines))
        windows += builder.flush()
    return windows


def singled(windows: list[ReadWindow]) -> list[ReadWindow]:
    return [replace(window, records=[*window.records]) for window in windows]


@given(st.lists(st.lists(LINES, min_size=1, max_size=12), max_size=6), st.integers(1, 9), st.integers(1, 300))
def test_windows_are_what_single_lines_would_make(blocks: list[list[bytes]], window_lines: int, max_bytes: int) -> None:
    assert singled(windows_of(OZARI, blocks, window_lines, max_bytes)) == one_by_one(
        OZARI, blocks, window_lines, max_bytes
    )


@pytest.mark.parametrize("target", TARGETS)
@given(st.lists(GOOD_LINES, min_size=1, max_size=12), ODD_LINES | st.none(), st.data())
def test_a_block_of_lines_is_what_its_lines_are_by_themselves(
    target: Target, lines: list[bytes], odd: bytes | None, data: st.DataObject
) -> None:
    """Also with one line among them that must be looked at: nobody's fate may hang on its neighbours."""
    if odd is not None:
        lines = lines[:]
        lines.insert(data.draw(st.integers(0, len(lines))), odd)
    if data.draw(st.booleans()):
        lines = [*lines[:-1], lines[-1].rstrip(b"\n") or b"{"]
    assert singled(windows_of(target, [lines], 100)) == one_by_one(target, [lines], 100, 10**9)


@pytest.mark.parametrize("target", [CANBUS, STAMPED])
@given(st.lists(GOOD_LINES, min_size=1, max_size=12), st.data())
def test_a_block_is_a_sequence_of_its_records(target: Target, lines: list[bytes], data: st.DataObject) -> None:
    (window,) = windows_of(target, [[b'{"first":1}\n', *lines]], 100)
    block = window.records[data.draw(st.integers(0, 3)) :]
    records = [*block]
    assert isinstance(block, RecordBlock)
    assert [block[at] for at in range(-len(block), len(block))] == records * 2
    assert bytes_of(block) == bytes_of(records)
    if records:
        assert target.encode(Chunk(block)).body == target.encode(Chunk(tuple(records))).body
        assert [record.number for record in records] == [*block.numbers]
    start, stop = data.draw(st.integers(-20, 20)), data.draw(st.integers(-20, 20))
    assert [*block[start:stop]] == records[start:stop]


@pytest.mark.parametrize("user", ["u1", "{", "}{,{"])
@pytest.mark.parametrize(
    "lines",
    [
        [b'{"a":1}\n', b'{"a":"}","b":2}\n'],
        [b'{"a":"{"}\n', b'{"a":1}\n'],
        [b'{"a":{}}\n', b'{"a":1}\n'],
        [b'{"a":[1,2]}\n', b'{"a":"x,\\n{"}\n'],
        [b'{"a":1}\n', b'{"a":2}'],
    ],
)
def test_the_body_of_a_block_is_that_of_its_records(user: str, lines: list[bytes]) -> None:
    """Braces inside a line, in a text or in the user's login must not be taken for the beginning of a line."""
    target = build_target(CanbusAdd(user=user), KEYS, "r123456789")
    (window,) = windows_of(target, [lines], 100)
    assert isinstance(window.records, RecordBlock)
    body = target.encode(Chunk(window.records)).body
    assert body == target.encode(Chunk(tuple(one_by_one(target, [lines], 100, 10**9)[0].records))).body
    assert len(body) == target.body_overhead_bytes + bytes_of(window.records) + len(lines) - 1


@given(st.lists(st.lists(GOOD_LINES | ODD_LINES, min_size=1, max_size=4), max_size=5), st.integers(1, 7))
def test_one_odd_piece_of_a_window_does_not_spoil_the_others(blocks: list[list[bytes]], window_lines: int) -> None:
    assert singled(windows_of(CANBUS, blocks, window_lines)) == one_by_one(CANBUS, blocks, window_lines, 10**9)


class Unspliced(Ndjson):
    """NDJSON as a format that cannot check many lines at once, and whose lines may hold line feeds."""

    def check_many(self, splice: Splice) -> None:  # type: ignore[override]  # NDJSON itself always can
        del splice


@pytest.mark.parametrize("target", TARGETS)
def test_lines_of_other_formats_are_never_cut_again(target: Target) -> None:
    lines = [b'{"a":1,\n"b":2}\n', b"\n \n", b'{"c":\n', b'{"d":4}']
    builder = WindowBuilder(target.shaper, 100, Unspliced())
    assert builder.feed(Block(0, 1, 0, lines, b"".join(lines))) == []
    assert builder.flush() == one_by_one(target, [lines], 100, 10**9)
