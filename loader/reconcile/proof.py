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
    Absent,
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
    Undecided,
    Unknown,
    Verdict,
)
from loader.reconcile.strategies import AskAgain, Known, Strategy
from loader.runtime import Runtime

ASK_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits between questions for a record that was just created: a read may lag behind a write."""


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


def _be_silent(reason: str) -> None:
    """Tell nobody."""


class StampProof:
    """Asks for the first created record by its stamp."""

    is_proved_by_finding = True
    say: Callable[[str], None] = staticmethod(_be_silent)
    """Told why the proof is not there yet."""

    def __init__(self, strategy: Strategy, stop: Stop, runtime: Runtime) -> None:
        self._strategy = strategy
        self._stop = stop
        self._runtime = runtime

    async def prove(self, record: Record, created: Created) -> bool:
        """Find the record, or stop the run."""
        waits = list(ASK_SECONDS)
        while True:
            conclusions = await self._strategy.ask([record])
            if isinstance(conclusions, Halt):
                self._stop.halt(conclusions)
                return False
            match conclusions[0]:
                case Known(Created(found), _) if found is None or created.id is None or found == created.id:
                    return True
                case Known():
                    self._refute("another record answers to the stamp of the first one")
                    return False
                case Absent() if waits:
                    await self._runtime.sleep(waits.pop(0))
                case Absent():
                    self._refute("the first record was created, but cannot be found by its stamp")
                    return False
                case Undecided(reason):
                    self._refute(f"the target cannot be asked by the stamp: {reason}")
                    return False
                case AskAgain(reason):
                    self.say(reason)
                    await self._runtime.sleep(ASK_SECONDS[-1])
                case _:
                    await self._runtime.sleep(ASK_SECONDS[-1])

    def _refute(self, message: str) -> None:
        hint = "name a text field that the table stores as it is: `--stamp FIELD`, in a new run"
        self._stop.halt(Halt("answers", message, hint))


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
        del created
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
                    await self._runtime.sleep(max(self._settle_seconds, ASK_SECONDS[0]))
                case _:
                    await self._runtime.sleep(ASK_SECONDS[-1])

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
