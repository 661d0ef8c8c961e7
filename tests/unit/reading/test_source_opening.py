from __future__ import annotations

import os
from pathlib import Path

import pytest

from loader.errors import SourceError
from loader.reading.beginning import check_beginning
from loader.reading.source import FileSource


def test_what_is_no_regular_file_is_refused_with_a_hint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_bytes(b"")
    cases = {
        "": "is a directory",
        "pipe": "a pipe or a device",
        "absent": "does not exist",
        "loop": "leads to itself",
        "file/x": "does not exist",
    }
    for name, words in cases.items():
        with pytest.raises(SourceError, match=words) as caught:
            FileSource(tmp_path / name)
        assert caught.value.hint
        assert caught.value.exit_code == 5
    with pytest.raises(SourceError, match="a pipe or a device"):
        FileSource(Path(os.devnull))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"{}")
    path.chmod(0)
    with pytest.raises(SourceError, match="may not be read"):
        FileSource(path)


def test_opening_in_vain_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"PK\x03\x04\0\0\0\0")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(10):
        with pytest.raises(SourceError, match="zip archive"):
            check_beginning(path)
    assert len(list(Path("/dev/fd").iterdir())) == before
