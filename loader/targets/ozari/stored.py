"""What a row holds beside what was sent: the spelling by which a filter found it, and the values that were stored.

A database finds a row by equality of its own (case, width, blanks, a number and the text that begins with it), and it stores what
the column can hold. So a row that matched may be another one than was meant, and "updated" says nothing of what stands there now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from loader.model import Halt, Record, Request, Response, Retry, Undecided, Unknown
from loader.redaction import Redactor
from loader.targets.base import Difference, MatchedRows
from loader.targets.ozari import api as ozari
from loader.targets.ozari.lookup import query_path
from loader.targets.ozari.update_lookup import condition, filters_of, read_rows
from loader.targets.values import as_text, is_equal

MAX_CONDITIONS = 50
"""[D] OZ-query: of one request."""
MAX_ROWS = 200
MIDNIGHT = (" 00:00:00", "T00:00:00", "T00:00:00Z", "T00:00:00.000Z", " 00:00:00.000")
MISSING = object()


class OzariStored:
    """See `base.StoredLookup`. `is_update`: rows are found by the update's filters; else by the id of the created row."""

    max_conditions = MAX_CONDITIONS

    def __init__(self, table: str, redactor: Redactor, *, is_update: bool) -> None:
        self._table = table
        self._redactor = redactor
        self._is_update = is_update

    def fields(self, record: Record) -> dict[str, Any]:
        """Return what was sent to be stored."""
        body = orjson.loads(record.data)
        fields: dict[str, Any] = body["fields"] if self._is_update else body
        return fields

    def filters(self, record: Record) -> dict[str, Any]:
        """Return the filters that the update leaves alone; none for a record that was created."""
        if not self._is_update:
            return {}
        body = orjson.loads(record.data)
        changed = set(map(str.casefold, body["fields"]))
        return {name: value for name, value in body["filters"].items() if name.casefold() not in changed}

    def is_suspect(self, record: Record) -> bool:
        """Say whether a filter is one by which databases find other spellings: a number, not ASCII, or with outer blanks."""
        return any(
            name.casefold() != ozari.PRIMARY_KEY and _is_suspect(value) for name, value in self.filters(record).items()
        )

    def encode(self, records: Sequence[Record]) -> Request:
        """Ask for the rows that some updates' filters find."""
        groups = [
            b'{"and":[%b]}' % b",".join(condition(*pair) for pair in filters_of(record).items()) for record in records
        ]
        named = [orjson.loads(record.data) for record in records]
        columns = [name for body in named for part in ("filters", "fields") for name in body[part]]
        return self._question(b'{"or":[%b]}' % b",".join(groups) if len(groups) > 1 else groups[0], columns)

    def encode_created(self, record: Record, record_id: int | str) -> Request:
        """Ask for a row that was created."""
        by_id = b'{"and":[%b]}' % condition(b'"%b"' % ozari.PRIMARY_KEY.encode(), orjson.dumps(record_id))
        return self._question(by_id, self.fields(record))

    def _question(self, filters: bytes, columns: Iterable[str]) -> Request:
        selected = orjson.dumps(list(dict.fromkeys([ozari.PRIMARY_KEY, *columns])))
        body = b'{"filters":%b,"select":%b,"page":1,"per_page":%d}' % (filters, selected, MAX_ROWS)
        return Request("POST", query_path(self._table), body)

    def read(self, response: Response) -> MatchedRows | Undecided | Retry | Unknown | Halt:
        """Read the rows."""
        return read_rows(response, self._table, self._redactor)

    def other_spelling(self, record: Record, found: MatchedRows) -> Difference | None:
        """Say by which other spelling a record's filters found a row. None: a row holds them as they were sent, or none came."""
        filters = self.filters(record).items()
        others = [
            [(name, value, _of(row, name)) for name, value in filters if not _is_spelt(value, _of(row, name))]
            for row in found.rows
        ]
        return self._difference(*others[0][0]) if others and all(others) else None

    def differences(self, record: Record, row: Mapping[str, Any]) -> list[Difference]:
        """Say which sent values a row does not hold."""
        sent = self.fields(record).items()
        return [
            self._difference(name, value, _of(row, name)) for name, value in sent if not _is_same(value, _of(row, name))
        ]

    def _difference(self, name: str, sent: Any, stored: Any) -> Difference:
        return Difference(*(self._redactor(text) for text in (name, _shown(sent), _shown(stored))))


def _is_suspect(value: Any) -> bool:
    if isinstance(value, str):
        return not value.isascii() or value != value.strip()
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_spelt(sent: Any, stored: Any) -> bool:
    """Say whether a filter's value is the stored one by its bytes. A column of numbers has no spelling."""
    text = as_text(sent)
    if text is not None and isinstance(stored, str) and not isinstance(sent, bool):
        return text == stored or _is_day(text, stored)
    return _is_same(sent, stored)


def _is_day(sent: str, stored: str) -> bool:
    return bool(sent) and stored.startswith(sent) and stored[len(sent) :] in MIDNIGHT


def _of(row: Mapping[str, Any], name: str) -> Any:
    if name in row:
        return row[name]
    return next((value for other, value in row.items() if other.casefold() == name.casefold()), MISSING)


def _is_same(sent: Any, stored: Any) -> bool:
    """Say whether a stored value is the sent one, in the column's own form: a number, a truth, a day with its first hour."""
    if stored is MISSING or isinstance(sent, bool | dict | list) or is_equal(sent, stored):
        return True
    one, other = as_text(sent), as_text(stored)
    if one is None or other is None:
        return False
    if isinstance(sent, str) != isinstance(stored, str):
        try:
            return Decimal(one) == Decimal(other)
        except InvalidOperation:
            return False
    return _is_day(one, other)


def _shown(value: Any) -> str:
    text = as_text(value)
    return f"'{text}'" if isinstance(value, str) else "null" if text is None else text
