from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import loader.checkpoint
from loader.checkpoint.format import (
    LOG_SEED,
    SETTLED_SEED,
    Header,
    Note,
    Outcomes,
    checksum,
    decode,
    each_line,
    is_sealed,
    pack_lines,
    seal,
    seed_of,
)

RUN = "k3j9abcdef"
SEED = seed_of(RUN)
TEXT = (Path(loader.checkpoint.__file__).parent / "FORMAT.md").read_text()
EXAMPLES = [
    (SETTLED_SEED if kind else LOG_SEED, line.encode())
    for kind, block in re.findall(r"```json( settled)?\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]

numbers = st.lists(st.integers(1, 40), unique=True)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
ids = st.none() | st.integers(-(2**63), 2**64 - 1) | texts


@pytest.mark.parametrize("kind, line", EXAMPLES)
def test_the_examples_of_the_description_are_what_is_written(kind: bytes, line: bytes) -> None:
    seed = seed_of(RUN, kind)
    assert is_sealed(line, seed)
    assert seal(decode(line), seed) == line + b"\n"


def test_the_description_names_every_entry() -> None:
    described = {decode(line).__struct_config__.tag for _, line in EXAMPLES}
    assert described == {"header", "opened", "intent", "outcomes", "doubt", "note", "snapshot", "fold", "body"}


@given(created=st.lists(ids, max_size=8), message=texts, was=st.text("cnukra"))
def test_an_entry_comes_back_as_it_was(created: list[int | str | None], message: str, was: str) -> None:
    entry = Outcomes(
        n=7,
        s=3,
        source=1,
        created=pack_lines(list(range(5, 5 + len(created)))),
        ids=created,
        rejected=[(2, 99, "target", "400", message)],
        ambiguous=[(3, 120, message)],
        was=was,
    )
    line = seal(entry, SEED)
    assert line.count(b"\n") == 1
    assert is_sealed(line[:-1], SEED)
    assert decode(line[:-1]) == entry
    assert line.endswith(b'"c":"' + checksum(line).encode() + b'"}\n')


def test_every_bit_of_a_line_is_covered() -> None:
    line = seal(Note(n=12, s=11, name="rate", value={"a": [1, None, "ü"]}), SEED)[:-1]
    for at in range(len(line) * 8):
        flipped = bytearray(line)
        flipped[at // 8] ^= 1 << at % 8
        assert not is_sealed(bytes(flipped), SEED)


@pytest.mark.parametrize("digits", [b"9A1C02BE", b"9a1c_2be", b" 9a1c02b", b"0x9a1c02"])
def test_a_checksum_is_compared_as_bytes(digits: bytes) -> None:
    line = seal(Note(n=1, s=0, name="a", value=1), SEED)[:-1]
    assert not is_sealed(line[:-10] + digits + b'"}', SEED)
    assert not is_sealed(line[:-10] + line[-10:-2].upper().replace(b"0", b" ") + b'"}', SEED)


def test_lines_of_another_run_or_file_never_validate() -> None:
    line = seal(Header(n=0, s=-1, format=1, run=RUN), SEED)[:-1]
    assert is_sealed(line, SEED)
    assert not is_sealed(line, seed_of("k3j9abcdeg"))
    assert not is_sealed(line, seed_of(RUN, SETTLED_SEED))


@pytest.mark.parametrize("line", [b"", b"{", b'"}', b',"c":"00000000"}', b"\0" * 40])
def test_short_and_empty_lines_are_not_sealed(line: bytes) -> None:
    assert not is_sealed(line, SEED)


def test_an_entry_of_a_later_version_is_an_error() -> None:
    known = seal(Note(n=1, s=0, name="a", value=1), SEED)[:-1]
    for change in ((b'"note"', b'"undo"'), (b'"name"', b'"title"'), (b'"value"', b'"worth"')):
        with pytest.raises(ValueError, match=r"Invalid value|unknown field"):
            decode(known.replace(*change))


@given(numbers)
def test_line_numbers_keep_their_order(lines: list[int]) -> None:
    assert list(each_line(pack_lines(lines))) == lines


@given(st.sets(st.integers(1, 60)).map(sorted))
def test_runs_of_lines_are_packed(lines: list[int]) -> None:
    packed = pack_lines(lines)
    assert list(each_line(packed)) == lines
    assert len(packed) <= len(lines)
    assert all(isinstance(item, int) or item[1] - item[0] >= 3 for item in packed)
    if len(lines) > 2 and lines[-1] - lines[0] == len(lines) - 1:
        assert packed == [(lines[0], lines[-1] + 1)]
