"""Questions that need the bodies of folds: every outcome in line order, and which ids the log holds.

Blocks; reads one fold at a time, so that memory stays flat.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from loader.checkpoint.fold_file import FoldFile
from loader.checkpoint.folds import FoldRef, slots_of
from loader.checkpoint.scan import HINT
from loader.checkpoint.state import State
from loader.checkpoint.windows import Slot
from loader.errors import LogDamaged


def fold_slots(fold_file: FoldFile, ref: FoldRef) -> list[Slot]:
    """Return what a fold says of its lines. Errors: LogDamaged."""
    body = fold_file.body(ref)
    try:
        return slots_of(ref, body)
    except ValueError as error:
        raise LogDamaged(f"the fold of lines {ref.first} to {ref.end - 1} contradicts itself: {error}", HINT) from None


def each_range(state: State, fold_file: FoldFile, names: Sequence[str] = ()) -> Iterator[tuple[int, int, list[Slot]]]:
    """Yield source, first line and slots of every fold and window, in line order, amendments included.

    `names`: fields of Counts; folds in which none of them counts are passed by, unless a line of theirs was amended.
    """
    amended: dict[tuple[int, int], dict[int, Slot]] = {}
    for (source, line), amendment in state.amendments.items():
        ref = state.sources[source].folds.find(line)
        if ref:
            amended.setdefault((source, ref.first), {})[line] = amendment.slot
    for source in sorted(state.sources):
        source_state = state.sources[source]
        ranges: list[tuple[int, FoldRef | list[Slot]]] = [(ref.first, ref) for ref in source_state.folds]
        ranges += [(first, live.slots) for first, live in source_state.windows.items()]
        for first, known in sorted(ranges, key=lambda pair: pair[0]):
            if isinstance(known, list):
                yield source, first, known
            elif (source, first) in amended or not names or any(getattr(known.counts, name) for name in names):
                slots = fold_slots(fold_file, known)
                for line, slot in amended.get((source, first), {}).items():
                    slots[line - first] = slot
                yield source, first, slots


def may_hold(ref: FoldRef, ids: Collection[int | str]) -> bool:
    """Say whether one of these ids lies between a fold's lowest and highest."""
    for item in ids:
        ends = ref.ints if isinstance(item, int) else ref.texts
        if ends and ends[0] <= item <= ends[1]:  # type: ignore[operator]  # numbers with numbers, texts with texts
            return True
    return False


def ids_in(slots: Iterable[Slot], ids: Collection[int | str]) -> set[int | str]:
    """Return those of the ids that the slots hold."""
    return {slot for slot in slots if isinstance(slot, int | str) and slot in ids}


def ids_in_folds(fold_file: FoldFile, refs: Iterable[FoldRef], ids: Collection[int | str]) -> set[int | str]:
    """Return those of the ids that folds on disk hold. Errors: LogDamaged."""
    found: set[int | str] = set()
    for ref in refs:
        found |= ids_in(fold_slots(fold_file, ref), ids)
    return found


def ids_unfolded(state: State, ids: Collection[int | str]) -> set[int | str]:
    """Return those of the ids that windows and amendments hold."""
    found = ids_in((amendment.slot for amendment in state.amendments.values()), ids)
    for source_state in state.sources.values():
        for live in source_state.windows.values():
            found |= ids_in(live.slots, ids)
    return found
