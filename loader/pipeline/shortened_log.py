"""A log may come back shorter than it was: a backup was restored, or somebody cut it. Then it does not know what it created.

With a stamp, or a key and a query, nothing is lost by asking: behind the last intent the target is asked about each window
before it is sent, until as many lines are absent as an execution may ever have open at once (`crash_bound`), and none was found
since: it was not further. A window proves less, since one of a slow source may be a single line, which waited while later ones
were created. What is found is created; what is absent beside found ones is in doubt, since the run that sent it may have been
killed a moment ago.

Absent is not yet "not reached": a line that the target refused was settled, and left no row. So only a line counts that was
absent and is created now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from loader.delivery.delivery import Parts
from loader.delivery.order import place_of
from loader.model import Created, Halt, Outcome, Record, Undecided
from loader.reconcile.strategies import AskAgain, ByLookup, Conclusion, Known, Strategy
from loader.runs.opening import OpenRun

Word: TypeAlias = Literal["stamp", "key"]

ASK_AGAIN_SECONDS = 1.0
REASON = "sent by an earlier execution that the log does not know of"


class ShortenedLog(Protocol):
    """While the log may be shorter than it was: queues records only once it is known that the target does not hold them."""

    is_on: bool
    is_asking: bool
    """A question waits for its turn, or for its answer."""

    async def release(self, records: Sequence[Record], *, is_behind: bool = True) -> None:
        """Queue the records that the target does not hold.

        `is_behind`: they are a window behind the log's last intent; only such ones can end the suspicion.
        """
        ...


class AskFirst:
    """Asks by stamp or key, and believes in `crash_bound` lines that were absent and could be created."""

    def __init__(self, parts: Parts, strategy: Strategy, crash_bound: int, *, word: Word) -> None:
        self.is_on = True
        self.is_asking = False
        self._crash_bound = crash_bound
        self._word = word
        self._created = 0  # lines behind the last one that was found
        self._absent: set[tuple[int, int]] = set()
        self._parts = parts
        self._strategy = strategy
        parts.settlement.add_sink(self._see)

    async def release(self, records: Sequence[Record], *, is_behind: bool = True) -> None:
        """Ask about a window's records; conclude those that are there, let the others become work."""
        if not records:
            return
        free = self._parts.queue.admit(records, self._doubt_later)
        found: list[tuple[Record, Outcome]] = []
        missing: list[Record] = []
        size = self._strategy.size_after(0)
        for first in range(0, len(free), size):
            batch = free[first : first + size]
            conclusions = await self._ask(batch)
            if isinstance(conclusions, Halt):
                self._parts.stop.halt(conclusions)
                return
            for record, conclusion in zip(batch, conclusions, strict=True):
                if isinstance(conclusion, Known):
                    found.append((record, conclusion.outcome))
                elif isinstance(conclusion, Undecided) and record.key is not None:
                    self._parts.reconciler.doubt([record], REASON)
                else:
                    missing.append(record)
        self._parts.settlement.conclude([record for record, _ in found], [outcome for _, outcome in found])
        if found:
            self._created, self.is_on = 0, True
            self._absent.clear()
            await self._parts.claim.found()
            self._parts.reconciler.doubt(missing, REASON)
            return
        if is_behind and self.is_on:
            self._absent.update(map(place_of, missing))
        self._parts.packer.queue(missing)

    def _doubt_later(self, record: Record) -> None:
        """Doubt a record that waited for another one with its key: it may have been sent as well."""
        self._parts.reconciler.doubt([record], REASON)

    def _see(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Count the lines that were absent and are created now; another outcome says nothing of how far the run was."""
        if not self._absent:
            return
        for record, outcome in zip(records, outcomes, strict=True):
            place = place_of(record)
            if place in self._absent:
                self._absent.remove(place)
                self._created += isinstance(outcome, Created)
        if self._created >= self._crash_bound:
            self.is_on = False
            self._absent.clear()

    async def _ask(self, records: Sequence[Record]) -> Sequence[Conclusion] | Halt:
        """Ask until the target answers; the patience of the run ends it where it never does."""
        self.is_asking = True
        try:
            return await self._ask_patiently(records)
        finally:
            self.is_asking = False

    async def _ask_patiently(self, records: Sequence[Record]) -> Sequence[Conclusion] | Halt:
        parts = self._parts
        while not parts.stop.is_requested:
            conclusions = await self._strategy.ask(records)
            if isinstance(conclusions, Halt):
                return conclusions
            refused = self._refusal(records, conclusions)
            if refused is not None:
                hint = "name a text field that the table stores as it is: `--stamp FIELD`, in a new run"
                return Halt("answers", f"the target cannot be asked by the {self._word}: {refused}", hint)
            if not any(isinstance(conclusion, AskAgain) for conclusion in conclusions):
                return conclusions
            await parts.runtime.sleep(ASK_AGAIN_SECONDS)
        return Halt("signal", "the run is stopping", "resume it")

    def _refusal(self, records: Sequence[Record], conclusions: Sequence[Conclusion]) -> str | None:
        """Say why the target cannot be asked. Of a key that may be older than the run, only all together say so."""
        pairs = zip(records, conclusions, strict=True)
        keyed = [conclusion for record, conclusion in pairs if record.key is not None]
        refused = [conclusion.reason for conclusion in keyed if isinstance(conclusion, Undecided)]
        is_refusal = refused and (self._word == "stamp" or len(refused) == len(keyed) > 1)
        return refused[0] if is_refusal else None


@dataclass(slots=True)
class Watch:
    """A window that went out as doubtful. `waiting`: its lines without an outcome; `is_ours`: one of them was there.

    `created`: lines that were not there and are now.
    """

    waiting: set[tuple[int, int]]
    is_ours: bool = False
    created: int = 0


class SendInDoubt:
    """Canbus: the question is the sending. A record that is there already is refused as a duplicate, and is ours.

    Windows go out as doubtful until `crash_bound` lines were created without such a refusal among them; nobody waits for the
    answers.
    """

    def __init__(self, parts: Parts, crash_bound: int) -> None:
        self.is_on = True
        self.is_asking = False
        self._packer = parts.packer
        self._crash_bound = crash_bound
        self._created = 0  # lines behind the last window with such a refusal
        self._watched: deque[Watch] = deque()
        parts.settlement.add_sink(self._watch)

    async def release(self, records: Sequence[Record], *, is_behind: bool = True) -> None:
        """Send a window's records as doubtful ones, and watch how they end."""
        if records and is_behind and self.is_on:
            self._watched.append(Watch(set(map(place_of, records))))
        self._packer.release(records, in_doubt=True)

    def _watch(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        if not self._watched:
            return
        for record, outcome in zip(records, outcomes, strict=True):
            place = place_of(record)
            watch = next((watch for watch in self._watched if place in watch.waiting), None)
            if watch is not None:
                watch.waiting.remove(place)
                if isinstance(outcome, Created):
                    watch.is_ours |= outcome.id is None
                    watch.created += outcome.id is not None
        while self._watched and not self._watched[0].waiting:
            watch = self._watched.popleft()
            self._created = 0 if watch.is_ours else self._created + watch.created
            if self._created >= self._crash_bound:
                self.is_on = False
                self._watched.clear()


def choose(run: OpenRun, parts: Parts, strategy: Strategy | None, crash_bound: int) -> ShortenedLog | None:
    """Choose how a resume makes sure that its log is whole. None: there is nothing to ask by, or nothing to ask about."""
    target = run.plan.target
    if not run.is_resumed or strategy is None:
        return None
    if isinstance(strategy, ByLookup) and strategy.tells_old_from_new:
        return AskFirst(parts, strategy, crash_bound, word="stamp" if target.stamp is not None else "key")
    return SendInDoubt(parts, crash_bound) if target.stamp is not None else None
