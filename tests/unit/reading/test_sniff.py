"""What is not NDJSON is named; what is NDJSON is never refused; the commands of the hints make lines that can be loaded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import SourceError
from loader.reading.beginning import check_beginning, check_name
from loader.reading.sniff import HEAD_BYTES, examine, examined
from loader.reading.sniff_form import hint_of, message_of
from loader.reading.sniff_json import good_object
from tests.unit.reading.bad_lines import BAD_LINES, SUSPICIOUS_GOOD_LINES, BadLine
from tests.unit.reading.encoders import COMPRESSORS
from tests.unit.reading.source_forms import CONVERTED, FORMS, LINES, Case, value_of

SAMPLES = sorted((Path(__file__).parents[3] / "samples").glob("*.ndjson"))
GOOD = b'{"fcode":"K1"}'


def names(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", FORMS, ids=names)
def test_a_form_is_named(case: Case) -> None:
    form = examine(case.data[:HEAD_BYTES], is_whole=len(case.data) <= HEAD_BYTES)
    assert form is not None
    assert case.word in message_of(form, "file")
    assert hint_of(form, "file") or form.note


@pytest.mark.parametrize("case", FORMS, ids=names)
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_nothing_of_it_leaves_standard_input(case: Case, size: int) -> None:
    if case.word == "doubled":
        size = len(case.data)  # a good line leaves at once: see tests/emulated/test_load_forms.py
    pieces = [case.data[at : at + size] for at in range(0, len(case.data), size)]
    passed: list[bytes] = []
    with pytest.raises(SourceError, match=r"standard input is .*, not NDJSON"):
        passed.extend(examined(pieces, "standard input"))
    # Of a slow pipe lines may have been handed on that are bad in themselves, and are no more than that.
    assert not any(map(good_object, b"".join(passed).split(b"\n")))
    assert size == 7 or not passed


@pytest.mark.parametrize("case", FORMS, ids=names)
@pytest.mark.parametrize("kind", COMPRESSORS)
def test_compression_hides_nothing(tmp_path: Path, case: Case, kind: str) -> None:
    path = tmp_path / "source"
    path.write_bytes(COMPRESSORS[kind](case.data))
    with pytest.raises(SourceError, match="not NDJSON") as caught:
        check_beginning(path)
    assert case.word in caught.value.message


@pytest.mark.parametrize("case", CONVERTED, ids=names)
@pytest.mark.parametrize("kind", [None, "gzip"])
def test_the_command_of_the_hint_works(tmp_path: Path, case: Case, kind: str | None) -> None:
    path = tmp_path / "a source's name"
    path.write_bytes(COMPRESSORS[kind](case.data) if kind else case.data)
    with pytest.raises(SourceError) as caught:
        check_beginning(path)
    command, bar, _ = caught.value.hint.partition(" | loader … - --run DIR")
    assert bar
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True)
    rows = [line.strip() for line in done.stdout.decode().removeprefix("\ufeff").splitlines() if line.strip()]
    if case.is_exact:
        assert [row.replace('": ', '":').replace(', "', ',"') for row in rows] == [
            row.replace('": ', '":').replace(', "', ',"') for row in case.rows or ()
        ]
    assert [value_of(row) for row in rows] == [value_of(row) for row in case.rows or ()]
    assert examine(done.stdout, is_whole=True) is None, "it must not lead to the next refusal"


# --- what is NDJSON -----------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.text(max_size=8), values, min_size=1, max_size=5)


@given(
    rows=st.lists(objects, min_size=1, max_size=8),
    start=st.sampled_from([b"", b"\n\n", b"\r\n \t\n", b"\xef\xbb\xbf"]),
    end=st.sampled_from([b"\n", b"\r\n"]),
    is_ended=st.booleans(),
)
def test_lines_of_objects_are_never_refused(rows: list[object], start: bytes, end: bytes, *, is_ended: bool) -> None:
    data = start + end.join(map(orjson.dumps, rows)) + (end if is_ended else b"")
    assert examine(data, is_whole=True) is None
    assert b"".join(examined([data], "x")) == data
    for size in (1, 10):
        assert examine(data[: len(data) // size], is_whole=False) is None


@pytest.mark.parametrize("line", BAD_LINES, ids=[line.name for line in BAD_LINES])
@pytest.mark.parametrize("behind", [1, 30])
def test_a_bad_first_line_is_no_form(line: BadLine, behind: int) -> None:
    data = line.data + b"\n" + (GOOD + b"\n") * behind
    form = examine(data, is_whole=True)
    # A comma behind the first of two objects is a list of two.
    assert form is None or (behind == 1 and form.what == "objects with commas between them")


@pytest.mark.parametrize("data", SUSPICIOUS_GOOD_LINES.values(), ids=SUSPICIOUS_GOOD_LINES)
def test_a_suspicious_good_line_is_no_form(data: bytes) -> None:
    assert examine(data + b"\n", is_whole=True) is None
    assert examine(data + b"\n" + data + b"\n", is_whole=True) is None


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_are_lines(path: Path) -> None:
    assert check_beginning(path) == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b" \r\n\n",
        b"\xef\xbb\xbf",
        b'{"a":"' + b"x" * 100_000,
        b"{",
        b'{"a"',
        b"broken\n",
        b"broken\nbroken\n",
        b"[1]\n",
    ],
)
def test_what_nothing_is_known_of_is_read_as_lines(data: bytes) -> None:
    assert examine(data[:HEAD_BYTES], is_whole=len(data) <= HEAD_BYTES) is None


def test_a_good_line_is_passed_on_at_once() -> None:
    def pieces() -> object:
        yield b'{"a":'
        yield b"1}\n"
        raise AssertionError("read ahead")

    assert next(examined(pieces(), "x")) == b'{"a":1}\n'  # type: ignore[arg-type]  # a generator is an iterable
    assert next(examined([LINES, b"more"], "x")) == LINES


# --- cautions and names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, word",
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b'{"total":2,"items":[{"a":1},{"a":2}]}', "one object with a list of objects in 'items'"),
        (b'{"_id":{"$oid":"65"},"n":1}\n', "MongoDB's extended JSON"),
        (b'{"a":"b"}\n{"note":"line1\\\\nline2"}\n', "line 2: backslashes look doubled"),
    ],
)
def test_what_is_loaded_all_the_same_is_said(tmp_path: Path, data: bytes, word: str) -> None:
    path = tmp_path / "source"
    path.write_bytes(data)
    (caution,) = check_beginning(path)
    assert word in caution


@pytest.mark.parametrize(
    "data", [b'{"a":"C:\\\\x\\\\n"}\n{"b":"1\\n2"}\n', b'{"a":"C:\\\\dir"}\n', b'{"a":"\\\\\\""}\n']
)
def test_backslashes_that_are_meant_are_not_doubted(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "source"
    path.write_bytes(data)
    assert check_beginning(path) == ()


@pytest.mark.parametrize(
    "source, hint",
    [
        ("http://host/a b.ndjson", "curl -fsSL 'http://host/a b.ndjson' | loader … - --run DIR"),
        ("https://host/a", "curl -fsSL https://host/a | "),
        ("https:/host/a", "curl -fsSL https://host/a | "),
        ("HTTPS://host/a?b=1&c=2", "curl -fsSL 'HTTPS://host/a?b=1&c=2' | "),
        ("s3://bucket/key", "aws s3 cp s3://bucket/key - | "),
        ("gs://bucket/key", "gcloud storage cat gs://bucket/key | "),
        ("file:///tmp/x.ndjson", "give its path: /tmp/x.ndjson"),
        ("ftp://host/a", "curl -fsS ftp://host/a | "),
        ("host:/data/a.ndjson", "ssh host cat /data/a.ndjson | "),
        ("me@host:a.ndjson", "ssh me@host cat a.ndjson | "),
    ],
)
def test_a_url_is_no_source(source: str, hint: str) -> None:
    with pytest.raises(SourceError) as caught:
        check_name(source)
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("source", ["a.ndjson", "./a", "/data/a:b", "absent", "C", "a b"])
def test_a_path_is_a_path(source: str) -> None:
    check_name(source)
