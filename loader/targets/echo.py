"""Whether an answer's echo is that of the record sent: the guard against an answer that belongs to another request.

Source: Ozari's answers repeat `fields` as they were sent ([D] OZ-ins, OZ-upd); whether the row was read again is [N], so a
changed value is shown, and never makes a record ambiguous. Only two things prove a foreign answer: a stamp or key that
differs; or, for a record with neither, that not one sent field comes back alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loader.targets.values import is_alike, is_equal

MISSING = object()


@dataclass(frozen=True, slots=True)
class Echo:
    """What a comparison showed. `changed` holds names of fields, never values."""

    is_mismatch: bool
    changed: tuple[str, ...] = ()


def compare(sent: Mapping[str, Any], echo: Mapping[str, Any], identity: str | None) -> Echo:
    """Compare what was sent with what came back. `identity` names the field of the stamp or key, if the record has one."""
    if identity is not None and not is_equal(sent.get(identity, MISSING), echo.get(identity)):
        return Echo(is_mismatch=True)
    changed = tuple(name for name, value in sent.items() if not is_equal(value, echo.get(name, MISSING)))
    if identity is None and len(changed) == len(sent):
        return Echo(not any(name in echo and is_alike(value, echo[name]) for name, value in sent.items()), changed)
    return Echo(is_mismatch=False, changed=changed)
