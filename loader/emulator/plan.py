"""The fault plan as a file: one value that says how the emulator behaves, read from TOML or JSON.

Unknown members are refused, and every error names the file and the path of the member. The default plan is an emulator without
faults and without limits.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from loader.emulator.faults import Fault, is_early
from loader.emulator.switches import CanbusSwitches, OzariSwitches, Positive


class PlanError(ValueError):
    """Say that a fault plan cannot be read. The text names the file and the place, and may be shown as it is."""


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the emulator behaves. The same seed and the same requests in the same order give the same run."""

    seed: Annotated[int, Meta(ge=0)] = 1
    ozari: OzariSwitches = OzariSwitches()
    canbus: CanbusSwitches = CanbusSwitches()
    faults: tuple[Fault, ...] = ()
    keep_alive_seconds: Positive = 75.0
    """How long an idle connection is kept."""

    def __post_init__(self) -> None:
        for rule in self.faults:
            if rule.body_contains is not None and is_early(rule):
                message = f"a {rule.kind} fault at the headers cannot look into the body: leave out body_contains"
                raise ValueError(message)


def read_plan(path: Path | str) -> Plan:
    """Read a plan from a file: JSON if the name ends in .json, else TOML.

    Errors: PlanError, with the file and the place in it.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror or error}"
        raise PlanError(message) from error
    return parse_plan(data, name=str(path), is_json=path.suffix.lower() == ".json")


def parse_plan(data: bytes, *, name: str = "plan", is_json: bool = False) -> Plan:
    """Parse a plan. `name` stands at the front of an error."""
    try:
        if is_json:
            return msgspec.json.decode(data, type=Plan)
        return msgspec.convert(tomllib.loads(data.decode()), Plan)
    except msgspec.ValidationError as error:
        message = f"{name}: {_place(str(error))}"
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{name}: not {'JSON' if is_json else 'TOML'}: {error}"
    raise PlanError(message)


def _place(text: str) -> str:
    """Put the path in front: "Expected `int` - at `$.seed`" becomes "seed: Expected `int`"."""
    what, separator, where = text.rpartition(" - at `$")
    if not separator:
        return f"the plan itself: {text}"
    return f"{where.rstrip('`').lstrip('.') or 'the plan itself'}: {what}"
