"""Read both files of a run whole and say what is wrong with them. Changes nothing.

Four verdicts. *sound*. *torn*: the last write was cut short by a crash, nothing of it had been acknowledged, and the next
opening takes it off. *shortened*: the log came back shorter than it was. *damaged*: something that had been acknowledged is
gone or altered, or stands where it must not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from loader.checkpoint.fold_file import NAME as SETTLED
from loader.checkpoint.fold_file import FoldFile, blocks_of
from loader.checkpoint.folds import FoldRef
from loader.checkpoint.format import FORMAT, LOG_SEED, SETTLED_SEED, AnyEntry, Fold, Header, decode, seal, seed_of
from loader.checkpoint.load import find_header, read_run
from loader.checkpoint.repair.salvage import Salvage
from loader.checkpoint.repair.survey import Hole, Spot, Survey, find_holes, survey_log
from loader.checkpoint.repair.survey_folds import FoldSurvey, survey_folds
from loader.checkpoint.scan import Scanner, read_header
from loader.checkpoint.storage import LOG, File
from loader.errors import LogDamaged

Soundness: TypeAlias = Literal["sound", "torn", "shortened", "damaged"]

_LINE_BYTES: Final = 16 * 1024 * 1024
_MIN_ENTRY_BYTES: Final = 60
_MIN_SHAPED: Final = 4  # lines that look sealed, and none by this run: they are another's, not all damaged
_VERSION_HINT: Final = "Go on with the version of loader that wrote it; run.json names it."
_FOREIGN_HINT: Final = (
    "Put the files of this run back, both of one moment; a log of another run cannot be repaired into this one."
)


class Damage(NamedTuple):
    """One thing that is wrong. `entry`: the number of the first entry that is concerned."""

    file: str
    offset: int
    entry: int | None
    text: str
    is_harmless: bool = False


@dataclass
class Examination:
    """What was found. `salvage` holds what is still known."""

    header: Header
    survey: Survey
    holes: list[Hole]
    folds: FoldSurvey
    salvage: Salvage
    max_upto: int
    findings: list[Damage] = field(default_factory=list)
    is_shorter: bool = False
    must_renew_folds: bool = False

    @property
    def verdict(self) -> Soundness:
        """Return the worst that was found."""
        if any(not finding.is_harmless for finding in self.findings):
            return "damaged"
        if self.is_shorter:
            return "shortened"
        return "torn" if self.findings else "sound"

    @property
    def next_n(self) -> int:
        """Return a number behind all that ever were."""
        return max(self.survey.last_n, self.max_upto, self.header.n, *(hole.last_n for hole in self.holes), 0) + 1


def examine(log: File, fold_file: FoldFile, run_id: str, bound: Mapping[str, Any]) -> Examination:
    """Read both files. Errors: LogDamaged where they are of another run, or of a later version of loader."""
    seed = seed_of(run_id)
    # folds first: where the run goes on meanwhile, they may be older than the log, but never know more than it
    folds = survey_folds(blocks_of(fold_file.file, 0), seed_of(run_id, SETTLED_SEED), SETTLED)
    survey = survey_log(blocks_of(log, 0), seed, LOG)
    _refuse_foreign(log, LOG, LOG_SEED, run_id, survey.shaped)
    _refuse_foreign(fold_file.file, SETTLED, SETTLED_SEED, run_id, folds.shaped)
    header = survey.header or Header(n=0, s=-1, format=FORMAT, run=run_id, bound=dict(bound))
    if header.format != FORMAT:
        raise LogDamaged(f"{LOG} has format {header.format}, this loader knows {FORMAT}", _VERSION_HINT)
    holes = find_holes(survey, log.read)
    relied = _relied(log, survey)
    lost = _lost(folds, relied, len(seal(Header(n=0, s=-1, format=FORMAT, run=run_id), 0)))
    salvage = Salvage(_current(folds), lost, has_lost_folds=bool(lost or folds.lost), is_rotated=survey.is_rotated)
    for item in _in_order(survey, holes):
        if isinstance(item, Hole):
            salvage.step_over(item)
        else:
            salvage.apply(_entry_at(log, item))
    heads = [lost_fold.head for lost_fold in folds.lost if lost_fold.head]
    max_upto = max([-1, *(ref.upto for ref in folds.refs.values()), *(head.upto for head in heads)])
    found = Examination(header, survey, holes, folds, salvage, max_upto)
    found.is_shorter = _is_shorter(found)
    salvage.end(is_shorter=found.is_shorter)
    _judge_log(found, log, seed)
    _judge_folds(found, fold_file, relied)
    if found.verdict in {"sound", "torn"}:
        _try_to_open(found, log, fold_file, bound)
    return found


# --- reading --------------------------------------------------------------------------------------------------------------


def _refuse_foreign(file: File, name: str, kind: bytes, run_id: str, shaped: int) -> None:
    """Refuse what another run wrote. `shaped`: lines that look sealed, where none is sealed by this run."""
    line = file.read(0, _LINE_BYTES).partition(b"\n")[0] + b"\n"
    try:
        entry = decode(line[:-1])
    except ValueError:
        entry = None
    is_other = isinstance(entry, Header) and entry.run != run_id and read_header(line, seed_of(entry.run, kind))
    if is_other or shaped >= _MIN_SHAPED:
        raise LogDamaged(f"{name} is not of this run ({run_id})", _FOREIGN_HINT)


def _in_order(survey: Survey, holes: list[Hole]) -> Iterator[Spot | Hole]:
    """Yield entries and holes by number."""
    waiting = iter(holes)
    hole = next(waiting, None)
    for spot in survey.spots:
        while hole and hole.first_n < spot.n:
            yield hole
            hole = next(waiting, None)
        yield spot
    while hole:
        yield hole
        hole = next(waiting, None)


def _entry_at(log: File, spot: Spot) -> AnyEntry:
    return decode(log.read(spot.offset, spot.end - spot.offset).rstrip(b"\n"))


def _current(folds: FoldSurvey) -> list[FoldRef]:
    """Return the folds that count: of several of one range the last."""
    latest = {(ref.source, ref.first, ref.end): ref for _, ref in sorted(folds.refs.items())}
    return list(latest.values())


def _relied(log: File, survey: Survey) -> tuple[int, str] | None:
    """Return how much of checkpoint.settled earlier generations of the log have become; None where there were none."""
    if survey.header:
        return survey.header.settled if survey.is_rotated else None
    entry = _entry_at(log, survey.spots[0]) if survey.is_rotated else None
    return getattr(entry, "settled", None)


def _lost(folds: FoldSurvey, relied: tuple[int, str] | None, header_bytes: int) -> list[Fold | None]:
    """Return the lost folds whose content is nowhere else."""
    if relied is None or relied[0] <= header_bytes:
        return []
    lost: list[Fold | None] = []
    for fold in folds.lost:
        before = [(ref.position or 0) + ref.body for n, ref in folds.refs.items() if n < fold.n]
        if max(before, default=0) < relied[0]:
            lost.append(fold.head)
    if max([folds.good_end, *(fold.end for fold in folds.lost)]) < relied[0]:
        lost.append(None)  # the end is gone, with who knows how many
    return lost


def _is_shorter(found: Examination) -> bool:
    """Say whether the end of the log is missing, and no bad bytes stand in its place."""
    survey = found.survey
    missing = found.max_upto - survey.last_n
    if survey.is_rotated and not survey.spots:
        missing = max(missing, 1)  # a generation begins with a snapshot
    if survey.header is None and not survey.spots:
        missing = max(missing, 1)
    tail = sum(hole.size for hole in found.holes if hole.missing is None)
    return missing > 0 and tail < missing * _MIN_ENTRY_BYTES


# --- judging --------------------------------------------------------------------------------------------------------------


def _judge_log(found: Examination, log: File, seed: int) -> None:
    survey = found.survey
    scanner = Scanner(seed, survey.header_end, survey.base_n)
    try:
        for _ in scanner.entries(blocks_of(log, survey.header_end)):
            pass
    except LogDamaged:
        found.findings += _log_damage(found)
    else:
        # a fold was written after it; and a generation is in place only with its first snapshot
        was_acknowledged = found.max_upto >= (scanner.next_n or 0) or (
            survey.is_rotated and scanner.next_n == survey.base_n
        )
        if scanner.ending != "clean" and was_acknowledged:
            found.findings += _log_damage(found)
        elif scanner.ending != "clean":
            size = log.size() - scanner.offset
            text = f"the last write was cut short: {size:,} bytes that were never acknowledged"
            found.findings.append(Damage(LOG, scanner.offset, scanner.next_n, text, is_harmless=True))
    if read_header(log.read(0, survey.header_end or 1), seed) is None and (log.size() or found.folds.size):
        found.findings.insert(0, Damage(LOG, 0, None, "its header is not its first line, or is lost"))
    found.findings += [Damage(LOG, 0, None, f"it contradicts itself: {text}") for text in found.salvage.contradictions]


def _try_to_open(found: Examination, log: File, fold_file: FoldFile, bound: Mapping[str, Any]) -> None:
    """Make sure that an opening agrees: whatever it would refuse is damage."""
    try:
        opening = read_run(log, fold_file, find_header(log, found.header.run, bound))
    except LogDamaged as error:
        found.findings.append(Damage(LOG, 0, None, error.message))
    else:
        if opening.state.is_shortened and not found.is_shorter:
            found.is_shorter = True
            found.salvage.end(is_shorter=True)


def _log_damage(found: Examination) -> list[Damage]:
    survey = found.survey
    findings = []
    for hole in found.holes:
        if hole.missing is None:
            text = f"{hole.size:,} bad bytes at the end"
        elif hole.missing == 1:
            text = f"entry {hole.first_n} is lost"
        else:
            text = f"entries {hole.first_n} to {hole.last_n} are lost"
        findings.append(Damage(LOG, hole.offset, hole.first_n, text))
    held = [(hole.offset, hole.offset + hole.size) for hole in found.holes]
    for scrap in survey.scraps:
        if not any(first <= scrap.offset < end for first, end in held):
            text = f"{scrap.end - scrap.offset:,} bad bytes; no entry is missing there"
            findings.append(Damage(LOG, scrap.offset, None, text))
    for one in survey.repeats[:1]:
        text = f"{len(survey.repeats):,} entries stand twice or out of their order, the first is {one.n}"
        findings.append(Damage(LOG, one.offset, one.n, text))
    findings += [Damage(LOG, one.offset, one.n, f"there are two entries {one.n}") for one, _ in survey.conflicts]
    return findings or [Damage(LOG, survey.header_end, None, "it was not written by one process in order")]


def _judge_folds(found: Examination, fold_file: FoldFile, relied: tuple[int, str] | None) -> None:
    folds = found.folds
    trusted = [mark for mark in found.salvage.relied if fold_file.checksum_at(mark[0]) == mark[1]]
    needed = max([relied[0] if relied else 0, *(size for size, _ in trusted)])
    findings = []
    if relied and fold_file.checksum_at(relied[0]) != relied[1]:
        what = "is missing" if not folds.size else "holds less than the log relies on, or something else"
        findings.append(Damage(SETTLED, min(folds.size, relied[0]), None, f"it {what}"))
    if folds.size and not folds.has_header:
        findings.append(Damage(SETTLED, 0, 0, "its header is lost"))
    for fold in folds.lost:
        which = f"lines {fold.head.lines[0]} to {fold.head.lines[1] - 1}" if fold.head else "unknown lines"
        findings.append(Damage(SETTLED, fold.offset, fold.n, f"the fold of {which} is lost"))
    for scrap in folds.scraps:
        is_harmless = scrap.offset >= max(needed, folds.good_end) and folds.has_header
        text = f"{scrap.end - scrap.offset:,} bad bytes"
        findings.append(Damage(SETTLED, scrap.offset, None, text, is_harmless))
    if folds.repeats:
        findings.append(Damage(SETTLED, folds.repeats[0], None, "entries stand twice or out of their order"))
    is_held_aside = any(ref.position is None for ref in folds.refs.values())
    found.must_renew_folds = is_held_aside or any(not finding.is_harmless for finding in findings)
    found.findings += findings
