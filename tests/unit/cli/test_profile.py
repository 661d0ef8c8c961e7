"""A profile: only known keys, only plain values."""

from __future__ import annotations

from pathlib import Path

import pytest

from loader.cli.profile import read_profile
from loader.errors import UsageError

KNOWN = ("rate", "max_rejects", "ordered", "match")


def profile(directory: Path, text: str) -> str:
    path = directory / "p.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_keys_with_hyphens_or_underscores(tmp_path: Path) -> None:
    text = 'rate = 200\nmax-rejects = "1%"\nordered = true\nmatch = ["a", "b"]\n'
    values = read_profile(profile(tmp_path, text), KNOWN)
    assert values == {"rate": 200, "max_rejects": "1%", "ordered": True, "match": ["a", "b"]}


@pytest.mark.parametrize(
    "text, part",
    [
        ("rat = 3", "did you mean 'rate'"),
        ("zzzzzz = 3", "known are: match, max-rejects"),
        ('ozari_token = "hunter2"', "never from a profile"),
        ("rate = {a = 1}", "that no option takes"),
        ("rate = 2026-01-01", "that no option takes"),
        ("match = [1]", "that no option takes"),
        ("rate = ", "is not TOML"),
    ],
)
def test_anything_else_is_refused_with_a_hint(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_profile(profile(tmp_path, text), KNOWN)
    assert part in caught.value.message + " " + caught.value.hint
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_missing_or_binary_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_profile(str(tmp_path / "none"), KNOWN)
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not TOML"):
        read_profile(str(tmp_path / "b.toml"), KNOWN)
