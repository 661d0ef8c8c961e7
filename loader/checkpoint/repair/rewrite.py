"""Write a sound generation of both files out of what an examination has left. Blocks; the caller holds the run's lock.

Law: nothing is removed before it was copied, and nothing is put in place before it was read back. checkpoint.settled goes first:
a crash between the two leaves a log that is still damaged beside folds that are sound, and a second repair ends it.

What is in doubt is written as it would stand after a crash: an open line with the reason, or an ambiguous outcome where the line
had another one before. No entry is made that was not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from loader.checkpoint.fold_file import NAME as SETTLED
from loader.checkpoint.fold_file import FoldFile
from loader.checkpoint.folds import FoldJob, FoldRef, again
from loader.checkpoint.format import Header
from loader.checkpoint.generation import next_generation, put_in_place
from loader.checkpoint.load import find_header, read_run
from loader.checkpoint.queries import fold_slots
from loader.checkpoint.recover import open_locked
from loader.checkpoint.repair.examine import Examination, examine
from loader.checkpoint.repair.salvage import Salvage
from loader.checkpoint.scan import HINT
from loader.checkpoint.source_state import FOLD_LINES, SourceState
from loader.checkpoint.state import State
from loader.checkpoint.storage import LOG, BytesFile, File, Storage, copy_aside
from loader.checkpoint.windows import Exceptional, Slot, is_rejected_by_target, letter_of, outcome_of, tally
from loader.errors import LogDamaged, LogLocked
from loader.model import Ambiguous, Counts, Rejected, Window

REASON: Final = "the checkpoint log was damaged where the outcome of this line may have stood"
HINT_BACKUP: Final = "Bring checkpoint.log and checkpoint.settled back from a backup, both of one moment."

_NEW: Final = f"{SETTLED}.new"
_READS: Final = 10
_JOBS_AT_ONCE: Final = 64


Places: TypeAlias = Callable[[Window], Mapping[int, int]]
"""The lines of a window that were sent, each with its offset."""


class Repair:
    """One run's files, open and examined. With `is_locked` they belong to this process. End it with `close`."""

    def __init__(
        self, storage: Storage, run_id: str, bound: Mapping[str, Any], *, is_locked: bool, fold_lines: int = FOLD_LINES
    ) -> None:
        self._storage = storage
        self._run_id = run_id
        self._bound = bound
        self._fold_lines = fold_lines
        self._has_fold_file = True
        for _ in range(_READS):
            self._log = _open_log(storage, is_locked=is_locked)
            self._fold_file = self._open_fold_file(is_writable=is_locked)
            try:
                self.found: Examination = examine(self._log, self._fold_file, run_id, bound)
                is_final = is_locked or not self._has_moved()
            except BaseException:
                self.close()
                raise
            if is_final:
                return
            self.close()
        raise LogLocked(
            "the run goes on, and its log is changed faster than it can be read", "Wait until it has ended."
        )

    def _open_fold_file(self, *, is_writable: bool) -> FoldFile:
        try:
            file = self._storage.open(SETTLED, is_writable=is_writable)
        except FileNotFoundError:
            self._has_fold_file, file = False, BytesFile(b"")
        return FoldFile(file, self._run_id)

    def _has_moved(self) -> bool:
        """Say whether what looks wrong may be so only because the run goes on: nobody holds the files for this reader."""
        if self.found.verdict == "sound":
            return False
        is_longer = self._log.size() > self.found.survey.size or self._fold_file.file.size() > self.found.folds.size
        return is_longer or not (isinstance(self._log, BytesFile) or self._storage.is_current(LOG, self._log))

    def close(self) -> None:
        """Close the files, and give up the lock."""
        self._log.close()
        self._fold_file.file.close()

    @property
    def salvage(self) -> Salvage:
        """What is still known."""
        return self.found.salvage

    def doubt(self, places: Places | None = None) -> dict[int, list[int]]:
        """Put the lines in doubt whose fate may have been hit; return them by source.

        They stay open, as after a crash. With `places`, those that are there become ambiguous: a resume looks at such a line
        together with what was sent after it.
        """
        marked: dict[int, list[int]] = {}
        for source, first in sorted(self.salvage.hit):
            live = self.salvage.sources[source].windows[first]
            lines = live.unresolved_lines()
            offsets = places(live.window) if places and lines else {}
            for line in lines:
                if line in offsets:
                    live.doubts.pop(line, None)
                    live.slots[line - first] = Exceptional(offsets[line], Ambiguous(REASON))
                else:
                    live.doubts.setdefault(line, REASON)
            marked.setdefault(source, []).extend(lines)
        for source, line in sorted({*self.salvage.suspects, *self._suspects_in_folds()}):
            if self._doubt_reject(source, line):
                marked.setdefault(source, []).append(line)
        return {source: sorted(set(lines)) for source, lines in marked.items() if lines}

    def counts(self) -> Counts:
        """Count what is known."""
        counts = counts_of(self.salvage.sources.values())
        for (source, line), (slot, _) in self.salvage.amended.items():
            ref = self.salvage.sources[source].folds.find(line)
            before = self._slots(ref)[line - ref.first] if ref else None
            if outcome_of(before) and outcome_of(slot):
                tally(counts, letter_of(before), -1)
                tally(counts, letter_of(slot))
        return counts

    def _suspects_in_folds(self) -> Iterator[tuple[int, int]]:
        """Yield rejected lines of suspect folds, known as later outcomes from now on."""
        for source, first in self.salvage.suspect_folds:
            ref = self.salvage.sources[source].folds.find(first)
            for line, slot in enumerate(self._slots(ref), first) if ref else ():
                if is_rejected_by_target(slot) and (source, line) not in self.salvage.amended:
                    self.salvage.amended[source, line] = (slot, self.found.next_n)
                    yield source, line

    def _doubt_reject(self, source: int, line: int) -> bool:
        live = self.salvage.sources[source].find(line)
        slot, _ = (live.slot(line), 0) if live else self.salvage.amended.get((source, line), (None, 0))
        if not isinstance(slot, Exceptional) or not is_rejected_by_target(slot):
            return False
        if live:
            live.slots[line - live.window.first] = in_doubt(slot)
        else:
            self.salvage.amended[source, line] = (in_doubt(slot), self.found.next_n)
        return True

    def _slots(self, ref: FoldRef) -> list[Slot]:
        return fold_slots(self._fold_file, ref)

    # --- writing --------------------------------------------------------------------------------------------------------

    def write(self, drop_notes: Iterable[str] = ()) -> list[str]:
        """Copy what is damaged, write both files anew, and return the names of the copies. Errors: OSError."""
        copies = [copy_aside(self._storage, LOG, self._log)] if self._log.size() else []
        is_renewed = self.found.must_renew_folds or not self._has_fold_file
        if is_renewed and self._has_fold_file:
            copies.append(copy_aside(self._storage, SETTLED, self._fold_file.file))
        self._storage.sync()
        state = self._new_state(drop_notes)
        fold_file = self._begin_fold_file(is_renewed=is_renewed)
        try:
            self._write_folds(state, fold_file, is_renewed=is_renewed)
            _, data = next_generation(state, self.found.next_n, fold_file.mark)
            self._read_back(state, data, fold_file)
            if is_renewed:
                self._storage.rename(_NEW, SETTLED)
                self._storage.sync()
            log, error = put_in_place(self._storage, data)
            log.close()
            if error:
                raise error
        finally:
            if is_renewed:
                fold_file.file.close()
        return copies

    def _new_state(self, drop_notes: Iterable[str]) -> State:
        """Return the state without any outcome."""
        before = self.found.header
        generations = [ref_start[0] for ref_start in self._starts()]
        header = Header(
            n=before.n,
            s=before.s,
            format=before.format,
            run=self._run_id,
            created=before.created or str(self._bound.get("created", "")),
            generation=max([before.generation, *generations]),
            bound=before.bound,
        )
        state = State(header)
        dropped = set(drop_notes)
        state.notes = {name: value for name, value in self.salvage.notes.items() if name not in dropped}
        state.executions = max(1, self.salvage.executions)
        return state

    def _starts(self) -> list[tuple[int, int, int]]:
        return [] if self.found.must_renew_folds else self._fold_file.heads().starts

    def _begin_fold_file(self, *, is_renewed: bool) -> FoldFile:
        if is_renewed:
            self._storage.remove(_NEW)
            fold_file = FoldFile(self._storage.create(_NEW), self._run_id)
            fold_file.begin()
            return fold_file
        heads = self._fold_file.heads()
        heads.cut_to(self._fold_file.count_good(heads.refs, 0))
        self._fold_file.go_on(heads)
        return self._fold_file

    def _write_folds(self, state: State, fold_file: FoldFile, *, is_renewed: bool) -> None:
        """Write the folds that are needed anew, and put the rest of what is known into the state."""
        amended: dict[tuple[int, int], dict[int, tuple[Slot, int]]] = {}
        for (source, line), later in self.salvage.amended.items():
            ref = self.salvage.sources[source].folds.find(line)
            if ref:
                amended.setdefault((source, ref.first), {})[line] = later
        refs = [ref for source_state in self.salvage.sources.values() for ref in source_state.folds]
        kept = [ref for ref in refs if not is_renewed and (ref.source, ref.first) not in amended]
        changed = [ref for ref in refs if is_renewed or (ref.source, ref.first) in amended]
        jobs = (self._again(ref, amended.get((ref.source, ref.first), {})) for ref in changed)
        state.load([*kept, *_append(fold_file, jobs)])
        for source in sorted(self.salvage.sources):
            source_state = state.sources.setdefault(source, SourceState())
            for _, live in sorted(self.salvage.sources[source].windows.items()):
                live.unresolved = len(live.unresolved_lines())
                source_state.add(live)
        jobs_of_windows = state.freeze(self.found.next_n, is_all=False, min_lines=self._fold_lines)
        for job, ref in zip(jobs_of_windows, _append(fold_file, jobs_of_windows), strict=True):
            state.folded(job, ref)

    def _again(self, ref: FoldRef, amended: Mapping[int, tuple[Slot, int]]) -> FoldJob:
        upto = max([ref.upto, *(n for _, n in amended.values())])
        return again(ref, self._fold_file.body(ref), {line: slot for line, (slot, _) in amended.items()}, upto)

    def _read_back(self, state: State, data: bytes, fold_file: FoldFile) -> None:
        """Read what was written as an opening will. Errors: LogDamaged where it is not what it should be."""
        log = BytesFile(data)
        written = read_run(log, fold_file, find_header(log, None, None))
        if (
            written.ending != "clean"
            or written.state.is_shortened
            or written.state.counts != counts_of(state.sources.values())
        ):
            raise LogDamaged("the repair did not come out right; nothing was changed", HINT)


def in_doubt(slot: Exceptional) -> Exceptional:
    """Turn a rejected line that may have been sent again into an ambiguous one; what it was stands in the reason."""
    before = slot.outcome
    was = f"; before that it was rejected: {before.code} {before.message}" if isinstance(before, Rejected) else ""
    return Exceptional(slot.offset, Ambiguous(REASON + was))


def counts_of(sources: Iterable[SourceState]) -> Counts:
    """Count the lines of folds and windows by how they ended."""
    counts = Counts()
    for source_state in sources:
        for ref in source_state.folds:
            counts.merge(ref.counts)
        for live in source_state.windows.values():
            counts.lines += len(live.slots)
            counts.skipped_blank += len(live.window.blanks)
            for slot in live.slots:
                if outcome_of(slot):
                    tally(counts, letter_of(slot))
    return counts


def _append(fold_file: FoldFile, jobs: Iterable[FoldJob]) -> list[FoldRef]:
    refs: list[FoldRef] = []
    waiting: list[FoldJob] = []
    for job in jobs:
        waiting.append(job)
        if len(waiting) == _JOBS_AT_ONCE:
            refs += fold_file.append(waiting, None)
            waiting = []
    return refs + (fold_file.append(waiting, None) if waiting else [])


def _open_log(storage: Storage, *, is_locked: bool) -> File:
    """Open the log. One that is gone counts as empty where its folds are there.

    Errors: LogLocked; LogDamaged where neither is there.
    """
    try:
        return open_locked(storage) if is_locked else storage.open(LOG, is_writable=False)
    except (FileNotFoundError, LogDamaged):
        try:
            storage.open(SETTLED, is_writable=False).close()
        except FileNotFoundError:
            raise LogDamaged("nothing is left of the run's log", HINT_BACKUP) from None
    if not is_locked:
        return BytesFile(b"")
    storage.create(LOG).close()
    return open_locked(storage)
