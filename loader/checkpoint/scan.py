"""The log's bytes -> entries, and what a bad line means. Pure.

Lines are checked one by one: seal, then sequence number. At the first line that is bad or out of sequence, good data ends, and
the lines behind it say why. None of them is valid: a torn tail, the write that was under way when the process or the machine
died. Some are valid, and all were written before anything of the hole was known durable (`s` below the first missing `n`): a
power loss wrote later pages and not earlier ones; nothing there was acknowledged, and losing it is harmless. One was written
when the hole was known durable: what was acknowledged is gone, and the log must not be trusted. A number that repeats was
never written by one process: refused as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias

from loader.checkpoint.format import AnyEntry, Header, decode, is_sealed
from loader.errors import LogDamaged

Ending: TypeAlias = Literal["clean", "torn", "lost"]

ENTRY_BEGIN: Final = b'{"t":"'  # of every line

HINT: Final = (
    "`loader log repair RUN` makes it sound again: what is damaged counts as ambiguous, nothing is lost or sent twice; "
    "`loader log check RUN` shows it. Or bring checkpoint.log and checkpoint.settled back from a backup, both of one moment. "
    "A new run would create again what this one has created."
)


class Scanner:
    """Reads the lines of one file from `offset` on, where `next_n` is expected (None: any number)."""

    def __init__(self, seed: int, offset: int = 0, next_n: int | None = 0, name: str = "checkpoint.log") -> None:
        self.offset = offset  # where good data ends so far
        self.next_n = next_n
        self.ending: Ending = "clean"
        self.lost_lines = 0  # valid, but behind a hole
        self._seed = seed
        self._name = name

    def entries(self, blocks: Iterable[bytes]) -> Iterator[tuple[int, AnyEntry]]:
        """Yield each good entry with its offset. Afterwards `offset`, `next_n` and `ending` hold for the whole file.

        Errors: LogDamaged.
        """
        lines = split_lines(blocks)
        for line in lines:
            entry = self._next(line)
            if entry is None:
                self.ending = "torn"
                self._judge(line)
                break
            yield self.offset, entry
            self.offset += len(line)
            self.next_n = entry.n + 1
        for line in lines:
            self._judge(line)

    def _next(self, line: bytes) -> AnyEntry | None:
        """Return the entry of a line if it is whole, sealed and next."""
        entry = self._open(line)
        if entry is None or (self.next_n is not None and entry.n != self.next_n):
            return None
        return entry

    def _open(self, line: bytes) -> AnyEntry | None:
        return open_line(line, self._seed, self._name)

    def _open_behind(self, line: bytes) -> AnyEntry | None:
        """Return the entry at the end of a bad line: what parted them may be all that is damaged."""
        at = line.find(ENTRY_BEGIN, 1)
        while at > 0:
            if entry := self._open(line[at:]):
                return entry
            at = line.find(ENTRY_BEGIN, at + 1)
        return None

    def _judge(self, line: bytes) -> None:
        """Say what a line at or behind the hole means."""
        entry = self._open(line) or self._open_behind(line)
        if entry is None:
            return
        expected = self.next_n
        if expected is None or entry.n < expected:
            raise LogDamaged(f"{self._name} repeats entry {entry.n} at byte {self.offset} or later", HINT)
        if entry.s >= expected:
            raise LogDamaged(
                f"{self._name} is damaged at byte {self.offset}: entry {expected} had been acknowledged as durable",
                HINT,
            )
        self.ending = "lost"
        self.lost_lines += 1


def open_line(line: bytes, seed: int, name: str) -> AnyEntry | None:
    """Return the entry of a line, newline included, if it is whole and sealed. Errors: LogDamaged where it is not known."""
    if line[-1:] != b"\n" or not is_sealed(line[:-1], seed):
        return None
    try:
        return decode(line[:-1])
    except ValueError:
        raise LogDamaged(
            f"{name} holds an entry that this version of loader does not know",
            "Go on with the version that wrote it; run.json names it.",
        ) from None


def read_header(line: bytes, seed: int) -> Header | None:
    """Return the header that a first line (newline included) is; None where it is anything else."""
    if line[-1:] != b"\n" or not is_sealed(line[:-1], seed):
        return None
    try:
        entry = decode(line[:-1])
    except ValueError:
        return None
    return entry if isinstance(entry, Header) else None


def split_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut blocks into lines, newlines kept; the last one may lack it."""
    rest = b""
    for block in blocks:
        parts = (rest + block).split(b"\n")
        rest = parts.pop()
        for part in parts:
            yield part + b"\n"
    if rest:
        yield rest
