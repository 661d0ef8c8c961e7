"""What each kind of target says of itself, as one table."""

from __future__ import annotations

from dataclasses import fields

import pytest

from loader.settings import AmbiguousPolicy, CanbusAdd, Options, OzariInsert, OzariUpdate, TargetSettings, asks_first

NO, YES = False, True
TABLE: list[tuple[TargetSettings, bool, bool, bool, bool]] = [
    # settings, is_update, is_askable, needs_proof, asks_first
    (OzariInsert("t"), NO, NO, NO, NO),
    (OzariInsert("t", key="k"), NO, YES, NO, NO),
    (OzariInsert("t", key="k", is_unique=True), NO, YES, NO, NO),
    (OzariInsert("t", stamp="s"), NO, YES, YES, YES),
    (OzariInsert("t", stamp="s", is_unique=True), NO, YES, YES, YES),
    (OzariInsert("t", key="k", stamp="s"), NO, YES, YES, YES),
    (OzariInsert("t", key="k", stamp="s", is_unique=True), NO, YES, YES, YES),
    (OzariUpdate("t"), YES, YES, NO, NO),
    (OzariUpdate("t", match=("m",)), YES, YES, NO, NO),
    (CanbusAdd(), NO, NO, NO, NO),
    (CanbusAdd(user="u"), NO, NO, NO, NO),
    (CanbusAdd(key="k"), NO, NO, NO, NO),
    (CanbusAdd(stamp="s"), NO, NO, NO, NO),
    (CanbusAdd(key="k", stamp="s"), NO, NO, NO, NO),
    (CanbusAdd(is_unique=True), NO, NO, NO, NO),
    (CanbusAdd(key="k", is_unique=True), NO, YES, YES, NO),
    (CanbusAdd(stamp="s", is_unique=True), NO, YES, YES, YES),
    (CanbusAdd(key="k", stamp="s", is_unique=True), NO, YES, YES, YES),
]
POLICIES: dict[AmbiguousPolicy | None, bool] = {None: YES, "reconcile": YES, "hold": NO, "resend": NO}


@pytest.mark.parametrize(("settings", "is_update", "is_askable", "needs_proof", "is_asked_first"), TABLE)
def test_what_a_kind_says_of_itself(
    settings: TargetSettings, *, is_update: bool, is_askable: bool, needs_proof: bool, is_asked_first: bool
) -> None:
    assert settings.is_update is is_update
    assert settings.is_askable is is_askable
    assert settings.needs_proof is needs_proof
    assert settings.asks_first is is_asked_first


@pytest.mark.parametrize(("policy", "does_ask"), POLICIES.items())
@pytest.mark.parametrize("settings", [row[0] for row in TABLE])
def test_a_resume_asks_first_if_the_policy_is_to_reconcile(
    settings: TargetSettings, policy: AmbiguousPolicy | None, *, does_ask: bool
) -> None:
    assert asks_first(settings, Options(ambiguous=policy)) is (does_ask and settings.asks_first)


def test_answers_are_not_settings() -> None:
    """They are in no run.json, and no two settings differ by them."""
    assert [field.name for field in fields(OzariInsert)] == ["table", "key", "stamp", "is_unique"]
    assert [field.name for field in fields(OzariUpdate)] == ["table", "match"]
    assert [field.name for field in fields(CanbusAdd)] == ["user", "key", "stamp", "is_unique"]
    assert (OzariUpdate("t").key, OzariUpdate("t").stamp, CanbusAdd().table) == (None, None, None)
