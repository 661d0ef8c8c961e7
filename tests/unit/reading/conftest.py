"""A source whose lines have many lengths, one of them very long, in each kind of compression."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loader.reading.source import FileSource
from tests.unit.reading.encoders import ENCODERS, LINES


@pytest.fixture(params=ENCODERS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileSource]:
    path = tmp_path / "source"
    path.write_bytes(ENCODERS[request.param](b"".join(LINES)))
    source = FileSource(path)
    yield source
    source.close()
