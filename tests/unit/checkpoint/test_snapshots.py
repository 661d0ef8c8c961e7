"""A snapshot says of a window what its rows say, whether they were looked at one by one or not."""

from __future__ import annotations

import pytest

from loader.checkpoint.format import Header, Intent
from loader.checkpoint.snapshots import snapshot_of
from loader.checkpoint.state import State
from loader.checkpoint.windows import UNKNOWN_ID, UPDATED, Blank, Exceptional, Slot, rows_of
from loader.model import Ambiguous


@pytest.mark.parametrize(
    "slots",
    [
        [None, None, None],
        ["a", "b", "c"],
        ["a", 2, "c"],
        [1, None, 3],
        [1, UNKNOWN_ID, 3],
        [UPDATED, UPDATED, 3],
        [1, 2, Exceptional(7, Ambiguous("lost"))],
        [Blank.BLANK, 2, 3],
    ],
)
def test_a_window_is_written_down_as_it_is(slots: list[Slot]) -> None:
    state = State(Header(n=0, s=-1, format=1, run="r"))
    state.apply(Intent(n=1, s=0, source=0, lines=(5, 8), bytes=(0, 30), crc=9))
    live = state.sources[0].windows[5]
    live.slots[:] = slots
    live.unresolved = slots.count(None)
    snapshot = snapshot_of(state, 2, 1, (0, ""))
    told = [(line, slot) for entry in snapshot.outcomes for line, slot in rows_of(entry)]
    assert sorted(told, key=lambda row: row[0]) == [
        (line, slot) for line, slot in enumerate(slots, 5) if slot is not None and slot is not Blank.BLANK
    ]
    live.slots[0] = "later"
    assert "later" not in [item for entry in snapshot.outcomes for item in entry.ids]
