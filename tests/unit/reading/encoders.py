"""How a test makes each kind of source."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Encoder = Callable[[bytes], bytes]


def _same(data: bytes) -> bytes:
    return data


COMPRESSORS: dict[str, Encoder] = {"gzip": gzip.compress, "zstd": zstd.compress}
ENCODERS: dict[str, Encoder] = {"plain": _same, **COMPRESSORS}

LINES = [b"%d " % n + b"x" * (n * 37 % 2000) + b"\n" for n in range(2000)] + [
    b"y" * 300_000 + b"\n",
    b"after\n",
    b"last",
]
