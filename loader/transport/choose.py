"""Which transport a load gets: the lean one if it can do the job on this machine, else the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp

from loader.settings import TransportName
from loader.transport.base import Transport
from loader.transport.lean import LeanTransport
from loader.transport.lean_protocol import has_working_parts
from loader.transport.session import SessionTransport

FALLS_BACK = "aiohttp {} does not work with the lean transport: requests go through the slower session"


def choose_transport(  # noqa: PLR0913 -- a transport's own arguments, and the two that choose it
    name: TransportName,
    origin: str,
    headers: Mapping[str, str],
    *,
    concurrency: int,
    timeout_seconds: float,
    proxy: str | None = None,
    ca_file: str | None = None,
    max_records: int = 1,
    warn: Callable[[str], None] | None = None,
) -> Transport:
    """Make the transport that was asked for. `auto` and `lean`: the lean one.

    The session takes its place if a proxy is named, or if the installed aiohttp lacks the parts that the lean one is made
    of. `warn` is called in the second case.
    """
    if name != "session" and proxy is None:
        if has_working_parts(asyncio.get_running_loop()):
            return LeanTransport(
                origin,
                headers,
                concurrency=concurrency,
                timeout_seconds=timeout_seconds,
                ca_file=ca_file,
                max_records=max_records,
            )
        if warn is not None:
            warn(FALLS_BACK.format(aiohttp.__version__))
    return SessionTransport(
        origin,
        headers,
        concurrency=concurrency,
        timeout_seconds=timeout_seconds,
        proxy=proxy,
        ca_file=ca_file,
        max_records=max_records,
    )
