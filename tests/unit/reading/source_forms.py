"""Files that people have and that are not NDJSON, as data: name, bytes, a word of the message, and what the command must make of it.

`rows`: the JSON that the hint's command must print, text for text where numbers are in it; None where the command needs a tool that
not every machine has, or where nothing can be converted.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import zipfile
from typing import NamedTuple

import orjson

A, B = b'{"id":9007199254740993,"price":1.10,"name":"A1"}', b'{"id":2,"price":0.5,"name":"\xc3\xa9"}'
ROWS = [A.decode(), B.decode()]
LINES = A + b"\n" + B + b"\n"
FLAT = '{"name":"Zoë","city":"Haifa"}'


class Case(NamedTuple):
    """One form."""

    name: str
    data: bytes
    word: str
    rows: list[str] | None = None
    is_exact: bool = True


def _tar(form: int = tarfile.USTAR_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        info = tarfile.TarInfo("cities.ndjson")
        info.size = len(LINES)
        tar.addfile(info, io.BytesIO(LINES))
    return packed.getvalue()


def _old_tar() -> bytes:
    data = bytearray(_tar())
    data[257:345] = bytes(88)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def _zip(name: str = "cities.ndjson") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, LINES)
    return packed.getvalue()


def _cpio() -> bytes:
    def entry(name: bytes, data: bytes) -> bytes:
        numbers = (1, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name + b"\0"
        head += b"\0" * (-len(head) % 4)
        return head + data + b"\0" * (-len(data) % 4)

    return entry(b"cities.ndjson", LINES) + entry(b"TRAILER!!!", b"")


def _ar() -> bytes:
    head = b"%-16s%-12s%-6s%-6s%-8s%-10s`\n" % (b"cities/", b"0", b"0", b"0", b"100644", str(len(LINES)).encode())
    return b"!<arch>\n" + head + LINES + b"\n" * (len(LINES) % 2)


def _sqlite() -> bytes:
    with sqlite3.connect(":memory:") as database:
        database.execute("create table TABLE_ (NAME text)")
        return database.serialize()


ARRAYS = (
    Case("array on one line", b"[" + A + b"," + B + b"]", "a JSON array", ROWS),
    Case("array on one line, spaced", b" \n[ " + A + b" , " + B + b" ]\n", "a JSON array", ROWS),
    Case("array, one object a line", b"[\n" + A + b",\n" + B + b"\n]\n", "a JSON array, one object a line", ROWS),
    Case(
        "array, brackets beside the objects",
        b"[" + A + b",\r\n" + B + b"]\r\n",
        "a JSON array, one object a line",
        ROWS,
    ),
    Case("array of DuckDB", b"[\n\t" + A + b",\n\t" + B + b"\n]\n", "a JSON array, one object a line", ROWS),
    Case("array, commas first", b"[ " + A + b"\n, " + B + b"\n]\n", "a JSON array", ROWS),
    Case("array behind a mark", b"\xef\xbb\xbf[" + A + b"," + B + b"]", "a JSON array", ROWS),
    Case(
        "array, indented",
        json.dumps([json.loads(FLAT)] * 2, indent=2).encode(),
        "a JSON array",
        [FLAT] * 2,
        is_exact=False,
    ),
    Case("array of one", b"[" + A + b"]\n", "a JSON array", ROWS[:1]),
    Case("array, cut", b"[" + A + b"," + B[:9], "a JSON array"),
    Case("empty array", b"[\n]\n", "an empty JSON array"),
    Case("array of texts", b'["a","b"]', "a JSON array of values", ['{"FIELD":"a"}', '{"FIELD":"b"}'], is_exact=False),
    Case(
        "arrays line by line",
        b'[1,"a"]\n[2,"b"]\n',
        "one JSON array a line",
        ['{"FIELD1":1,"FIELD2":"a"}', '{"FIELD1":2,"FIELD2":"b"}'],
        is_exact=False,
    ),
    Case("objects with commas", A + b",\n" + B + b",\n" + A + b"\n", "objects with commas", [*ROWS, ROWS[0]]),
    Case("two objects with a comma", A + b",\n" + B + b"\n", "objects with commas", ROWS),
)
JSON_FORMS = (
    Case(
        "array of arrays",
        b'[["a",1],["b",2]]',
        "array of arrays",
        ['{"FIELD1":"a","FIELD2":1}', '{"FIELD1":"b","FIELD2":2}'],
        is_exact=False,
    ),
    Case("semicolons", A + b";\n" + B + b";\n", "objects with commas", ROWS),
    Case("NUL between", A + b"\0" + B + b"\0", "without line ends", ROWS),
    Case("CR between", A + b"\r" + B + b"\r", "without line ends", ROWS),
    Case("text behind", A + b"\t2026-01-01\n" + B + b"\t2026-01-02\n", "other text behind", ROWS),
    Case(
        "array in a text",
        json.dumps("[" + FLAT + "," + FLAT + "]").encode() + b"\n" + json.dumps(FLAT).encode(),
        "inside of JSON texts",
    ),
    Case(
        "DynamoDB scan",
        b'{\n "Count": 2,\n "Items": [\n' + A + b",\n" + B + b"\n]\n}\n",
        'the records in "Items"',
        ROWS,
    ),
    Case(
        "indented",
        b'{\n  "id": 9007199254740993,\n  "price": 1.10\n}\n{\n  "id": 2\n}\n',
        "indented JSON",
        ['{   "id": 9007199254740993,   "price": 1.10 }', '{   "id": 2 }'],
    ),
    Case("indented, one", b'{\n  "id": 1\n}', "indented JSON", ['{   "id": 1 }']),
    Case("indented with commas", b'{\n "a": 1\n},\n{\n "a": 2\n}', "indented JSON", ['{  "a": 1 }', '{  "a": 2 }']),
    Case("indented, far too long", b'{\n  "text": "' + b"x" * 70_000 + b'"\n}\n', "indented JSON"),
    Case("without line ends", A + B, "without line ends", ROWS),
    Case("blanks between", A + b" " + B, "without line ends", ROWS),
    Case("commas between", A + b"," + B, "JSON", ROWS),
    Case("RFC 7464", b"\x1e" + A + b"\n\x1e" + B + b"\n", "RFC 7464", ROWS),
    Case(
        "document around",
        b'{\n "next": null,\n "items": [\n ' + A + b",\n " + B + b"\n ]\n}\n",
        'the records in "items"',
        ROWS,
    ),
    Case(
        "JSON in texts",
        json.dumps(FLAT).encode() + b"\n" + json.dumps(FLAT).encode() + b"\n",
        "inside of JSON texts",
        [FLAT] * 2,
    ),
    Case(
        "scalars", b'1\n2.50\n"x"\n', "values that are no objects", ['{"FIELD":1}', '{"FIELD":2.50}', '{"FIELD":"x"}']
    ),
)
TOOLS = (
    Case("OData", b'{"@odata.context":"x","value":[' + A + b"]}", "OData", ROWS[:1]),
    Case("Salesforce", b'{"totalSize":1,"done":true,"records":[' + A + b"]}", "Salesforce", ROWS[:1]),
    Case(
        "container log",
        b'{"log":"{\\"a\\":1.10}\\n","stream":"stdout","time":"t"}\n',
        "log of a container",
        ['{"a":1.10}'],
    ),
    Case(
        "DynamoDB",
        b'{"Item":{"id":{"N":"9007199254740993"},"m":{"M":{"p":{"N":"1.10"},"n":{"NULL":true}}},"l":{"L":[{"S":"x"}]}}}\n',
        "DynamoDB",
        ['{"id":9007199254740993,"m":{"p":1.10,"n":null},"l":["x"]}'],
        is_exact=False,
    ),
    Case(
        "bulk of Elasticsearch",
        b'{"index":{}}\n' + A + b'\n{ "create" : { "_index" : "x", "_id" : "1" } }\n' + B + b"\n",
        "Elasticsearch",
        ROWS,
    ),
    Case(
        "Singer",
        b'{"type":"SCHEMA","stream":"s","schema":{},"key_properties":[]}\n{"type":"RECORD","stream":"s","record":'
        + A
        + b'}\n{"type":"STATE","value":{}}\n',
        "Singer",
        ROWS[:1],
    ),
    Case(
        "Airbyte",
        b'{"type":"LOG","log":{"level":"INFO","message":"x"}}\n{"type":"RECORD","record":{"stream":"s","data":'
        + A
        + b',"emitted_at":1}}\n',
        "Airbyte",
        ROWS[:1],
    ),
    Case(
        "Kafka Connect", b'{"schema":{"type":"struct","fields":[]},"payload":' + A + b"}\n", "Kafka Connect", ROWS[:1]
    ),
    Case(
        "Debezium", b'{"before":null,"after":' + A + b',"source":{"db":"x"},"op":"c","ts_ms":1}\n', "Debezium", ROWS[:1]
    ),
    Case(
        "Debezium in Connect",
        b'{"schema":{"type":"struct"},"payload":{"before":null,"after":' + B + b',"source":{},"op":"r"}}\n',
        "Debezium",
        ROWS[1:],
    ),
    Case(
        "FeatureCollection",
        b'{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"a":1.10}}]}',
        "GeoJSON",
        ['{"type":"Feature","properties":{"a":1.10}}'],
    ),
    Case(
        "JSON:API",
        b'{"data":[{"type":"c","id":"1","attributes":{"a":1.10}}]}',
        "JSON:API",
        ['{"type":"c","id":"1","attributes":{"a":1.10}}'],
    ),
    Case(
        "answer of a search",
        b'{"took":1,"timed_out":false,"hits":{"hits":[{"_id":"1","_source":' + A + b"}]}}",
        "an answer of Elasticsearch",
        ROWS[:1],
    ),
    Case("elasticdump", b'{"_index":"x","_id":"1","_score":1,"_source":' + A + b"}\n", "elasticdump", ROWS[:1]),
)
TEXTS = (
    Case("RTF", b"{\\rtf1\\ansi hello}", "RTF"),
    Case("LDIF", b"dn: cn=a,dc=b\ncn: a\n", "LDIF"),
    Case("vCard", b"BEGIN:VCARD\nVERSION:4.0\nEND:VCARD\n", "vCard"),
    Case("base64", b"H4sIAAAAAAAAA6tWSlSyMqzlAgBqh5mMCAAAAA==\n", "gzip in base64"),
    Case("HTML escapes", b"{&quot;a&quot;:1.10}\n{&quot;a&quot;:2}\n", "escaped for HTML", ['{"a":1.10}', '{"a":2}']),
    Case("URL escapes", b"%7B%22a%22%3A1.10%7D\n", "escaped for a URL", ['{"a":1.10}']),
    Case("curly quotes", "{\u201ca\u201d:1.10}\n".encode(), "curly quotes", ['{"a":1.10}']),
    Case("Ruby", b'{:a=>1}\n{"a"=>2}\n', "another language"),
    Case("mongo shell", b'{ "_id" : ObjectId("65"), "n" : NumberLong(1) }\n', "mongo shell"),
    Case("CSV", "name,city\nZoë,Haifa\nZoë,Haifa\n".encode(), "CSV", [FLAT] * 2, is_exact=False),
    Case("CSV with a mark", "\ufeffname,city\r\nZoë,Haifa\r\n".encode(), "CSV", [FLAT], is_exact=False),
    Case("CSV with semicolons", "name;city\nZoë;Haifa\n".encode(), "semicolons", [FLAT], is_exact=False),
    Case("TSV", "name\tcity\nZoë\tHaifa\n".encode(), "tab-separated", [FLAT], is_exact=False),
    Case("bars", "name|city\nZoë|Haifa\n".encode(), "bars", [FLAT], is_exact=False),
    Case(
        "psql --csv of JSON",
        b'row_to_json\n"{""id"":9007199254740993,""price"":1.10,""name"":""A1""}"\n',
        "JSON in a column",
        ROWS[:1],
    ),
    Case("psql aligned", b" id | name \n----+------\n  1 | A\n(1 row)\n", "drawn for people"),
    Case(
        "psql aligned, JSON",
        b'       row_to_json       \n-------------------------\n {"id":1}\n(1 row)\n',
        "drawn for people",
    ),
    Case("psql expanded", b"-[ RECORD 1 ]\nid | 1\n", "drawn for people"),
    Case("mysql tabular", b"+----+\n| id |\n+----+\n|  1 |\n+----+\n", "drawn for people"),
    Case(
        "mysql vertical", b"*************************** 1. row ***************************\nid: 1\n", "drawn for people"
    ),
    Case("DuckDB box", "┌────┐\n│ id │\n└────┘\n".encode(), "drawn for people"),
    Case("SQL", b"-- MySQL dump 10.19\n\nINSERT INTO `t` VALUES (1);\n", "SQL statements"),
    Case("log", b"2026-01-01 INFO " + A + b"\n2026-01-01 INFO " + B + b"\n", "a log", ROWS),
    Case("log in brackets", b"[2026-01-01 10:00:00] " + A + b"\n[2026-01-01 10:00:01] " + B + b"\n", "a log", ROWS),
    Case("SSE", b"event: m\ndata: " + A + b"\n\nevent: m\ndata: " + B + b"\n\n", "server-sent events", ROWS),
    Case("JavaScript", b"var x = [" + A + b",\n" + B + b"];\n", "JavaScript", ROWS),
    Case("module", b"export default [" + A + b"," + B + b"];\n", "JavaScript", ROWS),
    Case("twitter archive", b"window.YTD.tweets.part0 = [ " + A + b", " + B + b" ]", "JavaScript", ROWS),
    Case("JSONP", b"callback([" + A + b"," + B + b"]);", "JSONP", ROWS),
    Case("guard", b")]}',\n[" + A + b"," + B + b"]", "guard", ROWS),
    Case(
        "single quotes",
        b"{'name': 'A', 'n': None}\n{'name': 'B', 'n': True}\n",
        "Python",
        ['{"name":"A","n":null}', '{"name":"B","n":true}'],
        is_exact=False,
    ),
    Case("bare names", b'{name: "A"}\n{name: "B"}\n', "JSON5"),
    Case(
        "None in objects",
        b'{"name": "A", "n": None}\n{"name": "B", "n": False}\n',
        "Python",
        ['{"name":"A","n":null}', '{"name":"B","n":false}'],
        is_exact=False,
    ),
    Case("YAML", b"---\n- name: A\n  city: B\n- name: C\n", "YAML"),
    Case("YAML list", b"- name: A\n  city: B\n- name: C\n", "YAML"),
    Case("XML", b'<?xml version="1.0"?>\n<a><b/></a>\n', "XML"),
    Case("XML without head", b"<rows>\n<row id='1'/>\n</rows>\n", "XML"),
    Case("HTML", b"<!DOCTYPE html>\n<html><body>Log in</body></html>\n", "HTML"),
    Case("HTTP", b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n" + LINES, "HTTP", ROWS),
    Case("LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12\n", "Git LFS"),
    Case("annex", b"/annex/objects/SHA256E-s12--abc.ndjson\n", "git-annex"),
    Case("TOML", b'[table]\nname = "x"\n', "settings"),
    Case(
        "doubled backslashes",
        b'{"name":"Bea","note":"line1\\\\nline2"}\n{"name":"Bob","note":"say \\\\"hi\\\\""}\n',
        "doubled",
        ['{"name":"Bea","note":"line1\\nline2"}', '{"name":"Bob","note":"say \\"hi\\""}'],
    ),
)
PACKED = (
    Case("gzip", gzip.compress(LINES), "packed by gzip once more"),
    Case("tar", _tar(), "a tar archive", ROWS),
    Case("tar of GNU", _tar(tarfile.GNU_FORMAT), "a tar archive", ROWS),
    Case("tar of pax", _tar(tarfile.PAX_FORMAT), "a tar archive", ROWS),
    Case("tar of old", _old_tar(), "a tar archive", ROWS),
    Case("zip", _zip(), "a zip archive"),
    Case("xlsx", _zip("[Content_Types].xml"), "a spreadsheet"),
    Case("cpio", _cpio(), "a cpio archive"),
    Case("ar", _ar(), "an ar archive"),
    Case("xz", lzma.compress(LINES), "packed by xz"),
    Case("lzma", lzma.compress(LINES, lzma.FORMAT_ALONE), "packed by lzma"),
    Case("bzip2", bz2.compress(LINES), "packed by bzip2"),
    Case("lz4", b"\x04\x22\x4d\x18\x64\x40\xa7" + b"\0" * 20, "packed by lz4"),
    Case("lzip", b"LZIP\x01\x0c\x00\x80" + b"\xff" * 20, "packed by lzip"),
    Case("snappy", b"\xff\x06\0\0sNaPpY\x01\0\0", "packed by snappy"),
    Case("compress", b"\x1f\x9d\x90" + b"\x7b\x44\xa4\x48" * 5, "packed by compress"),
    Case("7z", b"7z\xbc\xaf\x27\x1c\0\4" + b"\0" * 20, "a 7-Zip archive"),
    Case("rar", b"Rar!\x1a\x07\x01\0" + b"\0" * 20, "a RAR archive"),
    Case("Parquet", b"PAR1\x15\x04\x15\0" + b"\0" * 20, "Parquet"),
    Case("Avro", b"Obj\x01\x04\x16avro.schema", "Avro"),
    Case("ORC", b"ORC\x0a\x0b\x03\0\0", "ORC"),
    Case("Arrow", b"ARROW1\0\0\xff\xff\xff\xff", "Arrow"),
    Case("SQLite", _sqlite(), "SQLite"),
    Case("xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 20, "a spreadsheet"),
    Case("BSON", b"\x16\0\0\0\x02a\0\x02\0\0\0b\0\x10c\0\x01\0\0\0\0", "BSON"),
    Case("MessagePack", b"\x82\xa2id\x01\xa4name\xa1A", "MessagePack"),
    Case("pickle", b"\x80\x04\x95\x10\0\0\0\0\0\0\0]\x94}", "pickle"),
    Case("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
    Case("PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "an image"),
    Case("JPEG", b"\xff\xd8\xff\xe0\0\x10JFIF\0", "an image"),
    Case("noise", bytes((n * 89 + 7) % 251 for n in range(1000)), "binary data"),
)
ENCODINGS = (
    Case("UTF-16 with mark", LINES.decode().encode("utf-16"), "UTF-16", ROWS),
    Case("UTF-16LE", LINES.decode().encode("utf-16-le"), "UTF-16", ROWS),
    Case("UTF-16BE", LINES.decode().encode("utf-16-be"), "UTF-16", ROWS),
    Case("UTF-16BE with mark", ("\ufeff" + LINES.decode()).encode("utf-16-be"), "UTF-16", ROWS),
    Case("UTF-32 with mark", LINES.decode().encode("utf-32"), "UTF-32", ROWS),
    Case("UTF-32BE", LINES.decode().encode("utf-32-be"), "UTF-32", ROWS),
    Case("Latin-1", (FLAT + "\n" + FLAT + "\n").encode("latin-1"), "another encoding", [FLAT] * 2),
    Case("CP932", '{"a":"東京"}\n{"a":"ソウル"}\n{"b":1}\n'.encode("cp932"), "another encoding"),
    Case("Windows-1255", '{"a":"חיפה"}\n{"a":"תל אביב"}\n'.encode("cp1255"), "another encoding"),
    Case("EBCDIC", '{"a":"b"}\n'.encode("cp037"), "EBCDIC"),
)
FORMS = ARRAYS + JSON_FORMS + TOOLS + TEXTS + PACKED + ENCODINGS
CONVERTED = tuple(case for case in FORMS if case.rows is not None)


def value_of(line: str) -> object:
    """Decode a row, for comparisons that do not ask how it is written."""
    return orjson.loads(line)
