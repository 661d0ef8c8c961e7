"""The peers that are Python packages, in an environment of their own (`.ci/peers.txt`): dlt, drt, singer-sdk, elasticsearch-py.

dlt, singer-sdk and the helpers of elasticsearch-py are libraries: what uses them stands in `push_*.py`, as their guides show it.
drt is a command; its project is written here.
"""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

from benchmarks.peers.contest import CANBUS, ENVIRONMENT, Contestant, Job

HERE = Path(__file__).parent
PYTHON = ENVIRONMENT / "bin" / "python"


def version_of(package: str) -> str:
    """Ask the peers' environment for a version."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=True)
    return f"{package} {done.stdout.strip()}"


def script(name: str, job: Job) -> list[str]:
    """Build the command of a script that gets the job as JSON."""
    return [str(PYTHON), str(HERE / name), job.as_json()]


def build_singer(job: Job) -> list[str]:
    """Wrap the records as a tap would; the target reads them from standard input."""
    messages = job.folder / "messages.ndjson"
    if not messages.exists():
        with job.source.open(encoding="utf-8") as lines, messages.open("w", encoding="utf-8") as file:
            schema = {"type": "SCHEMA", "stream": "records", "schema": {"properties": {}}, "key_properties": []}
            file.write(json.dumps(schema) + "\n")
            for line in lines:
                file.write(f'{{"type":"RECORD","stream":"records","record":{line.rstrip()}}}\n')
    return [*script("push_singer.py", job), str(messages)]


def build_drt(job: Job) -> list[str]:
    """Write a project of one sync that reads the source through DuckDB."""
    syncs = job.folder / "syncs"
    if not syncs.exists():
        syncs.mkdir()
        (job.folder / ".drt").mkdir(exist_ok=True)
        profiles = {"default": {"type": "duckdb", "database": ":memory:"}}
        (job.folder / ".drt" / "profiles.yml").write_text(json.dumps(profiles), encoding="utf-8")
        project = {"name": "bench", "version": "0.1", "profile": "default"}
        (job.folder / "drt_project.yml").write_text(json.dumps(project), encoding="utf-8")
        (syncs / "push.yml").write_text(json.dumps(_drt_sync(job)), encoding="utf-8")
    return ["env", "-C", str(job.folder), str(ENVIRONMENT / "bin" / "drt"), "run", "--select", "push"]


def _drt_sync(job: Job) -> dict[str, object]:
    """Describe the sync. JSON is YAML too. The pacing of ten requests a second that is its default is taken off."""
    destination: dict[str, object] = {"type": "rest_api", "url": job.url, "method": "POST", "headers": job.headers}
    if job.shape == "single":
        destination["body_template"] = '{"fields": {{ row | tojson_safe }}}'
    else:
        credentials = json.dumps(CANBUS)[:-1]
        destination |= {"body_mode": "batch", "batch_template": credentials + ', "add": {{ rows | tojson_safe }}}'}
    batch = job.batch if job.shape == "batch" else 100
    return {
        "name": "push",
        "model": f"SELECT * FROM read_json_auto('{job.source}', format='newline_delimited')",  # noqa: S608 - a path of ours
        "destination": destination,
        "sync": {"mode": "full", "batch_size": batch, "rate_limit": {"requests_per_second": 1_000_000}},
    }


CONTESTANTS = (
    Contestant(
        name="dlt",
        shapes=("single", "batch"),
        build=partial(script, "push_dlt.py"),
        version=partial(version_of, "dlt"),
        needs=(str(PYTHON),),
        records={"single": 1_000, "batch": 50_000},
    ),
    Contestant(
        name="drt-core",
        shapes=("single", "batch"),
        build=build_drt,
        version=partial(version_of, "drt-core"),
        needs=(str(ENVIRONMENT / "bin" / "drt"),),
        records={"single": 2_000, "batch": 20_000},
    ),
    Contestant(
        name="singer-sdk",
        shapes=("batch",),
        build=build_singer,
        version=partial(version_of, "singer-sdk"),
        needs=(str(PYTHON),),
        records={"batch": 30_000},
    ),
    Contestant(
        name="elasticsearch-py helpers",
        shapes=("batch",),
        build=partial(script, "push_elastic.py"),
        version=partial(version_of, "elasticsearch"),
        needs=(str(PYTHON),),
        records={"batch": 50_000},
    ),
)
