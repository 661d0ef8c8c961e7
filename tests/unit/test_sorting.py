"""The sorter against a sorter that looks at one line at a time."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import sorting
from loader.mapping import BLANK, parse
from loader.model import Record, Rejected
from loader.settings import OzariCredentials, OzariInsert, Secret
from loader.sorting import Draft, Sorter
from loader.splitting import Block
from loader.targets import build_target

TARGET = build_target(OzariInsert("tcity"), OzariCredentials(Secret("x")), "r123456789")
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


def one_by_one(blocks: list[list[bytes]], window_lines: int, max_bytes: int) -> list[Draft]:
    """Do the same slowly."""
    drafts: list[Draft] = []
    number, offset = 1, 0
    draft: Draft | None = None
    for line in (line for lines in blocks for line in lines):
        draft = draft or Draft(0, number, offset)
        data = line.strip(BLANK)
        if not data:
            draft.blank.append(number)
        else:
            fields: Any = parse(data)
            found = fields if isinstance(fields, Rejected) else TARGET.shape(fields, data, 0, number, offset)
            if isinstance(found, Record):
                draft.records.append(found)
            else:
                draft.refused.append((Record(0, number, offset, b""), found))
        draft.crc = zlib.crc32(line, draft.crc)
        draft.line_count += 1
        draft.byte_count += len(line)
        number, offset = number + 1, offset + len(line)
        if draft.line_count >= window_lines or draft.byte_count >= max_bytes:
            drafts.append(draft)
            draft = None
    return [*drafts, draft] if draft is not None else drafts


@given(st.lists(st.lists(LINES, min_size=1, max_size=12), max_size=6), st.integers(1, 9), st.integers(1, 300))
def test_windows_are_what_single_lines_would_make(blocks: list[list[bytes]], window_lines: int, max_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sorting, "MAX_WINDOW_BYTES", max_bytes)
        sorter = Sorter(TARGET, window_lines)
        drafts: list[Draft] = []
        number, offset = 1, 0
        for lines in blocks:
            drafts += sorter.feed(Block(0, number, offset, lines))
            number, offset = number + len(lines), offset + sum(map(len, lines))
        drafts += sorter.flush()
    assert drafts == one_by_one(blocks, window_lines, max_bytes)
