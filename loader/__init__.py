"""Move NDJSON records into Ozari and Canbus: nothing lost, nothing doubled, and what cannot be known is listed.

The map of the flow. `source` turns bytes into lines; `mapping` decodes and checks them; a target (`targets`) shapes
each into a record and pure functions turn records into requests and answers into verdicts. `intake` gathers lines into
windows and writes their intent to the checkpoint log (`checkpoint`) before any of them is sent. `work` holds the
chunks between the reader and the workers; a `worker` sends each through `channel` (token from `throttle`, wire by
`transport`), and `delivery` acts on the verdict; good answers go a shorter way, together (`crew`). `settlement` is the
only place where an outcome is made. What may or may not have been applied goes to `reconcile`, which asks the target.
`launch` puts one execution together, `pipeline` runs it, `report` says how it ended. `emulator` imitates both targets and
shares no code.

    from loader import OzariInsert, load
    report = await load("cities.ndjson", OzariInsert("tcity", stamp="fnote"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loader.api import Done, Load, load
    from loader.errors import LoaderError
    from loader.model import Ambiguous, Created, Rejected, Updated
    from loader.report import Report
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
    "Report": "report",
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
