"""The walls stand: import-linter's contracts in pyproject.toml hold, and they cover every module."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
CONTRACTS: list[dict[str, Any]] = TOOLS["importlinter"]["contracts"]
RUN = """
import sys
sys.path.insert(0, sys.argv.pop(1))  # before the installed package: the folder's own is judged
from importlinter.cli import lint_imports_command
lint_imports_command()
"""


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the contracts and the package of a folder."""
    command = [sys.executable, "-c", RUN, str(folder), "--no-cache", "--config", str(folder / "pyproject.toml")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_contracts_are_kept() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken" in done.stdout


def test_every_module_has_its_layer() -> None:
    (layers,) = (contract for contract in CONTRACTS if contract["type"] == "layers")
    assert layers["exhaustive"] is True
    placed = {name.strip() for layer in layers["layers"] for name in layer.replace(":", "|").split("|")}
    exempt = set(layers.get("exhaustive_ignores", ()))
    files = [path for path in (ROOT / "loader").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    modules = {path.stem for path in files}
    assert modules - {"__init__"} == placed | exempt


@pytest.mark.parametrize(
    "module, line, contract",
    [
        ("model", "import loader.report.report", "Imports point down"),
        ("delivery/retry", "import time", "The core decides"),
        ("pipeline/pipeline", "import aiohttp", "One room speaks HTTP"),
        ("delivery/delivery", "import aiolimiter", "One room owns the limiter"),
        ("report/report", "import click", "The terminal is spoken to"),
        ("emulator/tables", "import loader.model", "The emulator knows nothing"),
        ("transport/session", "import loader.emulator.tables", "The client knows nothing"),
    ],
)
def test_a_broken_wall_is_noticed(tmp_path: Path, module: str, line: str, contract: str) -> None:
    for path in (ROOT / "loader").rglob("*.py"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    broken = tmp_path / "loader" / f"{module}.py"
    broken.write_text(f"{broken.read_text()}\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    (whole,) = (each["name"] for each in CONTRACTS if each["name"].startswith(contract))
    assert f"{whole} BROKEN" in " ".join(done.stdout.split())
