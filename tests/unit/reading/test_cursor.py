from __future__ import annotations

from pathlib import Path

import pytest

from loader.errors import SourceError
from loader.reading.cursor import Cursor
from loader.reading.ndjson import NDJSON
from loader.reading.source import FileSource
from tests.unit.reading.encoders import ENCODERS

LINES = [b"%d " % n + b"x" * (n * 37 % 2000) + b"\n" for n in range(2000)] + [
    b"y" * 300_000 + b"\n",
    b"after\n",
    b"last",
]


@pytest.fixture(params=ENCODERS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> FileSource:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[request.param](b"".join(LINES)))
    return FileSource(path)


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
    opened.close()
