"""What lies in a run directory -> State. Reads only: `recover` mends, `reader` shows it as it is.

Where reading begins: at the newest snapshot that checkpoint.settled names and the log has, else at the log's first line.
Folds are facts wherever they come from: entries that a fold holds already are passed over by their `n`. So a crash between two
writes changes nothing, checkpoint.settled may be deleted as long as the log begins with its first generation, and a log that
comes back shorter than it was is noticed: a fold knows of later entries than the log has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from loader.checkpoint.fold_file import FoldFile, Heads, blocks_of
from loader.checkpoint.folds import FoldJob, again, seal_fold
from loader.checkpoint.format import FORMAT, Body, Fold, Header, Snapshot, decode, is_sealed, seed_of
from loader.checkpoint.scan import HINT, Ending, Scanner, read_header
from loader.checkpoint.snapshots import restore
from loader.checkpoint.state import State
from loader.checkpoint.storage import LOG, File
from loader.errors import LogDamaged

_LINE_BYTES: Final = 64 * 1024
_FOLD_EVERY: Final = 256  # entries of a replay between two looks at what could be folded
_MAX_UNFOLDED: Final = 65_536  # lines in settled windows that a replay keeps unfolded: 10 MB
"""Without folds on disk a replay packs what is settled as it goes, so that its memory stays flat."""

FIRST_ENTRY: Final = 1
"""The number behind the first generation's header. Later generations go on with a snapshot, which says all that went before."""
_NOT_THERE: Final = (Header, Fold, Body)


@dataclass
class Opening:
    """What was found."""

    state: State
    heads: Heads
    good_bytes: int  # of the log
    ending: Ending
    lost_lines: int
    is_rebuilt: bool  # the header was lost and made anew


def find_header(log: File, run_id: str | None, bound: Mapping[str, Any] | None) -> tuple[Header, int, bool]:
    """Return the log's header, where it ends, and whether it had to be made anew from the arguments.

    Errors: LogDamaged where it is lost and `run_id` or `bound` is not given.
    """
    line = _first_line(log)
    header = read_header(line, seed_of(run_id)) if run_id else self_named_header(line)
    if header is not None:
        if header.format != FORMAT:
            raise LogDamaged(
                f"{LOG} has format {header.format}, this loader knows {FORMAT}",
                "Go on with the version of loader that wrote it; run.json names it.",
            )
        return header, len(line), False
    if run_id is None or bound is None or _run_of(line) not in (None, run_id):
        raise LogDamaged(f"the first line of {LOG} is not the header of this run", HINT)
    # A line that is sound is no damaged header: the header is gone altogether, and reading begins with this line.
    is_entry = line[-1:] == b"\n" and is_sealed(line[:-1], seed_of(run_id))
    return Header(n=0, s=-1, format=FORMAT, run=run_id, bound=dict(bound)), 0 if is_entry else len(line), True


def read_run(log: File, fold_file: FoldFile, found: tuple[Header, int, bool]) -> Opening:
    """Read folds and log. Errors: LogDamaged."""
    header, header_bytes, is_rebuilt = found
    seed = seed_of(header.run)
    heads = fold_file.heads()
    if header.settled:
        _check_relied(fold_file, heads, header.settled)
    offset, next_n, relied = header_bytes, None if is_rebuilt else header.n + 1, (header.settled or (0, ""))[0]
    chosen = None if is_rebuilt else _newest_snapshot(log, fold_file, heads, header)
    if chosen:
        offset, next_n, relied = chosen
    heads.cut_to(fold_file.count_good(heads.refs, relied))
    state = State(header)
    scanner = Scanner(seed, offset, next_n)
    try:
        state.load(heads.refs)
        _replay(state, scanner, log, fold_file, heads, is_rebuilt=is_rebuilt)
    except ValueError as error:
        raise LogDamaged(f"{LOG} contradicts itself near byte {scanner.offset}: {error}", HINT) from None
    if is_rebuilt and scanner.offset == header_bytes and fold_file.file.size() and not heads.size:
        raise LogDamaged(f"neither {LOG} nor checkpoint.settled is of this run", HINT)
    state.is_shortened = (
        heads.max_upto > state.last_n
        or (header.generation > 0 and state.last_n == header.n)
        or (is_rebuilt and scanner.offset == header_bytes)
    )
    return Opening(state, heads, scanner.offset, scanner.ending, scanner.lost_lines, is_rebuilt)


def unwritten(state: State, fold_file: FoldFile) -> list[FoldJob]:
    """Return the folds that a replay made in memory, to be written."""
    return [again(ref, fold_file.body(ref), {}, ref.upto) for ref in state.folds() if ref.position is None]


def _replay(state: State, scanner: Scanner, log: File, fold_file: FoldFile, heads: Heads, *, is_rebuilt: bool) -> None:
    is_first = True
    for count, (_, entry) in enumerate(scanner.entries(blocks_of(log, scanner.offset)), 1):
        if is_first and is_rebuilt and not isinstance(entry, Snapshot) and entry.n != FIRST_ENTRY:
            raise LogDamaged(f"the beginning of {LOG} is lost, and with it entries up to {entry.n - 1}", HINT)
        if is_first and isinstance(entry, Snapshot):
            _check_relied(fold_file, heads, entry.settled)
            restore(state, entry)
        elif isinstance(entry, _NOT_THERE):
            raise ValueError(f"a {type(entry).__name__.lower()} has no place there")
        else:
            state.apply(entry)
        is_first = False
        if (
            not count % _FOLD_EVERY
            and sum(source_state.settled_lines for source_state in state.sources.values()) > _MAX_UNFOLDED
        ):
            for job in state.freeze(entry.n, is_all=False):
                lines, ref = seal_fold(job, 0, 0, None, fold_file.seed)
                state.folded(job, ref._replace(position=None, kept=lines[-ref.body :]))


def _check_relied(fold_file: FoldFile, heads: Heads, relied: tuple[int, str]) -> None:
    size, text = relied
    if heads.size < size or fold_file.checksum_at(size) != text:
        raise LogDamaged("checkpoint.settled is damaged, is not the one of this run, or is missing", HINT)


def _newest_snapshot(log: File, fold_file: FoldFile, heads: Heads, header: Header) -> tuple[int, int, int] | None:
    """Return offset and `n` of the snapshot where reading may begin, and what it relies on of checkpoint.settled."""
    for generation, offset, n in reversed(heads.starts):
        if generation != header.generation:
            return None  # written before the log was rotated, or the log is older than the folds
        entry = _entry_at(log, offset, seed_of(header.run))
        if isinstance(entry, Snapshot) and entry.n == n:
            size, text = entry.settled
            if heads.size >= size and fold_file.checksum_at(size) == text:
                return offset, n, size
    return None


def _entry_at(log: File, offset: int, seed: int) -> object:
    line = b""
    for block in blocks_of(log, offset):
        head, newline, _ = block.partition(b"\n")
        line += head
        if newline:
            return decode(line) if is_sealed(line, seed) else None
    return None


def _first_line(log: File) -> bytes:
    line: bytes = b""
    for block in _small_blocks(log):
        head, newline, _ = block.partition(b"\n")
        line += head + newline
        if newline:
            break
    return line


def _small_blocks(log: File) -> Iterator[bytes]:
    at = 0
    while block := log.read(at, _LINE_BYTES):
        yield block
        at += len(block)


def self_named_header(line: bytes) -> Header | None:
    """Return the header that a first line is: of the run that it names itself, and sealed by that run."""
    run_id = _run_of(line)
    return read_header(line, seed_of(run_id)) if run_id else None


def _run_of(line: bytes) -> str | None:
    try:
        entry = decode(line[:-1])
    except ValueError:
        return None
    return entry.run if isinstance(entry, Header) else None
