"""The peers that are programs of the system: curl -Z, GNU parallel with curl (and jq), syslog-ng.

They are looked for, never installed; `HINT` says how.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from benchmarks.peers.contest import CANBUS, Contestant, Job

HINT = "apt-get install -y --no-install-recommends {}"
PARALLEL_JOBS = 4


def version_of(program: str) -> str:
    """Return the first number in what a program says of itself."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+|\d{6,}", (done.stdout or done.stderr).partition("\n")[0])
    return f"{program} {found[0] if found else '?'}"


# --- curl -Z: one process, one block of its configuration for each record ------------------------------------------------


def build_curl(job: Job) -> list[str]:
    """Write a block for each record. Options end with their block, so `retry` and `fail` stand in every one."""
    headers = "".join(f'header = "{name}: {value}"\n' for name, value in job.headers.items())
    same = f'url = "{job.url}"\n{headers}output = "/dev/null"\nretry = 8\nfail\nsilent\n'
    config = job.folder / "curl.conf"
    with job.source.open(encoding="utf-8") as lines, config.open("w", encoding="utf-8") as file:
        for number, line in enumerate(lines):
            body = (job.prefix + line.rstrip("\n") + job.suffix).replace("\\", "\\\\").replace('"', '\\"')
            file.write(f'{"next" if number else ""}\n{same}data-binary = "{body}"\n')
    return ["curl", "--parallel", "--parallel-max", str(job.concurrency), "--silent", "-K", str(config)]


# --- GNU parallel: a shell for each request, a log of what ended well -----------------------------------------------------


def build_parallel(job: Job) -> list[str]:
    """Run one curl a request, resumable by the job log."""
    headers = "".join(f" -H {shlex.quote(f'{name}: {value}')}" for name, value in job.headers.items())
    curl = f"curl -sS --fail --retry 3 -o /dev/null{headers} {job.url}"
    log = shlex.quote(str(job.folder / "jobs.log"))
    parallel = f"parallel --will-cite -j{PARALLEL_JOBS} --joblog {log} --resume-failed"
    if job.shape == "single":
        each = f"{curl} --data-binary {shlex.quote(job.prefix)}{{}}{shlex.quote(job.suffix)}"
        return ["sh", "-c", f"{parallel} -a {shlex.quote(str(job.source))} {shlex.quote(each)}"]
    chunks = job.folder / "chunks"
    if not chunks.exists():
        chunks.mkdir()
        _split(job.source, chunks, job.batch)
    wrap = ",".join(f"{name}:{value!r}".replace("'", '"') for name, value in CANBUS.items())
    each = f"jq -c -s {shlex.quote(f'{{{wrap},add:.}}')} {{}} | {curl} --data-binary @-"
    return ["sh", "-c", f"ls {shlex.quote(str(chunks))}/* | {parallel} {shlex.quote(each)}"]


def _split(source: Path, folder: Path, lines: int) -> None:
    subprocess.run(["split", "-a", "6", "-d", "-l", str(lines), str(source), f"{folder}/"], check=True)  # noqa: S607 - coreutils


# --- syslog-ng: a file source, an http destination, a reliable buffer on disk ---------------------------------------------

SYSLOG_CONFIG = """@version: 3.35
options {{ stats-freq(0); log-msg-size(262144); use-dns(no); keep-hostname(yes); flush-lines(100); time-reopen(1); }};
source s {{ file("{source}" flags(no-parse) log-fetch-limit(1000) log-iw-size(10000)); }};
destination d {{
    http(
        url("{url}") method("POST") {headers}
        body-prefix('{prefix}') body("$MSG") delimiter(",") body-suffix('{suffix}')
        batch-lines({batch}) batch-bytes(0) batch-timeout(200) workers({workers}) timeout(30)
        disk-buffer(reliable(yes) mem-buf-size(10485760) disk-buf-size(1073741824) dir("{folder}"))
    );
}};
log {{ source(s); destination(d); flags(flow-control); }};
"""


def build_syslog(job: Job) -> list[str]:
    """Write the configuration; its position in the source stands in the persist file."""
    headers = " ".join(f'headers("{name}: {value}")' for name, value in job.headers.items())
    text = SYSLOG_CONFIG.format(
        source=job.source,
        url=job.url,
        headers=headers,
        prefix=job.prefix,
        suffix=job.suffix,
        batch=job.batch if job.shape == "batch" else 1,
        workers=4 if job.shape == "batch" else job.concurrency,
        folder=job.folder,
    )
    config = job.folder / "syslog-ng.conf"
    config.write_text(text, encoding="utf-8")
    paths = {"-f": config, "-R": job.folder / "persist", "-p": job.folder / "pid", "-c": job.folder / "control"}
    return ["syslog-ng", "-F", "--no-caps", *(str(part) for pair in paths.items() for part in pair)]


CONTESTANTS = (
    Contestant(
        name="curl -Z",
        shapes=("single",),
        build=build_curl,
        version=lambda: version_of("curl"),
        needs=("curl",),
        hint=HINT.format("curl"),
    ),
    Contestant(
        name="GNU parallel + curl",
        shapes=("single", "batch"),
        build=build_parallel,
        version=lambda: version_of("parallel"),
        needs=("parallel", "curl", "jq"),
        hint=HINT.format("parallel curl jq"),
        records={"single": 150, "batch": 10_000},
    ),
    Contestant(
        name="syslog-ng",
        shapes=("single", "batch"),
        build=build_syslog,
        version=lambda: version_of("syslog-ng"),
        needs=("syslog-ng",),
        hint=HINT.format("syslog-ng-core syslog-ng-mod-http"),
        records={"single": 20_000, "batch": 200_000},
        is_endless=True,
    ),
)
