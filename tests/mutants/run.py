"""Plant each bug of `bugs.py` in a copy of the tree, and see the tests that are to catch it fail: `make mutants`.

    python -m tests.mutants.run [NAME...]

A test that fails where a bug is planted proves something only if it passes without one. So at the end the very tests that
caught something run once more, all together, in a copy without a bug. Exit 1 where a bug survives, where the runner of the
tests itself broke (which catches nothing), or where that last run fails.

Nothing outside the copy is written or imported: `witness` refuses to begin where `loader` comes from somewhere else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.bugs import BUGS, Bug, Rotten

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("loader", "tests", "samples")
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-p", "tests.mutants.witness", "--timeout", "60")
MAX_SECONDS = 600.0
PASSED, FAILED = 0, 1
"""pytest's own exit codes; every other one means that it could not do its work."""


@dataclass(frozen=True, slots=True)
class Result:
    """How the tests ended. `failed`: the tests that did."""

    code: int | None
    failed: tuple[str, ...]
    seconds: float
    output: str

    @property
    def word(self) -> str:
        """Say it in a word."""
        if self.code == PASSED:
            return "SURVIVED"
        return "caught" if self.code == FAILED else "BROKEN"


def copy_tree(tree: Path) -> None:
    """Copy what the tests need."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", tree)


def try_out(tests: Sequence[str], bug: Bug | None = None) -> Result:
    """Run tests in a fresh copy, with a bug planted in it. Errors: Rotten."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree, told = Path(folder) / "tree", Path(folder) / "failed"
        copy_tree(tree)
        told.touch()
        if bug is not None:
            bug.plant(tree)
        environment = os.environ | {"PYTHONPATH": str(tree), "LOADER_WITNESS": str(told)}
        began = time.monotonic()
        code, output = run_tests([*PYTEST, "--basetemp", str(Path(folder) / "base"), *tests], tree, environment)
        return Result(code, tuple(told.read_text().splitlines()), time.monotonic() - began, output)


def run_tests(words: Sequence[str], tree: Path, environment: dict[str, str]) -> tuple[int | None, str]:
    """Run pytest in a session of its own, so that no process that a test started outlives it. None: it never ended."""
    command = [sys.executable, "-m", "pytest", *words]
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as child:
        try:
            output, _ = child.communicate(timeout=MAX_SECONDS)
            code = child.returncode
        except subprocess.TimeoutExpired:
            output, code = b"", None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    return code, output.decode(errors="replace")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(bug: Bug, result: Result, width: int) -> None:
    """Print a line of the table, and what pytest said where the bug was not caught."""
    by = ", ".join(result.failed)
    say(f"{result.word:9} {bug.name:{width}}  {by.removeprefix('tests/') or '-'}  {result.seconds:.1f} s")
    if result.word != "caught":
        say(f"          {bug.prose}\n{result.output[-3000:]}")


def main(names: Sequence[str]) -> int:
    """Plant the bugs that are named, or all."""
    unknown = set(names) - {bug.name for bug in BUGS}
    if unknown:
        say(f"no such bug: {', '.join(sorted(unknown))}; there are:\n" + "\n".join(bug.name for bug in BUGS))
        return 2
    chosen = [bug for bug in BUGS if not names or bug.name in names]
    width = max(len(bug.name) for bug in chosen)
    caught_by: dict[str, None] = {}
    alive = 0
    began = time.monotonic()
    for bug in chosen:
        try:
            result = try_out(bug.tests, bug)
        except Rotten as error:
            say(f"ROTTEN    {bug.name:{width}}  {error}")
            alive += 1
            continue
        show(bug, result, width)
        alive += result.word != "caught"
        caught_by |= dict.fromkeys(result.failed)
    say(f"{len(chosen) - alive} of {len(chosen)} caught, in {time.monotonic() - began:.0f} s")
    if not caught_by:
        return 1
    control = try_out(tuple(caught_by))
    is_sound = control.code == PASSED
    said = "all pass" if is_sound else f"{', '.join(control.failed) or 'they'} do NOT pass\n{control.output[-3000:]}"
    say(f"without a bug, the {len(caught_by)} tests that caught them: {said}  {control.seconds:.1f} s")
    return int(alive > 0 or not is_sound)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
