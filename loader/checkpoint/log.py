"""The checkpoint log of a run that is being carried out: the only place that writes it.

Law: an entry is applied to `state` right after it was written, so `state` is what a reader of the files would hold. `settle`,
`note` and `doubt` only collect: at the end of the event-loop turn all of it is written, by one write. `intend` returns when its
intents are durable; nothing of a window may be sent before that.

When the disk fails: `failure` says why, and `intend` and `sync` raise it from then on. `settle`, `note` and
`doubt` never raise for the disk's sake: what is in flight is drained, and its outcomes are written as long as that is possible.
What could not be written is not in `state` either. ValueError means a bug of the caller; nothing was written then.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from loader.checkpoint.compaction import Compactor
from loader.checkpoint.folds import FoldRef
from loader.checkpoint.format import FORMAT, AnyEntry, Doubt, Header, Note, Opened, seed_of
from loader.checkpoint.queries import fold_slots, ids_in_folds, ids_unfolded, may_hold
from loader.checkpoint.recover import OwnedLog, create, take
from loader.checkpoint.state import State
from loader.checkpoint.storage import DiskStorage
from loader.checkpoint.tools import Sizes, Tools, Worker
from loader.checkpoint.turn import Turn, WindowOutcomes
from loader.checkpoint.windows import Gap, Letter, Place, Slot, check_window, intent_of, letter_of
from loader.checkpoint.writer import Writer, free_ballast
from loader.model import Outcome, Window
from loader.shielded import run_shielded


class CheckpointLog:
    """The log, taken by this process. Made by `create` or `open`, ended by `close`."""

    def __init__(self, taken: OwnedLog, worker: Worker, sizes: Sizes) -> None:
        self.state: State = taken.state
        self._taken = taken
        self._worker = worker
        self._turn = Turn()
        self._is_scheduled = False
        self._is_closed = False
        self._last_fold: tuple[FoldRef, list[Slot]] | None = None
        seed = seed_of(taken.state.run_id)
        self._writer = Writer(taken.storage, taken.log, seed, taken.next_n, worker)
        self._compactor = Compactor(taken.storage, taken.state, self._writer, taken.fold_file, worker, sizes)
        self._loop = asyncio.get_running_loop()
        self._writer.start(partial(self._compactor.look, self._flush))

    @classmethod
    async def create(
        cls,
        directory: Path,
        run_id: str,
        bound: Mapping[str, Any],
        *,
        version: str = "",
        tools: Tools | None = None,
    ) -> CheckpointLog:
        """Make the log of a new run, in an existing directory.

        Errors: FileExistsError where there is one; LogLocked, LogDamaged, LogStorageFailed.
        """
        tools = tools or Tools()
        time = tools.clock()
        header = Header(n=0, s=-1, format=FORMAT, run=run_id, created=time, bound=dict(bound))
        opened = Opened(n=0, s=0, pid=os.getpid(), version=version, time=time)
        return await cls._begin(tools, partial(create, tools.storage or DiskStorage(directory), header, opened))

    @classmethod
    async def open(
        cls,
        directory: Path,
        run_id: str,
        bound: Mapping[str, Any] | None = None,
        *,
        may_be_shorter: bool = False,
        version: str = "",
        tools: Tools | None = None,
    ) -> CheckpointLog:
        """Open the log of an existing run. `bound`, from run.json, lets a lost header be made anew.

        `may_be_shorter`: the target can be asked about lines that no intent holds, so a log that provably came back shorter
        is taken; then `state.is_shortened`, and `state.gaps` has lines to ask about.
        Errors: LogLocked, LogDamaged, LogStorageFailed.
        """
        tools = tools or Tools()
        opened = Opened(n=0, s=0, pid=os.getpid(), version=version, time=tools.clock())
        on = tools.storage or DiskStorage(directory)
        return await cls._begin(tools, partial(take, on, run_id, bound, opened, may_be_shorter=may_be_shorter))

    @classmethod
    async def _begin(cls, tools: Tools, work: Callable[[], OwnedLog]) -> CheckpointLog:
        worker = tools.new_worker()
        try:
            return cls(await worker(work), worker, tools.sizes)
        except BaseException:
            worker.close()
            raise

    @property
    def failure(self) -> Exception | None:
        """Why: LogStorageFailed, or a bug."""
        return self._writer.failure

    # --- what happened --------------------------------------------------------------------------------------------------

    async def intend(self, windows: Sequence[Window]) -> None:
        """Return when the windows' intents are durable, and their records may be sent.

        Errors: LogStorageFailed; ValueError where a window is not whole or overlaps another.
        """
        if self.failure:
            raise self.failure
        known = self._turn.windows()
        for window in windows:
            self._check(window, known)
            known.append(window)
        for window in windows:
            self._turn.add(window)
        await self.sync()
        try:
            self._taken.intended.record(windows)
        except OSError as error:
            raise self._writer.failed_with("checkpoint.intended cannot be written", error) from error

    def intended_end(self, source: int) -> int:
        """Return the first line of a source that `checkpoint.intended` does not know as intended."""
        return self._taken.intended.end(source)[0]

    def forgotten(self, source: int) -> list[Gap]:
        """Return the lines that were intended and that the log does not know: it came back shorter than it was."""
        gaps, intended = self.state.gaps(source), self._taken.intended
        (line, offset), (end, end_offset) = self.state.last_intent_end(source), intended.end(source)
        return [*gaps, Gap(source, line, end, offset, end_offset)] if end > line else gaps

    def settle(self, places: Sequence[Place], outcomes: Sequence[Outcome]) -> None:
        """Record how lines of one source ended, outcomes in the order of the lines. A later outcome of a line counts.

        Errors: ValueError where a line was never intended, or stands twice.
        """
        if len(places) != len(outcomes):
            raise ValueError(f"{len(outcomes)} outcomes for {len(places)} lines")
        if places:
            self._turn.settle(places, outcomes, self._range_of)
            self._schedule()

    def settle_each(self, places: Sequence[Place], outcomes: Sequence[Outcome]) -> None:
        """Record how single lines ended, of any source. All lines of a turn are looked at together at its end: far cheaper.

        A line that was never intended makes the log fail then.
        """
        self._turn.settle_each(places, outcomes)
        self._schedule()

    def note(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name, in place of an earlier one; None removes it."""
        plain = msgspec.json.decode(msgspec.json.encode(value))  # as a reader of the file will see it
        self._turn.add(Note(n=0, s=0, name=name, value=plain))
        self._schedule()

    def doubt(self, place: Place, reason: str) -> None:
        """Record why a line may have been applied, for as long as it has no outcome. Of a line that has one nothing is written.

        It is written at the end of the turn and not synced for its own sake: a power loss may cost the reason, no more.
        """
        if not self.state.is_settled(place.source, place.number):
            self._turn.doubt(place, reason)
            self._schedule()

    async def sync(self) -> None:
        """Return when all that was recorded so far is durable. Errors: LogStorageFailed."""
        self._flush()
        while self._compactor.is_held:
            await self._compactor.released.wait()
        await self._writer.durable()

    async def close(self) -> None:
        """Write and sync all, fold what is settled, give the log up. After a failure: give it up as it is.

        Errors: LogStorageFailed, where the disk fails here and had not failed before.
        """
        if self._is_closed:
            return
        self._is_closed = True
        await run_shielded(self._close())  # a thread may be writing: its file must not be closed under it

    async def _close(self) -> None:
        before = self.failure
        try:
            await self._compactor.wait()
            if before is None:
                await self.sync()
                await self._compactor.finish(self._flush)
        finally:
            self._flush()
            await self._writer.close()
            self._taken.fold_file.file.close()
            self._taken.intended.close()
            free_ballast(self._taken.storage)
            self._worker.close()
        if before is None and self.failure:
            raise self.failure

    # --- questions that read folds --------------------------------------------------------------------------------------

    async def find_ids(self, ids: Collection[int | str]) -> set[int | str]:
        """Return those of the ids that the log holds. Errors: LogDamaged."""
        self._flush()
        wanted = frozenset(ids)
        found = ids_unfolded(self.state, wanted)
        for job in list(self._compactor.in_flight.values()):
            found |= wanted.intersection(slot for slot in job.slots if isinstance(slot, int | str))
        refs = [ref for ref in self.state.folds() if may_hold(ref, wanted)]
        return found | await self._worker(partial(ids_in_folds, self._taken.fold_file, refs, wanted))

    # --- inside ---------------------------------------------------------------------------------------------------------

    def _check(self, window: Window, known: Sequence[Window]) -> None:
        check_window(window)
        source_state = self.state.sources.get(window.source)
        spans = [(other.first, other.end) for other in known if other.source == window.source]
        if source_state and window.first < source_state.end:
            spans += [span[:2] for span in source_state.spans()]
        if any(first < window.end and window.first < end for first, end in spans):
            raise ValueError(f"lines {window.first}..{window.end} are intended already")

    def _range_of(self, source: int, line: int) -> tuple[int, int]:
        """Return the window or fold that holds a line."""
        source_state = self.state.sources.get(source)
        live = source_state.find(line) if source_state else None
        if live:
            return live.window.first, live.window.end
        ref = source_state.folds.find(line) if source_state else None
        if ref is None:
            raise ValueError(f"an outcome for line {line} of source {source}, which was never intended")
        return ref.first, ref.end

    def _letter(self, source: int, line: int) -> Letter:
        """Return what a settled line is."""
        source_state = self.state.sources[source]
        live = source_state.find(line)
        if live:
            return letter_of(live.slot(line))
        amendment = self.state.amendments.get((source, line))
        if amendment:
            return letter_of(amendment.slot)
        ref = source_state.folds.find(line)
        assert ref is not None  # noqa: S101 - `_range_of` found it
        job = self._compactor.in_flight.get((source, ref.first))
        if job:
            return letter_of(job.slots[line - job.first])
        if self._last_fold is None or self._last_fold[0] is not ref:
            self._last_fold = (ref, fold_slots(self._taken.fold_file, ref))
        return letter_of(self._last_fold[1][line - ref.first])

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what was recorded, as a rule by one write, and apply it."""
        self._is_scheduled = False
        try:
            self._turn.group_by_window(self._range_of)
            if self._compactor.is_held or not self._turn:
                return
            for batch in self._turn.take():
                entries: list[AnyEntry] = []
                weight = 0
                for item in batch:
                    entries += self._entries(item, self._writer.next_n + len(entries))
                    weight += item.count if isinstance(item, WindowOutcomes) else not isinstance(item, Doubt)
                if self._writer.append(entries, weight):
                    for entry in entries:
                        self.state.apply(entry)
        except Exception as error:  # noqa: BLE001 - the loop would only log it; whoever waits must get it
            self._writer.give_up(error)

    def _entries(self, item: WindowOutcomes | Note | Doubt | Window, n: int) -> Sequence[AnyEntry]:
        s = self._writer.synced_n
        if isinstance(item, WindowOutcomes):
            return item.entries(self.state, n, s, self._letter)
        if isinstance(item, Note):
            return (Note(n=n, s=s, name=item.name, value=item.value),)
        if isinstance(item, Doubt):
            return (Doubt(n=n, s=s, source=item.source, lines=item.lines, reason=item.reason),)
        return (intent_of(item, n, s),)
