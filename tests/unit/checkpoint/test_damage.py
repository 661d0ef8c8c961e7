"""Damaged logs: what can be read is what was written, up to a point; what was acknowledged is never lost in silence.

LOADER_FUZZ_CASES says how many (`make soak`: 200,000).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import cache

import pytest

from loader.checkpoint.format import AnyEntry, Header, Intent, Note, Outcomes, seal, seed_of
from loader.checkpoint.scan import Scanner, read_header
from loader.errors import LogDamaged

CASES = int(os.environ.get("LOADER_FUZZ_CASES", "4000"))
SEED = seed_of("k3j9abcdef")
FOREIGN = seed_of("zzzzzzzzzz")


@cache
def written(kind: int, seed: int = SEED) -> tuple[tuple[AnyEntry, ...], tuple[bytes, ...], int]:
    """Return entries and lines of a log as a run writes them, and the number of the last one that was synced."""
    draw = random.Random(kind)
    entries: list[AnyEntry] = [Header(n=0, s=-1, format=1, run="k3j9abcdef")]
    synced = 0
    for n in range(1, draw.randint(5, 40)):
        choice = draw.random()
        if choice < 0.3:
            first = n * 100
            entries.append(
                Intent(
                    n=n,
                    s=synced,
                    source=0,
                    lines=(first, first + 50),
                    bytes=(first, first + 50),
                    crc=draw.getrandbits(32),
                )
            )
        elif choice < 0.9:
            count = draw.randint(1, 30)
            ids: list[int | str | None] = [draw.getrandbits(40) for _ in range(count)]
            entries.append(Outcomes(n=n, s=synced, source=0, created=[(n * 100, n * 100 + count)], ids=ids))
        else:
            entries.append(Note(n=n, s=synced, name="rate", value=draw.random()))
        if draw.random() < 0.4:
            synced = n
    return tuple(entries), tuple(seal(entry, seed) for entry in entries), synced


def read(data: bytes, draw: random.Random | None = None) -> tuple[list[AnyEntry], Scanner]:
    """Read a log in blocks of any size."""
    size = draw.randint(1, 5000) if draw else 1 << 20
    scanner = Scanner(SEED)
    blocks = (data[at : at + size] for at in range(0, len(data), size))
    return [entry for _, entry in scanner.entries(blocks)], scanner


def noise(draw: random.Random, size: int) -> bytes:
    return draw.choice(
        [bytes(size), draw.randbytes(size), b"\n" * size, b'{"t":"note","n":3,"s":2,"c":"00000000"}\n'[:size]]
    )


# --- damage that must be survived without a loss: only what no sync had acknowledged ------------------------------------------


def truncated(lines: tuple[bytes, ...], synced: int, draw: random.Random) -> bytes:
    data = b"".join(lines)
    return data[: draw.randint(len(b"".join(lines[: synced + 1])), len(data))]


def with_torn_tail(lines: tuple[bytes, ...], synced: int, draw: random.Random) -> bytes:
    return truncated(lines, synced, draw) + noise(draw, draw.randint(1, 3000))


def with_foreign_tail(lines: tuple[bytes, ...], synced: int, draw: random.Random) -> bytes:
    foreign = b"".join(written(draw.randint(0, 20), FOREIGN)[1])
    return truncated(lines, synced, draw) + foreign[draw.randint(0, len(foreign)) :]


def with_sectors_lost_behind_the_sync(lines: tuple[bytes, ...], synced: int, draw: random.Random) -> bytes:
    data = bytearray(b"".join(lines))
    for at in range(len(b"".join(lines[: synced + 1])), len(data), 512):
        if draw.random() < 0.5:
            end = min(at + 512, len(data))
            data[at:end] = noise(draw, end - at)[: end - at].ljust(end - at, b"\0")
    return bytes(data)


# --- damage to what was acknowledged: refused, or not seen because nothing later was written --------------------------------


def with_flipped_bits(lines: tuple[bytes, ...], synced: int, draw: random.Random) -> bytes:
    data = bytearray(b"".join(lines))
    for _ in range(draw.randint(1, 3)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def with_lost_sectors(lines: tuple[bytes, ...], synced: int, draw: random.Random) -> bytes:
    data = bytearray(b"".join(lines))
    at = draw.randrange(len(data)) // 512 * 512
    data[at : at + 512] = bytes(len(data[at : at + 512]))
    return bytes(data)


def with_swapped_lines(lines: tuple[bytes, ...], synced: int, draw: random.Random) -> bytes:
    kept = list(lines)
    one, other = draw.randrange(len(kept)), draw.randrange(len(kept))
    kept[one], kept[other] = kept[other], kept[one]
    return b"".join(kept)


def with_stale_lines(lines: tuple[bytes, ...], synced: int, draw: random.Random) -> bytes:
    at, end = sorted((draw.randrange(len(lines)), draw.randrange(len(lines))))
    return b"".join((*lines[:end], *lines[at:end], *lines[end:]))


def without_lines(lines: tuple[bytes, ...], synced: int, draw: random.Random) -> bytes:
    at = draw.randrange(len(lines))
    return b"".join((*lines[:at], *lines[at + draw.randint(1, 3) :]))


HARMLESS = [truncated, with_torn_tail, with_foreign_tail, with_sectors_lost_behind_the_sync]
HARMFUL = [with_flipped_bits, with_lost_sectors, with_swapped_lines, with_stale_lines, without_lines]
Damage = Callable[[tuple[bytes, ...], int, random.Random], bytes]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("damage", HARMLESS)
def test_losing_what_was_not_acknowledged_is_harmless(damage: Damage) -> None:
    for case in range(CASES // 9):
        draw = random.Random(case)
        entries, lines, synced = written(case % 200)
        data = damage(lines, synced, draw)
        found, scanner = read(data, draw)
        assert found == list(entries[: len(found)]), case
        assert len(found) > synced, case
        assert data.startswith(b"".join(lines[: len(found)]))
        assert scanner.offset == len(b"".join(lines[: len(found)]))
        assert scanner.next_n == len(found)
        assert (scanner.ending == "clean") == (scanner.offset == len(data))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("damage", HARMFUL)
def test_damage_never_makes_a_record(damage: Damage) -> None:
    refused = unnoticed = 0
    for case in range(CASES // 9):
        draw = random.Random(case)
        entries, lines, _ = written(case % 200)
        data = damage(lines, 0, draw)
        try:
            found, _ = read(data, draw)
        except LogDamaged:
            refused += 1
            continue
        assert found == list(entries[: len(found)]), case
        last = max(entry.s for entry in entries)
        if len(found) <= last:  # an acknowledged entry is gone: only where every line that knew of it is gone too
            assert not any(entry.s >= len(found) and line in data for entry, line in zip(entries, lines, strict=True))
            unnoticed += 1
    assert refused > CASES // 9 // 5
    assert unnoticed < CASES // 9 // 10


def test_lines_written_out_of_order_before_a_sync_are_cut() -> None:
    lines = [
        seal(Header(n=0, s=-1, format=1, run="k3j9abcdef"), SEED),
        *(seal(Note(n=n, s=0, name="a", value=n), SEED) for n in (1, 2, 3, 4)),
    ]
    found, scanner = read(b"".join(lines[:2]) + bytes(len(lines[2])) + b"\n" + b"".join(lines[3:]))
    assert [entry.n for entry in found] == [0, 1]
    assert (scanner.ending, scanner.lost_lines) == ("lost", 2)


def test_a_hole_that_had_been_acknowledged_is_refused() -> None:
    lines = [seal(Header(n=0, s=-1, format=1, run="k3j9abcdef"), SEED)]
    lines += [seal(Note(n=n, s=n - 1, name="a", value=n), SEED) for n in (1, 2, 3)]
    with pytest.raises(LogDamaged, match="entry 2 had been acknowledged") as caught:
        read(b"".join((*lines[:2], b"\0" * 10 + b"\n", lines[3])))
    assert caught.value.exit_code == 5
    assert caught.value.hint


@pytest.mark.parametrize("between", [b"", b"\0" * 40, b"*", b'{"t":"note","n":2'])
def test_a_damaged_newline_hides_nothing(between: bytes) -> None:
    lines = [seal(Header(n=0, s=-1, format=1, run="k3j9abcdef"), SEED)]
    lines += [seal(Note(n=n, s=n - 1, name="a", value=n), SEED) for n in (1, 2)]
    with pytest.raises(LogDamaged, match="entry 1 had been acknowledged"):
        read(b"".join((lines[0], lines[1][:-1], between, lines[2])))


def test_a_repeated_number_is_refused() -> None:
    lines = [seal(Header(n=0, s=-1, format=1, run="k3j9abcdef"), SEED)]
    lines += [seal(Note(n=n, s=0, name="a", value=n), SEED) for n in (1, 1)]
    with pytest.raises(LogDamaged, match="repeats entry 1"):
        read(b"".join(lines))


def test_an_entry_of_a_later_version_is_told_from_damage() -> None:
    import zlib

    content = b'{"t":"undone","n":0,"s":-1'
    line = content + b',"c":"%08x"}\n' % zlib.crc32(content, SEED)
    with pytest.raises(LogDamaged, match="does not know"):
        read(line)


@pytest.mark.parametrize("line", [b"", b"{}\n", seal(Note(n=0, s=0, name="a", value=1), SEED), b"\n"])
def test_a_header_is_nothing_else(line: bytes) -> None:
    assert read_header(line, SEED) is None
