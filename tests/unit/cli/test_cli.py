"""The command line without a target: help, where values come from, errors, exit codes, and what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from loader.cli import load as loads
from loader.cli.app import app, main
from loader.cli.errors import Session, explain
from loader.cli.options import LOAD_NAMES, OPTIONS, RESUME_NAMES, Option
from loader.errors import LogLocked, RunStopped, SourceError
from loader.runs.plan import DryRun, LoadPlan
from loader.settings import OzariCredentials, OzariUpdate, Rate, Secret

CANARY = "canary-4f1c09"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("LOADER_", "OZARI_", "CANBUS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.ndjson").write_text("{}\n")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[LoadPlan]:
    """Collect the settings of loads instead of carrying them out."""
    seen: list[LoadPlan] = []

    def keep(settings: LoadPlan, values: dict[str, Any], session: Session) -> int:
        seen.append(settings)
        return 0

    monkeypatch.setattr(loads, "_carry_out", keep)
    monkeypatch.setenv("OZARI_TOKEN", CANARY)
    for name in ("TENANT_ID", "APP_ID", "API_KEY", "API_SECRET"):
        monkeypatch.setenv(f"CANBUS_{name}", "acme")
    return seen


INSERT = ("ozari", "insert", "c.ndjson", "--table", "tcity")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", commands(app), ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_everywhere_with_examples_before_the_options(run: Run, path: tuple[str, ...], flag: str) -> None:
    code, out, err = run(*path, flag)
    assert (code, err) == (0, "")
    assert out.index("Examples:") < out.index("Usage:") < out.index("-h, --help")
    assert f"  loader {' '.join(path)}".rstrip() in out
    assert "\x1b" not in out


def test_version(run: Run) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("loader ")
    assert len(out.splitlines()) == 1


def test_the_commands_are_those_of_the_contract() -> None:
    assert {" ".join(path) for path in commands(app)} >= {
        "ozari insert", "ozari update", "canbus add", "resume", "status", "ids", "rejects", "ambiguous", "reconcile", "emulator",
    }  # fmt: skip


def options_of(*path: str) -> dict[str, click.Option]:
    command: click.Command = app
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return {
        parameter.name: parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name
    }


def test_every_option_of_the_contract_stands_where_it_belongs() -> None:
    insert, update = options_of("ozari", "insert"), options_of("ozari", "update")
    add, resume = options_of("canbus", "add"), options_of("resume")
    assert set(insert) == {*LOAD_NAMES, "table", "stamp", "unique"}
    assert set(update) == {*LOAD_NAMES, "table", "match", "exact"}
    assert set(add) == {*LOAD_NAMES, "user", "stamp", "unique", "max_records", "max_bytes"}
    assert set(resume) == set(RESUME_NAMES)
    assert set(OPTIONS) == set(insert) | set(update) | set(add) | {"filter", "source"}
    assert {"filter", "source", "key", "unique", "settle", "base_url", "ca_file"} < set(options_of("reconcile"))
    assert {"rate", "burst", "concurrency", "limit", "key", "unique", "ambiguous", "max_rejects", "timeout", "settle",
            "patience", "proxy", "progress", "json"} <= set(resume)  # fmt: skip


@pytest.mark.parametrize("path", [("ozari", "insert"), ("ozari", "update"), ("canbus", "add"), ("resume",)])
def test_an_option_has_one_name_in_the_environment_for_all_commands(path: tuple[str, ...]) -> None:
    for name, option in options_of(*path).items():
        assert isinstance(option, Option)
        assert option.envvar is not None
        assert option.envvar[-1] == f"LOADER_{name.upper()}"
        assert not any(word in name for word in ("token", "secret", "api"))


# --- where values come from -------------------------------------------------------------------------------------------


def test_flag_beats_environment_beats_profile_beats_default(
    run: Run, built: list[LoadPlan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text('rate = 1\nconcurrency = 2\npatience = 3.5\nordered = true\nmax-rejects = "1%"\n')
    profile = ("--profile", "p.toml")
    monkeypatch.setenv("LOADER_RATE", "10")
    monkeypatch.setenv("LOADER_CONCURRENCY", "20")
    assert run(*INSERT, *profile, "--rate", "100/s") == (0, "", "")
    options = built[-1].options
    assert options.rate == Rate(100.0)
    assert options.concurrency == 20
    assert options.patience_seconds == 3.5
    assert options.is_ordered
    assert options.max_rejects.percent == 1.0
    assert options.timeout_seconds == 60.0


def test_a_profile_and_flags_from_the_environment(
    run: Run, built: list[LoadPlan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text('match = ["a", "b"]\nstamp = "other commands have it"\n')
    monkeypatch.setenv("LOADER_PROFILE", "p.toml")
    monkeypatch.setenv("LOADER_DRY_RUN", "1")
    assert run("ozari", "update", "c.ndjson", "--table", "t")[0] == 0
    monkeypatch.setenv("LOADER_DRY_RUN", "0")
    assert run("ozari", "update", "c.ndjson", "--table", "t", "--match", "c")[0] == 0
    assert [isinstance(settings, DryRun) for settings in built] == [True, False]
    assert [settings.target for settings in built] == [OzariUpdate("t", ("a", "b")), OzariUpdate("t", ("c",))]


def test_base_urls_come_from_the_vendors_variables_too(
    run: Run, built: list[LoadPlan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text('base-url = "https://profile.example"\n')
    monkeypatch.setenv("OZARI_BASE_URL", "https://ozari.example")
    assert run(*INSERT, "--profile", "p.toml")[0] == 0
    assert built[-1].options.base_url == "https://ozari.example"
    assert run(*INSERT, "--base-url", "http://127.0.0.1:1")[0] == 0
    assert built[-1].options.base_url == "http://127.0.0.1:1"
    assert run("canbus", "add", "c.ndjson")[0] == 0
    assert built[-1].options.base_url == "https://acme.canbus.com"


def test_credentials_reach_the_load_and_nothing_else(run: Run, built: list[LoadPlan]) -> None:
    assert run(*INSERT)[0] == 0
    assert CANARY not in repr(built[-1])
    assert built[-1].credentials == OzariCredentials(Secret(CANARY))


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, error, hint",
    [
        (("ozari", "insert", "c.ndjson"), "no table is named", "--table NAME"),
        (("ozari", "insert", "--table", "t"), "missing argument", "loader ozari insert --help"),
        ((*INSERT, "--rat", "3"), "no such option: --rat", "did you mean --rate?"),
        (("ozary",), "no such command: ozary", "did you mean ozari?"),
        (("ozari", "update", "c.ndjson", "--table", "t", "--stamp", "f"), "no such option: --stamp", "needs no stamp"),
        (("ozari", "update", "c.ndjson", "--table", "t", "--unique"), "no such option: --unique", "cannot double"),
        ((*INSERT, "--token", "x"), "no such option: --token", "OZARI_TOKEN"),
        ((*INSERT, "--ambiguous", "guess"), "'guess' is not one of", "--help"),
        ((*INSERT, "--rate", "fast\x1b[2J"), "fast\\x1b[2J", "600/min"),
        ((*INSERT, "--profile", "none.toml"), "none.toml cannot be read", "--profile"),
        ((*INSERT, "--base-url", "http://api.example"), "plain http to api.example is refused", "https"),
        ((*INSERT,), "OZARI_TOKEN is not set", "OZARI_TOKEN_FILE"),
        (("resume", "none.run"), "no such run: none.run", ".run"),
        (("status", "none.run"), "no such run: none.run", ".run"),
        (("reconcile", "c.run", "--accept", "--resend"), "contradict", "loader ambiguous"),
        (("emulator", "--host", "0.0.0.0"), "does not listen on 0.0.0.0", "127.0.0.1"),  # noqa: S104 - refused is the point
        (("emulator", "--plan", "none.toml"), "none.toml", "samples/faults.toml"),
    ],
)
def test_wrong_usage_is_two_lines_and_exit_2(run: Run, arguments: tuple[str, ...], error: str, hint: str) -> None:
    code, out, err = run(*arguments)
    lines = err.splitlines()
    assert (code, out, len(lines)) == (2, "", 2)
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    assert error in lines[0]
    assert hint in lines[1]
    assert "\x1b" not in err


@pytest.mark.parametrize("arguments", [(), ("ozari",)])
def test_no_command_shows_the_help_as_an_error(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Usage: loader" in err


@pytest.mark.parametrize(
    "error, code",
    [
        (SourceError("m", "h"), 5),
        (LogLocked("m", "h"), 5),
        (RunStopped("patience", "m", "h"), 4),
        (ExceptionGroup("g", [ValueError("x"), ExceptionGroup("g", [SourceError("m", "h")])]), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes_of_errors(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(error, Session()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err


def raised(text: str) -> Exception:
    secret_local = CANARY
    try:
        raise ValueError(text)
    except ValueError as error:
        assert secret_local
        return error


@pytest.mark.parametrize("is_verbose", [False, True])
def test_a_bug_is_exit_1_and_shows_no_secret(capsys: pytest.CaptureFixture[str], is_verbose: bool) -> None:
    session = Session()
    session.is_verbose = is_verbose
    session.scrub = lambda text: text.replace(CANARY, "***")
    assert explain(raised(f"bad {CANARY}"), session) == 1
    err = capsys.readouterr().err
    assert "unexpected ValueError" in err
    assert "Python 3" in err
    assert ("Traceback" in err) is is_verbose
    assert CANARY not in err


def test_a_bug_goes_to_the_log_file_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    logged: list[tuple[str, str, dict[str, object]]] = []
    session = Session()
    session.is_verbose = True
    session.log = lambda level, event, values: logged.append((level, event, values))
    assert explain(raised("bad"), session) == 1
    assert [event for _, event, _ in logged] == ["traceback", "failed"]
    assert "Traceback" not in capsys.readouterr().err


# --- the real process -------------------------------------------------------------------------------------------------


def process(*arguments: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    base = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        env=base | environ,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


HEAVY = (
    "aiohttp",
    "aiolimiter",
    "asyncio",
    "isal",
    "msgspec",
    "orjson",
    "pathlib",
    "rich",
    "uvloop",
    "dataclasses",
    "importlib.metadata",
)


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys; from loader.cli.app import main; main(['--help']); print([m for m in {HEAVY!r} if m in sys.modules])"
    assert process("-c", code).stdout.splitlines()[-1] == b"[]"


def test_a_reader_that_goes_away_is_no_error() -> None:
    script = "import os, sys; r, w = os.pipe(); os.dup2(w, 1); os.close(r); os.close(w); "
    script += "from loader.cli.app import main; sys.exit(main(['--help']))"
    done = process("-c", script)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "environ", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C.UTF-8"}]
)
def test_errors_are_utf8_whatever_the_locale(environ: dict[str, str], tmp_path: Path) -> None:
    done = process("-m", "loader", "resume", "東京.run", **environ)
    assert done.returncode == 2
    assert "東京.run".encode() in done.stderr or b"\\udce6" in done.stderr


def test_the_module_and_its_exit_code() -> None:
    done = process("-m", "loader", "resume", "none.run")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error: no such run: none.run\nhint: ")
