"""Every kind of load, once. What depends on the kind of a target is asked here, or of the settings themselves.

A new kind is a folder beside `ozari` and `canbus`, a type of settings, and one name below. `tests/unit/targets/test_contract.py`
walks this table, so a kind without a case there fails. Cheap to import; what is heavy is imported when it is built.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from loader.errors import UsageError
from loader.redaction import Redactor
from loader.settings import Credentials, Secret, TargetSettings
from loader.targets.canbus.kinds import CANBUS_ADD
from loader.targets.kind import Kind
from loader.targets.ozari.kinds import OZARI_INSERT, OZARI_UPDATE

if TYPE_CHECKING:
    from loader.targets.base import (
        Capability,
        CreatedRow,
        Lookup,
        NoQueryEndpoint,
        QueryEndpoint,
        Shaper,
        Target,
        UpdateLookup,
    )
    from loader.targets.canbus.records import CanbusRecords

KINDS = {kind.name: kind for kind in (OZARI_INSERT, OZARI_UPDATE, CANBUS_ADD)}
_BY_SETTINGS = {kind.settings: kind for kind in KINDS.values()}


def kind_of(settings: TargetSettings) -> Kind:
    """Return the kind that settings belong to."""
    return _BY_SETTINGS[type(settings)]


def build_shaper(settings: TargetSettings, run_id: str, secrets: Iterable[Secret] = ()) -> Shaper:
    """Build what makes records of lines. `secrets`: never shown of a line that is refused. Errors: UsageError for a bad name."""
    kind = kind_of(settings)
    kind.check(settings)
    return kind.new_shaper(settings, run_id, Redactor(secrets))


def build_target(settings: TargetSettings, credentials: Credentials, run_id: str) -> Target:
    """Build the target of a load. Errors: UsageError for a bad name, or another vendor's credentials."""
    kind = _checked(settings, credentials)
    return kind.new_target(build_shaper(settings, run_id, credentials.secrets), credentials)


def build_capability(settings: TargetSettings, credentials: Credentials) -> Capability:
    """Build the question whether the table can be queried, and where it ends now."""
    kind = _checked(settings, credentials)
    assert kind.new_capability is not None  # noqa: S101 -- only a kind that is asked by a question comes here; this tells mypy
    return kind.new_capability(settings, Redactor(credentials.secrets))


def build_lookup(
    settings: TargetSettings,
    credentials: Credentials,
    endpoint: QueryEndpoint | NoQueryEndpoint,
    floor_fid: int | None,
) -> Lookup | None:
    """Build the question about ambiguous records, or None if there is nothing to ask by.

    `floor_fid`: the highest fid of the table before the run's first record; used by key alone, where rows may be older.
    """
    kind = _checked(settings, credentials)
    if kind.new_lookup is None:
        return None
    return kind.new_lookup(settings, Redactor(credentials.secrets), endpoint, floor_fid)


def build_created_row(settings: TargetSettings, credentials: Credentials, run_id: str) -> CreatedRow:
    """Build the question whether a created row is still there."""
    kind = _checked(settings, credentials)
    assert kind.new_created_row is not None  # noqa: S101 -- only a kind with a capability comes here; this tells mypy
    return kind.new_created_row(settings, Redactor(credentials.secrets), run_id)


def build_update_lookup(
    settings: TargetSettings, credentials: Credentials, endpoint: QueryEndpoint | NoQueryEndpoint
) -> UpdateLookup:
    """Build the question about ambiguous updates that touch their own filters."""
    kind = _checked(settings, credentials)
    assert kind.new_update_lookup is not None  # noqa: S101 -- as above
    return kind.new_update_lookup(settings, Redactor(credentials.secrets), endpoint)


def build_canbus_records(credentials: Credentials) -> CanbusRecords:
    """Build the calls that delete and list records."""
    if not isinstance(credentials, CANBUS_ADD.vendor.credentials):
        raise _wrong_credentials()
    assert CANBUS_ADD.new_records is not None  # noqa: S101 -- as above
    records: CanbusRecords = CANBUS_ADD.new_records(credentials)
    return records


def _checked(settings: TargetSettings, credentials: Credentials) -> Kind:
    kind = kind_of(settings)
    if not isinstance(credentials, kind.vendor.credentials):
        raise _wrong_credentials()
    kind.check(settings)
    return kind


def _wrong_credentials() -> UsageError:
    return UsageError("these are the other target's credentials", "Ozari takes a token, Canbus four values")
