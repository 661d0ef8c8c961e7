"""checkpoint.settled: the folds on disk. Reads heads, appends folds, reads a body when asked.

One process writes, the one that holds the log's lock; others read beside it, for the file only grows. A fold is on disk
before the log or the state relies on it. Heads are read at opening, by skipping from one to the next. The body of a fold that
the log relies on is checked when it is read; the bodies behind that are checked at opening, for the last append may have
been torn by a crash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from loader.checkpoint.folds import FoldJob, FoldRef, Start, ref_of, seal_fold
from loader.checkpoint.format import (
    FORMAT,
    SETTLED_SEED,
    Body,
    Fold,
    Header,
    checksum,
    decode,
    is_sealed,
    seal,
    seed_of,
)
from loader.checkpoint.scan import HINT, read_header
from loader.checkpoint.storage import File, append_all
from loader.errors import LogDamaged

NAME: Final = "checkpoint.settled"

_HEAD_BYTES: Final = 512  # holds nearly every head; a longer one costs a second read
_MAX_HEAD_BYTES: Final = 4096
_CHECK_BYTES: Final = 11  # the checksum's digits, quote, brace and newline
_BATCH_BYTES: Final = 1024 * 1024


@dataclass
class Heads:
    """What the heads of the file say."""

    refs: list[FoldRef] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)  # distinct, in the order of writing
    size: int = 0  # where good data ends
    next_n: int = 0
    max_upto: int = -1
    first_position: int = 0

    def cut_to(self, count: int) -> None:
        """Forget all folds but the first `count`."""
        gone = self.refs[count:]
        if gone:
            position = gone[0].position
            assert position is not None  # noqa: S101 - it was read from the file
            self.size = (
                (self.refs[count - 1].position or 0) + self.refs[count - 1].body if count else self.first_position
            )
            self.next_n -= 2 * len(gone)
            del self.refs[count:]
            self.max_upto = max((ref.upto for ref in self.refs), default=-1)


class FoldFile:
    """The file, open. Contract: `append` is called by one thread at a time; `body` by any."""

    def __init__(self, file: File, run_id: str) -> None:
        self.file = file
        self.seed = seed_of(run_id, SETTLED_SEED)
        self._run_id = run_id
        self._size = 0
        self._next_n = 0
        self._checksum = ""

    def begin(self) -> None:
        """Write the header of a new file, or of one where nothing was good."""
        self.file.truncate(0)
        self._size, self._next_n = 0, 0
        self._write(seal(Header(n=0, s=-1, format=FORMAT, run=self._run_id), self.seed), 1)

    def go_on(self, heads: Heads) -> None:
        """Append behind what was read; what follows it is cut off."""
        if not heads.size:
            self.begin()
            return
        if self.file.size() > heads.size:
            self.file.truncate(heads.size)
            self.file.sync()
        self._size, self._next_n = heads.size, heads.next_n
        self._checksum = self.checksum_at(heads.size)

    @property
    def mark(self) -> tuple[int, str]:
        """What a snapshot relies on: bytes of the file, and the checksum of its last line."""
        return self._size, self._checksum

    def checksum_at(self, end: int) -> str:
        """Return the checksum of the line that ends at a byte; empty where none does."""
        if end < _CHECK_BYTES:
            return ""
        tail = self.file.read(end - _CHECK_BYTES, _CHECK_BYTES)
        return checksum(tail) if len(tail) == _CHECK_BYTES and tail.endswith(b'"}\n') else ""

    def append(self, jobs: Sequence[FoldJob], start: Start | None) -> list[FoldRef]:
        """Write folds and sync them. Errors: OSError; then nothing may be appended any more."""
        refs: list[FoldRef] = []
        data = b""
        for job in jobs:
            lines, ref = seal_fold(job, self._next_n + 2 * len(refs), self._size + len(data), start, self.seed)
            refs.append(ref)
            data += lines
        self._write(data, 2 * len(refs))
        return refs

    def _write(self, data: bytes, entries: int) -> None:
        _, error = append_all(self.file, data)
        if error:
            raise error
        self.file.sync()
        self._size += len(data)
        self._next_n += entries
        self._checksum = checksum(data[-_CHECK_BYTES:])

    def heads(self) -> Heads:
        """Read all heads up to the first that is not good."""
        size = self.file.size()
        found = Heads()
        line = self._line(0)
        if read_header(line, self.seed) is None:
            return found
        found.size = found.first_position = len(line)
        found.next_n = 1
        while found.size < size:
            line = self._line(found.size)
            head = self._head(line)
            if head is None or head.n != found.next_n or found.size + len(line) + head.body > size:
                break
            found.refs.append(ref_of(head, found.size + len(line)))
            if head.start and (not found.starts or found.starts[-1] != head.start):
                found.starts.append(head.start)
            found.size += len(line) + head.body
            found.next_n += 2
            found.max_upto = max(found.max_upto, head.upto)
        return found

    def body(self, ref: FoldRef) -> Body:
        """Read a fold's outcomes. Errors: LogDamaged."""
        line = ref.kept if ref.position is None else self.file.read(ref.position, ref.body)
        if line[-1:] == b"\n" and is_sealed(line[:-1], self.seed):
            entry = decode(line[:-1])
            if isinstance(entry, Body):
                return entry
        raise LogDamaged(f"{NAME} is damaged: the fold of lines {ref.first} to {ref.end - 1} cannot be read", HINT)

    def count_good(self, refs: Sequence[FoldRef], relied_bytes: int) -> int:
        """Return how many folds, from the first on, have a good body; those below `relied_bytes` are not looked at."""
        for count, ref in enumerate(refs):
            if (ref.position or 0) >= relied_bytes:
                try:
                    self.body(ref)
                except LogDamaged:
                    return count
        return len(refs)

    def _line(self, offset: int) -> bytes:
        data = self.file.read(offset, _HEAD_BYTES)
        if b"\n" not in data:
            data = self.file.read(offset, _MAX_HEAD_BYTES)
        line, newline, _ = data.partition(b"\n")
        return line + newline

    def _head(self, line: bytes) -> Fold | None:
        if line[-1:] != b"\n" or not is_sealed(line[:-1], self.seed):
            return None
        entry = decode(line[:-1])
        return entry if isinstance(entry, Fold) else None


def blocks_of(file: File, offset: int) -> Iterator[bytes]:
    """Yield a file's bytes from an offset to its end."""
    while block := file.read(offset, _BATCH_BYTES):
        yield block
        offset += len(block)
