"""How far the lines of each source were intended, said once more beside the log, in checkpoint.intended.

A log that was cut by hand, or put back from a backup, is sound and knows less than was sent. The target can be asked about what
comes behind it, window by window, but where to end cannot be learnt from it: a window may be wholly absent only because it was in
doubt while later ones were created. These marks tell: whatever lies below them may have been sent.

A mark is written behind each durable intent and is never synced: a log that only lost its power knows as much as the mark.
One that cannot be read says nothing. The file begins anew when it has grown; a crash just then loses the marks, no more.
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


class Marks:
    """The marks of a run. Errors: OSError, wherever the disk fails."""

    def __init__(self, file: File, run_id: str) -> None:
        self._file = file
        self._seed = seed_of(run_id, _SEED)
        self._size = file.size()
        self._ends = _ends_in(file, self._seed)

    @classmethod
    def open(cls, storage: Storage, run_id: str) -> Marks:
        """Open the marks, or begin them."""
        try:
            file = storage.open(NAME)
        except FileNotFoundError:
            file = storage.create(NAME)
        return cls(file, run_id)

    def end(self, source: int) -> tuple[int, int]:
        """Return the line, and its offset, that no mark holds; none holds what follows it."""
        return self._ends.get(source, (1, 0))

    def tell(self, windows: Sequence[Window]) -> None:
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


def marked_ends(storage: Storage, run_id: str) -> dict[int, int]:
    """Read, for each source, the line that no mark holds; nothing where there are no marks, or the disk does not give them."""
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
