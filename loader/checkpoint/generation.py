"""A new generation of checkpoint.log: header and snapshot in a new file, put in the old one's place at once.

It blocks: run it aside.

Until the rename the old file is the log; from the rename on the new one, which holds all that the old one did and is synced
and locked before. A crash at any point leaves one or the other.
"""

from __future__ import annotations

from typing import Final

from loader.checkpoint.format import FORMAT, Header, seal, seed_of
from loader.checkpoint.snapshots import snapshot_of
from loader.checkpoint.state import State
from loader.checkpoint.storage import LOG, File, Storage, append_all

_NEW: Final = "checkpoint.log.new"


def next_generation(state: State, n: int, settled: tuple[int, str]) -> tuple[Header, bytes]:
    """Write header and snapshot, numbered `n` and `n + 1`. `settled`: what they rely on of checkpoint.settled."""
    before = state.header
    header = Header(
        n=n,
        s=n - 1,
        format=FORMAT,
        run=before.run,
        created=before.created,
        generation=before.generation + 1,
        bound=before.bound,
        settled=settled,
    )
    seed = seed_of(before.run)
    return header, seal(header, seed) + seal(snapshot_of(state, n + 1, n, settled), seed)


def put_in_place(storage: Storage, data: bytes) -> tuple[File, OSError | None]:
    """Make the new log; return it, locked, and what went wrong after it had taken the old one's place.

    Errors: OSError where the old one is still in place.
    """
    storage.remove(_NEW)  # left by a crash
    file = storage.create(_NEW)
    try:
        _, error = append_all(file, data)
        if error:
            raise error
        file.sync()
        file.lock()
        storage.rename(_NEW, LOG)
    except OSError:
        file.close()
        storage.remove(_NEW)
        raise
    try:
        storage.sync()
    except OSError as error:
        return file, error
    return file, None
