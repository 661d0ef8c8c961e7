"""A plugin for pytest: writes the names of the tests that failed into a file, and sees to it that the copy is what is tested."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to test another tree's loader: then no planted bug would ever be there."""
    import loader

    if not Path(loader.__file__).is_relative_to(config.rootpath):
        raise pytest.UsageError(f"loader comes from {loader.__file__}, not from the copy in {config.rootpath}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a failure, be it in the test or in what was prepared for it."""
    if report.failed:
        with Path(os.environ["LOADER_WITNESS"]).open("a", encoding="utf-8") as file:
            file.write(report.nodeid + "\n")
