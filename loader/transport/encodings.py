"""Answers that come compressed though nobody asked for that, as some gateways send them (`force-gzip`). Pure.

gzip and deflate are read, up to the same cap as any other answer: what would grow beyond it is cut, never unpacked. Other
encodings are not read.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from aiohttp.hdrs import CONTENT_ENCODING

GZIP_OR_ZLIB, RAW_DEFLATE = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS
WINDOW_BITS = {
    "gzip": (GZIP_OR_ZLIB,),
    "x-gzip": (GZIP_OR_ZLIB,),
    # RFC 9110 8.4.1.2: deflate is the zlib format; some servers send the bare stream.
    "deflate": (GZIP_OR_ZLIB, RAW_DEFLATE),
}


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Say whether an answer's body is compressed."""
    return CONTENT_ENCODING in headers and headers[CONTENT_ENCODING].strip().lower() not in ("identity", "")


def decoded(headers: Mapping[str, str], body: bytes, max_bytes: int) -> tuple[bytes, bool]:
    """Return the body unpacked, and whether that is all of it. What cannot be unpacked stays as it is, and is not all."""
    for bits in WINDOW_BITS.get(headers[CONTENT_ENCODING].strip().lower(), ()):
        unpacker = zlib.decompressobj(bits)
        try:
            plain = unpacker.decompress(body, max_bytes + 1)
        except zlib.error:
            continue
        is_whole = unpacker.eof and not unpacker.unused_data and len(plain) <= max_bytes
        return plain[:max_bytes], is_whole
    return body, False
