"""Read the log of a run that nobody needs to hold: for status, ids, rejects and ambiguous. Takes no lock, changes nothing.

The run may be going on meanwhile. The log is opened first and checkpoint.settled read after it, so folds are never older than
the log that relies on them; where the log was renewed in between, reading begins again. A torn end is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple, Self

from loader.checkpoint.fold_file import NAME as SETTLED
from loader.checkpoint.fold_file import FoldFile
from loader.checkpoint.folds import FoldRef
from loader.checkpoint.format import Header
from loader.checkpoint.load import find_header, read_run, self_named_header
from loader.checkpoint.queries import each_range
from loader.checkpoint.scan import ENTRY_BEGIN, HINT
from loader.checkpoint.state import State
from loader.checkpoint.storage import LOG, BytesFile, DiskStorage, File, Storage
from loader.checkpoint.windows import UNKNOWN_ID, Exceptional, Slot
from loader.errors import LogDamaged
from loader.model import Ambiguous, Created, RecordId, Rejected, Window

NO_OUTCOME: Final = "no outcome was written: the run goes on, or was interrupted"

MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
"""A run of many thousand files has a long first line; a log without line feeds is not read whole."""

_RENEWALS: Final = 10


class IdRow(NamedTuple):
    """A created line."""

    source: int
    line: int
    id: RecordId


class KnownIds(NamedTuple):
    """The ids that a log holds: the lowest and highest number, and the text that is the last by length and letters."""

    lowest: int | None
    highest: int | None
    highest_text: str | None


class RejectedLine(NamedTuple):
    """A rejected line."""

    source: int
    line: int
    offset: int
    outcome: Rejected


class AmbiguousLine(NamedTuple):
    """A line whose fate is unknown; `is_unresolved`: it has no outcome yet, the run was interrupted or goes on."""

    source: int
    line: int
    offset: int | None
    outcome: Ambiguous
    is_unresolved: bool = False


class RunReader:
    """A run as it stood when it was read, and its folds, still open. Use it in a `with`."""

    def __init__(self, log: File, fold_file: FoldFile, state: State) -> None:
        self.state = state
        self._log = log
        self._fold_file = fold_file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._log.close()
        self._fold_file.file.close()

    def each_slot(self, *names: str) -> Iterator[tuple[int, int, Slot]]:
        """Yield source, line and slot of every line that a window or fold holds, in line order.

        `names`: fields of Counts; folds in which none of them counts are passed by. Errors: LogDamaged.
        """
        for source, first, slots in each_range(self.state, self._fold_file, names):
            for line, slot in enumerate(slots, first):
                yield source, line, slot

    def ids(self) -> Iterator[IdRow]:
        """Yield created lines in line order. Errors: LogDamaged."""
        for source, line, slot in self.each_slot("created"):
            if isinstance(slot, int | str):
                yield IdRow(source, line, slot)
            elif isinstance(slot, Created):
                yield IdRow(source, line, slot.id)

    def known_ids(self) -> KnownIds:
        """Return the ends of the ids, without reading a fold."""
        state = self.state
        slots = [slot for source in state.sources.values() for live in source.windows.values() for slot in live.slots]
        slots += [amendment.slot for amendment in state.amendments.values()]
        refs = list(state.folds())
        numbers = [slot for slot in slots if isinstance(slot, int)]
        numbers += [number for ref in refs if ref.ints is not None for number in ref.ints]
        texts = [slot for slot in slots if isinstance(slot, str)]
        texts += [text for ref in refs if ref.texts is not None for text in ref.texts]
        highest_text = max(texts, key=lambda text: (len(text), text), default=None)
        return KnownIds(min(numbers, default=None), max(numbers, default=None), highest_text)

    def unknown_ids(self) -> Iterator[IdRow]:
        """Yield the created lines whose id was not learnt, in line order. Errors: LogDamaged."""
        for source, line, slot in self.each_slot("ids_unknown"):
            if slot == UNKNOWN_ID:
                yield IdRow(source, line, None)

    def rejects(self) -> Iterator[RejectedLine]:
        """Yield rejected lines in line order. Errors: LogDamaged."""
        for source, line, slot in self.each_slot("rejected"):
            if isinstance(slot, Exceptional) and isinstance(slot.outcome, Rejected):
                yield RejectedLine(source, line, slot.offset, slot.outcome)

    def ambiguous(self) -> Iterator[AmbiguousLine]:
        """Yield lines whose fate is unknown, in line order: with that outcome, or without one. Errors: LogDamaged."""
        for source, line, slot in self.each_slot("ambiguous"):
            if isinstance(slot, Exceptional) and isinstance(slot.outcome, Ambiguous):
                yield AmbiguousLine(source, line, slot.offset, slot.outcome)
            elif slot is None:
                live = self.state.sources[source].find(line)
                reason = live.doubts.get(line, NO_OUTCOME) if live else NO_OUTCOME
                yield AmbiguousLine(source, line, None, Ambiguous(reason), is_unresolved=True)

    def windows(self) -> Iterator[Window]:
        """Yield all windows in line order, for finding lines in the source and for checking it; blanks are left out."""
        for source in sorted(self.state.sources):
            source_state = self.state.sources[source]
            known: list[tuple[int, FoldRef | Window]] = [(ref.first, ref) for ref in source_state.folds]
            known += [(first, live.window._replace(blanks=())) for first, live in source_state.windows.items()]
            for _, item in sorted(known, key=lambda pair: pair[0]):
                if isinstance(item, Window):
                    yield item
                    continue
                line, offset = item.first, item.offset
                for end, end_offset, crc in self._fold_file.body(item).windows:
                    yield Window(source, line, end, offset, end_offset, crc)
                    line, offset = end, end_offset


class NoHeader(Enum):
    """Why a run directory has no header to be read."""

    NO_LOG = "there is no log"
    UNBORN = "a crash left the log before it was made, so nothing was sent"
    LOST = "the log has lost its header, or it is none of a run"


def peek(directory: Path, *, storage: Storage | None = None) -> Header | NoHeader:
    """Read the log's header alone, for a run whose id is not known otherwise. Errors: OSError.

    The header is durable before checkpoint.settled is made, and both are before anything is sent: a log without a whole header
    and with nothing behind it is the beginning of one.
    """
    on = storage or DiskStorage(directory)
    try:
        log = on.open(LOG, is_writable=False)
    except (FileNotFoundError, NotADirectoryError):
        return NoHeader.NO_LOG
    with closing(log), closing(_open_folds(on)) as fold_file:
        line, newline, _ = log.read(0, MAX_HEADER_BYTES).partition(b"\n")
        header = self_named_header(line + newline) if newline else None  # without its line end it is none yet
        if header is not None:
            return header
        rest = log.read(len(line + newline), MAX_HEADER_BYTES)
        return NoHeader.LOST if ENTRY_BEGIN in rest or fold_file.size() else NoHeader.UNBORN


def read_run_directory(directory: Path, *, storage: Storage | None = None) -> RunReader:
    """Read the run in a directory. Errors: LogDamaged; FileNotFoundError where there is no log."""
    on = storage or DiskStorage(directory)
    for _ in range(_RENEWALS):
        log = on.open(LOG, is_writable=False)
        fold_file: FoldFile | None = None
        try:
            found = find_header(log, None, None)
            fold_file = FoldFile(_open_folds(on), found[0].run)
            opening = read_run(log, fold_file, found)
            if on.is_current(LOG, log):
                return RunReader(log, fold_file, opening.state)
        except LogDamaged:
            if on.is_current(LOG, log):  # else it was renewed while it was read
                _close(log, fold_file)
                raise
        except BaseException:
            _close(log, fold_file)
            raise
        _close(log, fold_file)
    raise LogDamaged("checkpoint.log is renewed faster than it can be read", HINT)


def read_state(directory: Path, *, storage: Storage | None = None) -> State:
    """Return what the log of a run says now. Errors: as `read_run_directory`."""
    with read_run_directory(directory, storage=storage) as run:
        return run.state


def _open_folds(storage: Storage) -> File:
    try:
        return storage.open(SETTLED, is_writable=False)
    except FileNotFoundError:
        return BytesFile(b"")


def _close(log: File, fold_file: FoldFile | None) -> None:
    log.close()
    if fold_file:
        fold_file.file.close()
