"""The main job on real sample data, as a user would do it: the real command, the real log, a target that loses answers.

It starts the emulator and the loads as processes of their own, interrupts one of them, resumes it, and in the end compares what
the emulator's database holds with what the log says. It uses nothing of the loader but its command line.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INTERRUPT_AFTER_LINES = 2_000
INTENDED = re.compile(rb'"t":"intent".*?"lines":\[\d+,(\d+)\]')
START_SECONDS = 20
CITIES, UPDATES, POSTAL_CODES = "cities.ndjson", "cities-updates.ndjson", "postal-codes.ndjson"
INSERT = ["ozari", "insert", CITIES, "--table", "tcity", "--stamp", "fstamp", "--rate", "2000/s", "--settle", "2"]
UPDATE = ["ozari", "update", UPDATES, "--table", "tcity", "--match", "fcode"]
ADD = ["canbus", "add", POSTAL_CODES, "--user", "loader", "--stamp", "Stamp", "--unique", "--settle", "2"]
CITIES_RUN, UPDATES_RUN, POSTAL_RUN = "cities.run", "updates.run", "postal.run"

Say = Callable[[str], None]


def samples_folder() -> Path:
    """Return where the sample data is: in the installed package, or in the checkout beside it."""
    package = Path(__file__).parent.parent
    installed = package / "samples"
    return installed if installed.is_dir() else package.parent / "samples"


class Demo:
    """The folder of one demonstration, and the commands in it."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self.database = folder / "target.sqlite"
        self.say = say
        self.environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}

    def prepare(self) -> None:
        """Copy the sample data."""
        for name in (CITIES, UPDATES, POSTAL_CODES, "faults.toml"):
            (self.folder / name).write_bytes((samples_folder() / name).read_bytes())

    @contextmanager
    def emulator(self) -> Iterator[None]:
        """Serve both APIs while the loads run, with the rows in a file."""
        command = self._command("emulator", "--plan", "faults.toml", "--database", self.database.name)
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for; this tells mypy
        try:
            while len([name for name in self.environment if name.startswith(("OZARI_", "CANBUS_"))]) < 7:
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError("the emulator did not start")
                if line.startswith("export "):
                    name, _, value = line.removeprefix("export ").strip().partition("=")
                    self.environment[name] = shlex.split(value)[0]
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(START_SECONDS)

    def load(self, *arguments: str) -> int:
        """Run a load to its end."""
        self.say(f"\n$ loader {shlex.join(arguments)}")
        return subprocess.run(self._command(*arguments), cwd=self.folder, env=self.environment, check=False).returncode  # noqa: S603 - our own command

    def load_interrupted(self, *arguments: str) -> int:
        """Run a load and press Ctrl-C in its middle."""
        self.say(f"\n$ loader {shlex.join(arguments)}     # Ctrl-C comes in the middle")
        process = subprocess.Popen(self._command(*arguments), cwd=self.folder, env=self.environment)  # noqa: S603 - our own command
        give_up = time.monotonic() + START_SECONDS
        log = self.folder / CITIES_RUN / "checkpoint.log"
        while process.poll() is None and time.monotonic() < give_up:
            if log.exists() and any(int(end) > INTERRUPT_AFTER_LINES for end in INTENDED.findall(log.read_bytes())):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        return process.wait()

    def ask(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command that prints NDJSON."""
        return [json.loads(line) for line in self.ask_lines(*arguments)]

    def ask_lines(self, *arguments: str) -> list[str]:
        """Run a command and return the lines that it prints."""
        done = subprocess.run(self._command(*arguments), cwd=self.folder, capture_output=True, check=True)  # noqa: S603 - our own command
        return done.stdout.decode().splitlines()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "loader", *arguments]


def run_demo(folder: Path, say: Say) -> int:
    """Carry out the demonstration in an existing, empty folder; return 0 where everything is as it should be."""
    began = time.monotonic()
    demo = Demo(folder, say)
    demo.prepare()
    say(f"Loading real data into an emulated target that loses one answer in a hundred. Folder: {folder}")
    with demo.emulator():
        codes = [demo.load_interrupted(*INSERT, "--run", CITIES_RUN)]
        codes.append(demo.load("resume", CITIES_RUN))
        codes.append(demo.load(*UPDATE, "--run", UPDATES_RUN))
        codes.append(demo.load(*ADD, "--run", POSTAL_RUN))
        show(demo, "ids", CITIES_RUN, 3)
        show(demo, "rejects", POSTAL_RUN, 3)
    wrong = compare(demo)
    if codes != [130, 0, 0, 3]:
        wrong.append(f"exit codes {codes}, not 130 (interrupted), 0, 0, 3 (finished, some rejected)")
    for text in wrong:
        say(f"WRONG: {text}")
    say(f"\nLook at {folder}: target.sqlite holds the rows, *.run/checkpoint.log says what happened, line by line.")
    say(
        f"Done in {time.monotonic() - began:.0f} s: {'something is wrong' if wrong else 'nothing lost, nothing doubled'}."
    )
    return 1 if wrong else 0


def show(demo: Demo, command: str, run: str, count: int) -> None:
    """Show the first lines that a command prints."""
    lines = demo.ask_lines(command, run)
    demo.say(f"\n$ loader {command} {run} | head -{count}     # of {len(lines):,}")
    for line in lines[:count]:
        demo.say(line)


def compare(demo: Demo) -> list[str]:
    """Compare the target's rows with the log's ids, line by line; say what was compared; return what is wrong."""
    changes = {row["fcode"]: row for row in read_lines(demo.folder / UPDATES).values()}
    cities = read_lines(demo.folder / CITIES)
    cities = {number: line | changes.get(line["fcode"], {}) for number, line in cities.items()}
    wrong = []
    for run, table, key, lines in (
        (CITIES_RUN, "tcity", "fid", cities),
        (POSTAL_RUN, "emulator-app", "_id", read_lines(demo.folder / POSTAL_CODES)),
    ):
        ids = demo.ask("ids", run)
        refused = {row["line"] for row in demo.ask("rejects", run)}
        rows = read_rows(demo.database, table, key)
        wrong += differences(ids, lines, rows, refused)
        demo.say(
            f"\n{table}: {len(rows):,} rows in the target, {len(ids):,} ids in the log, {len(refused)} lines rejected"
        )
    return wrong


def read_lines(path: Path) -> dict[int, dict[str, Any]]:
    """Read the lines that are objects, by their number."""
    lines = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            lines[number] = value
    return lines


def read_rows(database: Path, table: str, key: str) -> dict[str, dict[str, Any]]:
    """Read a table of the emulator's database."""
    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        return {str(row[key]): dict(row) for row in connection.execute(f'select * from "{table}"')}  # noqa: S608 - a name of our own


def differences(
    ids: list[dict[str, Any]], lines: dict[int, dict[str, Any]], rows: dict[str, dict[str, Any]], refused: set[int]
) -> list[str]:
    """Return how rows, ids and lines disagree."""
    wrong = []
    for entry in ids:
        row, line = rows.get(str(entry["id"])), lines[entry["line"]]
        if entry["id"] is not None and (row is None or any(row[name] != value for name, value in line.items())):
            wrong.append(f"line {entry['line']} is not what the target holds as {entry['id']}")
    expected = set(lines) - refused
    if {entry["line"] for entry in ids} != expected or len(ids) != len(expected):
        wrong.append(f"{len(expected)} lines should have been created, {len(ids)} were")
    if len(rows) != len(ids):
        wrong.append(f"the target holds {len(rows)} rows for {len(ids)} ids")
    return wrong
