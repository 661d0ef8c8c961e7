"""Open files: the limit is raised where it may be, and a run that cannot have enough does not begin."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from loader.errors import UsageError
from loader.pipeline import open_files as descriptors

SET_AND_SHOW = """
import resource, sys
from loader.pipeline.open_files import make_room
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
make_room(int(sys.argv[1]))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize("connections, soft", [(36, 100), (37, 101), (236, 300)])
def test_the_own_limit_is_raised_as_far_as_needed(connections: int, soft: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SET_AND_SHOW, str(connections)], capture_output=True, timeout=60, check=True
    )
    assert int(done.stdout) == soft


@pytest.mark.parametrize("hard", [299, resource.RLIM_INFINITY])
def test_what_the_system_does_not_allow_is_wrong_usage(hard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, hard))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(UsageError, match="300 open files, and 100 are allowed") as caught:
        descriptors.make_room(236)
    assert "ulimit -n 300" in caught.value.hint
    assert "--concurrency" in caught.value.hint
