"""Forms that are text and no JSON: tables, markup, dumps, code, logs. Pure.

`STRONG` patterns are believed whatever follows. The others only name a form if no line of the beginning is a good object: a stray
first line is a bad line, and no form.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from loader.reading.sniff_form import OBJECTS, Form, python_lines
from loader.reading.sniff_json import good_object

_CSV_ROWS = 'csv.DictReader(open(0,encoding="utf-8-sig",newline=""){})'
_PSQL = "psql -AtXc 'SELECT row_to_json(t) FROM TABLE t'"
_FROM_MYSQL = "mysql -N --raw -e 'SELECT JSON_OBJECT(...) FROM TABLE'"
_AGAIN = f"export it anew: {_PSQL}; for MySQL: {_FROM_MYSQL}"
_MAX_ROWS = 20

JSON_COLUMN = Form(
    "CSV with the JSON in a column",
    "python3 -X utf8 -c 'import csv,sys;csv.field_size_limit(1<<30);"
    '[print(c.replace("\\n"," ")) for r in csv.reader(open(0,encoding="utf-8-sig",newline="")) for c in r if c[:1]=="{"]\'',
    note="or export it anew: psql -At instead of --csv",
)
LOG = Form("a log with other text before each object", "sed 's/^[^{]*//'")
JSON5 = Form(
    "JSON5 or JavaScript, one object a line",
    python_lines("json.dumps(json5.loads(r),ensure_ascii=False)", "json,json5,sys", "sys.stdin if r.strip()"),
    note="json5 comes from pip",
)
PYTHON = Form(
    "Python's own writing of objects, not JSON",
    python_lines("json.dumps(ast.literal_eval(r),ensure_ascii=False)", "ast,json,sys", "sys.stdin if r.strip()"),
)
YAML = Form(
    "YAML",
    "python3 -X utf8 -c 'import json,sys,yaml;"
    "[print(json.dumps(r,ensure_ascii=False,default=str)) "
    "for d in yaml.safe_load_all(sys.stdin) for r in (d if isinstance(d,list) else [d])]'",
    note="the module yaml is pip's pyyaml",
)
ALIGNED = Form("a table drawn for people", note=_AGAIN)
SQL = Form("SQL statements", note="run them in a database, then " + _AGAIN)
MARKUP = Form("XML", note="convert it to CSV or JSON with the fields that are wanted")
HTML = Form("an HTML page", note="it may be the error or the log-in page of a web server: look at it with `head FILE`")

STRONG: tuple[tuple[re.Pattern[str], Form], ...] = (
    (
        re.compile(r"HTTP/\d(\.\d)? \d{3}\b"),
        Form(
            "an answer of HTTP with its headers", "sed '1,/^[[:space:]]*$/d'", note="or fetch it anew without curl -i"
        ),
    ),
    (
        re.compile(r"version https://git-lfs\.github\.com/spec"),
        Form("a pointer of Git LFS, not the file", note="fetch the file: git lfs pull"),
    ),
    (
        re.compile(r"version https://hawser\.github\.com/spec"),
        Form("a pointer of Git LFS, not the file", note="fetch the file: git lfs pull"),
    ),
    (
        re.compile(r"(/annex/objects/|[./]*\.git/annex/objects/)"),
        Form("a pointer of git-annex, not the file", note="fetch the file: git annex get FILE"),
    ),
    (
        re.compile(r"oid sha256:[0-9a-f]{64}"),
        Form("a pointer of Git LFS, not the file", note="fetch the file: git lfs pull"),
    ),
    (re.compile(r"(?i)<!doctype html|<html[\s>]|<head[\s>]|<body[\s>]"), HTML),
    (re.compile(r"<\?xml\b"), MARKUP),
    (re.compile(r"\{\\rtf"), Form("a document in RTF", note="save what is wanted of it as CSV or JSON")),
    (re.compile(r"outs:\s*\n- md5: "), Form("a pointer of DVC, not the file", note="fetch the file: dvc pull")),
)
WEAK: tuple[tuple[re.Pattern[str], Form], ...] = (
    (
        re.compile(r"(version: 1\s+)?dn::? "),
        Form("LDIF", note="convert it to CSV or JSON with the fields that are wanted"),
    ),
    (
        re.compile(r"BEGIN:V"),
        Form("vCard or iCalendar", note="convert it to CSV or JSON with the fields that are wanted"),
    ),
    (re.compile(r"H4sI[A-Za-z0-9+/=\s]{16}"), Form("gzip in base64", "base64 -d | gzip -dc")),
    (
        re.compile(r"\[?\s*\{\s*&(quot|#34);"),
        Form("escaped for HTML", python_lines("html.unescape(r.rstrip())", "html,sys")),
    ),
    (
        re.compile(r"%(7B|5B)(%0A|%20)*%22", re.IGNORECASE),
        Form("escaped for a URL", python_lines("u.unquote_plus(r.rstrip())", "sys,urllib.parse as u")),
    ),
    (re.compile(r"\[?\s*\{\s*[\u201c\u201d]"), Form("JSON with curly quotes", "sed 's/[\u201c\u201d]/\"/g'")),
    (
        re.compile(r"\[?\s*\{\s*(:?\"?\w+\"? *=>|:[a-z])"),
        Form("a hash of another language, not JSON", note="write it as JSON there"),
    ),
    (re.compile(r"<[A-Za-z!][^>\n]*>"), MARKUP),
    (
        re.compile(r"(:[^\n]*\n|event:[^\n]*\n|id:[^\n]*\n|retry:[^\n]*\n|\s)*data: ?[\[{]"),
        Form("a stream of server-sent events", "sed -n 's/^data: *//p'"),
    ),
    (
        re.compile(
            r"(export\s+default|module\.exports\s*=|(?:var|let|const)\s+[\w$]+\s*=|(?:window|self|globalThis|this)?\.?[\w$.]+\s*=)\s*[\[{(]"
        ),
        Form("JavaScript", OBJECTS),
    ),
    (re.compile(r"(/\*.*?\*/)?\s*[\w$.]+\s*\(\s*[\[{]"), Form("JSONP", OBJECTS)),
    (
        re.compile(r"(\)\]\}'|while\s*\(1\);|for\s*\(;;\);|&&&START&&&|\{\}&&)"),
        Form("JSON behind a guard against scripts", OBJECTS),
    ),
    (re.compile(r"\*{5,} 1\. row \*{5,}"), ALIGNED),
    (re.compile(r"-\[ RECORD 1 \]"), ALIGNED),
    (re.compile(r"[+|][-=+]{3,}[+|]?\s*\n|[\u250c\u2554\u256d]"), ALIGNED),
    (re.compile(r"[^\n]*\n\s*[-+|: ]*-{3,}[-+|: ]*\s*\n"), ALIGNED),
    (re.compile(r"\|[^\n]+\|\s*\n\|"), ALIGNED),
    (
        re.compile(
            r"(?i)(--[^\n]*\n|/\*.*?\*/;?|\s)*"
            r"(insert into|create table|begin;|set [\w.@]+ ?=|copy [\w.\"]+ ?\(|drop table|use `|lock tables)"
        ),
        SQL,
    ),
    (re.compile(r"(%YAML|---\s*\n)"), YAML),
    (re.compile(r"%YAML|- [\w\"'-]+: |- \{"), YAML),
    (re.compile(r"From |MIME-Version:|Received:|Return-Path:"), Form("a mail", note="save the attachment")),
    (re.compile(r"begin \d{3} "), Form("packed by uuencode", "uudecode -o /dev/stdout")),
    (
        re.compile(r"(//|/\*)"),
        Form(
            "JSON with comments",
            python_lines("json.dumps(r,ensure_ascii=False)", "json5,json,sys", "[json5.load(sys.stdin)]"),
            note="json5 comes from pip; for a list, print each element",
        ),
    ),
)
_PADDED_HEADER = re.compile(r" [^\n{]*\n-{3,}[-+]*\s*\n")
"""psql's, before rows that may be good objects, or cut ones."""
_TOML = re.compile(r"\[\[?[\w.\"' -]+\]\]?\s*\n\s*[\w.\"-]+ *=")
_ASSIGNMENT = re.compile(r"[\w.-]+ *= *[^\n]+\n")
_YAML_LINE = re.compile(r"[\w\"' -]+:( |$)|\s*- |\s+\S|#|\s*$")
_QUOTED_BY_ONE = re.compile(r"\{\s*'")
_BARE_NAME = re.compile(r"\{\s*[A-Za-z_$][\w$]*\s*:")
_PYTHON_WORDS = re.compile(r"[:\[,] ?(None|True|False)\b")
_CALLS = re.compile(r"[:\[,] ?(ObjectId|ISODate|NumberLong|NumberInt|NumberDecimal|BinData)\(")
SHELL = Form(
    "output of the mongo shell",
    note="export it instead: mongoexport --collection NAME --type json | loader … - --run DIR",
)


def text_form(text: str, lines: Sequence[bytes]) -> Form | None:
    """Name a form of text by its beginning. `lines`: those that are whole and not blank."""
    text = text.lstrip(" \t\r\n") if not text.startswith((" ", "\t")) else text.lstrip("\r\n")
    bare = text.lstrip()
    form = next((form for pattern, form in STRONG if pattern.match(bare)), None)
    if _PADDED_HEADER.match(text):
        return ALIGNED
    if form is not None or any(map(good_object, lines[:200])):
        return form
    if lines and _CALLS.search(lines[0].decode(errors="replace")):
        return SHELL
    return (
        _objects(bare, lines)
        or _json_column(lines)
        or next((form for pattern, form in WEAK if pattern.match(text) or pattern.match(bare)), None)
        or _settings(bare)
        or _log(lines)
        or _table(lines)
        or _yaml(bare, lines)
    )


def _objects(text: str, lines: Sequence[bytes]) -> Form | None:
    """Name what looks like objects, and is of a language."""
    if not _QUOTED_BY_ONE.match(text) and not _BARE_NAME.match(text) and not _python_line(lines):
        return None
    if len(lines) < 2 and not text.startswith("{"):
        return None
    same = [line for line in lines[:_MAX_ROWS] if line.lstrip().startswith(b"{")]
    if len(same) < len(lines[:_MAX_ROWS]):
        return (
            None
            if len(lines) > 1 and not _QUOTED_BY_ONE.match(text) and not _BARE_NAME.match(text)
            else _whole_script(text)
        )
    if _PYTHON_WORDS.search(text) or _QUOTED_BY_ONE.match(text):
        return PYTHON if not _BARE_NAME.match(text) else JSON5
    return JSON5


def _python_line(lines: Sequence[bytes]) -> bool:
    return bool(lines) and lines[0].startswith(b"{") and bool(_PYTHON_WORDS.search(lines[0].decode(errors="replace")))


def _whole_script(text: str) -> Form | None:
    return JSON5._replace(what="JSON5 or JavaScript", filter="") if text.startswith("{") else None


def _json_column(lines: Sequence[bytes]) -> Form | None:
    """Name CSV whose rows hold a JSON text: quotes are doubled inside of quotes."""
    behind = lines[1:_MAX_ROWS]
    return JSON_COLUMN if behind and all(re.search(rb'(^|,)"\{""', line) for line in behind) else None


def _settings(text: str) -> Form | None:
    if _TOML.match(text) or (len(_ASSIGNMENT.findall(text[:2000])) > 2 and _ASSIGNMENT.match(text)):
        return Form("a file of settings (TOML, INI or the like)", note="name the file of records")
    return None


def _log(lines: Sequence[bytes]) -> Form | None:
    """Name lines that are objects behind a prefix."""
    rows = [line.strip() for line in lines[:_MAX_ROWS]]
    begun = [row.find(b"{") for row in rows]
    is_log = len(rows) > 1 and all(at > 0 and good_object(row[at:]) for at, row in zip(begun, rows, strict=True))
    return LOG if is_log else None


def _table(lines: Sequence[bytes]) -> Form | None:
    """Name a table by its separator: each of the first rows has as many cells, and the first row has names alone."""
    rows = [line.decode(errors="replace").rstrip("\r") for line in lines[:_MAX_ROWS]]
    if not rows or rows[0].lstrip().startswith(("{", "[")):
        return None
    for separator, name in (
        ("\t", "tab-separated values"),
        (",", "CSV"),
        (";", "CSV with semicolons"),
        ("|", "a table with bars"),
    ):
        if separator not in rows[0]:
            continue
        widths = [_cells(row, separator) for row in rows]
        if len(rows) > 1 and widths.count(widths[0]) >= 0.8 * len(widths) and widths[0] > 1:
            return table_form(name, separator)
    return None


def _cells(row: str, separator: str) -> int:
    try:
        return len(next(csv.reader([row.replace("\r", " ")], delimiter=separator), []))
    except csv.Error:
        return 0


def table_form(name: str, separator: str) -> Form:
    """Name a table. Every value of the objects is a text then."""
    told = {",": "", "\t": ',delimiter="\\t"'}.get(separator, f',delimiter="{separator}"')
    command = python_lines("json.dumps(r,ensure_ascii=False)", "csv,json", _CSV_ROWS.format(told))
    return Form(name, command, note="its first row has to name the fields; every value becomes a text")


def _yaml(text: str, lines: Sequence[bytes]) -> Form | None:
    rows = [line.decode(errors="replace") for line in lines[:_MAX_ROWS]]
    is_yaml = len(rows) > 1 and re.match(r"[\w-]+:( |$)", rows[0]) and all(map(_YAML_LINE.match, rows))
    return YAML if is_yaml and not text.startswith(("{", "[")) else None


def not_utf8(lines: Sequence[bytes]) -> Form | None:
    """Name lines that are JSON in another encoding: some are no UTF-8, and none shows that the file is."""
    wrong = 0
    for line in lines[:2000]:
        if line.isascii():
            continue
        try:
            line.decode()
        except UnicodeDecodeError:
            wrong += 1
        else:
            return None
    is_json = all(line.lstrip().startswith(b"{") for line in lines[:2000])
    if wrong < 2 or not is_json or wrong < 0.05 * len(lines[:2000]):
        return None
    return Form(
        "text in another encoding than UTF-8",
        "iconv -f WINDOWS-1252 -t UTF-8",
        note="WINDOWS-1252 is Western; WINDOWS-1255 Hebrew, CP932 Japanese: look at the texts before you load them",
        evidence=f"{wrong:,} of its first {len(lines[:2000]):,} lines are not UTF-8",
    )
