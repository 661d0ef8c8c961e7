"""The checkpoint log: what was intended, how each line ended, and nothing else. FORMAT.md describes the files.

`CheckpointLog` writes, for the one process that holds the run; `read_run_directory`, `read_state` and `peek` read beside it. The
pure parts (format, id_codec, windows, folds, source_state, state, snapshots, scan, turn) know no file. Storage alone knows the
operating system. To understand the log, read FORMAT.md, then windows, source_state and state.
"""

from __future__ import annotations

from loader.checkpoint.fold_file import NAME as SETTLED
from loader.checkpoint.format import Header
from loader.checkpoint.intended import NAME as INTENDED
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
from loader.checkpoint.storage import BALLAST, BEGUN, LOG
from loader.checkpoint.tools import Sizes, Tools
from loader.checkpoint.windows import Gap, LiveWindow, Place, Spot

__all__ = [
    "BALLAST",
    "BEGUN",
    "INTENDED",
    "LOG",
    "SETTLED",
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
