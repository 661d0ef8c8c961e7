"""The notes of a run: each is read back as it was written, by this process and by the next, under the name that it always had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loader.checkpoint import CheckpointLog, read_state
from loader.checkpoint.notes import Notes

RUN = "k3j9abcdef"
END = {"state": "finished", "sizes": [3, None]}
NOTES: list[tuple[str, str, Any]] = [
    ("max_bytes", "max_bytes", 4096),
    ("rate", "rate", 182.5),
    ("is_proved", "proof", True),
    ("highest_fid", "highest_fid", 1547),
    ("end", "end", END),
]


def of_nothing(name: str) -> Any:
    return False if name == "is_proved" else None


@pytest.mark.parametrize("attribute, name, value", NOTES)
async def test_a_note_is_read_back(tmp_path: Path, attribute: str, name: str, value: Any) -> None:
    log = await CheckpointLog.create(tmp_path, RUN, {})
    assert getattr(Notes.of(log), attribute) == of_nothing(attribute)
    setattr(Notes.of(log), attribute, value)
    await log.sync()
    assert getattr(Notes.of(log), attribute) == value
    await log.close()
    assert read_state(tmp_path).notes == {name: value}
    assert getattr(Notes(read_state(tmp_path).notes), attribute) == value


async def test_a_report_is_taken_back(tmp_path: Path) -> None:
    log = await CheckpointLog.create(tmp_path, RUN, {})
    notes = Notes.of(log)
    notes.end = END
    notes.end = None
    notes.set_unsent([(0, 1)])
    notes.set_unsent(())
    await log.close()
    assert read_state(tmp_path).notes == {"unsent": []}
    assert Notes(read_state(tmp_path).notes).end is None


async def test_what_has_not_left_is_kept_as_ranges(tmp_path: Path) -> None:
    log = await CheckpointLog.create(tmp_path, RUN, {})
    Notes.of(log).set_unsent({(1, 1), (0, 5), (0, 3), (0, 4), (1, 3), (0, 9)})
    await log.close()
    ranges = [[0, 3, 5], [0, 9, 9], [1, 1, 1], [1, 3, 3]]
    assert read_state(tmp_path).notes == {"unsent": ranges}
    assert [list(row) for row in Notes(read_state(tmp_path).notes).unsent] == ranges


async def test_the_end_of_each_source_has_a_note_of_its_own(tmp_path: Path) -> None:
    log = await CheckpointLog.create(tmp_path, RUN, {})
    Notes.of(log).set_end_of_source(1, 500)
    await log.close()
    notes = Notes(read_state(tmp_path).notes)
    assert [notes.end_of_source(source) for source in (0, 1)] == [None, 500]
    assert read_state(tmp_path).notes == {"end_of_source_1": 500}
