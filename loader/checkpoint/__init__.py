"""The checkpoint log: what was intended, how each line ended, and nothing else. FORMAT.md describes the files.

`CheckpointLog` writes, for the one process that holds the run; the `iter_` and `read_` functions read beside it. Pure parts
(format, packing, windows, folds, lanes, state, snapshots, replay, gather) know no file; storage alone knows the operating system.
"""

from __future__ import annotations

from loader.checkpoint.format import Header
from loader.checkpoint.log import CheckpointLog
from loader.checkpoint.reader import (
    AmbiguousLine,
    IdRow,
    NoHeader,
    RejectedLine,
    RunReader,
    peek,
    read_run_directory,
    read_state,
)
from loader.checkpoint.state import State
from loader.checkpoint.storage import LOG
from loader.checkpoint.tools import Sizes, Tools
from loader.checkpoint.windows import Gap, LiveWindow, Place, Spot

__all__ = [
    "LOG",
    "AmbiguousLine",
    "CheckpointLog",
    "Gap",
    "Header",
    "IdRow",
    "LiveWindow",
    "NoHeader",
    "Place",
    "RejectedLine",
    "RunReader",
    "Sizes",
    "Spot",
    "State",
    "Tools",
    "peek",
    "read_run_directory",
    "read_state",
]
