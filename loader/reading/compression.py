"""Raw bytes -> uncompressed bytes, for sources that are plain, gzip or zstd.

Owns: telling the kind by content, and decoding a stream of members in bounded pieces. It must not open a file and
knows no lines. It never waits for more than one read: bytes that a slow pipe has delivered are passed on at once.

A stream may hold several members, one after the other, as `cat a.gz b.gz` makes them; zstd's skippable frames count
as empty members. Decoded bytes are passed on before an error is raised, so a truncated stream delivers all it holds.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from typing import Literal, Protocol, TypeAlias

from isal import igzip_lib

from loader.errors import SourceError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Kind: TypeAlias = Literal["plain", "gzip", "zstd"]
Read: TypeAlias = Callable[[int], bytes]
"""Return some bytes as soon as there are any, up to the number given; b"" at the end."""

BLOCK_BYTES = 128 * 1024
"""Bytes that are read, split and checked at once: with its lines and objects a block stays in a processor's second cache."""
PACKED_BYTES = 32 * 1024
"""Bytes of a compressed file that are read at once. They are few because progress is measured by them."""
HEAD_BYTES = 6
"""The first bytes, which decide the kind."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_FIRST, _SKIPPABLE_REST = range(0x50, 0x60), b"\x2a\x4d\x18"  # RFC 8878, 3.1.2
_TOO_MUCH_MEMORY = "too much memory"
"""Of libzstd's ZSTD_error_frameParameter_windowTooLarge, whose text is \"Frame requires too much memory for decoding\"."""
_MAKE_AGAIN = "make or copy the file again, then repeat the command"
_DAMAGE: tuple[type[Exception], ...] = (igzip_lib.IsalError, zstd.ZstdError)  # type: ignore[assignment]  # isal's stub has a value


class _Decoder(Protocol):
    """What isal's and zstd's decompressors have in common; both are modelled on bz2's."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def kind_of(head: bytes) -> Kind:
    """Tell the kind by the first HEAD_BYTES bytes (fewer if the source is shorter). Other packings are plain: see `sniff`."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_ZSTD) or _is_skippable(head):
        return "zstd"
    return "plain"


def decoded(read: Read, name: str, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield the uncompressed bytes of a stream whose kind is not known yet, in pieces of at most `block_bytes`."""
    head = _read_head(read)
    kind = kind_of(head)
    pending = [head]

    def read_on(size: int) -> bytes:
        return pending.pop() if pending else read(size)

    if kind == "plain":
        while piece := read_on(block_bytes):
            yield piece
    else:
        yield from decompressed(read_on, kind, name, block_bytes)


def decompressed(
    read: Read, kind: Literal["gzip", "zstd"], name: str, block_bytes: int = BLOCK_BYTES
) -> Iterator[bytes]:
    """Yield the uncompressed bytes of a gzip or zstd stream.

    Errors: SourceError if it is cut off, damaged, or followed by something else.
    """
    data = read(block_bytes)
    while data:
        decoder = _new_decoder(kind)
        while not decoder.eof:
            if decoder.needs_input and not data:
                data = read(block_bytes)
                if not data:
                    raise SourceError(f"{name} is cut off: its {kind} data ends in the middle", _MAKE_AGAIN)
            piece = _decompress(decoder, data, kind, name, block_bytes)
            data = b""
            if piece:
                yield piece
        data = _next_member(decoder.unused_data, read, kind, name, block_bytes)


def compress(data: bytes) -> bytes:
    """Compress into one zstd frame. Level 1: the lines of standard input must be kept faster than they come."""
    return zstd.compress(data, 1)


def decompress(frame: bytes) -> bytes:
    """Undo `compress`. Errors: ValueError if the frame is not whole."""
    try:
        return zstd.decompress(frame)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from None


def _read_head(read: Read) -> bytes:
    """Read until the kind is certain, and no further: a pipe may deliver single bytes, and no line may wait for the next."""
    head = read(BLOCK_BYTES)
    while 0 < len(head) < HEAD_BYTES and _may_be_magic(head):
        more = read(BLOCK_BYTES)
        if not more:
            break
        head += more
    return head


def _may_be_magic(head: bytes) -> bool:
    skippable = head[0] in _SKIPPABLE_FIRST and _SKIPPABLE_REST.startswith(head[1:4])
    return skippable or any(magic.startswith(head) for magic in (_GZIP, _ZSTD))


def _is_skippable(head: bytes) -> bool:
    return head[1:4] == _SKIPPABLE_REST and head[0] in _SKIPPABLE_FIRST


def _new_decoder(kind: Literal["gzip", "zstd"]) -> _Decoder:
    if kind == "gzip":
        # DECOMP_GZIP checks each member's crc and length; DECOMP_GZIP_NO_HDR_VER would not.
        gzip: _Decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return gzip
    return zstd.ZstdDecompressor()


def _decompress(decoder: _Decoder, data: bytes, kind: str, name: str, block_bytes: int) -> bytes:
    try:
        return decoder.decompress(data, block_bytes)
    except _DAMAGE as error:
        if kind == "zstd" and _TOO_MUCH_MEMORY in str(error):
            raise _too_large_window(data, name) from None
        raise SourceError(f"{name} is damaged: its {kind} data does not decompress ({error})", _MAKE_AGAIN) from None


def _too_large_window(data: bytes, name: str) -> SourceError:
    """Say which window a frame needs that was made with --long or --ultra."""
    bits = window_bits(data)
    needs = f"a window of {1 << max(0, bits - 20):,} MiB" if bits else "a window of more than 128 MiB"
    file = "" if name == "standard input" else f" {shlex.quote(name)}"
    return SourceError(
        f"{name} is packed by zstd with {needs}, more than is unpacked here",
        f"unpack it with as much memory: zstd -dc --long={bits or 31}{file} | loader … - --run DIR",
    )


def window_bits(frame: bytes) -> int | None:
    """Read from the beginning of a zstd frame how large its window is, as a power of two; None: it is not told there."""
    if len(frame) < 6 or not frame.startswith(_ZSTD) or frame[4] & 0x20:
        return None
    return 10 + (frame[5] >> 3) + (1 if frame[5] & 7 else 0)  # RFC 8878, 3.1.1.1.2: eighths more need the next power


def _next_member(data: bytes, read: Read, kind: str, name: str, block_bytes: int) -> bytes:
    """Return the first bytes of the next member, or b"" at the end. gzip may be padded with zeros."""
    while True:
        if kind == "gzip":
            data = data.lstrip(b"\0")
        if len(data) >= HEAD_BYTES:
            break
        more = read(block_bytes)
        if not more:
            break
        data += more
    magic = (_GZIP,) if kind == "gzip" else (_ZSTD,)
    if data and not data.startswith(magic) and not (kind == "zstd" and _is_skippable(data)):
        raise SourceError(
            f"{name} has something behind its {kind} data", "make the file again, or decompress it and look at its end"
        )
    return data
