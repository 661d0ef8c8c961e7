"""The habits that no linter knows: short files and functions, reasons beside exceptions, no room for leftovers."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = sorted((ROOT / "loader").rglob("*.py"))
FOLDERS = ("loader", "benchmarks", "samples", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MAX_FILE_LINES = 300  # where every house that was looked at is at its worst
MAX_FUNCTION_LINES = 50
MIN_REASON_LETTERS = 4  # one word may be enough: "quoted"
SILENCER = re.compile(r"#\s*(noqa|type:\s*ignore|pragma|ruff:|mypy:)(:\s*[A-Z0-9, ]+\b|\[[a-z0-9, -]+\])?(.*)")
LEFTOVERS = {"common", "helper", "helpers", "misc", "util", "utils"}
MARKS = {"skip", "skipif", "xfail"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield each comment with its line number; a silencer inside a string silences nothing."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def silencers_without_reason(text: str) -> list[int]:
    """Return the lines whose silencer names no code, or gives no reason after it."""
    found = []
    for number, comment in comments(text):
        match = SILENCER.search(comment)
        if match and not (match[2] and sum(map(str.isalpha, match[3])) >= MIN_REASON_LETTERS):
            found.append(number)
    return found


def marks_without_reason(text: str) -> list[int]:
    """Return the lines of skip, skipif and xfail that give no reason, called or bare."""
    nodes = list(ast.walk(ast.parse(text)))
    calls = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
    found = []
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in MARKS and ast.unparse(node).startswith("pytest."):
            call = calls.get(id(node))
            is_argued = call and (
                any(word.arg == "reason" for word in call.keywords) or (node.attr == "skip" and call.args)
            )
            if not is_argued:
                found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_a_file_fits_the_eye(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", FILES, ids=name)
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, f"{node.name}, line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_silenced_check_has_its_reason(path: Path) -> None:
    text = path.read_text()
    assert silencers_without_reason(text) + marks_without_reason(text) == []


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_a_module_opens_with_its_laws(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_no_room_for_leftovers() -> None:
    assert [name(path) for path in FILES if path.stem in LEFTOVERS or path.parent.name in LEFTOVERS] == []


@pytest.mark.parametrize(
    "line, lines",
    [
        ("x = 1  # noqa", [1]),
        ("x = 1  # noqa: E501", [1]),
        ("x = 1  # noqa: E501 - the address is one word", []),
        ("x = 1  # type: ignore[attr-defined]", [1]),
        ("x = 1  # type: ignore[attr-defined]  # the library has no types", []),
        ("x = '# noqa'", []),
    ],
)
def test_the_reason_is_looked_for_in_comments(line: str, lines: list[int]) -> None:
    assert silencers_without_reason(line + "\n") == lines


@pytest.mark.parametrize(
    "line, lines",
    [
        ("pytest.skip('no flock here')", []),
        ("pytest.skip()", [1]),
        ("pytest.mark.xfail", [1]),
        ("pytest.mark.xfail(strict=True)", [1]),
        ("pytest.mark.skipif(True, reason='no flock here')", []),
        ("iterator.skip()", []),
    ],
)
def test_the_reason_is_looked_for_in_marks(line: str, lines: list[int]) -> None:
    assert marks_without_reason(line + "\n") == lines
