"""The user's claim about the target: that a stamp can be asked for, or that an item refuses a second record.

Reconciling rests on this claim, so it is proved by the first record that is created, before a second one leaves. Until then
the queue lets one record out at a time. Before each one the log gets a note of all that have not left, so that a crash leaves
one record in doubt and not a whole window; the others can prove the claim later.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from loader.checkpoint import CheckpointLog
from loader.checkpoint.notes import Notes
from loader.delivery.queue import ChunkQueue
from loader.delivery.unsent import Unsent
from loader.model import Created, Record


class Prover(Protocol):
    """Proves a claim by one record."""

    is_proved_by_finding: bool
    """Whether a record that is found by what it was asked by proves the claim, too."""

    async def prove(self, record: Record, created: Created) -> bool:
        """Prove the claim by a record that was just created. False: the run is stopping, because the claim is not true."""
        ...


class Claim:
    """Whether the claim is proved. It is from the start if there is none (`prover` is None), or an earlier execution did it.

    `is_given_up`: no record was created by which it could be proved. Then what is found counts, and absence does not.
    """

    def __init__(self, prover: Prover | None, queue: ChunkQueue, unsent: Unsent, log: CheckpointLog) -> None:
        self.is_proved = prover is None
        self.is_given_up = False
        self._prover = prover
        self._queue = queue
        self._unsent = unsent
        self._log = log
        self._decided = asyncio.Event()
        if self.is_proved:
            self._decided.set()

    async def decided(self) -> None:
        """Wait until the claim is proved or given up: before that, nobody is asked by it."""
        await self._decided.wait()

    async def before_sending(self) -> None:
        """Note what has not left, while one record goes alone. Errors: LogStorageFailed."""
        if not self.is_proved:
            await self._unsent.note_durably()

    async def created(self, record: Record, created: Created) -> None:
        """Prove the claim by a record that was just created. Errors: LogStorageFailed."""
        if self._prover is not None and not self.is_proved and await self._prover.prove(record, created):
            await self._confirm()

    async def found(self) -> None:
        """Take notice that a record was found by what it was asked by. Errors: LogStorageFailed."""
        if self._prover is not None and not self.is_proved and self._prover.is_proved_by_finding:
            await self._confirm()

    def give_up(self) -> None:
        """Let what is in doubt be settled without the proof: nothing else can go on, and nothing would ever prove the claim."""
        if not self._decided.is_set():
            self.is_given_up = True
            self._decided.set()

    async def _confirm(self) -> None:
        Notes.of(self._log).is_proved = True
        await self._unsent.forget()
        self.is_proved, self.is_given_up = True, False
        self._decided.set()
        self._queue.let_all_go()
