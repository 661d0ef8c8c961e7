"""A reader that is left before its end leaves nothing open, whichever it is: all that it began is closed with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from loader.reading.readers import Reader
from loader.reading.source import FileSource
from loader.reading.spool import Spool
from loader.settings import Options
from tests.unit.reading.left_open import generators_left_open

DATA = b'{"n":1}\n' * 100_000
"""More than one block."""


def file_reader(path: Path) -> Reader:
    path.write_bytes(DATA)
    return Reader(0, FileSource(path), Options())


def kept_reader(path: Path) -> Reader:
    spool = Spool(path)
    spool.append(DATA)
    spool.finish()
    return Reader(0, spool, Options(), spool)


@pytest.mark.parametrize("make", [file_reader, kept_reader])
async def test_leaving_early_closes_what_was_begun(tmp_path: Path, make: Callable[[Path], Reader]) -> None:
    reader = make(tmp_path / "source")
    with generators_left_open() as left:
        async with contextlib.aclosing(reader.blocks(0, 1)) as blocks:
            assert (await anext(blocks)).lines[0] == DATA[:8]
        del blocks
    reader.close()
    assert left == []
