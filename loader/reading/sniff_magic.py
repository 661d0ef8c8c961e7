"""Forms that are known by fixed bytes: archives, packings, binary tables, encodings with zeros in them. Pure.

A signature that is made of letters alone could begin a text; it counts only if the bytes behind it are no text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from loader.reading.sniff_form import Form, python_lines

_TAR_MAGIC, _TAR_MAGIC_AT, _TAR_SUM_AT, _TAR_HEADER_BYTES = b"ustar", 257, 148, 512
# Control characters that a text does not have. ESC and FF occur in logs, RS begins a record of RFC 7464.
_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c\x1d\x1f]")
_DOCUMENT = "save what is wanted of it as CSV or JSON"
_PLAIN = re.compile(rb"[\x20-\x7f\s]")  # JSON lets DEL stand as it is


class Signature(NamedTuple):
    """Bytes at a place of a file. `is_text_too`: they count even if a text follows."""

    magic: bytes
    form: Form
    at: int = 0
    is_text_too: bool = False


def _packing(what: str, command: str, note: str = "") -> Form:
    return Form(f"packed by {what}", command, note=note)


def _table(what: str, from_file: str, note: str = "") -> Form:
    return Form(what, "", from_file, note)


def _duck(function: str) -> str:
    return 'duckdb -c "COPY (FROM ' + function + "('{}')) TO '/dev/stdout' (FORMAT json)\""


_LZMA = _packing("lzma", "xz -dc --format=lzma")
_GZIP_READS = "gzip -dc"
_ZIP = Form("a zip archive", "", "unzip -p {}", "name the member to load behind FILE if there are several")
_CPIO = Form("a cpio archive", "cpio -i --to-stdout --quiet")
_EXCEL = Form("a spreadsheet", "", "in2csv {} | csvjson --stream --no-inference", "in2csv and csvjson come with csvkit")
_MAIL = Form("encrypted", note="decrypt it first, and pipe the result into the load")
_IMAGE = Form("an image", note=_DOCUMENT)
_PGDUMP = Form(
    "a PostgreSQL dump",
    note="restore it (pg_restore), then: psql -AtXc 'SELECT row_to_json(t) FROM TABLE t' | loader … - --run DIR",
)

SIGNATURES = (
    Signature(b"\x1f\x8b", _packing("gzip once more", "gzip -dc")),
    Signature(b"\x28\xb5\x2f\xfd", _packing("zstd once more", "zstd -dc")),
    Signature(b"\xfd7zXZ\0", _packing("xz", "xz -dc")),
    Signature(b"BZh", _packing("bzip2", "bzip2 -dc")),
    Signature(b"\x04\x22\x4d\x18", _packing("lz4", "lz4 -dc")),
    Signature(b"\x02\x21\x4c\x18", _packing("lz4", "lz4 -dc")),
    Signature(b"LZIP", _packing("lzip", "lzip -dc")),
    Signature(b"\x5d\0\0", _LZMA),
    Signature(b"\x89LZO\0\r\n\x1a\n", _packing("lzop", "lzop -dc")),
    Signature(b"\x1f\x9d", _packing("compress (.Z)", _GZIP_READS)),
    Signature(b"\x1f\xa0", _packing("compress -H", _GZIP_READS)),
    Signature(b"\x1f\x1e", _packing("pack", _GZIP_READS)),
    Signature(
        b"\xff\x06\0\0sNaPpY",
        _packing("snappy", "python3 -m snappy -d", "the module is Debian's python3-snappy, or python-snappy of pip"),
    ),
    Signature(b"\x62\x76\x78\x2d", _packing("lzfse", "lzfse -decode")),
    Signature(b"\x62\x76\x78\x32", _packing("lzfse", "lzfse -decode")),
    Signature(b"PK\x03\x04", _ZIP),
    Signature(b"PK\x05\x06", _ZIP),
    Signature(b"PK\x07\x08", _ZIP),
    Signature(b"7z\xbc\xaf\x27\x1c", Form("a 7-Zip archive", "", "7z x -so {}")),
    Signature(b"Rar!\x1a\x07", Form("a RAR archive", "", "unrar p -inul {}")),
    Signature(b"070701", _CPIO),
    Signature(b"070702", _CPIO),
    Signature(b"070707", _CPIO),
    Signature(b"\xc7\x71", _CPIO),
    Signature(b"\x71\xc7", _CPIO),
    Signature(b"!<arch>\n", Form("an ar archive", "", "ar p {}"), is_text_too=True),
    Signature(b"MSCF\0\0\0\0", Form("a cabinet archive", "", "cabextract -p {}")),
    Signature(b"PAR1", _table("a Parquet file", _duck("read_parquet"))),
    Signature(b"PARE", _table("an encrypted Parquet file", "", "decrypt it first")),
    Signature(
        b"Obj\x01",
        Form(
            "an Avro file",
            python_lines(
                "json.dumps(r,ensure_ascii=False,default=str)", "fastavro,json,sys", "fastavro.reader(sys.stdin.buffer)"
            ),
            note="fastavro comes from pip",
        ),
    ),
    Signature(
        b"ORC",
        _table(
            "an ORC file",
            "python3 -X utf8 -c 'import json,sys,pyarrow.orc as o;"
            "[print(json.dumps(r,ensure_ascii=False,default=str)) for r in o.ORCFile(sys.argv[1]).read().to_pylist()]' {}",
            "pyarrow comes from pip",
        ),
    ),
    Signature(
        b"ARROW1\0\0",
        _table(
            "an Arrow file (Feather)",
            "python3 -X utf8 -c 'import json,sys,pyarrow.feather as f;"
            "[print(json.dumps(r,ensure_ascii=False,default=str)) for r in f.read_table(sys.argv[1]).to_pylist()]' {}",
            "pyarrow comes from pip",
        ),
    ),
    Signature(
        b"\xff\xff\xff\xff",
        Form(
            "an Arrow stream",
            "python3 -X utf8 -c 'import json,sys,pyarrow as a;"
            "[print(json.dumps(r,ensure_ascii=False,default=str)) "
            "for b in a.ipc.open_stream(sys.stdin.buffer) for r in b.to_pylist()]'",
            note="pyarrow comes from pip",
        ),
    ),
    Signature(
        b"SQLite format 3\0",
        _table(
            "an SQLite database",
            "sqlite3 {} \"SELECT json_object('NAME', NAME) FROM TABLE\"",
            "name the columns and the table",
        ),
    ),
    Signature(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _EXCEL),
    Signature(b"\x89HDF\r\n\x1a\n", Form("an HDF5 file", note=_DOCUMENT)),
    Signature(b"\x93NUMPY", Form("a NumPy array", note=_DOCUMENT)),
    Signature(b"CDF\x01", Form("a NetCDF file", note=_DOCUMENT)),
    Signature(b"$FL2@(#)", Form("an SPSS file", note=_DOCUMENT)),
    Signature(
        b"\0\x01\0\0Standard ", Form("an Access database", "", "mdb-json {} TABLE", "mdb-json comes with mdbtools")
    ),
    Signature(b"PGDMP", _PGDUMP),
    Signature(
        b"PGCOPY\n\xff\r\n\0",
        Form("PostgreSQL's binary COPY", note="export it anew: psql -AtXc 'SELECT row_to_json(t) FROM TABLE t'"),
    ),
    Signature(b"REDIS0", Form("a Redis dump", note=_DOCUMENT)),
    Signature(b"bplist0", Form("a binary property list", "", "plutil -convert json -o - {}")),
    Signature(b"\xd9\xd9\xf7", Form("CBOR", note=_DOCUMENT)),
    Signature(b"\xe0\x01\0\xea", Form("Amazon Ion", note=_DOCUMENT)),
    Signature(b":)\n", Form("Smile (binary JSON)", note=_DOCUMENT)),
    Signature(b"%PDF-", Form("a PDF document", note=_DOCUMENT), is_text_too=True),
    Signature(b"\x89PNG\r\n\x1a\n", _IMAGE),
    Signature(b"\xff\xd8\xff", _IMAGE),
    Signature(b"GIF8", _IMAGE),
    Signature(b"RIFF", _IMAGE),
    Signature(b"II*\0", _IMAGE),
    Signature(b"MM\0*", _IMAGE),
    Signature(b"\x7fELF", Form("a program", note="name the file of records")),
    Signature(b"Salted__", _MAIL),
    Signature(b"age-encryption.org/", _MAIL, is_text_too=True),
    Signature(b"-----BEGIN PGP MESSAGE", Form("encrypted (PGP)", "gpg -d"), is_text_too=True),
)
SHEET_NAMES = (b"[Content_Types].xml", b"_rels/", b"xl/", b"docProps/", b"mimetypeapplication/vnd.oasis")

_AS_UTF8 = "iconv -f {} -t UTF-8"
# Zeros of `{"`, or of any ASCII letters, in the order in which an encoding would put them.
_ZEROS = (
    ("UTF-32LE", re.compile(rb"(?:\xff\xfe\0\0|[\t\n\r\x20-\x7e]\0\0\0)")),
    ("UTF-32BE", re.compile(rb"(?:\0\0\xfe\xff|\0\0\0[\t\n\r\x20-\x7e])")),
    ("UTF-16LE", re.compile(rb"(?:\xff\xfe|(?:[\t\n\r\x20-\x7e]\0){2})")),
    ("UTF-16BE", re.compile(rb"(?:\xfe\xff|(?:\0[\t\n\r\x20-\x7e]){2})")),
)


def is_text(head: bytes) -> bool:
    """Say whether these bytes have nothing that a text does not have."""
    return not _NO_TEXT.search(head)


def binary_form(head: bytes) -> Form | None:
    """Name a form that is known by its bytes."""
    text = is_text(head)
    if not text and _is_tar(head):
        return Form("a tar archive", "tar xOf -")
    for signature in SIGNATURES:
        if head.startswith(signature.magic, signature.at) and (not text or signature.is_text_too or _is_foreign(head)):
            is_sheet = signature.form is _ZIP and head[30:].startswith(SHEET_NAMES)
            return _EXCEL if is_sheet else signature.form
    return None if text else _objects(head)


def unknown_binary(head: bytes) -> Form | None:
    """Name what is no text and of no form that is known here."""
    shown = len(_PLAIN.findall(head[:512]))
    if is_text(head[:512]) or shown > 0.9 * len(head[:512]):
        return None
    return Form(
        "binary data of an unknown form", note="see what it is: `file FILE`; brotli has no mark: brotli -dc FILE"
    )


def _is_foreign(head: bytes) -> bool:
    """Say whether the first bytes are no UTF-8: a short file packed by xz may have no control character at all."""
    try:
        head[:4].decode()
    except UnicodeDecodeError:
        return True
    return False


def _is_tar(head: bytes) -> bool:
    """Tell by `ustar`, or, for older ones, by the checksum of the header."""
    if head.startswith(_TAR_MAGIC, _TAR_MAGIC_AT):
        return True
    field = head[_TAR_SUM_AT : _TAR_SUM_AT + 8].strip(b" \0")
    if len(head) < _TAR_HEADER_BYTES or not re.fullmatch(rb"[0-7]{1,6}", field):
        return False
    header = head[:_TAR_SUM_AT] + b" " * 8 + head[_TAR_SUM_AT + 8 : _TAR_HEADER_BYTES]
    return sum(header) == int(field, 8)


def _objects(head: bytes) -> Form | None:
    """Name binary forms of objects, which have no signature, by the way they begin."""
    first = head[0] if head else 0
    size = int.from_bytes(head[:4], "little")
    if 5 <= size < 1 << 24 and len(head) > 4 and 1 <= head[4] <= 0x13 and head[size - 1 : size] in {b"", b"\0"}:
        return Form(
            "BSON (a dump of MongoDB)",
            "",
            "bsondump --quiet {}",
            'numbers that would lose digits come as {"$numberLong":…}',
        )
    if first == 0x80 and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return Form(
            "a Python pickle",
            note="write it as JSON lines with the program that made it: a pickle can run code when it is read",
        )
    if (0x80 <= first <= 0x9F or first in {0xDC, 0xDD, 0xDE, 0xDF}) and re.match(
        rb".{1,5}?[\xa0-\xbf\xd9\x80-\x9f]", head, re.DOTALL
    ):
        return Form(
            "MessagePack",
            python_lines("json.dumps(r,ensure_ascii=False)", "json,msgpack,sys", "msgpack.Unpacker(sys.stdin.buffer)"),
            note="msgpack comes from pip",
        )
    return None


def wide_encoding(head: bytes) -> Form | None:
    """Name an encoding that is seen by its zeros, its mark or its braces."""
    encoding = next((name for name, zeros in _ZEROS if zeros.match(head)), None)
    if encoding is not None:
        # With a byte order mark, UTF-16 and UTF-32 name themselves; the mark is not handed on.
        has_mark = head[:2] in {b"\xff\xfe", b"\xfe\xff"} or head.startswith(b"\0\0\xfe\xff")
        return Form(encoding[:6], _AS_UTF8.format(encoding[:6] if has_mark else encoding))
    if head.startswith(b"\xc0\x7f"):
        return Form("EBCDIC", _AS_UTF8.format("IBM037"), note="or another code page of that family")
    return None
