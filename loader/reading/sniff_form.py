"""What a source is if it is not NDJSON: its form in words, and the command that makes lines of it. Pure.

Every command is a filter (standard input to standard output) or takes a file. It keeps the bytes of each record wherever the form
has records as JSON: numbers past 2^53 and trailing zeros must arrive as they were exported. jq before 1.7 rewrites both, so jq is
named only for texts, and Python where numbers travel. tests/unit/reading/test_sniff_commands.py runs the commands.
"""

from __future__ import annotations

import shlex
from typing import NamedTuple

LOAD = "loader … - --run DIR"
"""The rest of the user's own command, which the source does not know."""

OBJECTS = (
    "python3 -X utf8 -c 'import json,re,sys;s=sys.stdin.read();d=json.JSONDecoder().raw_decode;"
    'n=re.compile("[^{]*").match;e=0;any((i:=n(s,e).end())==len(s) or '
    'print(s[i:(e:=d(s,i)[1])].replace("\\n"," ")) for _ in iter(int,1))\''
)
"""Print each outermost object on a line of its own, its bytes as they are; whatever stands between two objects is left out."""


class Form(NamedTuple):
    """A form of files. `what` completes "FILE is ...".

    `filter`: a command from standard input to standard output. `from_file`: a command for formats that have to be sought in; it
    has `{}` for the file's name. `note`: what else the user has to know or to do. `evidence` says what was seen, if a guess is
    in it.
    """

    what: str
    filter: str = ""
    from_file: str = ""
    note: str = ""
    evidence: str = ""


def message_of(form: Form, name: str) -> str:
    """Say what a source is."""
    return f"{name} is {form.what}, not NDJSON" + (f" ({form.evidence})" if form.evidence else "")


def hint_of(form: Form, path: str | None, kind: str = "plain") -> str:
    """Say what makes it loadable. `path` None: standard input; `kind`: how the file is compressed."""
    parts = [_command(form, path, kind), form.note]
    return "; ".join(part for part in parts if part)


def _command(form: Form, path: str | None, kind: str) -> str:
    if path is None:
        if form.filter:
            return f"pipe it through this first: {form.filter} | {LOAD}"
        return f"save it as FILE, then: {form.from_file.replace('{}', 'FILE')} | {LOAD}" if form.from_file else ""
    unpack = {"gzip": "gzip -dc", "zstd": "zstd -dc"}.get(kind)
    file = shlex.quote(f"./{path}" if path.startswith("-") else path)
    if form.from_file and unpack is None:
        return f"{form.from_file.replace('{}', file)} | {LOAD}"
    if form.filter:
        return f"{unpack} {file} | {form.filter} | {LOAD}" if unpack else f"{form.filter} < {file} | {LOAD}"
    if form.from_file:
        return f"{unpack} {file} > FILE, then: {form.from_file.replace('{}', 'FILE')} | {LOAD}"
    return ""


def python_lines(expression: str, imports: str = "json,sys", rows: str = "sys.stdin") -> str:
    """Write a command that prints what an expression makes of each `r` of `rows`."""
    return f"python3 -X utf8 -c 'import {imports};[print({expression}) for r in {rows}]'"
