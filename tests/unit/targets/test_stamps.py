"""Stamps: one length for all lines of a run, and the form of earlier versions for the runs that have it."""

from __future__ import annotations

import pytest

from loader.errors import SourceError
from loader.targets.stamp_form import EARLIER_FORM, LINE_DIGITS, form_for
from loader.targets.stamps import Stamps

LAST = 10**LINE_DIGITS - 1


@pytest.mark.parametrize("sources, last_source", [(1, 0), (2, 1), (10, 9), (11, 10), (3000, 2999)])
def test_all_stamps_of_a_run_have_one_length(sources: int, last_source: int) -> None:
    stamps = Stamps("f", "txc3rgjmdh", form_for(sources))
    texts = [stamps.text(source, line) for source in (0, last_source) for line in (1, 9, 10, 99_999, LAST)]
    assert len({len(text) for text in texts}) == 1
    assert len(texts[0]) <= 32
    assert len(set(texts)) == len(texts) // (1 if last_source else 2)


def test_the_numbers_stand_behind_the_run_id_with_leading_zeros() -> None:
    assert Stamps("f", "abc", form_for(1)).text(0, 12) == "abc-000000012"
    assert Stamps("f", "abc", form_for(12)).text(3, 12) == "abc-03x000000012"
    assert Stamps("f", "abc", form_for(12)).text(0, 12) == "abc-00x000000012"


def test_a_run_of_an_earlier_version_keeps_its_form() -> None:
    stamps = Stamps("f", "abc", EARLIER_FORM)
    assert [stamps.text(0, 12), stamps.text(2, 12)] == ["abc-12", "abc-2x12"]


def test_no_stamp_is_longer_than_the_others() -> None:
    stamps = Stamps("f", "abc", form_for(1))
    with pytest.raises(SourceError, match="more than 999,999,999 lines"):
        stamps.text(0, LAST + 1)
