"""The three standard streams, made sure of before anything else is opened.

A descriptor from 0 to 2 that is closed would be given to the next file, and what is printed would go into it. What standard
output refuses is an error with a hint; what standard error refuses is dropped: it must not end a load.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from loader.errors import LoaderError


class OutputFailed(LoaderError):
    """Say that standard output takes nothing: it is full, or closed."""

    exit_code = 5


class _Output(io.FileIO):
    """Standard output. After a failure it takes everything and drops it: the same failure is not reported twice."""

    has_failed = False

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if self.has_failed:
            return size
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            raise
        except OSError as error:
            self.has_failed = True
            raise OutputFailed(
                f"standard output cannot be written: {error.strerror}",
                "make room where it leads, or send it elsewhere; what was done stands: `loader status RUN` shows it",
            ) from None


class _Errors(io.FileIO):
    """Standard error, which nobody may be able to read."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


def secure_streams() -> None:
    """Open what is closed of the descriptors 0 to 2, and put the streams of Python in order."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Read only: standard input is at its end, and writing to standard output fails as it would have.
            os.open(os.devnull, os.O_WRONLY if descriptor == 2 else os.O_RDONLY)  # takes the lowest number
    sys.stdout = _text(_Output(1, "w", closefd=False), is_lined=os.isatty(1))
    sys.stderr = _text(_Errors(2, "w", closefd=False), is_lined=True)


def _text(raw: io.FileIO, *, is_lined: bool) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=is_lined
    )
