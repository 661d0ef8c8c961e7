"""Credentials: from the environment, or from a file that the environment names; never from an argument.

No message of this file holds a value, whole or in part. A file gives up exactly one trailing line feed, because editors add one;
everything else that is not part of a credential is refused rather than repaired.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loader.errors import UsageError
from loader.settings import CredentialForm, Credentials
from loader.urls import is_loopback

FILE_SUFFIX = "_FILE"
EMULATOR_SECRETS = frozenset({"emulator-token", "emulator-key", "emulator-secret"})
"""What `loader emulator` prints for its clients; no vendor gives out such words."""
MAX_FILE_BYTES = 64 * 1024
"""A path given by mistake may be anything; a credential is short."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the environment gives. `credentials` are None while variables are `missing`.

    `warnings`: what the user should know about how they were given.
    """

    credentials: Credentials | None
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def require(self) -> Credentials:
        """Return the credentials. Errors: UsageError that names what is missing."""
        if self.credentials is None:
            file = self.missing[0] + FILE_SUFFIX
            raise UsageError(
                f"no credentials: {', '.join(self.missing)} {'is' if len(self.missing) == 1 else 'are'} not set",
                f"set it in the environment, or name a file in {file}; it is never taken from an argument",
            )
        return self.credentials


def read_credentials(environ: Mapping[str, str], form: CredentialForm) -> Given:
    """Read credentials of a form. Errors: UsageError if one is empty, given twice, or no credential."""
    warnings: list[str] = []
    found = {name: _read(name, environ, warnings) for name in form.variables}
    values = [value for value in found.values() if value is not None]
    missing = tuple(name for name, value in found.items() if value is None)
    return Given(None if missing else form.build(*values), missing, tuple(warnings))


def keep_emulator_here(credentials: Credentials, base_url: str) -> None:
    """Let the emulator's own credentials go to this machine alone: if they would leave it, a base URL was forgotten.

    Errors: UsageError.
    """
    host = urlsplit(base_url).hostname or ""
    if not is_loopback(host) and not EMULATOR_SECRETS.isdisjoint(secret.reveal() for secret in credentials.secrets):
        raise UsageError(
            f"the emulator's own credentials would go to {host}",
            "name the emulator with --base-url http://127.0.0.1:PORT, or set the credentials of your account",
        )


def _read(name: str, environ: Mapping[str, str], warnings: list[str]) -> str | None:
    value, path = environ.get(name), environ.get(name + FILE_SUFFIX)
    if value is not None and path is not None:
        raise UsageError(f"{name} and {name}{FILE_SUFFIX} are both set", "unset one of them")
    if path is not None:
        value = _read_file(name + FILE_SUFFIX, path, warnings)
    return None if value is None else _check(name if path is None else name + FILE_SUFFIX, value)


def _read_file(name: str, path: str, warnings: list[str]) -> str:
    try:
        with Path(path).open("rb") as file:
            status = Path(path).stat()
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such path"
        raise UsageError(
            f"the file named by {name} cannot be read: {reason}", "check the path and its permissions"
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"the file named by {name} is too long for a credential", "check the path")
    if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.append(f"the file named by {name} can be read by other users; `chmod 600` protects it")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"the file named by {name} is not text", "check the path") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _check(name: str, value: str) -> str:
    if not value:
        raise UsageError(f"{name} is empty", "set it to the credential itself")
    if not value.isprintable():
        raise UsageError(
            f"{name} holds a control character or a line break", "a credential is one line; copy it once more"
        )
    if value != value.strip():
        raise UsageError(f"{name} begins or ends with a space", "remove it; a credential holds none")
    return value
