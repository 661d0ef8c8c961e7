"""Async generators that nobody closed: what the garbage collector meets is written down, where a loop would hide it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def generators_left_open() -> Iterator[list[str]]:
    """Gather those begun here and left open, inside a running loop: it sets hooks of its own when it starts."""
    left: list[str] = []
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=lambda generator: left.append(repr(generator)))
    try:
        yield left
    finally:
        sys.set_asyncgen_hooks(*hooks)
