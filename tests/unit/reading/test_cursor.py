from __future__ import annotations

import pytest

from loader.errors import SourceError
from loader.reading.cursor import Cursor
from loader.reading.ndjson import NDJSON
from loader.reading.source import FileSource
from tests.unit.reading.encoders import LINES


def test_a_cursor_goes_forward(opened: FileSource) -> None:
    data = b"".join(LINES)
    cursor = Cursor(opened, 1000)
    assert cursor.take(10) == data[:10]
    cursor.move_to(70_000)
    assert cursor.take(2500) == data[70_000:72_500]
    cursor.move_to(200_000)
    assert cursor.offset == 200_000
    cursor.move_to(len(data) - 3)
    assert cursor.take(100) == data[-3:]
    assert NDJSON.line(cursor, 10) == b""
    with pytest.raises(SourceError, match="is shorter than"):
        cursor.move_to(len(data) + 1)
