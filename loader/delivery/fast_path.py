"""The fast path, which nearly every record takes: a good answer is settled as it comes in, and the next record follows at once.

All answers of one turn of the event loop are processed together, step by step. That takes a quarter off the whole cost of a
record (measured), and every answer is counted before the next request leaves. Everything unusual is left to the worker: a
verdict to act on, a request on a connection of its own, a token that is not there yet.
"""

from __future__ import annotations

from loader.delivery.delivery import Delivery, Parts
from loader.delivery.queue import QueuedChunk
from loader.delivery.sender import InFlight
from loader.model import Request, Response, Verdict


class WorkerSlot(InFlight):
    """What one worker has in hand. It is the `Follow` that the worker gives to the transport."""

    __slots__ = ("_fast_path", "error", "is_out", "queued", "request", "verdict")

    def __init__(self, fast_path: FastPath) -> None:
        super().__init__()
        self.queued: QueuedChunk | None = None
        """The chunk that was taken from the queue and is not dealt with yet."""
        self.is_out = False
        """Whether its request may have left."""
        self.verdict: Verdict | None = None
        """The verdict of its answer, if it is left to the worker."""
        self.error: Exception | None = None
        """An error of the fast path. It is raised by the worker, since the transport that asks has a request out."""
        self.request: Request | None = None
        """The request that goes next."""
        self._fast_path = fast_path

    def take(self, response: Response) -> None:
        """Take a whole answer."""
        self.request = None
        self._fast_path.slots.append(self)
        self._fast_path.responses.append(response)

    def next(self) -> Request | None:
        """Return what goes next."""
        if self._fast_path.slots:
            self._fast_path.process()
        return self.request


class FastPath:
    """Processes the answers of all workers. `slots` are those whose answers (`responses`) have come and are not processed yet."""

    def __init__(self, parts: Parts, delivery: Delivery) -> None:
        self.slots: list[WorkerSlot] = []
        self.responses: list[Response] = []
        self._parts = parts
        self._delivery = delivery

    def process(self) -> None:
        """Settle the good answers, and choose the requests that go next on their connections."""
        slots, responses = self.slots, self.responses
        self.slots, self.responses = [], []
        try:
            free = self._read(slots, responses)
            if free and self._delivery.is_smooth:
                self._send_on(free)
        except Exception as error:  # noqa: BLE001 -- raised by the workers
            for slot in slots:
                slot.error, slot.request = error, None

    def _read(self, slots: list[WorkerSlot], responses: list[Response]) -> list[WorkerSlot]:
        """Settle the good answers. Return their slots, which are free for another record."""
        meant = self._parts.sender.answered(slots, responses)
        queued_chunks = [slot.queued for slot in slots if slot.queued is not None]  # an answer has its request
        free: list[WorkerSlot] = []
        for slot, verdict in zip(slots, self._delivery.read_replies(queued_chunks, meant), strict=True):
            if verdict is None:
                slot.queued, slot.is_out = None, False
                free.append(slot)
            else:
                slot.verdict = verdict
        return free

    def _send_on(self, free: list[WorkerSlot]) -> None:
        """Give the free slots the next chunks, and let their requests leave as far as there are tokens."""
        parts = self._parts
        going: list[WorkerSlot] = []
        requests: list[Request] = []
        for slot, queued in zip(free, parts.queue.take_next(len(free)), strict=False):
            slot.queued = queued
            request = parts.target.encode(queued.chunk)
            if not request.is_unpooled:
                going.append(slot)
                requests.append(request)
        count = parts.sender.admit_following(going, requests)
        for slot, request in zip(going[:count], requests, strict=False):
            slot.request, slot.is_out = request, True
