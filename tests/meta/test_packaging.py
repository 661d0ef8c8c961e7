"""What is shipped is whole: the wheel's content, one version everywhere, one command by two names."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import loader

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMAND = str(Path(sys.executable).with_name("loader"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel as an installer would, with the locked back end."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_what_is_not_imported(wheel: zipfile.ZipFile) -> None:
    samples = {f"loader/samples/{path.name}" for path in (ROOT / "samples").iterdir() if path.suffix not in {".py", ""}}
    assert len(samples) == 5
    assert samples | {"loader/py.typed", "loader/checkpoint/FORMAT.md"} <= set(wheel.namelist())


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "loader").rglob("*.py")}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert modules <= held
    assert {name.partition("/")[0] for name in held} == {"loader"}


def test_the_wheel_holds_the_licence(wheel: zipfile.ZipFile) -> None:
    assert f"loader-{PROJECT['version']}.dist-info/licenses/LICENSE" in wheel.namelist()


def test_there_is_one_version() -> None:
    assert loader.__version__ == metadata.version("loader") == PROJECT["version"]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["ozari", "insert", "--help"], ["no-such-command"]])
def test_both_names_of_the_command_do_the_same(arguments: list[str]) -> None:
    script, module = (
        subprocess.run([*name, *arguments], capture_output=True, text=True, check=False)
        for name in ([COMMAND], [sys.executable, "-m", "loader"])
    )
    assert (script.returncode, script.stdout, script.stderr) == (module.returncode, module.stdout, module.stderr)


def test_the_version_is_one_line() -> None:
    done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(rf"loader,? (version )?{re.escape(PROJECT['version'])}\n", done.stdout)


def test_the_changelog_knows_the_version_or_says_unreleased() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] in {"Unreleased", PROJECT["version"]}


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ["aiohttp", "asyncio", "click", "rich", "msgspec", "uvloop"]
    code = f"import sys, loader; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
