"""What a crash may have left of a run that had hardly begun, told from somebody else's files by what is in them.

Law: a name proves nothing. A file counts as the loader's if it is empty, if it holds nothing but zero bytes (a power loss leaves
that), or if it begins as the loader writes it. Whoever finds another file refuses the directory, and touches nothing.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from loader.checkpoint import BALLAST, BEGUN, INTENDED, LOG, SETTLED

HEAD_BYTES = 4096
RUN_FILE = "run.json"
RUN_FILE_BEGIN = b'{\n  "format": '
_HEADER_BEGIN = b'{"t":"header",'

_BEGINNINGS = {
    f"{RUN_FILE}.new": RUN_FILE_BEGIN,
    LOG: _HEADER_BEGIN,
    f"{LOG}.new": _HEADER_BEGIN,
    SETTLED: _HEADER_BEGIN,
    INTENDED: b"",
    BALLAST: b"",
}


def are_leftovers(directory: Path) -> bool:
    """Say whether everything in a directory is of a run that had hardly begun. Errors: OSError."""
    return all(_is_leftover(path) for path in directory.iterdir())


def is_run_file(path: Path) -> bool:
    """Say whether run.json is one of ours, whole or cut short. Errors: OSError."""
    return _begins(path, RUN_FILE_BEGIN)


def _is_leftover(path: Path) -> bool:
    if path.name.startswith(BEGUN):
        return True  # never removed, and never in the way
    begin = _BEGINNINGS.get(path.name)
    return begin is not None and _begins(path, begin)


def _begins(path: Path, begin: bytes) -> bool:
    """Say whether a file begins so, or was cut short in that, or holds nothing; `begin` empty: whether it holds nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # a link, or not to be read: it cannot be known
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        head = file.read(HEAD_BYTES)
        if begin and head[:1] != b"\0":
            return head.startswith(begin) or begin.startswith(head)
        while head:
            if head.strip(b"\0"):
                return False
            head = file.read(HEAD_BYTES)
    return True
