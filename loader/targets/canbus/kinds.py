"""Canbus' entry in the registry. Cheap to import: what is heavy is imported by the functions below."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loader.errors import UsageError
from loader.settings import CanbusAdd, CanbusCredentials, CredentialForm, Secret
from loader.targets.kind import Kind, Vendor

if TYPE_CHECKING:
    from loader.redaction import Redactor
    from loader.targets.base import Shaper, Target
    from loader.targets.canbus.add import CanbusAddShaper
    from loader.targets.canbus.records import CanbusRecords
    from loader.targets.stamp_form import StampForm

DNS_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def check_tenant(tenant: str) -> str:
    """Return a tenant that may become part of a host name. Errors: UsageError if it is no DNS label."""
    if not DNS_LABEL.fullmatch(tenant):
        raise UsageError(
            "CANBUS_TENANT_ID is not a tenant's name",
            "it is the first part of https://<tenant>.canbus.com: letters, digits and hyphens",
        )
    return tenant


def _credentials(tenant: str, app: str, key: str, secret: str) -> CanbusCredentials:
    return CanbusCredentials(check_tenant(tenant), Secret(app), Secret(key), Secret(secret))


def _base_url(credentials: CanbusCredentials) -> str:
    """Source: [D] CB-ovw."""
    return f"https://{check_tenant(credentials.tenant_id).lower()}.canbus.com"


def _label(_settings: CanbusAdd, credentials: CanbusCredentials | None) -> str:
    # The app has no name. Credentials belong to one app, and name its tenant.
    return "dry-run" if credentials is None else credentials.tenant_id


def _add_from(values: Mapping[str, Any]) -> CanbusAdd:
    return CanbusAdd(values.get("user"), values.get("key"), values.get("stamp"), bool(values.get("unique")))


def _check_add(settings: CanbusAdd) -> None:
    from loader.targets.canbus.add import check_item, check_text

    check_item("--key", settings.key)
    check_item("--stamp", settings.stamp)
    check_text("--user", settings.user)


def _add_shaper(settings: CanbusAdd, run_id: str, _redactor: Redactor, form: StampForm) -> Shaper:
    from loader.targets.canbus.add import CanbusAddShaper

    return CanbusAddShaper(settings, run_id, form)


def _add_target(shaper: CanbusAddShaper, credentials: CanbusCredentials) -> Target:
    from loader.targets.canbus.add import CanbusAddTarget

    return CanbusAddTarget(shaper, credentials)


def _records(credentials: CanbusCredentials) -> CanbusRecords:
    from loader.targets.canbus.records import CanbusRecords

    return CanbusRecords(credentials)


CANBUS = Vendor(
    name="canbus",
    title="Canbus",
    credentials=CanbusCredentials,
    form=CredentialForm(("CANBUS_TENANT_ID", "CANBUS_APP_ID", "CANBUS_API_KEY", "CANBUS_API_SECRET"), _credentials),
    base_url_variable="CANBUS_BASE_URL",
    base_url=_base_url,
)
CANBUS_ADD = Kind(
    name="canbus add",
    vendor=CANBUS,
    settings=CanbusAdd,
    concurrency=4,  # four requests of 1,000 records each already fill the wire (performance.md 3b)
    from_options=_add_from,
    check=_check_add,
    label=_label,
    new_shaper=_add_shaper,
    new_target=_add_target,
    new_records=_records,
)
