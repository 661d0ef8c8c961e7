"""Proofs of the user's claim: that a stamp can be asked for, or that a unique item refuses a second record.

Everything that reconciling concludes rests on the claim. It is proved on the first record that is created, before a second one
goes out. A claim that turns out false stops the run: to go on would lose or double records unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from loader.delivery.sender import Sender
from loader.delivery.stop import Stop
from loader.model import (
    Chunk,
    Created,
    Halt,
    NoResponse,
    Record,
    RecordId,
    Rejected,
    Request,
    Response,
    Settled,
    Unknown,
    Verdict,
)
from loader.reconcile import keeping
from loader.reconcile.beliefs import Beliefs
from loader.reconcile.keeping import Keeping, Kept, NotKept, stored_otherwise
from loader.runtime import Runtime
from loader.targets.base import StoredText


@runtime_checkable
class TakesBack(Protocol):
    """A target that can delete what it created."""

    duplicate_code: str
    """By which it refuses a value that a unique item has already."""

    def encode(self, chunk: Chunk) -> Request:
        """See `base.Target`."""
        ...

    def interpret(self, chunk: Chunk, response: Response) -> Verdict:
        """See `base.Target`."""
        ...

    def delete_request(self, record_id: RecordId, record: Record) -> Request:
        """Build the request that deletes one record."""
        ...

    def is_deleted(self, response: Response) -> bool:
        """Say whether it is gone for certain."""
        ...

    def stored_request(self, record_id: RecordId) -> Request | None:
        """Build the request that shows what a created record holds; None if it has no stamp."""
        ...

    def stored_text(self, record_id: RecordId, response: Response) -> StoredText | None:
        """Read the stamp that it holds; None: the answer does not show it."""
        ...


def _be_silent(reason: str) -> None:
    """Tell nobody."""


class StampProof:
    """Asks for the first created record by its stamp, and for what its row holds."""

    is_proved_by_finding = True
    say: Callable[[str], None] = staticmethod(_be_silent)
    """Told why the proof is not there yet."""

    def __init__(self, question: Keeping, beliefs: Beliefs, stop: Stop) -> None:
        self._question = question
        self._beliefs = beliefs
        self._stop = stop

    async def prove(self, record: Record, created: Created) -> bool:
        """Find the record, or stop the run."""
        kept = await self._question.examine(record, created.id, self.say)
        if isinstance(kept, NotKept):
            room = f"with room for {len(record.key or '')} characters, which the table stores as they are"
            hint = f"name a text field {room}: `--stamp FIELD`, in a new run"
            self._stop.halt(Halt("answers", kept.reason, hint))
        if isinstance(kept, Kept):
            self._beliefs.cover(record.key or "", kept.lag_seconds)
        return isinstance(kept, Kept)


class KeyProof:
    """Asks for the first created record by its key. What it shows is kept in the beliefs; a table may keep other keys."""

    is_proved_by_finding = True

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs

    async def prove(self, record: Record, created: Created) -> bool:
        """Let the others go after the first created record, whatever it has shown; False: the run is stopping."""
        if record.key is None or created.id is None:
            return True
        return await self._beliefs.prove_now(record, created.id)


class UniqueProof:
    """Sends the first created record once more: a unique item must refuse it."""

    is_proved_by_finding = False
    say: Callable[[str], None] = staticmethod(_be_silent)
    """Told why the proof is not there yet."""

    def __init__(
        self,
        target: TakesBack,
        sender: Sender,
        stop: Stop,
        runtime: Runtime,
        settle_seconds: float,
    ) -> None:
        self._settle_seconds = settle_seconds
        self._target = target
        self._sender = sender
        self._stop = stop
        self._runtime = runtime
        self._lost_answers = 0

    async def prove(self, record: Record, created: Created) -> bool:
        """See the second sending refused, or stop the run and take the twin back."""
        if await self._is_stored_otherwise(record, created.id):
            return False
        chunk = Chunk((record,))
        while True:
            reply = await self._sender.send(self._target.encode(chunk), is_record=False)
            verdict = Unknown(reply.error) if isinstance(reply, NoResponse) else self._target.interpret(chunk, reply)
            self._sender.was_answered(is_useful=isinstance(verdict, Settled))
            match verdict:
                case Settled((Rejected("target", code, _),)) if code == self._target.duplicate_code:
                    return True
                case Settled((Created(twin),)):
                    await self._take_back(record, twin)
                    return False
                case Settled((Rejected(_, code, message),)):
                    self._refute(
                        f"the first record, sent once more, was refused for another reason ({code}: {message})"
                    )
                    return False
                case Halt():
                    self._stop.halt(verdict)
                    return False
                case Unknown():
                    self.say(verdict.reason)
                    # Asking once more is safe if the claim is true, and shows it if not; but no sooner than the lost
                    # request has ended: nobody says whether the item is unique between two that run at once.
                    self._lost_answers += 1
                    await self._runtime.sleep(max(self._settle_seconds, keeping.ASK_SECONDS[0]))
                case _:
                    await self._runtime.sleep(keeping.ASK_SECONDS[-1])

    async def _is_stored_otherwise(self, record: Record, record_id: RecordId) -> bool:
        """Say whether the record is there with another stamp: if it was cut, two records would refuse each other."""
        question = None if record_id is None else self._target.stored_request(record_id)
        reply = None if question is None else await self._sender.send(question, is_record=False)
        if not isinstance(reply, Response):
            return False
        stored = self._target.stored_text(record_id, reply)
        self._sender.was_answered(is_useful=stored is not None)
        if stored is None or stored.text == record.key:
            return False
        hint = f"name a text item with room for {len(record.key or '')} characters: `--stamp ITEM`, in a new run"
        self._stop.halt(Halt("answers", stored_otherwise("stamp", record, stored), hint))
        return True

    async def _take_back(self, record: Record, twin: RecordId) -> None:
        is_gone = False
        if twin is not None:
            reply = await self._sender.send(self._target.delete_request(twin, record), is_record=False)
            is_gone = isinstance(reply, Response) and self._target.is_deleted(reply)
        told = f"the twin (id {twin or 'unknown'}) {'was deleted again' if is_gone else 'could not be deleted'}"
        if self._lost_answers:
            told += f"; up to {self._lost_answers} more may exist, since answers were lost"
        self._refute(f"the target took the first record twice, so the item is not unique: {told}")

    def _refute(self, message: str) -> None:
        hint = "make the item forbid duplicates in the table's settings, or load without `--unique`, in a new run"
        self._stop.halt(Halt("answers", message, hint))
