"""A State in one entry, and back. Pure.

A snapshot holds what checkpoint.settled does not: notes, windows that are not folded, amended outcomes of folded lines. Reading
the log may begin at it. Folds that were written after it win over what it says about their lines.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from loader.checkpoint.format import Doubt, Intent, Outcomes, Snapshot, pack_lines
from loader.checkpoint.state import State
from loader.checkpoint.windows import ID_KINDS, LiveWindow, intent_of, outcome_fields, rows_of


def snapshot_of(state: State, n: int, s: int, settled: tuple[int, str]) -> Snapshot:
    """Write down all that is not folded. `settled`: bytes of checkpoint.settled that this relies on, last checksum."""
    windows: list[Intent] = []
    outcomes: list[Outcomes] = []
    doubts: list[Doubt] = []
    for index in sorted(state.sources):
        source_state = state.sources[index]
        for first in source_state.firsts:
            live = source_state.windows[first]
            windows.append(intent_of(live.window, live.last_n, 0))
            fields = _fields_of(live)
            if any(fields.values()):
                outcomes.append(Outcomes(n=live.last_n, s=0, source=index, **fields))
            doubts += _doubts_of(live)
    return Snapshot(
        n=n,
        s=s,
        settled=settled,
        executions=state.executions,
        notes=dict(state.notes),
        windows=windows,
        outcomes=outcomes,
        doubts=doubts,
        amended=_amended(state),
    )


def restore(state: State, snapshot: Snapshot) -> None:
    """Bring a snapshot in, where reading begins at it; the folds have been loaded before."""
    for intent in snapshot.windows:
        state.apply(intent)
    for outcomes in (*snapshot.outcomes, *snapshot.amended):
        state.apply(outcomes)
    for doubt in snapshot.doubts:
        state.apply(doubt)
    state.notes = dict(snapshot.notes)
    state.executions = snapshot.executions
    state.last_n = snapshot.n


def _fields_of(live: LiveWindow) -> dict[str, Any]:
    """Return what an entry says of a window's outcomes; of a window that is one chunk, without looking at each line."""
    if live.unresolved == len(live.slots):
        return {}
    if set(map(type, live.slots)) <= ID_KINDS:
        return {"created": [live.window[1:3]], "ids": [*live.slots]}
    return outcome_fields(live.rows())


def _doubts_of(live: LiveWindow) -> list[Doubt]:
    pairs = sorted((reason, line) for line, reason in live.doubts.items())
    return [
        Doubt(
            n=live.last_n, s=0, source=live.window.source, lines=pack_lines([line for _, line in same]), reason=reason
        )
        for reason, same in groupby(pairs, key=lambda pair: pair[0])
    ]


def _amended(state: State) -> list[Outcomes]:
    """Write amendments by source and `n`, which says whether a later fold of their range holds them."""
    entries = []
    items = sorted(
        ((key[0], amendment.n, key[1], amendment) for key, amendment in state.amendments.items()),
        key=lambda item: item[:3],
    )
    for (source, n), same in groupby(items, key=lambda item: item[:2]):
        rows = {line: amendment for _, _, line, amendment in same}
        fields = outcome_fields((line, amendment.slot) for line, amendment in rows.items())
        bare = Outcomes(n=n, s=0, source=source, **fields)
        order = [line for line, _ in rows_of(bare)]
        entries.append(Outcomes(n=n, s=0, source=source, was="".join(rows[line].was for line in order), **fields))
    return entries
