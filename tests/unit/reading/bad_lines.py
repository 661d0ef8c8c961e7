"""The corpus of bad lines (reliability.md 4.4) as data, and good lines that look suspicious.

A case is a name, the raw line without its line end, and the code that it must be rejected with. No line holds LF.
"""

from __future__ import annotations

from typing import NamedTuple


class BadLine(NamedTuple):
    """One line that must be refused."""

    name: str
    data: bytes
    code: str


NOT_FINITE = (
    BadLine("NaN", b'{"a":NaN}', "number"),
    BadLine("Infinity", b'{"a":Infinity}', "number"),
    BadLine("minus Infinity", b'{"a":-Infinity}', "number"),
    BadLine("NaN deep inside", b'{"a":{"b":[1,{"c":NaN}]}}', "number"),
    BadLine("1e400", b'{"a":1e400}', "number"),
    BadLine("-1E+400", b'{"a":-1E+400}', "number"),
    BadLine("1.5e309", b'{"a":1.5e309}', "number"),
    BadLine("integer of 400 digits", b'{"a":' + b"9" * 400 + b"}", "number"),
    BadLine("integer of 5,000 digits", b'{"a":' + b"7" * 5000 + b"}", "number"),
)

NO_JSON = (
    BadLine("number without integer part", b'{"a":.5}', "json"),
    BadLine("number without fraction", b'{"a":5.}', "json"),
    BadLine("plus sign", b'{"a":+1}', "json"),
    BadLine("leading zero", b'{"a":01}', "json"),
    BadLine("hexadecimal", b'{"a":0x1F}', "json"),
    BadLine("digit separator", b'{"a":1_000}', "json"),
    BadLine("line comment", b'{"a":1} // good', "json"),
    BadLine("block comment", b'{"a":/* one */1}', "json"),
    BadLine("hash comment", b'# {"a":1}', "json"),
    BadLine("trailing comma in an object", b'{"a":1,}', "json"),
    BadLine("trailing comma in an array", b'{"a":[1,]}', "json"),
    BadLine("comma behind the object", b'{"a":1},', "json"),
    BadLine("comma missing", b'{"a":1 "b":2}', "json"),
    BadLine("colon missing", b'{"a" 1}', "json"),
    BadLine("value missing", b'{"a":}', "json"),
    BadLine("single quotes", b"{'a':1}", "json"),
    BadLine("key without quotes", b"{a:1}", "json"),
    BadLine("Python's True", b'{"a":True}', "json"),
    BadLine("Python's None", b'{"a":None}', "json"),
    BadLine("undefined", b'{"a":undefined}', "json"),
    BadLine("cut in a key", b'{"na', "json"),
    BadLine("cut in a string", b'{"a":"hel', "json"),
    BadLine("cut behind an escape", b'{"a":"hel\\', "json"),
    BadLine("cut before the brace", b'{"a":1', "json"),
    BadLine("brace too many", b'{"a":1}}', "json"),
    BadLine("wrong bracket", b'{"a":[1}', "json"),
    BadLine("two objects", b'{"a":1}{"a":2}', "json"),
    BadLine("two objects, a blank between", b'{"a":1} {"a":2}', "json"),
    BadLine("object and a word", b'{"a":1} ok', "json"),
    BadLine("raw tab in a string", b'{"a":"x\ty"}', "json"),
    BadLine("raw CR in a string", b'{"a":"x\ry"}', "json"),
    BadLine("raw control character in a string", b'{"a":"x\x01y"}', "json"),
    BadLine("unknown escape", b'{"a":"\\x41"}', "json"),
    BadLine("short escape", b'{"a":"\\u12"}', "json"),
    BadLine("form feed before the object", b'\x0c{"a":1}', "json"),
    BadLine("no-break space before the object", b'\xc2\xa0{"a":1}', "json"),
    BadLine("NUL in a string", b'{"a":"x\0y"}', "json"),
    BadLine("NUL behind the document", b'{"a":1}\0', "json"),
    BadLine("NULs alone", b"\0" * 16, "json"),
    BadLine("UTF-16 without mark", '{"a":1}'.encode("utf-16-le"), "json"),
    BadLine("byte order mark in the middle of a file", b'\xef\xbb\xbf{"a":1}', "json"),
    BadLine("lone high surrogate", b'{"a":"\\ud800"}', "json"),
    BadLine("lone low surrogate", b'{"a":"\\udc00"}', "json"),
    BadLine("reversed surrogates", b'{"a":"\\udc00\\ud800"}', "json"),
    BadLine("CSV", b"Tokyo,35.68,139.69", "json"),
    BadLine("XML", b"<city>Tokyo</city>", "json"),
)

NO_UTF8 = (
    BadLine("raw surrogate", b'{"a":"\xed\xa0\x80"}', "utf8"),
    BadLine("overlong slash", b'{"a":"\xc0\xaf"}', "utf8"),
    BadLine("latin-1", 'Z\u00fcrich {"a":1}'.encode("latin-1"), "utf8"),
    BadLine("latin-1 in a string", b'{"a":"Z\xfcrich"}', "utf8"),
    BadLine("cut sequence", b'{"a":"\xe3\x81"}', "utf8"),
    BadLine("continuation byte alone", b'{"a":"\x80"}', "utf8"),
    BadLine("past U+10FFFF", b'{"a":"\xf4\x90\x80\x80"}', "utf8"),
    BadLine("Shift JIS", '{"a":"\u6771\u4eac"}'.encode("shift_jis"), "utf8"),
    BadLine("UTF-16 with mark", '\ufeff{"a":1}'.encode("utf-16-le"), "utf8"),
    BadLine("broken key", b'{"\xff":1}', "utf8"),
)

NO_OBJECT = (
    BadLine("array", b'[{"a":1}]', "object"),
    BadLine("empty array", b"[]", "object"),
    BadLine("string", b'"a"', "object"),
    BadLine("empty string", b'""', "object"),
    BadLine("integer", b"17", "object"),
    BadLine("fraction", b"1.5", "object"),
    BadLine("null", b"null", "object"),
    BadLine("true", b"true", "object"),
    BadLine("empty object", b"{}", "empty"),
    BadLine("empty object with a blank", b"{ }", "empty"),
)

DUPLICATES = (
    BadLine("duplicate key", b'{"a":1,"a":2}', "duplicate_key"),
    BadLine("duplicate key, equal values", b'{"a":1,"b":2,"a":1}', "duplicate_key"),
    BadLine("duplicate key by an escape", b'{"a":1,"\\u0061":2}', "duplicate_key"),
    BadLine("duplicate key, blank before the colon", b'{"a":1,"a" :2}', "duplicate_key"),
    BadLine("duplicate key, tab before the colon", b'{"a"\t:1,"a":2}', "duplicate_key"),
    BadLine("duplicate key inside", b'{"a":{"b":1,"b":2}}', "duplicate_key"),
    BadLine("duplicate key in an array", b'{"a":[1,{"b":1,"b":2}]}', "duplicate_key"),
    BadLine("duplicate key whose lost value holds the other", b'{"a":{"b":1},"a":2}', "duplicate_key"),
    BadLine("duplicate key, and a colon by an escape", b'{"a":"\\u003a","a":"\\u003A"}', "duplicate_key"),
    BadLine("duplicate key, and colons in strings", b'{"a":"x:y","b":"::","a":"10:20"}', "duplicate_key"),
    BadLine("duplicate empty key", b'{"":1,"":2}', "duplicate_key"),
)

TOO_DEEP = (
    BadLine("65 levels of arrays", b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "depth"),
    BadLine("65 levels of objects", b'{"a":' * 64 + b"{}" + b"}" * 64, "depth"),
    BadLine("1,023 levels", b'{"a":' + b"[" * 1022 + b"]" * 1022 + b"}", "depth"),
    BadLine("100,000 levels", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "depth"),
    BadLine("100,000 levels, never closed", b'{"a":' * 100_000, "depth"),
)

BAD_LINES = NOT_FINITE + NO_JSON + NO_UTF8 + NO_OBJECT + DUPLICATES + TOO_DEEP

SUSPICIOUS_GOOD_LINES = {
    "integer past 64 bits": b'{"a":18446744073709551616}',
    "integer of 30 digits": b'{"a":123456789012345678901234567890}',
    "exact fraction": b'{"a":0.1000,"b":1e2,"c":0.12345678901234567890}',
    "minus zero": b'{"a":-0,"b":-0.0}',
    "NUL by an escape": b'{"a":"x\\u0000y"}',
    "surrogate pair by escapes": b'{"a":"\\ud83d\\ude00"}',
    "characters past U+FFFF": '{"a":"\U0001f600"}'.encode(),
    "noncharacters": '{"a":"\uffff\ufdd0"}'.encode(),
    "white space everywhere": b'{ "a"\t: 1 ,\t"b" :{ "c" : [ 1 , 2 ] } }',
    "interior CR": b'{"a":1,\r"b":2}',
    "colons in strings": b'{"a":"12:30:00","b":"https://x/?a=\\":\\"","c":"\\u003a"}',
    "colon in a key": b'{"a:b":1,"c":"d"}',
    "brackets in strings": b'{"a":"' + b"[{" * 100 + b'"}',
    "equal keys at different levels": b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}',
    "keys that differ in case": b'{"a":1,"A":2}',
    "keys that differ in normal form": '{"\u00e9":1,"e\u0301":2}'.encode(),
    "empty key": b'{"":1}',
    "empty values": b'{"a":{},"b":[],"c":""}',
    "64 levels of arrays": b'{"a":' + b"[" * 63 + b"]" * 63 + b"}",
    "64 levels of objects": b'{"a":' * 63 + b"{}" + b"}" * 63,
    "the word NaN": b'{"a":"NaN","Infinity":1}',
    "del character": b'{"a":"\x7f"}',
}
