"""The format NDJSON: a line ends with LF, holds one JSON object, and travels as it was read."""

from __future__ import annotations

from io import BytesIO

from loader.columns import Splice
from loader.reading.bulk_check import BulkCheck
from loader.reading.cursor import Cursor
from loader.reading.format import Decoded
from loader.reading.lines import LineSplitter
from loader.reading.parsing import BLANK, parse

BOM = b"\xef\xbb\xbf"


class Ndjson:
    """See `format.Format`. It keeps nothing of a source."""

    def begin(self, cursor: Cursor) -> None:
        cursor.skip(BOM)

    def goes_on(self, cursor: Cursor, last: bytes) -> bool:
        # A last line without LF may get one later, and nothing else.
        return last == b"\n" or cursor.skip(b"\n") or cursor.skip(b"\r\n") or not cursor.take(1)

    def splitter(self, source: int, number: int, offset: int, max_line_bytes: int) -> LineSplitter:
        return LineSplitter(source, number, offset, max_line_bytes)

    def line(self, cursor: Cursor, max_line_bytes: int) -> bytes | None:
        return cursor.take_through(b"\n", max_line_bytes + len(b"\r\n"))

    def decode(self, line: bytes) -> Decoded:
        data = line.strip(BLANK)
        return (parse(data) if data else None), data

    def cut(self, raw: bytes) -> list[bytes]:
        return BytesIO(raw).readlines()

    def check_many(self, splice: Splice) -> BulkCheck:
        return BulkCheck(splice.forbidden, splice.names_ok)


NDJSON = Ndjson()
