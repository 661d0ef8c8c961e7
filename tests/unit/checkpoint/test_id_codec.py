from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.checkpoint.format import Packed
from loader.checkpoint.id_codec import Id, id_ranges, pack_ids, unpack_ids

wide = st.integers(-(2**63), 2**64 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=80)
hexes = st.integers(1, 12).flatmap(
    lambda size: st.lists(st.binary(min_size=size, max_size=size).map(bytes.hex), min_size=1)
)


@given(st.lists(wide, min_size=1) | st.lists(texts, min_size=1) | hexes | st.lists(wide | texts, min_size=1))
def test_ids_come_back_as_they_were(ids: list[Id]) -> None:
    packed = pack_ids(ids)
    assert unpack_ids(packed) == ids
    assert packed.count == len(ids)
    ints, longest = id_ranges(ids)
    for item in ids:
        ends = ints if isinstance(item, int) else longest
        assert ends is not None
        assert ends[0] <= item <= ends[1]  # type: ignore[operator]  # numbers with numbers, texts with texts


@pytest.mark.parametrize(
    "ids, form",
    [
        ([1547, 1548, 1551], "int"),
        ([2**61, -(2**61)], "int"),
        ([2**63], "json"),
        (["660fa9bd6a831e0f4f02446f", "660fa9bd6a831e0f4f024470"], "hex"),
        (["660FA9BD"], "json"),
        (["ab", "abcd"], "json"),
        (["abc"], "json"),
        ([""], "json"),
        (["a b c "], "json"),
        (["ab\n\n"], "json"),
        (["\uff11\uff12"], "json"),
        ([1, "1"], "json"),
    ],
)
def test_the_form_follows_the_ids(ids: list[Id], form: str) -> None:
    packed = pack_ids(ids)
    assert packed.form == form
    assert unpack_ids(packed) == ids


def test_a_long_list_becomes_short() -> None:
    ints: list[Id] = [10**6 + 3 * at for at in range(4096)]
    hexes: list[Id] = [f"660fa9bd6a831e0f4f{at:06x}" for at in range(4096)]
    assert len(pack_ids(ints).data) < 300
    assert len(pack_ids(hexes).data) < 2000


@pytest.mark.parametrize(
    "packed",
    [
        Packed("int", 2, 8, pack_ids([1]).data),
        Packed("hex", 1, 5, pack_ids(["abcd"]).data),
        Packed("hex", 1, 0, pack_ids(["abcd"]).data),
        Packed("zip", 1, 8, pack_ids([1]).data),
        Packed("json", 1, 0, pack_ids([1]).data),
        Packed("int", 1, 8, "AAAA"),
        Packed("int", 1, 8, "!"),
    ],
)
def test_broken_ids_are_an_error(packed: Packed) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - from four libraries, each with its own words
        unpack_ids(packed)
