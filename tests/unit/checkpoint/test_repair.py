"""Damage of every kind, and what a repair makes of it: which lines come into doubt, and that no others do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loader.checkpoint import CheckpointLog, Tools
from loader.checkpoint.format import Outcomes, seal, seed_of
from loader.checkpoint.repair.rewrite import REASON, Repair
from loader.checkpoint.windows import Blank, Exceptional, Slot
from loader.errors import LogDamaged, LogLocked
from loader.model import Ambiguous, Created, Outcome, Rejected
from tests.unit.checkpoint.repairing import (
    BOUND,
    LINES,
    LOG,
    NOWHERE,
    RUN,
    SETTLED,
    WINDOW_LINES,
    Writer,
    die,
    read,
    repair,
    settle,
    window,
)

MANY = 10**9


@pytest.fixture
def flat(tools: Tools) -> Tools:
    """No folds, no snapshots, no generations: the entries stand as they were written."""
    sizes = replace(tools.sizes, fold_lines=MANY, snapshot_bytes=MANY, rotate_bytes=MANY, close_bytes=MANY)
    return replace(tools, sizes=sizes)


async def begin(tools: Tools) -> CheckpointLog:
    return await CheckpointLog.create(NOWHERE, RUN, BOUND, tools=tools)


async def load(log: CheckpointLog, *firsts: int) -> None:
    """Intend windows of six lines and create all their records, synced entry by entry."""
    for first in firsts:
        whole = window(0, first, first + WINDOW_LINES)
        await log.intend([whole])
        settle(log, {line: Created(line) for line in range(first, first + WINDOW_LINES) if line not in whole.blanks})
        await log.sync()


async def end(disk: Any) -> dict[int, Slot]:
    """Kill the process; return what its log held."""
    await die()
    disk.kill()
    return {line: slot for (_, line), slot in read(disk)[0].items()}


def hit(disk: Any, part: bytes, name: str = LOG) -> None:
    """Flip a bit inside of the one entry that has this part."""
    data = disk.names[name].data
    assert data.count(part) == 1, data.count(part)
    at = data.index(part) + len(part) // 2
    disk.names[name].data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def doubted(before: dict[int, Slot], disk: Any) -> list[int]:
    """Return the lines that came into doubt; all others are what they were."""
    after = {line: slot for (_, line), slot in read(disk)[0].items()}
    assert before.keys() <= after.keys()
    changed = [line for line, slot in after.items() if line not in before or slot != before[line]]
    in_doubt = [
        line
        for line in changed
        if after[line] is None or (isinstance(slot := after[line], Exceptional) and isinstance(slot.outcome, Ambiguous))
    ]
    assert [line for line in changed if line not in in_doubt and not isinstance(after[line], Blank)] == []
    return sorted(in_doubt)


async def opens(tools: Tools) -> CheckpointLog:
    return await CheckpointLog.open(NOWHERE, RUN, BOUND, tools=tools)


# --- one entry ----------------------------------------------------------------------------------------------------------------


async def test_lost_outcomes_put_just_their_lines_in_doubt(disk: Any, flat: Tools) -> None:
    await load(await begin(flat), 1, 7, 13, 19)
    before = await end(disk)
    hit(disk, b'"ids":[13,14,15,16,17,18]')
    with pytest.raises(LogDamaged, match="had been acknowledged") as caught:
        await opens(flat)
    assert "loader log repair RUN" in caught.value.hint
    assert repair(disk, flat, 1)[0] == "damaged"
    assert doubted(before, disk) == [13, 14, 15, 16, 17, 18]
    log = await opens(flat)
    assert [live.doubts[13] for live in log.state.unresolved_windows()] == [REASON]
    assert log.state.counts.created == 4 * WINDOW_LINES - 6 - 2  # blank: 11 and 22


async def test_a_lost_intent_loses_no_outcome(disk: Any, flat: Tools) -> None:
    await load(await begin(flat), 1, 7, 13, 19)
    before = await end(disk)
    hit(disk, b'"lines":[7,13]')
    repair(disk, flat, 1)
    assert doubted(before, disk) == []
    assert (await opens(flat)).state.gaps(0) == []


async def test_a_lost_intent_behind_which_none_is_known_takes_one_window(disk: Any, flat: Tools) -> None:
    log = await begin(flat)
    await load(log, 1)
    await log.intend([window(0, 7, 13)])
    log.note("a", 1)
    await log.sync()
    log.note("a", 2)
    before = await end(disk)
    hit(disk, b'"lines":[7,13]')
    repair(disk, flat, 1)
    assert doubted(before, disk) == []
    log = await opens(flat)
    assert [sorted(live.doubts) for live in log.state.unresolved_windows()] == [[7, 8, 9, 10, 12]]
    assert log.state.last_intent_end(0) == (13, 120)


async def test_a_lost_note_affects_no_line_but_older_notes_of_its_name(disk: Any, flat: Tools) -> None:
    log = await begin(flat)
    log.note("unsent", 1)
    await load(log, 1, 7)
    log.note("unsent", 22222)
    await load(log, 13)
    before = await end(disk)
    hit(disk, b"22222")
    repair(disk, flat, 1)
    assert doubted(before, disk) == []
    assert "unsent" not in read(disk)[1]


@pytest.mark.parametrize("is_later", [False, True])
async def test_a_rejected_line_is_in_doubt_where_a_later_execution_may_have_sent_it_again(
    is_later: bool, disk: Any, flat: Tools
) -> None:
    log = await begin(flat)
    await log.intend([window(0, 1, 7)])
    outcomes: list[Outcome] = [Rejected("target", "7013", "no"), Rejected("parse", "json", "no"), Created(3)]
    settle(log, dict(enumerate(outcomes, 1)))
    await log.sync()
    if is_later:
        await end(disk)
        log = await opens(flat)
    await load(log, 7, 13)
    before = await end(disk)
    hit(disk, b'"ids":[7,8,9,10,12]')
    repair(disk, flat, 1)
    assert doubted(before, disk) == ([1] if is_later else []) + [7, 8, 9, 10, 12]
    if is_later:
        slot = read(disk)[0][0, 1]
        assert isinstance(slot, Exceptional)
        assert "7013" in str(slot.outcome)


async def test_lines_in_another_order_and_copies_of_lines_lose_nothing(disk: Any, flat: Tools) -> None:
    await load(await begin(flat), 1, 7, 13, 19)
    before = await end(disk)
    lines = disk.names[LOG].data.splitlines(keepends=True)
    disk.names[LOG].data = b"".join([*lines[:3], lines[5], lines[4], lines[3], *lines[6:], *lines[2:4]])
    assert repair(disk, flat, 1)[0] == "damaged"
    assert doubted(before, disk) == []


async def test_of_two_entries_with_one_number_neither_counts(disk: Any, flat: Tools) -> None:
    await load(await begin(flat), 1, 7, 13)
    before = await end(disk)
    lines = disk.names[LOG].data.splitlines(keepends=True)
    (at,) = (at for at, line in enumerate(lines) if b'"ids":[7,8,9,10,12]' in line)
    other = seal(Outcomes(n=at, s=at - 1, source=0, created=[7], ids=[999]), seed_of(RUN))
    assert f'"n":{at},' in lines[at].decode()
    disk.names[LOG].data = b"".join([*lines[:at], other, *lines[at:]])
    repair(disk, flat, 1)
    assert doubted(before, disk) == [7, 8, 9, 10, 12]


async def test_a_damaged_line_feed_loses_nothing(disk: Any, flat: Tools) -> None:
    await load(await begin(flat), 1, 7, 13)
    before = await end(disk)
    lines = disk.names[LOG].data.splitlines(keepends=True)
    disk.names[LOG].data = b"".join([*lines[:4], lines[4][:-1], b"*", *lines[5:]])
    assert repair(disk, flat, 1)[0] == "damaged"
    assert doubted(before, disk) == []


async def test_a_lost_sector_takes_what_stood_in_it(disk: Any, flat: Tools) -> None:
    await load(await begin(flat), *range(1, 61, 6))
    before = await end(disk)
    data = disk.names[LOG].data
    at = data.index(b'"lines":[25,31]')
    disk.names[LOG].data = data[: at - 40] + bytes(320) + data[at + 280 :]
    repair(disk, flat, 1)
    in_doubt = doubted(before, disk)
    assert {*range(25, 31)} <= {*in_doubt} <= {*range(19, 37)}


# --- the header, and whole files ------------------------------------------------------------------------------------------------


async def test_a_lost_header_is_made_anew(disk: Any, tools: Tools) -> None:
    await load(await begin(tools), *range(1, 61, 6))
    before = await end(disk)
    disk.names[LOG].data = b"#" + disk.names[LOG].data[1:]
    verdict, copies = repair(disk, tools, 1)
    assert (verdict, copies) == ("damaged", ["checkpoint.log.damaged"])
    assert doubted(before, disk) == []
    assert (await opens(tools)).state.bound == BOUND


async def test_folds_are_made_anew_from_a_log_that_has_all_entries(disk: Any, tools: Tools) -> None:
    sizes = replace(tools.sizes, rotate_bytes=MANY, close_bytes=MANY)
    await load(await begin(replace(tools, sizes=sizes)), *range(1, 61, 6))
    before = await end(disk)
    files = {name: disk.names[name].data for name in (LOG, SETTLED)}
    assert files[SETTLED].count(b'"t":"fold"') > 2
    for part in (b'"n":3,', b'"n":4,'):  # a head, a body
        for name, data in files.items():
            disk.names[name].data = data
        hit(disk, part, SETTLED)
        assert repair(disk, tools, 1)[0] == "damaged"
        assert doubted(before, disk) == []
        disk.kill()
    disk.names[LOG].data = files[LOG]
    del disk.names[SETTLED]
    assert repair(disk, tools, 1)[0] == "sound"  # an opening makes them anew by itself


async def rotated(tools: Tools) -> CheckpointLog:
    """Leave a log of a later generation, most of which is folded."""
    log = await begin(tools)
    await load(log, *range(1, 121, 6))
    await log.close()
    log = await opens(tools)
    await load(log, 121, 127)
    assert log.state.header.generation > 0
    return log


@pytest.mark.parametrize("part", [b'"n":3,', b'"n":4,'])
async def test_a_lost_fold_that_only_checkpoint_settled_had_is_in_doubt(part: bytes, disk: Any, tools: Tools) -> None:
    log = await rotated(tools)
    ref = list(log.state.folds())[1]
    before = await end(disk)
    hit(disk, part, SETTLED)
    _, copies = repair(disk, tools, 1)
    assert copies == ["checkpoint.log.damaged", "checkpoint.settled.damaged"]
    blank = {line for line, slot in before.items() if isinstance(slot, Blank)}
    assert doubted(before, disk) == [line for line in range(ref.first, ref.end) if line not in blank]


async def test_lost_folds_after_a_rotation_are_in_doubt(disk: Any, tools: Tools) -> None:
    log = await rotated(tools)
    folded = {line for ref in log.state.folds() if ref.upto < log.state.header.n for line in range(ref.first, ref.end)}
    before = await end(disk)
    del disk.names[SETTLED]
    assert repair(disk, tools, 1)[1] == ["checkpoint.log.damaged"]
    assert doubted(before, disk) == sorted(line for line in folded if not isinstance(before[line], Blank))


@pytest.mark.parametrize("has_marks", [False, True])
@pytest.mark.parametrize("is_asked_first", [False, True])
async def test_where_nobody_knows_how_far_it_came_all_is_in_doubt_or_asked_for(
    is_asked_first: bool, has_marks: bool, disk: Any, tools: Tools
) -> None:
    log = await begin(tools)
    await load(log, 1, 7)
    await end(disk)
    early = disk.names[LOG].data
    log = await opens(tools)
    await load(log, *range(13, 61, 6))
    folded_end = max(ref.end for ref in log.state.folds())
    before = await end(disk)
    disk.names[LOG].data = early  # a backup was brought back, but of the log alone
    if not has_marks:
        del disk.names["checkpoint.intended"]
    with pytest.raises(LogDamaged, match="shorter"):
        await opens(tools)
    assert repair(disk, tools, 1, is_asked_first=is_asked_first)[0] == "shortened"
    if is_asked_first:
        assert (await opens(tools)).state.last_intent_end(0)[0] == (61 if has_marks else folded_end)
    else:
        assert doubted(before, disk)[-1] == LINES
        assert (await opens(tools)).state.last_intent_end(0)[0] == LINES + 1


async def test_the_marks_tell_of_a_source_whose_only_intent_is_lost(disk: Any, flat: Tools) -> None:
    # Case 12281 of 20,000: the source before it might have gone on, so nothing was known of the next one.
    log = await begin(flat)
    await load(log, 1, 7)
    await log.intend([window(1, 1, 4)])
    await die()
    disk.kill()
    before, _ = read(disk)
    hit(disk, b'"source":1,', LOG)
    hit(disk, b'"n":3,', LOG)
    assert repair(disk, flat, 2)[0] == "damaged"
    after, _ = read(disk)
    assert before.keys() <= after.keys()
    assert all(after[1, line] is None for line in (1, 2, 3))


@pytest.mark.parametrize("name", [LOG, SETTLED])
async def test_what_another_run_wrote_is_refused(name: str, disk: Any, tools: Tools) -> None:
    await load(await CheckpointLog.create(NOWHERE, "zzzzzzzzzz", BOUND, tools=tools), *range(1, 61, 6))
    await end(disk)
    foreign = disk.names[name].data
    disk.__init__()
    await load(await begin(tools), *range(1, 61, 6))
    await end(disk)
    for data in (foreign, b"#" + foreign[1:]):
        disk.names[name].data = data
        files = {at: node.data for at, node in disk.names.items()}
        with pytest.raises(LogDamaged, match="not of this run"):
            repair(disk, tools, 1)
        assert {at: node.data for at, node in disk.names.items()} == files


@pytest.mark.parametrize("is_asked_first", [False, True])
async def test_a_missing_log_is_made_of_its_folds(is_asked_first: bool, disk: Any, tools: Tools) -> None:
    log = await rotated(tools)
    folded = {line for ref in log.state.folds() for line in range(ref.first, ref.end)}
    before = await end(disk)
    del disk.names[LOG]
    assert repair(disk, tools, 1, is_asked_first=is_asked_first) == ("damaged", [])
    after = {line: slot for (_, line), slot in read(disk)[0].items()}
    assert {line: after[line] for line in folded} == {line: before[line] for line in folded}
    assert (LINES in after) is not is_asked_first


async def test_where_nothing_is_left_nothing_is_made(disk: Any, tools: Tools) -> None:
    with pytest.raises(LogDamaged, match="nothing is left"):
        repair(disk, tools, 1)
    assert not disk.names


# --- the manners of a repair ------------------------------------------------------------------------------------------------


async def test_a_sound_log_and_a_torn_one_are_left_alone(disk: Any, tools: Tools) -> None:
    await load(await begin(tools), *range(1, 61, 6))
    await end(disk)
    for more, verdict in ((b"", "sound"), (b'{"t":"outc', "torn")):
        disk.names[LOG].data += more
        files = {at: node.data for at, node in disk.names.items()}
        assert repair(disk, tools, 1) == (verdict, [])
        assert {at: node.data for at, node in disk.names.items()} == files


async def test_a_run_that_goes_on_is_not_repaired(disk: Any, tools: Tools) -> None:
    await load(await begin(tools), 1)
    with pytest.raises(LogLocked):
        repair(disk, tools, 1)


async def test_an_examination_changes_nothing(disk: Any, tools: Tools) -> None:
    await rotated(tools)
    await end(disk)
    hit(disk, b'"n":3,', SETTLED)
    files = {at: node.data for at, node in disk.names.items()}
    disk.operations = []
    work = Repair(disk, RUN, BOUND, is_locked=False)
    work.close()
    assert work.found.verdict == "damaged"
    assert {at: node.data for at, node in disk.names.items()} == files
    assert disk.operations == []


async def test_every_copy_is_kept(disk: Any, flat: Tools) -> None:
    await load(await begin(flat), 1, 7, 13)
    await end(disk)
    for count in range(3):
        disk.names[LOG].data = b"#" + disk.names[LOG].data[1:]
        damaged = disk.names[LOG].data
        (name,) = repair(disk, flat, 1)[1]
        assert name == "checkpoint.log.damaged" + (f"-{count}" if count else "")
        assert disk.names[name].data == damaged
        disk.kill()


async def test_a_repair_that_is_cut_short_is_ended_by_the_next_one(disk: Any, tools: Tools) -> None:
    writer = Writer(7, tools, disk)
    await writer.write()
    before, _ = read(disk)
    for name in (LOG, SETTLED):
        data = disk.names[name].data
        disk.names[name].data = data[: len(data) // 2] + bytes(8) + data[len(data) // 2 + 8 :]
    files = {at: node.data for at, node in disk.names.items()}
    stop_at = 0
    while True:
        disk.__init__()
        for name, data in files.items():
            disk.create(name).append(data)
            disk.names[name].durable = data
        disk.sync()
        disk.operations = []
        disk.stop_at = stop_at
        try:
            repair(disk, tools, writer.sources)
        except OSError:
            pass
        else:
            break
        disk.kill()
        repair(disk, tools, writer.sources)
        disk.kill()
        after, _ = read(disk)
        assert before.keys() <= after.keys()
        for key, slot in after.items():
            is_doubtful = slot is None or (isinstance(slot, Exceptional) and isinstance(slot.outcome, Ambiguous))
            assert is_doubtful or slot == before.get(key, slot)
        assert {*files.values()} <= {node.data for node in disk.names.values()}  # the damaged files are there still
        stop_at += 1
    assert stop_at > 8
