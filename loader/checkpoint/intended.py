"""checkpoint.intended: how far the lines of each source were intended, recorded a second time beside the log.

A log that was cut by hand, or put back from a backup, is sound and knows less than was sent. A resume can then ask the target
about the lines behind it, window by window. The answers do not show where to end: a whole window may be absent because it was in
doubt while later ones were created. The marks in this file show it: every line below them may have been sent.

A mark is written after each durable intent and never synced: after a power loss the log knows as much as the mark. A mark that
cannot be read is ignored. The file begins anew when it has grown; a crash at that moment loses the marks and nothing else.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from loader.checkpoint.format import seed_of
from loader.checkpoint.storage import File, Storage, append_all
from loader.model import Window

NAME: Final = "checkpoint.intended"
MAX_BYTES: Final = 64 * 1024
_SEED: Final = b"intended"


class Intended:
    """The marks of a run. Every method may raise OSError."""

    def __init__(self, file: File, run_id: str) -> None:
        self._file = file
        self._seed = seed_of(run_id, _SEED)
        self._size = file.size()
        self._ends = _ends_in(file, self._seed)

    @classmethod
    def open(cls, storage: Storage, run_id: str) -> Intended:
        """Open the marks, or begin them."""
        try:
            file = storage.open(NAME)
        except FileNotFoundError:
            file = storage.create(NAME)
        return cls(file, run_id)

    def end(self, source: int) -> tuple[int, int]:
        """Return the first line that is not known as intended, and its offset."""
        return self._ends.get(source, (1, 0))

    def record(self, windows: Sequence[Window]) -> None:
        """Mark windows whose intents are durable."""
        for window in windows:
            if window.end > self.end(window.source)[0]:
                self._ends[window.source] = (window.end, window.end_offset)
        if self._size > MAX_BYTES:
            self._file.truncate(0)
            self._size = 0
            sources = sorted(self._ends)
        else:
            sources = sorted({window.source for window in windows})
        data = b"".join(map(self._line, sources))
        _, error = append_all(self._file, data)
        if error:
            raise error
        self._size += len(data)

    def close(self) -> None:
        """Give the file up."""
        self._file.close()

    def _line(self, source: int) -> bytes:
        text = b"%d %d %d" % (source, *self._ends[source])
        return b"%b %08x\n" % (text, zlib.crc32(text, self._seed))


def intended_ends(storage: Storage, run_id: str) -> dict[int, int]:
    """Return, for each source, the first line that is not known as intended; nothing if the marks cannot be read."""
    try:
        with closing(storage.open(NAME, is_writable=False)) as file:
            return {source: end for source, (end, _) in _ends_in(file, seed_of(run_id, _SEED)).items()}
    except OSError:
        return {}


def _ends_in(file: File, seed: int) -> dict[int, tuple[int, int]]:
    ends: dict[int, tuple[int, int]] = {}
    for line in file.read(0, file.size()).split(b"\n"):
        text, _, checksum = line.rpartition(b" ")
        if checksum == b"%08x" % zlib.crc32(text, seed):
            source, end, offset = map(int, text.split(b" "))
            ends[source] = max(ends.get(source, (1, 0)), (end, offset))
    return ends
