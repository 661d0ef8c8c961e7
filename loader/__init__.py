"""Move NDJSON records into Ozari and Canbus: nothing lost, nothing doubled, and what cannot be known is listed.

The map. A file here is a word that everybody may use; a folder is a room with work in it, and its `__init__` says its law.

`reading` turns bytes into lines, checks them, and groups them into windows. `pipeline` writes each window's intent to the
`checkpoint` log before any of it is sent, and cuts it into chunks. `delivery` takes a chunk, asks `rate` for permission, sends
it by `transport`, has `targets` read the answer as a verdict, and acts on it; `delivery.settlement` is the one place where an
outcome is made. What may or may not have been applied goes to `reconcile`, which asks the target. `runs` is the directory that
all this leaves behind, `report` is what the user is told. `cli` and `api` are the two doors. `emulator` imitates both targets
and shares no code with the rest.

    from loader import OzariInsert, load
    report = await load("cities.ndjson", OzariInsert("tcity", stamp="fnote"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loader.api import Done, Load, load
    from loader.errors import LoaderError
    from loader.model import Ambiguous, Created, Rejected, Updated
    from loader.report.report import Report
    from loader.settings import (
        CanbusAdd,
        CanbusCredentials,
        Options,
        OzariCredentials,
        OzariInsert,
        OzariUpdate,
        Rate,
        RejectLimit,
        Secret,
    )

__version__ = "0.1.0"

__all__ = [
    "Ambiguous",
    "CanbusAdd",
    "CanbusCredentials",
    "Created",
    "Done",
    "Load",
    "LoaderError",
    "Options",
    "OzariCredentials",
    "OzariInsert",
    "OzariUpdate",
    "Rate",
    "RejectLimit",
    "Rejected",
    "Report",
    "Secret",
    "Updated",
    "__version__",
    "load",
]

_HOMES = {
    "Ambiguous": "model",
    "CanbusAdd": "settings",
    "CanbusCredentials": "settings",
    "Created": "model",
    "Done": "api",
    "Load": "api",
    "LoaderError": "errors",
    "Options": "settings",
    "OzariCredentials": "settings",
    "OzariInsert": "settings",
    "OzariUpdate": "settings",
    "Rate": "settings",
    "RejectLimit": "settings",
    "Rejected": "model",
    "Report": "report.report",
    "Secret": "settings",
    "Updated": "model",
    "load": "api",
}


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used: `import loader` costs nothing, which `loader --help` depends on."""
    if name not in _HOMES:
        message = f"module 'loader' has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    return getattr(import_module(f"loader.{_HOMES[name]}"), name)
