"""Ozari's entries in the registry. Cheap to import: what is heavy is imported by the functions below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loader.errors import UsageError
from loader.settings import CredentialForm, OzariCredentials, OzariInsert, OzariUpdate, Secret
from loader.targets.kind import Kind, Vendor

if TYPE_CHECKING:
    from loader.redaction import Redactor
    from loader.targets.base import CreatedRow, Lookup, NoQueryEndpoint, QueryEndpoint, Shaper, Target, UpdateLookup
    from loader.targets.ozari.insert import OzariInsertShaper
    from loader.targets.ozari.lookup import OzariCapability
    from loader.targets.ozari.update import OzariUpdateShaper

BASE_URL = "https://api.ozari.co.il"
"""[D] OZ-intro, OZ-zap: without a trailing slash."""
CONCURRENCY = 32


def _credentials(token: str) -> OzariCredentials:
    if not token.isascii():
        raise UsageError(
            "OZARI_TOKEN holds a character that no header takes", "copy it once more from the vendor's page"
        )
    return OzariCredentials(Secret(token))


def _base_url(_credentials: OzariCredentials) -> str:
    return BASE_URL


def _label(settings: OzariInsert | OzariUpdate, _credentials: OzariCredentials | None) -> str:
    return settings.table


# --- insert -------------------------------------------------------------------------------------------------------------


def _insert_from(values: Mapping[str, Any]) -> OzariInsert:
    return OzariInsert(values.get("table") or "", values.get("key"), values.get("stamp"), bool(values.get("unique")))


def _check_insert(settings: OzariInsert) -> None:
    from loader.targets.ozari.api import check_field, check_table

    check_table(settings.table)
    check_field("--key", settings.key)
    check_field("--stamp", settings.stamp)


def _insert_shaper(settings: OzariInsert, run_id: str, redactor: Redactor) -> Shaper:
    from loader.targets.ozari.insert import OzariInsertShaper

    return OzariInsertShaper(settings, run_id, redactor)


def _insert_target(shaper: OzariInsertShaper, credentials: OzariCredentials) -> Target:
    from loader.targets.ozari.insert import OzariInsertTarget

    return OzariInsertTarget(shaper, credentials)


def _capability(settings: OzariInsert | OzariUpdate, redactor: Redactor) -> OzariCapability:
    from loader.targets.ozari.lookup import OzariCapability

    return OzariCapability(settings.table, redactor)


def _lookup(
    settings: OzariInsert, redactor: Redactor, endpoint: QueryEndpoint | NoQueryEndpoint, floor_fid: int | None
) -> Lookup | None:
    from loader.targets.base import QueryEndpoint
    from loader.targets.ozari.lookup import OzariProbe, OzariQuery

    field = settings.stamp or settings.key
    if field is None:
        return None
    is_stamp = settings.stamp is not None
    if isinstance(endpoint, QueryEndpoint) and (is_stamp or floor_fid is not None):
        return OzariQuery(settings.table, field, redactor, None if is_stamp else floor_fid)
    return OzariProbe(settings.table, field, redactor, is_stamp=is_stamp)


def _created_row(settings: OzariInsert, redactor: Redactor, run_id: str) -> CreatedRow:
    from loader.targets.ozari.created_row import OzariCreatedRow

    return OzariCreatedRow(settings.table, settings.stamp, f"{run_id}-", redactor)


# --- update -------------------------------------------------------------------------------------------------------------


def _update_from(values: Mapping[str, Any]) -> OzariUpdate:
    return OzariUpdate(values.get("table") or "", tuple(values.get("match") or ()))


def _check_update(settings: OzariUpdate) -> None:
    from loader.targets.ozari.api import check_field, check_table

    check_table(settings.table)
    for field in settings.match:
        check_field("--match", field, may_be_primary_key=True)
    if len(set(settings.match)) != len(settings.match):
        raise UsageError("a field is named twice by --match", "name each field once")


def _update_shaper(settings: OzariUpdate, _run_id: str, redactor: Redactor) -> Shaper:
    from loader.targets.ozari.update import OzariUpdateShaper

    return OzariUpdateShaper(settings, redactor)


def _update_target(shaper: OzariUpdateShaper, credentials: OzariCredentials) -> Target:
    from loader.targets.ozari.update import OzariUpdateTarget

    return OzariUpdateTarget(shaper, credentials)


def _update_lookup(
    settings: OzariUpdate, redactor: Redactor, endpoint: QueryEndpoint | NoQueryEndpoint
) -> UpdateLookup:
    from loader.targets.base import QueryEndpoint
    from loader.targets.ozari.update_lookup import OzariUpdateProbe, OzariUpdateQuery

    is_query = isinstance(endpoint, QueryEndpoint)
    return OzariUpdateQuery(settings.table, redactor) if is_query else OzariUpdateProbe(settings.table, redactor)


OZARI = Vendor(
    name="ozari",
    title="Ozari",
    credentials=OzariCredentials,
    form=CredentialForm(("OZARI_TOKEN",), _credentials),
    base_url_variable="OZARI_BASE_URL",
    base_url=_base_url,
)
OZARI_INSERT = Kind(
    name="ozari insert",
    vendor=OZARI,
    settings=OzariInsert,
    concurrency=CONCURRENCY,
    from_options=_insert_from,
    check=_check_insert,
    label=_label,
    new_shaper=_insert_shaper,
    new_target=_insert_target,
    new_capability=_capability,
    new_lookup=_lookup,
    new_created_row=_created_row,
)
OZARI_UPDATE = Kind(
    name="ozari update",
    vendor=OZARI,
    settings=OzariUpdate,
    concurrency=CONCURRENCY,
    from_options=_update_from,
    check=_check_update,
    label=_label,
    new_shaper=_update_shaper,
    new_target=_update_target,
    new_capability=_capability,
    new_update_lookup=_update_lookup,
)
