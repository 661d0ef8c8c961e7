"""What of the target's silence is believed: that a record is absent, only if a proof covers the text it was asked by.

A proof is a record that was created, or found, and is shown under its text. It covers texts of the same kinds of characters that
are no longer (`kinds_of_text`). For a text that no proof covers yet, a created record of this run with such a text is asked for
first; if there is none, the absence is not believed, and the record is never sent again.

Memory: one sample for each set of kinds, MAX_KINDS of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson

from loader.checkpoint.notes import Notes
from loader.model import Absent, Created, Outcome, Record, RecordId, Undecided
from loader.reading.parsing import raw_value
from loader.reconcile.keeping import Keeping, Kept, NotKept
from loader.reconcile.kinds_of_text import Extent, extent_of
from loader.reconcile.strategies import AskAgain, Conclusion, Known

MAX_KINDS = 64
UNTIMED = 3
"""The read lag that is reckoned with while no created record was timed, as a multiple of the settle time."""


class Sample(NamedTuple):
    """A created record by which something can be proved."""

    record: Record
    id: RecordId
    extent: Extent


class Beliefs:
    """Keeps what is proved of one run's stamps or keys, in its notes, too.

    `field` holds the texts. `is_even`: all are of one kind and length (a run's stamps), so that the first proof covers all.
    """

    def __init__(self, keeping: Keeping, field: str, notes: Notes, *, is_even: bool) -> None:
        proved = notes.proved_for
        lag_seconds = proved.lag_seconds if proved else None
        self._lag_seconds = lag_seconds
        self.extents = [Extent(frozenset(kinds), *lengths) for kinds, *lengths in (proved.extents if proved else ())]
        self.word = keeping.word
        self.is_fresh = False
        """Whether this execution has proved something; else an earlier one did."""
        self._keeping = keeping
        self._notes = notes
        self._runtime = keeping.runtime
        self._warn = keeping.warn
        self._field = field
        self._is_even = is_even
        self._is_searching = False
        self._longest = 0
        self._samples: dict[frozenset[str], Sample] = {}
        self._found: set[str] = set()
        self._latest: tuple[Record, RecordId, float] | None = None
        self._refuted: list[tuple[Extent, str]] = []

    @property
    def has_samples(self) -> bool:
        """Say whether there are created records by which something can be proved when it is asked for."""
        return bool(self._samples)

    @property
    def is_lag_known(self) -> bool:
        """Say whether a record was asked for when it had just been created."""
        return self._lag_seconds is not None

    @property
    def lag_seconds(self) -> float:
        """How long a created record could not be seen: no absence is believed sooner. Long, as long as nobody knows."""
        return UNTIMED * self._keeping.short_seconds if self._lag_seconds is None else self._lag_seconds

    # --- what may prove something --------------------------------------------------------------------------------------

    def see(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Take notice of outcomes: a created record may serve as a proof later."""
        last = outcomes[-1]
        if records[-1].key in self._found:
            self._found.difference_update(record.key for record in records if record.key is not None)
        elif isinstance(last, Created) and last.id is not None and records[-1].key is not None:
            self._latest = records[-1], last.id, self._runtime.clock()
        if self._is_even:
            return
        records_end = records[-1]
        for record, outcome in zip(records, outcomes, strict=True):
            # To measure a text takes a tenth of what a record costs in all, so not each one is.
            is_measured = self._is_searching or record is records_end or len(record.key or "") > self._longest
            if is_measured and type(outcome) is Created and record.key is not None and outcome.id is not None:
                self._keep(record, outcome.id)

    def offer(self, samples: Iterable[tuple[Record, RecordId]]) -> None:
        """Take records that earlier executions created."""
        for record, record_id in samples:
            if record.key is not None and record_id is not None:
                self._keep(record, record_id)

    def _keep(self, record: Record, record_id: RecordId) -> None:
        extent = extent_of(record.key or "")
        if self._refutation(extent) is not None:
            return  # a shorter one may still be kept
        before = self._samples.get(extent.kinds)
        self._longest = max(self._longest, extent.characters)
        is_new = before is None and len(self._samples) < MAX_KINDS
        if is_new or (before is not None and extent.covers(before.extent) and extent != before.extent):
            small = record._replace(data=b"{%b:%b}" % (orjson.dumps(self._field), raw_value(record.data, self._field)))
            self._samples[extent.kinds] = Sample(small, record_id, extent)

    # --- what is proved ------------------------------------------------------------------------------------------------

    def cover(self, text: str, lag_seconds: float | None = None) -> None:
        """Take notice that a record is shown under its text. `lag_seconds` None: nobody knows since when."""
        self.is_fresh = True
        extent = extent_of(text)
        is_covered = any(proved.covers(extent) for proved in self.extents)
        if not is_covered:
            self.extents = [proved for proved in self.extents if not extent.covers(proved)] + [extent]
        if lag_seconds is not None:
            self._lag_seconds = max(self._lag_seconds or 0.0, lag_seconds)
        if lag_seconds is not None or not is_covered:
            self._notes.keep_proved_for(self._lag_seconds, [(sorted(one.kinds), *one[1:]) for one in self.extents])

    def learn(self, records: Sequence[Record], conclusions: Sequence[Conclusion]) -> None:
        """Take notice of the records that were found."""
        for record, conclusion in zip(records, conclusions, strict=True):
            if isinstance(conclusion, Known) and record.key is not None:
                self.cover(record.key)
                self._found.add(record.key)  # it was created some time ago, and tells nothing of the lag

    async def check(self, records: Sequence[Record], conclusions: Sequence[Conclusion]) -> list[Conclusion]:
        """Leave of the absences only those that may be believed."""
        return [
            await self._believe(record, conclusion) if isinstance(conclusion, Absent) else conclusion
            for record, conclusion in zip(records, conclusions, strict=True)
        ]

    async def prove_now(self, record: Record, record_id: RecordId) -> bool:
        """Prove what a record shows that was created just now. False: the run is stopping."""
        kept = await self._examine(Sample(record, record_id, extent_of(record.key or "")))
        if isinstance(kept, Kept):
            self.cover(record.key or "", kept.lag_seconds)
        return kept is not None

    async def _believe(self, record: Record, absent: Absent) -> Conclusion:
        if not self.is_lag_known and self._latest is not None:
            latest, record_id, created_at = self._latest
            # Shown at the first question says: within the time since it was created.
            await self._prove(Sample(latest, record_id, extent_of(latest.key or "")), created_at)
        wanted = extent_of(record.key or "")
        if any(proved.covers(wanted) for proved in self.extents):
            return absent
        sample = next((one for one in reversed(self._samples.values()) if one.extent.covers(wanted)), None)
        if sample is not None:
            await self._prove(sample)
        if any(proved.covers(wanted) for proved in self.extents):
            return absent
        if sample is not None and sample.extent.kinds in self._samples:
            return AskAgain("the run is stopping")
        self._is_searching = True
        nothing = f"no created record shows that the target keeps such a {self.word} as it is"
        return Undecided(next((reason for refuted, reason in self._refuted if wanted.kinds <= refuted.kinds), nothing))

    async def _prove(self, sample: Sample, created_at: float | None = None) -> None:
        if isinstance(await self._examine(sample), Kept):
            lag_seconds = None if created_at is None else self._runtime.clock() - created_at
            self.cover(sample.record.key or "", lag_seconds)

    async def _examine(self, sample: Sample) -> Kept | NotKept | None:
        kept = await self._keeping.examine(sample.record, sample.id)
        if isinstance(kept, NotKept):
            self._refuted.append((sample.extent, kept.reason))
            self._samples.pop(sample.extent.kinds, None)
            hint = "what may be lost is listed as ambiguous, not sent again"
            self._warn(f"line {sample.record.number}: {kept.reason}; {hint}")
        return kept

    def _refutation(self, extent: Extent) -> str | None:
        """Return why a text is not kept: one of the same kinds that is no longer was not."""
        same = (reason for refuted, reason in self._refuted if refuted.kinds == extent.kinds and extent.covers(refuted))
        return next(same, None)
