"""The stages of a record's way, each alone: run by `benchmarks.stages`, which turns their times into microseconds a record.

Each case works on the same generated records; `extra_info` says how many of them one round is. `floor_*` are what a stage
cannot beat: readline for split, orjson alone for parse. `sort` is the way of nearly every line, from a block to shaped records in
windows; `parse` and `shape` are the steps of a line that is looked at by itself.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import measuring
from loader.checkpoint import CheckpointLog
from loader.delivery.chunking import Chunker
from loader.model import Chunk, Created, Record, Rejected, Response, Settled, Window
from loader.reading.compression import BLOCK_BYTES
from loader.reading.lines import Block, LineSplitter
from loader.reading.ndjson import NDJSON
from loader.reading.parsing import parse
from loader.reading.windows import WindowBuilder
from loader.settings import CanbusAdd, CanbusCredentials, OzariCredentials, OzariInsert, Secret
from loader.targets.base import Target
from loader.targets.registry import build_target

RECORDS = 10_000
PIECE_BYTES = 1 << 20
MAX_LINE_BYTES = 16 << 20
WINDOW_LINES = 64
SECRET = Secret("bench")
RUN = "benchmark1"


class Case:
    """Records as one target takes them, at every stage of their way."""

    def __init__(self, target: Target, *, is_canbus: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "records.ndjson"
            measuring.write_records(path, RECORDS, is_canbus=is_canbus)
            self.raw = path.read_bytes()
        self.target = target
        self.lines = self.raw.splitlines()
        self.offsets = list(accumulate((len(line) + 1 for line in self.lines), initial=0))
        self.parsed = [fields for fields in map(parse, self.lines) if isinstance(fields, dict)]
        shaped = [self.shape(index) for index in range(RECORDS)]
        self.records = [one for one in shaped if isinstance(one, Record)]
        assert len(self.records) == RECORDS

    def shape(self, index: int) -> Record | Rejected:
        """Shape one."""
        return self.target.shaper.shape(self.parsed[index], self.lines[index], 0, index + 1, self.offsets[index])

    def chunks(self, size: int) -> list[Chunk]:
        """Put the records into chunks."""
        return [Chunk(tuple(self.records[at : at + size])) for at in range(0, RECORDS, size)]


OZARI = Case(build_target(OzariInsert("tbench"), OzariCredentials(SECRET), RUN), is_canbus=False)
STAMPED = Case(build_target(OzariInsert("tbench", stamp="fstamp"), OzariCredentials(SECRET), RUN), is_canbus=False)
CANBUS = Case(
    build_target(CanbusAdd(user="bench"), CanbusCredentials("bench", SECRET, SECRET, SECRET), RUN), is_canbus=True
)


def time_records(benchmark: BenchmarkFixture, work: Callable[[], Any], records: int = RECORDS) -> Any:
    """Time a piece of work over so many records."""
    benchmark.extra_info["records"] = records
    return benchmark(work)


def test_floor_readline(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    path = tmp_path / "records.ndjson"
    path.write_bytes(OZARI.raw)

    def read() -> int:
        with path.open("rb", buffering=PIECE_BYTES) as file:
            return sum(1 for _ in file)

    assert time_records(benchmark, read) == RECORDS


def blocks_of(raw: bytes, piece_bytes: int) -> Iterator[Block]:
    """Split what is read in pieces of so many bytes."""
    splitter = LineSplitter(0, 1, 0, MAX_LINE_BYTES)
    for at in range(0, len(raw), piece_bytes):
        yield from splitter.feed(raw[at : at + piece_bytes])


def test_split(benchmark: BenchmarkFixture) -> None:
    def split() -> int:
        return sum(len(block.lines) for block in blocks_of(OZARI.raw, PIECE_BYTES))

    assert time_records(benchmark, split) == RECORDS


def test_floor_orjson(benchmark: BenchmarkFixture) -> None:
    assert len(time_records(benchmark, lambda: list(map(orjson.loads, OZARI.lines)))) == RECORDS


def test_parse(benchmark: BenchmarkFixture) -> None:
    assert len(time_records(benchmark, lambda: list(map(parse, OZARI.lines)))) == RECORDS


@pytest.mark.parametrize("case", [OZARI, STAMPED, CANBUS], ids=["ozari", "ozari-stamp", "canbus"])
def test_shape(benchmark: BenchmarkFixture, case: Case) -> None:
    assert len(time_records(benchmark, lambda: [case.shape(index) for index in range(RECORDS)])) == RECORDS


@pytest.mark.parametrize("case", [OZARI, STAMPED, CANBUS], ids=["ozari", "ozari-stamp", "canbus"])
def test_sort(benchmark: BenchmarkFixture, case: Case) -> None:
    blocks = list(blocks_of(case.raw, BLOCK_BYTES))

    def sort() -> int:
        sorter = WindowBuilder(case.target.shaper, max(case.target.shaper.max_records, WINDOW_LINES), NDJSON)
        drafts = [draft for block in blocks for draft in sorter.feed(block)]
        return sum(len(draft.records) for draft in [*drafts, *sorter.flush()])

    assert time_records(benchmark, sort) == RECORDS


@pytest.mark.parametrize("case, size", [(OZARI, 1), (CANBUS, 1000)], ids=["1", "1000"])
def test_chunk(benchmark: BenchmarkFixture, case: Case, size: int) -> None:
    def pack() -> int:
        chunker = Chunker(case.target.body_overhead_bytes, size, 8 << 20)
        return len(chunker.pack(case.records))

    assert time_records(benchmark, pack) == RECORDS // size


@pytest.mark.parametrize("case, size", [(OZARI, 1), (CANBUS, 1000)], ids=["1", "1000"])
def test_encode(benchmark: BenchmarkFixture, case: Case, size: int) -> None:
    chunks = case.chunks(size)
    requests = time_records(benchmark, lambda: [case.target.encode(chunk) for chunk in chunks])
    assert case.records[0].data in requests[0].body


def answer_to(case: Case, chunk: Chunk, number: int) -> Response:
    """Make the answer that a target gives."""
    if case is CANBUS:
        results = [{"result": "0", "id": f"{number * 1000 + index:024x}"} for index in range(len(chunk.records))]
        return Response(201, {}, orjson.dumps({"authen": "OK", "results": results}))
    body = b'{"success":true,"table":"tbench","insertedId":%d,"fields":%b}' % (number + 1, chunk.records[0].data)
    return Response(201, {}, body)


@pytest.mark.parametrize("case, size", [(OZARI, 1), (CANBUS, 1000)], ids=["1", "1000"])
def test_interpret(benchmark: BenchmarkFixture, case: Case, size: int) -> None:
    exchanges = [(chunk, answer_to(case, chunk, number)) for number, chunk in enumerate(case.chunks(size))]
    interpret = case.target.interpret
    verdicts = time_records(benchmark, lambda: [interpret(chunk, response) for chunk, response in exchanges])
    assert all(isinstance(verdict, Settled) for verdict in verdicts)


@pytest.mark.parametrize("case, size", [(OZARI, 1), (CANBUS, 1000)], ids=["1", "1000"])
def test_log(benchmark: BenchmarkFixture, case: Case, size: int, tmp_path: Path) -> None:
    """Intents made durable, then an outcome for each record, in the portions in which a target answers."""
    lines = max(size, WINDOW_LINES)
    outcomes = [Created(number) for number in range(1, RECORDS + 1)]
    edges = pairwise([*range(0, RECORDS, lines), RECORDS])
    windows = [
        Window(0, low + 1, high + 1, case.offsets[low], case.offsets[high], 0, high - low) for low, high in edges
    ]
    folders = iter(range(1_000_000))

    def prepare() -> tuple[tuple[Path], dict[str, Any]]:
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        return (folder,), {}

    def write(folder: Path) -> None:
        asyncio.run(_log(folder, windows, case.records, outcomes, size))

    benchmark.extra_info["records"] = RECORDS
    benchmark.pedantic(write, setup=prepare, rounds=15, warmup_rounds=1)  # type: ignore[no-untyped-call]  # it has no types


async def _log(
    folder: Path, windows: Sequence[Window], records: Sequence[Record], outcomes: Sequence[Created], size: int
) -> None:
    log = await CheckpointLog.create(folder, RUN, {})
    for window in windows:
        await log.intend([window])
        for at in range(window.first - 1, window.end - 1, size):
            log.settle(records[at : at + size], outcomes[at : at + size])
    await log.close()
