"""What a run holds, told from its directory alone: ids, rejects, ambiguous, status."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from loader.checkpoint import CheckpointLog, Spot
from loader.cli.app import main
from loader.model import Ambiguous, Created, Outcome, Rejected, Updated, Window
from loader.reading.fingerprint import identify
from loader.reading.spool import Spool
from loader.runs import directory as run_directory
from loader.runs.directory import RunInfo, SourceInfo
from loader.runs.rejects import MAX_RECORD_BYTES
from loader.settings import Options, OzariInsert
from loader.targets.base import Identity

RUN_ID = "k3jq8x0v1z"
LONG = b'{"a":"' + b"x" * (2 * MAX_RECORD_BYTES) + b'"}\n'
LINES = [
    b'\xef\xbb\xbf{"code":"C-1"}\n',
    b"\n",
    b'{"code":18446744073709551616}\r\n',
    b"not json\n",
    b'{"code":"\xff"}\n',
    LONG,
    '{"code":"東京"}\n'.encode(),
    b'{"code":"C-8"}\n',
    b'{"code":"C-9"}',
]
OUTCOMES: dict[int, Outcome] = {
    1: Created(1547),
    3: Created("id-3"),
    4: Rejected("parse", "json", "not JSON: column 1"),
    5: Rejected("parse", "utf8", "not UTF-8"),
    6: Rejected("parse", "too_long", "longer than allowed"),
    7: Created(None),
    8: Ambiguous("the connection died"),
    9: Rejected("target", "404", "Table not found"),
}
Call = Callable[..., tuple[int, bytes, str]]


def offsets(lines: list[bytes]) -> list[int]:
    found = [sum(len(line) for line in lines[:n]) for n in range(len(lines))]
    return [3, *found[1:]]


def make_run(
    directory: Path,
    sources: list[Path | None],
    lines: list[bytes],
    settings: OzariInsert,
    *,
    settled: dict[int, Outcome],
    notes: Any = None,
) -> Path:
    """Write a run of sources with the same lines, each a window of all its lines."""
    run = directory / "x.run"
    info = RunInfo(
        run=RUN_ID,
        target="ozari insert",
        origin="https://api.ozari.co.il",
        identity=Identity("acme", "ozari:acme"),
        settings=settings,
        sources=tuple(run_directory.describe_source(str(path), run) if path else SourceInfo("-") for path in sources),
        options=Options(),
        loader="0.1.0",
        created="2026-11-22T09:30:00Z",
    )
    run_directory.write(run, info)
    asyncio.run(write_log(run, info, lines, settled, notes))
    return run


async def write_log(run: Path, info: RunInfo, lines: list[bytes], settled: dict[int, Outcome], notes: Any) -> None:
    log = await CheckpointLog.create(run, RUN_ID, orjson.loads(run_directory.encode(info)))
    data = b"".join(lines)
    begin = offsets(lines)
    for source in range(len(info.sources)):
        blanks = tuple(n for n, line in enumerate(lines, 1) if not line.strip())
        sent = len(lines) - len(blanks)
        await log.intend([Window(source, 1, len(lines) + 1, 3, len(data), zlib.crc32(data[3:]), sent, blanks)])
        places = [Spot(source, number, begin[number - 1]) for number in settled]
        log.settle(places, list(settled.values()))
    for name, value in (notes or {}).items():
        log.note(name, value)
    await log.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "cities.ndjson"
    path.write_bytes(b"".join(LINES))
    return path


@pytest.fixture
def run(source: Path) -> Path:
    return make_run(source.parent, [source], LINES, OzariInsert("tcity", key="code"), settled=OUTCOMES)


@pytest.fixture
def call(capfdbinary: pytest.CaptureFixture[bytes]) -> Call:
    def run_command(*arguments: object) -> tuple[int, bytes, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return code, out, err.decode()

    return run_command


def objects(out: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in out.splitlines()]


def test_ids_stand_beside_their_lines(run: Path, call: Call) -> None:
    code, out, err = call("ids", run)
    assert (code, err) == (0, "")
    at = offsets(LINES)
    assert objects(out) == [
        {"line": 1, "offset": 3, "id": 1547, "key": "C-1"},
        {"line": 3, "offset": at[2], "id": "id-3", "key": "18446744073709551616"},
        {"line": 7, "offset": at[6], "id": None, "key": "東京"},
    ]
    assert list(objects(out)[0]) == ["line", "offset", "id", "key"]


def test_ids_as_csv(run: Path, call: Call) -> None:
    code, out, _ = call("ids", run, "--format", "csv")
    rows = list(csv.reader(io.StringIO(out.decode())))
    assert code == 0
    assert rows[0] == ["line", "offset", "id", "key"]
    assert [row[2:] for row in rows[1:]] == [["1547", "C-1"], ["id-3", "18446744073709551616"], ["", "東京"]]


def test_ids_without_the_source_are_still_ids(run: Path, source: Path, call: Call) -> None:
    source.unlink()
    code, out, err = call("ids", run)
    assert code == 0
    assert [row["id"] for row in objects(out)] == [1547, "id-3", None]
    assert {row["offset"] for row in objects(out)} == {None}
    assert err.count("warning: ") == 1


def test_keys_are_stamps_where_there_is_no_key(source: Path, call: Call) -> None:
    run = make_run(
        source.parent, [source, source], LINES, OzariInsert("tcity", stamp="fstamp"), settled={1: Created(5)}
    )
    _, out, _ = call("ids", run)
    assert [(row["source"], row["line"], row["key"]) for row in objects(out)] == [
        (0, 1, f"{RUN_ID}-1"),
        (1, 1, f"{RUN_ID}-1x1"),
    ]
    _, out, _ = call("ids", run, "--format", "csv")
    assert out.splitlines()[0] == b"source,line,offset,id,key,file"


def test_rejects_are_listed_in_the_shape_of_the_contract(run: Path, call: Call) -> None:
    code, out, err = call("rejects", run)
    assert (code, err) == (0, "")
    at = offsets(LINES)
    rows = objects(out)
    assert rows[0] == {
        "line": 4, "offset": at[3], "stage": "parse", "code": "json", "message": "not JSON: column 1", "record": "not json",
    }  # fmt: skip
    assert rows[1]["record"] is None
    assert rows[1]["record_base64"] == "eyJjb2RlIjoi/yJ9"
    assert rows[2]["code"] == "too_long"
    assert rows[2]["record"] is None
    assert rows[3]["record"] == '{"code":"C-9"}'
    assert [row["line"] for row in rows] == [4, 5, 6, 9]


def test_rejected_lines_come_out_byte_for_byte(run: Path, call: Call) -> None:
    code, out, _ = call("rejects", run, "--records")
    assert code == 0
    assert out == LINES[3] + LINES[4] + LONG + LINES[8] + b"\n"


def test_ambiguous_has_the_same_shape(run: Path, call: Call) -> None:
    code, out, _ = call("ambiguous", run)
    assert code == 0
    (row,) = objects(out)
    assert list(row) == ["line", "offset", "stage", "code", "message", "record"]
    assert (row["line"], row["message"], row["record"]) == (8, "the connection died", '{"code":"C-8"}')
    assert call("ambiguous", run, "--records")[1] == LINES[7]


def test_lines_without_an_outcome_are_ambiguous_until_a_resume(source: Path, call: Call) -> None:
    run = make_run(source.parent, [source], LINES, OzariInsert("tcity"), settled={1: Created(5), 8: Ambiguous("died")})
    rows = objects(call("ambiguous", run)[1])
    assert [row["line"] for row in rows] == [3, 4, 5, 6, 7, 8, 9]
    assert [row["offset"] for row in rows] == [offsets(LINES)[row["line"] - 1] for row in rows]
    assert rows[4]["record"] == '{"code":"東京"}'
    assert call("ambiguous", run, "--records")[1] == b"".join([*LINES[2:9], b"\n"])


def test_lines_that_were_certainly_not_sent_are_not_ambiguous(source: Path, call: Call) -> None:
    settled: dict[int, Outcome] = {1: Created(5), 8: Ambiguous("died")}
    notes = {"unsent": [[0, 3, 6], [0, 9, 9]], "end": {"state": "interrupted", "reason": "signal", "at": "now"}}
    run = make_run(source.parent, [source], LINES, OzariInsert("tcity"), settled=settled, notes=notes)
    assert [row["line"] for row in objects(call("ambiguous", run)[1])] == [7, 8]
    status = orjson.loads(call("status", run, "--json")[1])
    assert (status["unsent"], status["in_doubt"]) == (5, 1)


def test_a_changed_source_is_not_quoted(source: Path, call: Call) -> None:
    run = make_run(source.parent, [source], LINES, OzariInsert("tcity"), settled=OUTCOMES)
    info = run_directory.read(run)
    run_directory.write(run, replace(info, sources=(replace(info.sources[0], fingerprint=identify(source)),)))
    assert objects(call("rejects", run)[1])[0]["record"] == "not json"
    source.write_bytes(b"other" + b"".join(LINES))
    code, out, err = call("rejects", run)
    assert code == 0
    assert objects(out)[0]["record"] is None
    assert "is not what the run has read" in err
    assert call("rejects", run, "--records")[0] == 5


def test_compressed_and_piped_sources_are_read_too(source: Path, tmp_path: Path, call: Call) -> None:
    packed = tmp_path / "c.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    run = make_run(tmp_path, [packed], LINES, OzariInsert("tcity", key="code"), settled=OUTCOMES)
    assert objects(call("ids", run)[1])[2]["key"] == "東京"
    assert call("rejects", run, "--records")[1] == LINES[3] + LINES[4] + LONG + LINES[8] + b"\n"
    piped = make_run(tmp_path / "p", [None], LINES, OzariInsert("tcity", key="code"), settled=OUTCOMES)
    assert objects(call("rejects", piped)[1])[0]["record"] is None
    spool = Spool(piped / run_directory.SPOOL_FILE)
    spool.append(b"".join(LINES))
    spool.finish()
    spool.close()
    assert objects(call("rejects", piped)[1])[0]["record"] == "not json"
    assert objects(call("ids", piped)[1])[0]["key"] == "C-1"


# --- status -----------------------------------------------------------------------------------------------------------


def test_status_of_a_run_that_has_not_ended(source: Path, call: Call) -> None:
    run = make_run(source.parent, [source], LINES, OzariInsert("tcity"), settled={1: Created(5), 4: OUTCOMES[4]})
    code, out, _ = call("status", run, "--json")
    status = orjson.loads(out)
    assert code == 0
    assert (status["state"], status["target"], status["table"], status["identity"]) == (
        "open",
        "ozari insert",
        "tcity",
        "acme",
    )
    assert (status["lines"], status["created"], status["rejected"], status["skipped_blank"]) == (9, 1, 1, 1)
    assert status["in_doubt"] == 6
    assert status["done_bytes"] == sum(map(len, LINES))
    code, text, _ = call("status", run)
    assert code == 0
    assert b"not ended" in text
    assert b"loader resume" in text
    assert b"loader rejects" in text


def test_status_of_a_finished_run_with_a_last_sample(source: Path, call: Call) -> None:
    end = {"state": "finished", "reason": None, "at": "2026-11-22T10:00:00Z"}
    run = make_run(source.parent, [source], LINES, OzariInsert("tcity"), settled=OUTCOMES, notes={"end": end})
    sample = {"time": "2026-11-22T09:59:59Z", "sample": {"records_per_second": 2795.0, "waiting_reason": None}}
    (run / "metrics.ndjson").write_bytes(orjson.dumps(sample) + b'\n{"torn')
    text = call("status", run)[1].decode()
    assert "finished on 2026-11-22T10:00:00Z" in text
    assert "last sample 2026-11-22T09:59:59Z: 2,795 records/s" in text
    assert "loader ambiguous" in text
    assert len(text.splitlines()) < 24


def test_a_run_without_its_log_is_said(run: Path, call: Call) -> None:
    (run / "checkpoint.log").unlink()
    for command in ("status", "ids", "rejects", "ambiguous"):
        code, _, err = call(command, run)
        assert code == 5
        assert err.startswith("error: ")


def test_an_updated_line_has_no_id(source: Path, call: Call) -> None:
    run = make_run(
        source.parent, [source], LINES, OzariInsert("tcity"), settled={1: Updated(), 3: Updated(is_unchanged=True)}
    )
    assert call("ids", run)[1] == b""
    assert orjson.loads(call("status", run, "--json")[1])["unchanged"] == 1
