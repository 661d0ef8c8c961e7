"""`loader demo` does what it says, and the session that the README shows is what it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
CHANGING = re.compile(r" *\d[\d,.]*|(?<=\"key\":\")[a-z0-9]+(?=-)|(?<=limited by ).*")
"""What is another in each run: figures with the room before them, the run's id in a stamp, what a busy machine is limited by."""


def test_the_demo_goes_well_and_the_readme_shows_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loader", "demo", "--folder", str(tmp_path / "demo")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.rstrip().endswith("nothing lost, nothing doubled.")
    printed = [line.partition("     # ")[0] for line in done.stdout.splitlines()]
    masked = {CHANGING.sub("N", line) for line in printed}
    shown = README.read_text().partition("<!-- session -->")[2].partition("```\n")[2].partition("```\n")[0].splitlines()
    assert [line for line in shown if line != "^C" and CHANGING.sub("N", line) not in masked] == []
    # The number of records at stake is none of what changes.
    bounds = {bound for line in shown for bound in re.findall(r"at most \d+ records", line)}
    assert len(bounds) == 1
    assert bounds <= set(re.findall(r"at most \d+ records", done.stdout))
