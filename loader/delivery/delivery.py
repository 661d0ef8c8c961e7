"""The life of one chunk after its reply: concluded, sent again later, halved, or handed to reconciling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from loader.columns import are_created
from loader.delivery.chunking import halve
from loader.delivery.claim import Claim
from loader.delivery.older_ids import OlderIds
from loader.delivery.packer import ChunkPacker
from loader.delivery.queue import ChunkQueue, QueuedChunk
from loader.delivery.retry import GiveUp, RetryBudget, RetryPolicy
from loader.delivery.sender import Sender
from loader.delivery.settlement import Settlement
from loader.delivery.stop import Stop
from loader.errors import RunStopped
from loader.model import (
    Ambiguous,
    Chunk,
    Created,
    Halt,
    NoResponse,
    Outcome,
    Record,
    RecordId,
    Rejected,
    Resend,
    Response,
    Retry,
    Settled,
    Split,
    Unknown,
    Verdict,
)
from loader.runtime import Runtime
from loader.targets.base import Target

REMEMBERED_ANSWERS = 4096
"""At least; about twice as many at most."""
MISMATCHES_TO_STOP = 2
"""Answers to other requests, in a row. One may be a stray answer on a reused connection; two mean mixed-up connections."""

SUCCESS_STATUSES = range(200, 300)

UNCONFIRMED_SECONDS = 1.0
"""Wait before a refused chunk is sent again whole, if the target did not say whether the credentials are good."""


class TakesDoubts(Protocol):
    """Takes over records whose request may have been applied: the reconciler."""

    def doubt(self, records: Sequence[Record], reason: str, status: int | None = None) -> None:
        """Take over records. `status` is that of the answer, if there was one."""
        ...


@dataclass(slots=True)
class Parts:
    """What the pieces of one execution share."""

    runtime: Runtime
    target: Target
    sender: Sender
    queue: ChunkQueue
    packer: ChunkPacker
    settlement: Settlement
    reconciler: TakesDoubts
    claim: Claim
    stop: Stop
    warn: Callable[[str], None]
    older_ids: OlderIds | None = None


def read(target: Target, chunk: Chunk, reply: Response | NoResponse) -> Verdict:
    """Turn a reply into a verdict. Without a response object only one thing counts: whether the request can have left."""
    if isinstance(reply, Response):
        return target.interpret(chunk, reply)
    if reply.is_sent:
        return Unknown(reply.error)
    if reply.fatal_hint is not None:
        return Halt("redirect" if "redirect" in reply.error else "patience", reply.error, reply.fatal_hint)
    return Retry(reply.error)


class GivenIds:
    """Remembers the ids of the last answers. An answer that gives one of them again is a copy of an earlier answer.

    One id of each answer is enough, since a copy repeats all of them. A copy comes soon, or not at all.
    """

    def __init__(self) -> None:
        self._last: set[RecordId] = set()
        self._before: set[RecordId] = set()

    def is_copy(self, outcomes: Sequence[Outcome | Resend]) -> bool:
        """Say whether an answer gives an id that another gave; remember it, if not."""
        given = first_id(outcomes)
        return given is not None and not self.take_new((given,))

    def take_new(self, ids: Sequence[RecordId]) -> bool:
        """Say whether none of some ids, each of an answer of its own, was given by another one; remember them, if so."""
        new = set(ids)
        if len(new) < len(ids) or not new.isdisjoint(self._last) or not new.isdisjoint(self._before):
            return False
        self._last |= new
        if len(self._last) >= REMEMBERED_ANSWERS:
            self._before, self._last = self._last, set()
        return True


def first_id(outcomes: Sequence[Outcome | Resend]) -> RecordId:
    """Return the first id that an answer gives, or None."""
    ids = (outcome.id for outcome in outcomes if isinstance(outcome, Created) and outcome.id is not None)
    return next(ids, None)


class Delivery:
    """Decides what becomes of a chunk once its reply has come."""

    def __init__(
        self,
        parts: Parts,
        policy: RetryPolicy,
        *,
        confirm_credentials: Callable[[], Awaitable[bool]],
    ) -> None:
        self._parts = parts
        self._policy = policy
        self._budget = RetryBudget()
        self._given = GivenIds()
        self._confirm_credentials = confirm_credentials
        self._mismatches = 0

    @property
    def is_smooth(self) -> bool:
        """Say whether a chunk may leave at once: nothing has to be asked, proved or waited for before it."""
        return self._parts.claim.is_proved and self._parts.sender.breaker.is_closed

    def read_replies(
        self, queued_chunks: Sequence[QueuedChunk], replies: Sequence[Response | NoResponse]
    ) -> list[Verdict | None]:
        """Read each reply once. Conclude the records of those that say "created" and nothing else.

        Returns for each reply the verdict that is left to act on, or None. Single records are concluded together: nearly all
        records of a target that takes one per request come this way.
        """
        for queued in queued_chunks:
            queued.attempts += 1
            if queued.attempts > 1:
                self._parts.sender.traffic.retries += 1
        chunks = [queued.chunk for queued in queued_chunks]
        seen = self._created_at_once(chunks, replies)
        created = [outcome for outcome in seen if outcome is not None]
        ids = [outcome.id for outcome in created]
        if not self._are_new(ids) or not self._given.take_new(ids):
            seen, created = [None] * len(chunks), []
        if created:
            records = [chunk.records[0] for chunk, outcome in zip(chunks, seen, strict=True) if outcome is not None]
            self._parts.settlement.conclude_created(records, created)
        left = [
            None if outcome is not None else self._interpret(chunk, reply)
            for chunk, reply, outcome in zip(chunks, replies, seen, strict=True)
        ]
        if count := left.count(None):
            self._mismatches = 0
            self._budget.succeed(count)
        return left

    def _are_new(self, ids: Sequence[RecordId]) -> bool:
        older_ids = self._parts.older_ids
        return older_ids is None or not ids or older_ids.are_new(ids)

    async def _contradicts(self, records: Sequence[Record], outcomes: Sequence[Outcome | Resend]) -> bool:
        """Stop the run if an answer's ids say that the target or the log went back. True: its records are in doubt."""
        older_ids = self._parts.older_ids
        if older_ids is None or older_ids.are_outcomes_new(outcomes):
            return False
        halt, is_held = await older_ids.contradiction(outcomes)
        if halt is not None:
            self._parts.stop.halt(halt)
        if halt is not None and is_held:
            self._parts.reconciler.doubt(records, halt.message)
        return is_held

    def _created_at_once(
        self, chunks: Sequence[Chunk], replies: Sequence[Response | NoResponse]
    ) -> Sequence[Created | None]:
        responses = [reply for reply in replies if isinstance(reply, Response)]
        if len(responses) < len(replies) or not self._parts.claim.is_proved:
            return [None] * len(chunks)
        return self._parts.target.glance(chunks, responses)

    def _interpret(self, chunk: Chunk, reply: Response | NoResponse) -> Verdict | None:
        """Read a reply. Conclude its records if all were created and there is nothing else in it; else return the verdict."""
        verdict = read(self._parts.target, chunk, reply)
        if not isinstance(verdict, Settled):
            return verdict
        if self._given.is_copy(verdict.outcomes):
            return Unknown("the answer gives an id that another answer gave", is_mismatch=True)
        if verdict.warnings or not self._parts.claim.is_proved or not are_created(verdict.outcomes):
            return verdict
        older_ids = self._parts.older_ids
        if older_ids is not None and not older_ids.are_outcomes_new(verdict.outcomes):
            return verdict
        self._parts.settlement.conclude(chunk.records, verdict.outcomes)
        return None

    async def act(self, queued: QueuedChunk, verdict: Verdict) -> None:
        """Do what a verdict asks for."""
        match verdict:
            case Settled():
                await self._conclude(queued, verdict)
            case Retry():
                self._retry(queued, verdict)
            case Split():
                await self._split(queued, verdict)
            case Unknown():
                self._doubt(queued, verdict)
            case Halt():
                self._parts.stop.halt(verdict)
                if not verdict.may_be_applied:
                    self._parts.queue.put([queued], is_front=True)
            case _:
                assert_never(verdict)

    # --- one step for each verdict -------------------------------------------------------------------------------------

    async def _conclude(self, queued: QueuedChunk, verdict: Settled) -> None:
        parts = self._parts
        self._mismatches = 0
        self._budget.succeed()
        for warning in verdict.warnings:
            parts.warn(warning)
        records = queued.chunk.records
        if await self._contradicts(records, verdict.outcomes):
            return
        if are_created(verdict.outcomes):
            parts.settlement.conclude(records, verdict.outcomes)
        else:
            self._sort_out(queued, verdict)
        if not parts.claim.is_proved:
            for record, outcome in zip(records, verdict.outcomes, strict=True):
                if isinstance(outcome, Created):
                    await parts.claim.created(record, outcome)
                    return

    def _sort_out(self, queued: QueuedChunk, verdict: Settled) -> None:
        """Conclude what is known of a mixed answer; re-send what was not applied; take the rest into doubt."""
        final: list[tuple[Record, Outcome]] = []
        again: list[Record] = []
        doubtful: dict[str, list[Record]] = {}
        for record, outcome in zip(queued.chunk.records, verdict.outcomes, strict=True):
            if isinstance(outcome, Resend):
                again.append(record)
            elif isinstance(outcome, Ambiguous) and not outcome.is_final:
                doubtful.setdefault(outcome.reason, []).append(record)
            else:
                final.append((record, outcome))
        self._parts.settlement.conclude([record for record, _ in final], [outcome for _, outcome in final])
        if again:
            chunk = Chunk(tuple(again), queued.chunk.in_doubt)
            self._parts.queue.put([QueuedChunk(chunk, queued.attempts)], is_front=True)
        for reason, records in doubtful.items():
            self._parts.reconciler.doubt(records, reason)

    def _retry(self, queued: QueuedChunk, verdict: Retry) -> None:
        parts = self._parts
        step = self._policy.next_step(
            queued.attempts,
            verdict,
            parts.sender.breaker.bad_seconds(),
            parts.runtime.draw(),
            has_budget=self._budget.spend(is_throttled=verdict.is_throttled),
        )
        if isinstance(step, GiveUp):
            parts.queue.put([queued], is_front=True)
            hint = "see whether the target is up; go on with `loader resume RUN`"
            parts.stop.fail(RunStopped("patience", step.reason, hint))
            return
        seconds = step.seconds
        if step.is_pause:
            parts.sender.throttle.pause(seconds)
        parts.queue.defer(queued, seconds)

    async def _split(self, queued: QueuedChunk, verdict: Split) -> None:
        parts = self._parts
        if verdict.must_ask_first and not await self._confirm_credentials():
            parts.queue.defer(queued, UNCONFIRMED_SECONDS)
            return
        if verdict.is_too_large and len(queued.chunk.records) > 1:
            parts.packer.lower_max_bytes(len(parts.target.encode(queued.chunk).body) // 2)
        if len(queued.chunk.records) > 1:
            first, second = halve(queued.chunk)
            parts.queue.put([QueuedChunk(second, queued.attempts), QueuedChunk(first, queued.attempts)], is_front=True)
            return
        outcome: Outcome = Rejected("target", verdict.code, verdict.message)
        if queued.chunk.in_doubt:
            outcome = Ambiguous(f"sent twice; the second time it was refused: {verdict.message}")
        parts.settlement.conclude(queued.chunk.records, [outcome])

    def _doubt(self, queued: QueuedChunk, verdict: Unknown) -> None:
        parts = self._parts
        if verdict.is_mismatch or verdict.status in SUCCESS_STATUSES:
            # A success that does not fit is perhaps another request's; then our own answer is still to come on that connection.
            parts.sender.drop_idle()
        if verdict.is_mismatch:
            self._mismatches += 1
            if self._mismatches >= MISMATCHES_TO_STOP:
                hint = "a proxy or the server mixes up connections; try `--concurrency 1`, and tell the vendor"
                parts.stop.halt(Halt("answers", "two answers in a row belong to other requests", hint))
        parts.reconciler.doubt(queued.chunk.records, verdict.reason, verdict.status)
