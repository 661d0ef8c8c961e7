"""Windows that are intended together: how many there may be, and that no crash finds more open than the loader says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loader.checkpoint import CheckpointLog
from loader.emulator import running
from loader.model import Window
from tests.emulated.loading import ADD, audit, closes, keyed, plan_of, records_of, run, write

COUNT, LINES = 3000, 64
CRASH_BOUND = 4 * LINES + LINES // 2 + LINES
"""In flight, waiting, one window read ahead."""


@pytest.fixture
def intended(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """For each call: how many windows, and how many records are without outcome once they may be sent."""
    calls: list[tuple[int, int]] = []
    intend = CheckpointLog.intend

    async def watched(log: CheckpointLog, windows: Sequence[Window]) -> None:
        await intend(log, windows)
        lanes = log.state.sources.values()
        calls.append((len(windows), sum(live.unresolved for lane in lanes for live in lane.windows.values())))

    monkeypatch.setattr(CheckpointLog, "intend", watched)
    return calls


@pytest.mark.parametrize(
    "options, milliseconds, most",
    [({}, 0, 2), ({}, 50, 2), ({"is_ordered": True}, 0, 1)],
    ids=["quick target", "slow target", "in order"],
)
async def test_no_more_is_intended_than_a_crash_may_find(
    tmp_path: Path, intended: list[tuple[int, int]], options: dict[str, Any], milliseconds: int, most: int
) -> None:
    late = [{"kind": "latency", "milliseconds": milliseconds}] if milliseconds else []
    with running(plan_of(*late)) as emulator:
        source = write(tmp_path / "source", records_of(COUNT, "Code"))
        report = await run(emulator, ADD, source, tmp_path / "run", max_records=LINES, **options)
        assert closes(report)
        assert report.created == COUNT
        assert audit(emulator, tmp_path / "run", keyed(COUNT), "Code") == []
    assert max(windows for windows, _ in intended) == most
    assert max(open_records for _, open_records in intended) <= CRASH_BOUND
    assert sum(windows for windows, _ in intended) == -(-COUNT // LINES)


async def test_a_window_that_waits_is_intended_at_the_end_of_its_source(
    tmp_path: Path, intended: list[tuple[int, int]]
) -> None:
    """One window alone in each source: neither waits for lines of another."""
    sources = [write(tmp_path / name, records_of(LINES, "Code")) for name in ("one", "two")]
    with running() as emulator:
        report = await run(emulator, ADD, sources, tmp_path / "run", max_records=LINES)
        assert report.created == 2 * LINES
    assert [windows for windows, _ in intended] == [1, 1]
