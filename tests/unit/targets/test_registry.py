"""The registry: every kind of load is whole, cheap to name, and reached from the command line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import click
import pytest

from loader.cli.app import app
from loader.cli.load import CREDENTIALS
from loader.errors import UsageError
from loader.settings import CanbusCredentials, OzariCredentials, Secret
from loader.targets.canbus.kinds import check_tenant
from loader.targets.kind import Kind, Vendor
from loader.targets.registry import KINDS, kind_of
from loader.urls import check_base_url

HEAVY = {"aiohttp", "orjson", "msgspec", "asyncio", "click", "rich", "isal"}
VENDORS: dict[str, Vendor] = {kind.vendor.name: kind.vendor for kind in KINDS.values()}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_vendor = pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)


def test_the_registry_is_cheap_to_import() -> None:
    code = "import sys, loader.targets.registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_no_two_kinds_are_one() -> None:
    assert len({kind.settings for kind in KINDS.values()}) == len(KINDS)


@each_kind
def test_a_kind_is_named_for_its_vendor_and_for_what_it_does(kind: Kind) -> None:
    assert kind.name.split()[0] == kind.vendor.name
    assert KINDS[kind.name] is kind
    settings = kind.from_options({"table": "t"})
    assert isinstance(settings, kind.settings)
    assert kind_of(settings) is kind
    # The report has no more than the name to say "updated" or "created" by.
    assert kind.name.endswith("update") is settings.is_update
    assert kind.concurrency > 0


@each_kind
def test_each_option_of_the_target_reaches_its_setting(kind: Kind) -> None:
    values = {"table": "ttab", "key": "fkey", "stamp": "fstamp", "unique": True, "user": "u", "match": ("fone", "ftwo")}
    expected = {**values, "is_unique": True}
    settings = kind.from_options(values)
    kind.check(settings)
    assert {field.name: getattr(settings, field.name) for field in fields(settings)} == {
        field.name: expected[field.name] for field in fields(settings)
    }


@each_kind
def test_a_kind_has_its_command(kind: Kind) -> None:
    vendor, verb = kind.name.split()
    group = app.commands[vendor]
    assert isinstance(group, click.Group)
    options = {option.name: option for option in group.commands[verb].params}
    assert kind.vendor.base_url_variable in (options["base_url"].envvar or ())
    names = {"unique" if field.name == "is_unique" else field.name for field in fields(kind.settings)}
    assert names <= set(options)


def test_the_help_names_every_variable() -> None:
    assert "; ".join(", ".join(vendor.form.variables) for vendor in VENDORS.values()) == CREDENTIALS


@each_vendor
def test_a_vendors_credentials_and_base_url(vendor: Vendor) -> None:
    values = [f"canary{number}" for number in range(len(vendor.form.variables))]
    credentials = vendor.form.build(*values)
    assert isinstance(credentials, vendor.credentials)
    assert {secret.reveal() for secret in credentials.secrets} <= set(values)
    assert credentials.secrets
    assert check_base_url(vendor.base_url(credentials)) == vendor.base_url(credentials)
    assert not any(
        secret.reveal() in f"{credentials!r} {vendor.base_url(credentials)}" for secret in credentials.secrets
    )


@pytest.mark.parametrize("tenant", ["", "-a", "a-", "a.b", "a/b", "a@b", "a" * 64, "a\n", "\u00e4"])
def test_a_tenant_cannot_lead_to_another_host(tenant: str) -> None:
    with pytest.raises(UsageError):
        check_tenant(tenant)


def test_default_base_urls() -> None:
    assert VENDORS["ozari"].base_url(OzariCredentials(Secret("x"))) == "https://api.ozari.co.il"
    canbus = CanbusCredentials("Acme-1", Secret("a"), Secret("b"), Secret("c"))
    assert VENDORS["canbus"].base_url(canbus) == "https://acme-1.canbus.com"
