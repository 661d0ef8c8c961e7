"""Credentials: where they come from, what is refused, and that no message or repr ever shows one."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from loader.credentials import EMULATOR_SECRETS, keep_emulator_here, read_credentials
from loader.emulator.switches import CanbusApp, OzariSwitches
from loader.errors import UsageError
from loader.settings import CanbusCredentials, Credentials, OzariCredentials, Secret
from loader.targets.registry import KINDS

CANARY = "canary-4f1c09"
OZARI, CANBUS = KINDS["ozari insert"].vendor, KINDS["canbus add"].vendor
CANBUS_ENVIRON = {
    "CANBUS_TENANT_ID": "acme",
    "CANBUS_APP_ID": "app1",
    "CANBUS_API_KEY": "key1",
    "CANBUS_API_SECRET": "secret1",
}


def test_from_the_environment() -> None:
    given = read_credentials({"OZARI_TOKEN": CANARY}, OZARI.form)
    assert given.credentials == OzariCredentials(Secret(CANARY))
    assert given.warnings == ()
    canbus = read_credentials(CANBUS_ENVIRON, CANBUS.form).require()
    assert canbus == CanbusCredentials("acme", Secret("app1"), Secret("key1"), Secret("secret1"))
    assert canbus.secrets == (Secret("app1"), Secret("key1"), Secret("secret1"))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_gives_up_exactly_one_line_feed(tmp_path: Path, end: str) -> None:
    file = tmp_path / "token"
    file.write_bytes((CANARY + end).encode())
    file.chmod(0o600)
    given = read_credentials({"OZARI_TOKEN_FILE": str(file)}, OZARI.form)
    assert given.require().secrets == (Secret(CANARY),)
    assert given.warnings == ()


def test_a_file_that_others_can_read_is_said(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(CANARY)
    file.chmod(0o644)
    (warning,) = read_credentials({"OZARI_TOKEN_FILE": str(file)}, OZARI.form).warnings
    assert "chmod 600" in warning
    assert CANARY not in warning


def test_a_pipe_is_a_file(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, CANARY.encode() + b"\n")
    os.close(write_end)
    try:
        given = read_credentials({"OZARI_TOKEN_FILE": f"/dev/fd/{read_end}"}, OZARI.form)
    finally:
        os.close(read_end)
    assert given.require().secrets == (Secret(CANARY),)
    assert given.warnings == ()


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", f"{CANARY}\n\n".encode(), f"{CANARY}\r".encode(), f"{CANARY}\x00".encode(), f"{CANARY}\n{CANARY}".encode(),
     f" {CANARY}".encode(), CANARY.encode() + b"\xff", b"\xef\xbb\xbf" + CANARY.encode(), CANARY.encode() * 10_000],
)  # fmt: skip
def test_what_is_no_credential_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        read_credentials({"OZARI_TOKEN_FILE": str(file)}, OZARI.form)
    assert "OZARI_TOKEN" in caught.value.message
    assert CANARY not in f"{caught.value!r}{caught.value}{caught.value.hint}{caught.value.args}"


@pytest.mark.parametrize("value", ["", f"{CANARY}\r\nX-Evil: 1", f"{CANARY} ", f"\u00e9{CANARY}"])
def test_the_environment_is_not_repaired_either(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_credentials({"OZARI_TOKEN": value}, OZARI.form)
    assert CANARY not in f"{caught.value!r}{caught.value.hint}"


def test_both_forms_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="both set"):
        read_credentials({"OZARI_TOKEN": CANARY, "OZARI_TOKEN_FILE": "/x"}, OZARI.form)


@pytest.mark.parametrize("name", CANBUS.form.variables)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        read_credentials({key: value for key, value in CANBUS_ENVIRON.items() if key != name}, CANBUS.form).require()


def test_a_missing_file_is_named_by_its_variable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="OZARI_TOKEN_FILE"):
        read_credentials({"OZARI_TOKEN_FILE": str(tmp_path / "none")}, OZARI.form)


def test_a_tenant_must_be_a_dns_label() -> None:
    with pytest.raises(UsageError, match="CANBUS_TENANT_ID"):
        read_credentials(CANBUS_ENVIRON | {"CANBUS_TENANT_ID": "acme.evil.example/"}, CANBUS.form)


def test_a_dry_run_needs_none() -> None:
    given = read_credentials({"CANBUS_TENANT_ID": "acme"}, CANBUS.form)
    assert (given.credentials, given.missing) == (None, CANBUS.form.variables[1:])


def test_a_secret_shows_itself_to_nobody() -> None:
    credentials = read_credentials({"OZARI_TOKEN": CANARY}, OZARI.form).credentials
    assert CANARY not in f"{credentials!r} {credentials}"
    assert CANARY not in f"{Secret(CANARY)} {Secret(CANARY)!r} {Secret(CANARY):}"
    with pytest.raises(TypeError):
        pickle.dumps(credentials)


@pytest.mark.parametrize(
    "base_url, is_refused",
    [
        (None, True),
        ("https://api.example", True),
        ("https://127.0.0.1.evil.example", True),
        ("http://127.0.0.1:8765", False),
        ("https://localhost", False),
        ("http://[::1]:1", False),
    ],
)
def test_the_emulators_own_credentials_stay_on_this_machine(base_url: str | None, is_refused: bool) -> None:
    given: list[Credentials] = [OzariCredentials(Secret("emulator-token"))]
    for key, secret in (("emulator-key", "own"), ("own", "emulator-secret")):
        given.append(CanbusCredentials("emulator", Secret("emulator-app"), Secret(key), Secret(secret)))
    for credentials in given:
        own = next(
            vendor.base_url(credentials) for vendor in (OZARI, CANBUS) if isinstance(credentials, vendor.credentials)
        )
        if is_refused:
            with pytest.raises(UsageError, match="emulator's own credentials") as caught:
                keep_emulator_here(credentials, base_url or own)
            assert "--base-url" in caught.value.hint
        else:
            keep_emulator_here(credentials, base_url or own)
    mine = OzariCredentials(Secret("own"))
    keep_emulator_here(mine, base_url or OZARI.base_url(mine))


def test_what_the_emulator_prints_is_what_is_kept_here() -> None:
    switches = OzariSwitches(), CanbusApp()
    assert {switches[0].token, switches[1].api_key, switches[1].api_secret} == EMULATOR_SECRETS
