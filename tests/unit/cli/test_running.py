"""What a command does to its process before it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROBE = """
import resource
from loader.cli.running import run

async def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(200):
        blocks = [bytearray(b"x") * 300_000 for _ in range(2)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(run(pages()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the habit is that of glibc")
def test_large_blocks_do_not_bring_new_pages_each_time() -> None:
    found = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 2_000  # 146 pages a round, 29,200 in all
