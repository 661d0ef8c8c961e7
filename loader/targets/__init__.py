"""The targets, built from settings. Nothing here is imported before a load begins: each target brings its decoder with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from loader.errors import UsageError
from loader.settings import (
    CanbusAdd,
    CanbusCredentials,
    Credentials,
    OzariCredentials,
    OzariInsert,
    OzariUpdate,
    TargetSettings,
)

if TYPE_CHECKING:
    from loader.targets.base import Lookup, NoQueryEndpoint, QueryEndpoint, Target, UpdateLookup
    from loader.targets.canbus.records import CanbusRecords
    from loader.targets.ozari.lookup import OzariCapability


def build_target(settings: TargetSettings, credentials: Credentials, run_id: str) -> Target:
    """Build the target of a load. Errors: UsageError for a name that cannot be one, or another target's credentials."""
    match settings:
        case OzariInsert():
            from loader.targets.ozari.insert import OzariInsertTarget

            return OzariInsertTarget(settings, _ozari(credentials), run_id)
        case OzariUpdate():
            from loader.targets.ozari.update import OzariUpdateTarget

            return OzariUpdateTarget(settings, _ozari(credentials))
        case CanbusAdd():
            from loader.targets.canbus.add import CanbusAddTarget

            if not isinstance(credentials, CanbusCredentials):
                raise _wrong_credentials()
            return CanbusAddTarget(settings, credentials, run_id)
        case _:
            assert_never(settings)


def build_capability(settings: OzariInsert | OzariUpdate, credentials: Credentials) -> OzariCapability:
    """Build the question whether the table can be queried, and where it ends now."""
    from loader.redaction import Redactor
    from loader.targets.ozari.api import check_table
    from loader.targets.ozari.lookup import OzariCapability

    return OzariCapability(check_table(settings.table), Redactor(_ozari(credentials).secrets))


def build_lookup(
    settings: OzariInsert,
    credentials: Credentials,
    endpoint: QueryEndpoint | NoQueryEndpoint,
    floor_fid: int | None,
) -> Lookup | None:
    """Build the way to ask about ambiguous inserts, or None where there is neither stamp nor key to ask by.

    `floor_fid`: the highest fid of the table before the run's first record; used by key alone, where rows may be older.
    """
    from loader.redaction import Redactor
    from loader.targets.base import QueryEndpoint
    from loader.targets.ozari.api import check_table
    from loader.targets.ozari.lookup import OzariProbe, OzariQuery

    field = settings.stamp or settings.key
    if field is None:
        return None
    is_stamp = settings.stamp is not None
    table, redactor = check_table(settings.table), Redactor(_ozari(credentials).secrets)
    if isinstance(endpoint, QueryEndpoint) and (is_stamp or floor_fid is not None):
        return OzariQuery(table, field, redactor, None if is_stamp else floor_fid)
    return OzariProbe(table, field, redactor, is_stamp=is_stamp)


def build_update_lookup(
    settings: OzariUpdate, credentials: Credentials, endpoint: QueryEndpoint | NoQueryEndpoint
) -> UpdateLookup:
    """Build the way to ask about ambiguous updates that touch their own filters."""
    from loader.redaction import Redactor
    from loader.targets.base import QueryEndpoint
    from loader.targets.ozari.api import check_table
    from loader.targets.ozari.update_lookup import OzariUpdateProbe, OzariUpdateQuery

    table, redactor = check_table(settings.table), Redactor(_ozari(credentials).secrets)
    return (
        OzariUpdateQuery(table, redactor) if isinstance(endpoint, QueryEndpoint) else OzariUpdateProbe(table, redactor)
    )


def build_canbus_records(credentials: Credentials) -> CanbusRecords:
    """Build the calls that delete and list records."""
    from loader.targets.canbus.records import CanbusRecords

    if not isinstance(credentials, CanbusCredentials):
        raise _wrong_credentials()
    return CanbusRecords(credentials)


def _ozari(credentials: Credentials) -> OzariCredentials:
    if not isinstance(credentials, OzariCredentials):
        raise _wrong_credentials()
    return credentials


def _wrong_credentials() -> UsageError:
    return UsageError("these are the other target's credentials", "Ozari takes a token, Canbus four values")
