"""What a transport is: it sends one request and returns its answer, or says whether it can have left."""

from __future__ import annotations

from typing import Protocol

from loader.model import NoResponse, Request, Response


class Follow(Protocol):
    """Says what follows an answer. Contract: neither call raises.

    Of all answers that came in one turn of the event loop, each is handed over before the first request is asked for: so
    they can be dealt with together.
    """

    def take(self, response: Response) -> None:
        """Take a whole answer."""
        ...

    def next(self) -> Request | None:
        """Return what goes next; None: nothing. To be called once for each answer that was taken."""
        ...


class Transport(Protocol):
    """What sends a request. Contract: at most one copy of it leaves the process, and never to another origin."""

    async def send(self, request: Request, follow: Follow | None = None) -> Response | NoResponse:
        """Send the request and read its answer. Errors: none but CancelledError.

        A transport may ask `follow` for the next request instead of returning, which saves waking the sender's task. It asks
        only behind a whole answer. Returns the reply to the last request sent.
        """
        ...

    def drop_idle(self) -> None:
        """Let no connection that is open now carry another request, because an answer came that belongs to another one."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
