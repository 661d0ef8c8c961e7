"""The notes of a run in its log: eight values that decide how a later execution begins and what it sends.

A note is written as `CheckpointLog.note` does it: at the end of the turn, synced with what comes next. Whoever needs it durable
before going on syncs the log. The log itself knows names and JSON values, and nothing of what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias, cast

from loader.checkpoint.format import line_runs
from loader.checkpoint.log import CheckpointLog

END: Final = "end"
UNSENT: Final = "unsent"
MAX_BYTES: Final = "max_bytes"
RATE: Final = "rate"
PROOF: Final = "proof"
PROVED_FOR: Final = "proved_for"
HIGHEST_FID: Final = "highest_fid"
END_OF_SOURCE: Final = "end_of_source_{}"

LineRange: TypeAlias = tuple[int, int, int]
"""Source, first and last line."""


class ProvedFor(NamedTuple):
    """How long a created record could not be seen (None: nobody knows), and which texts were proved: kinds, characters, bytes."""

    lag_seconds: float | None
    extents: Sequence[tuple[Sequence[str], int, int]]


class Notes:
    """`values`: the notes as they are read from a log. `keep` writes one; only the process that holds the run has it."""

    def __init__(self, values: Mapping[str, Any], keep: Callable[[str, Any], None] | None = None) -> None:
        self._values = values
        self._keep = keep

    @classmethod
    def of(cls, log: CheckpointLog) -> Notes:
        """Return the notes of the log that this process holds."""
        return cls(log.state.notes, log.note)

    def _write(self, name: str, value: Any) -> None:
        assert self._keep is not None  # noqa: S101 - who only reads a run has no business here
        self._keep(name, value)

    @property
    def max_bytes(self) -> int | None:
        """The largest body that the target may take. Intake writes it when one was too large, assembly reads it.

        Lost, the next execution has one more body refused, and learns it again.
        """
        return cast("int | None", self._values.get(MAX_BYTES))

    @max_bytes.setter
    def max_bytes(self, size: int) -> None:
        self._write(MAX_BYTES, size)

    def end_of_source(self, source: int) -> int | None:
        """Return the line behind the last of a source. Intake writes it when it has read all, `log repair` reads it.

        Lost, a repair may leave out lines of that source that a damaged log has forgotten, if no mark beside the log names them.
        """
        line = self._values.get(END_OF_SOURCE.format(source))
        return line if isinstance(line, int) else None

    def set_end_of_source(self, source: int, line: int) -> None:
        """Record that a source was read to its end."""
        self._write(END_OF_SOURCE.format(source), line)

    @property
    def rate(self) -> float | None:
        """The rate that `--rate auto` had found. An execution writes it at its end, the next one begins with it.

        Lost, it is found again from the start.
        """
        return cast("float | None", self._values.get(RATE))

    @rate.setter
    def rate(self, per_second: float) -> None:
        self._write(RATE, per_second)

    @property
    def is_proved(self) -> bool:
        """Whether a created record has proved what the user said of key or stamp. The proof writes it, every start reads it.

        Lost, the next execution sends one record at a time until it is proved again.
        """
        return bool(self._values.get(PROOF))

    @is_proved.setter
    def is_proved(self, is_proved: bool) -> None:
        self._write(PROOF, is_proved)

    @property
    def proved_for(self) -> ProvedFor | None:
        """What the proofs cover: texts of which kinds and lengths, and the read lag. A proof writes it, every start reads it.

        Lost, or of an earlier version, nothing is covered: a created record is asked for before an absence is believed.
        """
        value = self._values.get(PROVED_FOR)
        return None if value is None else ProvedFor(value["lag"], value["texts"])

    def keep_proved_for(self, lag_seconds: float | None, extents: Sequence[tuple[Sequence[str], int, int]]) -> None:
        """Record what the proofs cover now."""
        lag = None if lag_seconds is None else round(lag_seconds, 3)
        self._write(PROVED_FOR, {"lag": lag, "texts": [list(extent) for extent in extents]})

    @property
    def highest_fid(self) -> int | None:
        """The highest fid before the run had sent anything. The first execution writes it, look-ups by key read it.

        Lost, a row with the key of a record in doubt may be older than the run, and the record ends as ambiguous.
        """
        return cast("int | None", self._values.get(HIGHEST_FID))

    @highest_fid.setter
    def highest_fid(self, fid: int) -> None:
        self._write(HIGHEST_FID, fid)

    @property
    def end(self) -> dict[str, Any] | None:
        """The report of the last execution. Each writes it at its end, and takes back the one before it sends anything.

        `status` and a command that is repeated read it. Lost, `status` calls the run open, and a repeated
        command goes through the sources to find nothing to do.
        """
        return cast("dict[str, Any] | None", self._values.get(END))

    @end.setter
    def end(self, report: Mapping[str, Any] | None) -> None:
        self._write(END, report)

    @property
    def unsent(self) -> Sequence[LineRange]:
        """Intended lines that have certainly not left. Written at the end, and before each record that goes alone.

        A resume, `status` and `ambiguous` read them. Lost, the lines are in doubt, and are asked for. Kept too long, a line that
        has left would be sent twice: so the note is emptied, durably, before anything is sent.
        """
        return cast("Sequence[LineRange]", self._values.get(UNSENT) or ())

    def set_unsent(self, places: Iterable[tuple[int, int]]) -> None:
        """Record which lines have certainly not left, by source and number; none empties the note."""
        by_source = groupby(sorted(places), key=itemgetter(0))
        runs = ((source, line_runs(number for _, number in same)) for source, same in by_source)
        self._write(UNSENT, [(source, first, end - 1) for source, some in runs for first, end in some])
