"""Ids, packed and unpacked: many times smaller than their text, and exactly the same afterwards. Pure.

Three forms. `int`: differences of neighbours as 64-bit numbers. `hex`: lower-case hexadecimal texts of one even length, as
bytes (Canbus' ids are 24 digits, apis.md 2.2 [E]). `json`: everything else, as a JSON list. The two binary forms are stored
column by column: the first bytes of all ids, then the second bytes. Neighbours resemble each other column-wise, so that zlib
finds what row-wise storing hides from it. The result is base64 of zlib.
"""

from __future__ import annotations

import base64
import operator
import sys
import zlib
from array import array
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final, TypeAlias

import msgspec
from isal import isal_zlib

from loader.checkpoint.format import Packed

Id: TypeAlias = int | str

_LEVEL: Final = 1  # isal's, which is smaller than zlib's own level 1 in a third of the time
_INT_BYTES: Final = 8
_MAX_INT: Final = 2**62  # differences must fit 64 bits too
_MAX_RANGE_CHARS: Final = 64  # a longer id would make the heads long; such a fold is always looked into

_json = msgspec.json.Decoder(list[Id])


def pack_ids(ids: Sequence[Id], kinds: AbstractSet[type] | None = None) -> Packed:
    """Pack ids in their order. `kinds`: their types, where these are known."""
    kinds = kinds or set(map(type, ids))
    if kinds == {int} and _fits(min(ids)) and _fits(max(ids)):
        return _pack_ints(ids)  # type: ignore[arg-type]  # all are int
    if kinds == {str}:
        packed = _pack_hex(ids)  # type: ignore[arg-type]  # all are str
        if packed is not None:
            return packed
    return _packed("json", len(ids), 0, msgspec.json.encode(ids))


def unpack_ids(packed: Packed) -> list[Id]:
    """Return what was packed.

    Errors: ValueError where the data is not what `pack_ids` wrote.
    """
    try:
        data = zlib.decompress(base64.b64decode(packed.data, validate=True))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    ids: list[Id]
    if packed.form == "int":
        ids = list(_unpack_ints(data))
    elif packed.form == "hex":
        text = _rows(data, packed.size).hex()
        width = 2 * packed.size
        ids = [text[at : at + width] for at in range(0, len(text), width)]
    elif packed.form == "json":
        ids = _json.decode(data)
    else:
        raise ValueError(f"unknown form of ids: {packed.form}")
    if len(ids) != packed.count:
        raise ValueError(f"{len(ids)} ids where {packed.count} were packed")
    return ids


def id_ranges(
    ids: Sequence[Id], kinds: AbstractSet[type] | None = None
) -> tuple[tuple[int, int] | None, tuple[str, str] | None]:
    """Return lowest and highest number and text, so that a look-up can pass a fold by. `kinds`: as for `pack_ids`.

    A text longer than the cap cannot be named in full: then the range is every text there is.
    """
    ints: list[int] = []
    texts: list[str] = []
    if (kinds or set(map(type, ids))) == {str}:
        texts = ids  # type: ignore[assignment]  # all are str, as just seen
    else:
        ints = [item for item in ids if isinstance(item, int)]
        texts = [item for item in ids if isinstance(item, str)] if len(ints) < len(ids) else []
    low, high = (min(texts), max(texts)) if texts else ("", "")
    if max(len(low), len(high)) > _MAX_RANGE_CHARS:
        low, high = "", "\U0010ffff"
    return (min(ints), max(ints)) if ints else None, (low, high) if texts else None


def _fits(number: Id) -> bool:
    return isinstance(number, int) and abs(number) < _MAX_INT


def _pack_ints(ids: Sequence[int]) -> Packed:
    steps = array("q", [ids[0], *map(operator.sub, ids[1:], ids)])
    if sys.byteorder == "big":
        steps.byteswap()
    return _packed("int", len(ids), _INT_BYTES, _columns(steps.tobytes(), _INT_BYTES))


def _unpack_ints(data: bytes) -> list[int]:
    steps = array("q", _rows(data, _INT_BYTES))
    if sys.byteorder == "big":
        steps.byteswap()
    total = 0
    return [total := total + step for step in steps]


def _pack_hex(ids: Sequence[str]) -> Packed | None:
    width = len(ids[0])
    joined = "".join(ids)
    if not width or width % 2 or set(map(len, ids)) != {width} or not joined.isascii():
        return None
    try:
        data = bytes.fromhex(joined)
    except ValueError:
        return None
    if data.hex() != joined:  # upper case and spaces read well and would come back changed
        return None
    return _packed("hex", len(ids), width // 2, _columns(data, width // 2))


def _packed(form: str, count: int, size: int, data: bytes) -> Packed:
    return Packed(form, count, size, base64.b64encode(isal_zlib.compress(data, _LEVEL)).decode())


def _columns(data: bytes, size: int) -> bytes:
    return b"".join([data[at::size] for at in range(size)])


def _rows(data: bytes, size: int) -> bytes:
    if not size or len(data) % size:
        raise ValueError("ids of broken width")
    count = len(data) // size
    rows = bytearray(len(data))
    for at in range(size):
        rows[at::size] = data[at * count : (at + 1) * count]
    return bytes(rows)
