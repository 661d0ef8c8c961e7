"""The README keeps its word: it names every command, option and exit code, and what it shows can be typed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import loader
from loader import errors
from loader.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SHELL = [text.replace("\\\n", " ") for language, text in BLOCKS if language == "sh"]
FILE = re.compile(r"cat > (\S+) <<'(\w+)'\n(.*?)^\2\n", re.MULTILINE | re.DOTALL)
CONTROL = {"|", ">", ">>", "<", "&&", ";", "&"}
SIGNAL_CODES = {129, 130, 143}


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that is no group, with the words that call it."""
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from leaves(child, (*path, name))
    else:
        yield path, command


COMMANDS = dict(leaves(app))
OPTIONS = sorted(
    {
        text
        for command in (app, *COMMANDS.values())
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for text in parameter.opts
        if text.startswith("--")
    }
)


def typed(text: str) -> Iterator[list[str]]:
    """Yield the words of each simple command of a shell text that calls loader."""
    for line in FILE.sub("", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in CONTROL:
                words.append(word)
                continue
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words and words[0] == "loader":
                yield words[1:]
            # What follows a redirection is a file's name; no command of the README begins like one.
            words = []


CALLS = [words for text in SHELL for words in typed(text)]


def test_the_readme_shows_commands() -> None:
    assert {path for path in COMMANDS for words in CALLS if tuple(words[: len(path)]) == path} >= {
        ("ozari", "insert"),
        ("ozari", "update"),
        ("canbus", "add"),
        ("resume",),
    }


@pytest.mark.parametrize("words", CALLS, ids=" ".join)
def test_what_is_shown_can_be_typed(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in SHELL:
        for file, _, content in FILE.findall(text):
            (tmp_path / file).write_text(content)
    monkeypatch.chdir(tmp_path)
    command: click.Command = app
    context: click.Context | None = None
    name: str | None = "loader"
    while True:
        try:
            context = command.make_context(name, words, parent=context)
        except click.exceptions.Exit:  # --help and --version end here
            return
        if not isinstance(command, click.Group):
            return
        name, child, words = command.resolve_command(context, [*context._protected_args, *context.args])
        assert child is not None
        command = child


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_shown(path: tuple[str, ...]) -> None:
    assert re.search(rf"\b{' '.join(('loader', *path))}\b", README)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_named(option: str) -> None:
    assert re.search(rf"{re.escape(option)}(?![\w-])", README)


def test_every_exit_code_stands_in_the_table() -> None:
    table = README.partition("## Exit codes")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([0-9, ]+) \|", table, re.MULTILINE)
    named = {int(code) for row in rows for code in row.split(",")}
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    raised = {kind.exit_code for kind in kinds if issubclass(kind, errors.LoaderError)}
    assert named == {0, 3} | raised | SIGNAL_CODES


def test_the_names_of_the_library_exist() -> None:
    (text,) = (text for language, text in BLOCKS if language == "python")
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in imports for alias in node.names if node.module == "loader"]
    assert "load" in names
    assert [name for name in names if not hasattr(loader, name)] == []


def test_every_target_of_make_is_named() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [target for target in targets if f"make {target}" not in README] == []


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md", "tests/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []
