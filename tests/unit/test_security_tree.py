"""What must stand nowhere in the product: switched-off checks, shells, code made of data, ways to show a secret.

The tree is read as Python reads it, so that a word in a comment is no finding and a call under another name is one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "loader").rglob("*.py"))
FORBIDDEN_MODULES = {
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "yaml",
    "faulthandler",
    "cgitb",
    "telnetlib",
    "xmlrpc",
    "commands",
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
FORBIDDEN_METHODS = {
    "os.system", "os.popen", "os.spawnl", "os.execv", "ssl._create_unverified_context", "ssl._create_default_https_context",
    "tempfile.mktemp", "ssl.create_default_context", "os.umask", "asyncio.create_subprocess_shell",
}  # fmt: skip
# A keyword with this value switches a check off.
FORBIDDEN_VALUES = {
    ("ssl", False), ("verify", False), ("verify_ssl", False), ("check_hostname", False), ("shell", True), ("trust_env", True),
    ("allow_redirects", True), ("raise_for_status", True), ("auto_decompress", True), ("capture_locals", True),
}  # fmt: skip
FORBIDDEN_ATTRIBUTES = {"CERT_NONE", "CERT_OPTIONAL", "raise_for_status", "request_info", "keylog_filename"}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def findings(tree: ast.AST) -> list[str]:
    """Name what is forbidden, with its line."""
    found = []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"import {name}" for name in names if name.partition(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_ATTRIBUTES:
            found.append(f"{node.attr}, line {node.lineno}")
    for call in calls(tree):
        name = ast.unparse(call.func)
        if name in FORBIDDEN_CALLS | FORBIDDEN_METHODS:
            found.append(f"{name}, line {call.lineno}")
        for word in call.keywords:
            value = word.value.value if isinstance(word.value, ast.Constant) else None
            if (word.arg, value) in FORBIDDEN_VALUES:
                found.append(f"{word.arg}={value!r}, line {call.lineno}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            targets = {target.attr for target in node.targets if isinstance(target, ast.Attribute)}
            found += [
                f"{name}={node.value.value!r}" for name in targets if (name, node.value.value) in FORBIDDEN_VALUES
            ]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_forbidden(path: Path) -> None:
    assert findings(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from pickle import loads", "import yaml.loader", "eval('1')", "exec(x)", "os.system('ls')",
        "run('ls', shell=True)", "session(ssl=False)", "get(url, verify=False)", "context.check_hostname = False",
        "ssl.create_default_context()", "context.verify_mode = ssl.CERT_NONE", "answer.raise_for_status()",
        "ClientSession(trust_env=True)", "get(url, allow_redirects=True)", "format_exception(e, capture_locals=True)",
    ],
)  # fmt: skip
def test_the_search_finds(text: str) -> None:
    assert findings(ast.parse(text)) != []


def test_the_search_lets_pass() -> None:
    text = "message = 'pickle, eval and shell=True'\nsession(ssl=True, trust_env=False, allow_redirects=False)\ntree.compile()\n"
    assert findings(ast.parse(text)) == []


def test_secrets_are_revealed_where_requests_are_built_and_nowhere_else() -> None:
    allowed = {"credentials.py", "redaction.py"} | {
        path.relative_to(ROOT / "loader").as_posix() for path in FILES if path.match("targets/*/api.py")
    }
    found = {
        path.relative_to(ROOT / "loader").as_posix()
        for path in FILES
        for call in calls(ast.parse(path.read_text()))
        if isinstance(call.func, ast.Attribute) and call.func.attr == "reveal"
    }
    assert "targets/ozari/api.py" in found
    assert found <= allowed


def test_every_file_that_is_created_names_its_mode() -> None:
    """`os.open` with O_CREAT and without a mode makes an executable file for everybody; `open(..., "w")` follows the umask."""
    wrong = []
    for path in FILES:
        if "emulator" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        for call in calls(tree):
            text = ast.unparse(call)
            if ast.unparse(call.func) == "os.open" and "O_CREAT" in text and "0o600" not in text and "384" not in text:
                wrong.append(f"{path.name}: {text}")
            if isinstance(call.func, ast.Attribute) and call.func.attr in {"write_text", "write_bytes", "touch"}:
                wrong.append(f"{path.name}: {text}")
    assert [line for line in wrong if not line.startswith("demo_run.py")] == []
