"""A profile: a TOML file of options, for what somebody does not want to type again.

Its keys are the options' names, with hyphens or underscores. A key that no option has is refused, because a misspelt limit
that is silently ignored is worse than none. Credentials have no option, so they have no place here either; values are never
repeated in a message.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loader.errors import UsageError

SECRET_WORDS = ("token", "secret", "password", "api_key", "app_id", "tenant_id")


def read_profile(path: str, known: Iterable[str]) -> dict[str, Any]:
    """Read a profile whose keys are among `known` (names with underscores). Errors: UsageError."""
    try:
        with Path(path).open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise UsageError(
            f"the profile {path} cannot be read: {error.strerror}", "check the path given to --profile"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        where = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "not UTF-8"
        raise UsageError(f"the profile {path} is not TOML: {where}", 'a line looks like: rate = "200/s"') from None
    names = sorted(known)
    return {_known(path, key, names): _plain(path, key, value) for key, value in values.items()}


def _known(path: str, key: str, names: list[str]) -> str:
    name = key.replace("-", "_")
    if name in names:
        return name
    if any(word in name.lower() for word in SECRET_WORDS):
        raise UsageError(
            f"the profile {path} has a key {key!r}", "credentials come from the environment, never from a profile"
        )
    near = difflib.get_close_matches(name, names, n=1)
    hint = (
        f"did you mean {near[0].replace('_', '-')!r}?" if near else f"known are: {', '.join(names).replace('_', '-')}"
    )
    raise UsageError(f"the profile {path} has an unknown key {key!r}", hint)


def _plain(path: str, key: str, value: object) -> object:
    """Let through what an option can take: text, a number, true or false, or a list of texts."""
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise UsageError(
        f"the profile {path} has a value of {key!r} that no option takes", "give text, a number, true or false"
    )
