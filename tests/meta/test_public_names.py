"""The library's face: its names, and their types as a caller's type checker sees them.

`check_types` is never run; mypy reads it with the rest of the tests, and a changed type fails `make check`.
"""

from __future__ import annotations

from typing import assert_type

import pytest

import loader
from loader import Done, Load, OzariInsert, Report, load
from loader.model import Outcome

PUBLIC = {
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
}


async def check_types() -> None:
    running = load("cities.ndjson", OzariInsert("tcity"), run="cities.run")
    assert_type(running, Load)
    assert_type(await running, Report)
    async for done in load(["a.ndjson", "b.ndjson"], OzariInsert("tcity")):
        assert_type(done, Done)
        assert_type(done.outcome, Outcome)


def test_the_public_names_are_these() -> None:
    assert set(loader.__all__) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(loader, name) is not None


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = loader.no_such_name
