"""What happened in a world, as a running digest by which two runs of one seed are compared; as text for those who want it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

CHANCE = re.compile(
    r'"c":"\w{8}"|"settled":\[\d+,"\w{8}"\]|\{"t":"header".*?\}\\n'
    r"|(?<=\.log\.cut-)\d+|(?<='truncate', 'checkpoint\.log', )\d+"
)
"""What differs from one run of a world to the next: checksums; headers, which hold paths and inodes. One inode has a digit more
than another, so the places where a log is cut differ, too."""


class Trace:
    """Called with whatever is worth remembering, at the time it happens."""

    def __init__(self, clock: Callable[[], float], folder: Path, *, is_kept: bool) -> None:
        self.lines: list[str] = []
        self._clock = clock
        self._folder = str(folder)
        self._is_kept = is_kept
        self._digest = hashlib.blake2b(digest_size=16)

    def __call__(self, *what: object) -> None:
        text = f"{self._clock():.6f} {what!r}".replace(self._folder, "FOLDER")
        self._digest.update(CHANCE.sub("", text).encode())
        if self._is_kept:
            self.lines.append(text[:400])

    def digest(self) -> str:
        return self._digest.hexdigest()
